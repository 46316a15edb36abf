"""Real Holistic that goes wrong on clips named in the environment: FAULTS={"clip/id": "segv"}.

Kinds: those in COMMITTED, and the names in RAISED, which raise with such a text. With "-once:PATH" a fault is
committed only where PATH is not there yet, with "-times:N:PATH" the first N times. STARTUP_FAULT does it
before the detector stands, CLOSE_FAULT when it is closed. CGROUP is a control group to live in.
CLOSES_AFTER_ERROR=0 makes a detector that says of itself that it does not.
"""

import ctypes
import dataclasses
import json
import os
import pathlib
import threading
import time

import numpy as np
from numpy.typing import NDArray

from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.detectors.holistic import HolisticDetector
from extraction.landmarks import FrameLandmarks

_FRAME_OF_FAULT = 2

RAISED = {
    "raise": "Graph has errors: a calculator failed",
    "context": "UNKNOWN: ; eglMakeCurrent() returned error 0x3008; (entering GL context)",
    "unknown": "the moon is in the wrong house",
    "caller": "Input timestamp must be monotonically increasing.",
    "configuration": "Unable to open file at /nowhere/model.task",
}


class FaultyDetector:
    def __init__(self, options: DetectorOptions) -> None:
        self._real = HolisticDetector(dataclasses.replace(options, engine="holistic"))
        self._faults: dict[str, str] = json.loads(os.environ.get("FAULTS", "{}"))
        self._fault: str | None = None
        self._frame = 0
        self._slow_s = float(os.environ.get("SLOW_S", "0"))

    @property
    def info(self) -> DetectorInfo:
        closes = os.environ.get("CLOSES_AFTER_ERROR") != "0"
        return dataclasses.replace(self._real.info, closes_after_error=closes)

    def begin_clip(self, clip_id: str) -> None:
        self._real.begin_clip(clip_id)
        self._fault, self._frame = self._faults.get(clip_id), 0

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:
        if self._fault and self._frame == _FRAME_OF_FAULT:
            _commit(self._fault)
        self._frame += 1
        time.sleep(self._slow_s)
        return self._real.detect(image, timestamp_ms)

    def close(self) -> None:
        if fault := os.environ.get("CLOSE_FAULT"):
            _commit(fault)
        self._real.close()


def make(options: DetectorOptions) -> FaultyDetector:
    if group := os.environ.get("CGROUP"):
        pathlib.Path(group, "cgroup.procs").write_text(str(os.getpid()))
    if fault := os.environ.get("STARTUP_FAULT"):
        _commit(fault)
    return FaultyDetector(options)


def _commit(fault: str) -> None:
    kind, _, once = fault.partition("-once:")
    number, path = "1", once
    if not once:
        kind, _, times = fault.partition("-times:")
        number, _, path = times.partition(":")
    if path:
        with open(path, "a+b") as done:
            if done.tell() >= int(number):
                return
            done.write(b"x")
    print(f"about to commit {kind}", flush=True)
    if kind in RAISED:
        raise RuntimeError(RAISED[kind])
    COMMITTED[kind]()


def _hog() -> None:
    hog = []
    while True:
        hog.append(b"x" * (16 << 20))
        time.sleep(0.02)


def _leak_threads() -> None:
    for _ in range(40):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


COMMITTED = {
    "segv": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(7),
    "hang": lambda: ctypes.PyDLL(None).sleep(3600),  # PyDLL keeps the GIL, as stuck native code does
    "hog": _hog,
    "threads": _leak_threads,
}
