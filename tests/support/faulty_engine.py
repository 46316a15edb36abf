"""Real Holistic that goes wrong on clips named in the environment: FAULTS={"clip/id": "segv"}.

Kinds: segv, exit, raise, hang (holds the GIL), hog (memory), and with "-once:PATH" only where PATH is not
there yet. STARTUP_FAULT does it before the detector stands.
"""

import ctypes
import dataclasses
import json
import os
import pathlib
import time

import numpy as np
from numpy.typing import NDArray

from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.detectors.holistic import HolisticDetector
from extraction.landmarks import FrameLandmarks

_FRAME_OF_FAULT = 2


class FaultyDetector:
    def __init__(self, options: DetectorOptions) -> None:
        self._real = HolisticDetector(dataclasses.replace(options, engine="holistic"))
        self._faults: dict[str, str] = json.loads(os.environ.get("FAULTS", "{}"))
        self._fault: str | None = None
        self._frame = 0
        self._slow_s = float(os.environ.get("SLOW_S", "0"))

    @property
    def info(self) -> DetectorInfo:
        return self._real.info

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
        self._real.close()


def make(options: DetectorOptions) -> FaultyDetector:
    if fault := os.environ.get("STARTUP_FAULT"):
        _commit(fault)
    return FaultyDetector(options)


def _commit(fault: str) -> None:
    kind, _, once = fault.partition("-once:")
    if once:
        try:
            pathlib.Path(once).touch(exist_ok=False)
        except FileExistsError:
            return
    print(f"about to commit {kind}", flush=True)
    if kind == "segv":
        ctypes.string_at(0)
    elif kind == "exit":
        os._exit(7)
    elif kind == "raise":
        raise RuntimeError("Graph has errors: a calculator failed")
    elif kind == "hang":
        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the GIL, as stuck native code does
    else:
        raise ValueError(kind)
