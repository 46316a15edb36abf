"""Real Holistic that goes wrong on every clip whose name says so: the clip .../poison-segv-2 ends by SIGSEGV.

CHAOS_SLOW names a file with the seconds to wait at each frame, so that a kill hits work in progress, wherever
it falls; where there is no such file, nothing is slowed.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import time

import numpy as np
from faulty_engine import COMMITTED
from numpy.typing import NDArray

from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.detectors.holistic import HolisticDetector
from extraction.landmarks import FrameLandmarks

_FRAME_OF_FAULT = 1  # the second: what was found in the first must not be kept
_POISON = re.compile(r"(?:.*/)?poison-([a-z]+)-\d+")


def _raise() -> None:
    raise RuntimeError("the moon is in the wrong house")


FAULTS = {
    "segv": COMMITTED["segv"],
    "abort": os.abort,
    "exit": COMMITTED["exit"],
    "hang": COMMITTED["hang"],  # holds the GIL
    "hog": COMMITTED["hog"],
    "raise": _raise,
}


class PoisonDetector:
    def __init__(self, options: DetectorOptions) -> None:
        self._real = HolisticDetector(dataclasses.replace(options, engine="holistic"))
        self._fault: str | None = None
        self._frame = 0

    @property
    def info(self) -> DetectorInfo:
        return self._real.info

    def begin_clip(self, clip_id: str) -> None:
        self._real.begin_clip(clip_id)
        named = _POISON.fullmatch(clip_id)
        self._fault = named[1] if named and named[1] in FAULTS else None
        self._frame = 0

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:
        if self._fault and self._frame == _FRAME_OF_FAULT:
            FAULTS[self._fault]()
        self._frame += 1
        time.sleep(_wait_s())
        return self._real.detect(image, timestamp_ms)

    def close(self) -> None:
        self._real.close()


def make(options: DetectorOptions) -> PoisonDetector:
    return PoisonDetector(options)


def _wait_s() -> float:
    with contextlib.suppress(KeyError, OSError, ValueError):
        return float(pathlib.Path(os.environ["CHAOS_SLOW"]).read_text())
    return 0.0
