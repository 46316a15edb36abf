"""What every engine offers, and the options that decide its results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import FrameLandmarks


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Everything that can change a detector's results.

    Attributes:
        engine: ``"holistic"`` (legacy MediaPipe Holistic), or ``"package.module:function"`` for an
            engine of your own: a function that takes these options and returns a :class:`Detector`.
        static: Detect every frame afresh instead of tracking from frame to frame.
        model_complexity: Size of the pose model: 0 lite, 1 full, 2 heavy.
        refine_face: 478 face points with irises instead of 468.
        smooth: Filter landmarks over time (tracking only).
        min_detection_confidence: In [0, 1]; below it a person counts as not found.
        min_tracking_confidence: In [0, 1]; below it tracking gives way to a new detection.

    Raises:
        JobError: If a value is out of its range.
    """

    engine: str = "holistic"
    static: bool = False
    model_complexity: int = 1
    refine_face: bool = False
    smooth: bool = True
    min_detection_confidence: float = 0.5
    min_tracking_confidence: float = 0.5

    def __post_init__(self) -> None:
        if self.model_complexity not in (0, 1, 2):
            raise JobError(f"model complexity must be 0, 1 or 2, found {self.model_complexity}")
        for name in ("min_detection_confidence", "min_tracking_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(f"{name} must lie between 0 and 1, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """What a detector says of itself once it stands.

    Attributes:
        engine: Name of the engine.
        engine_version: Version of the library that detects.
        delegate: What the models run on: ``"cpu"`` or ``"gpu"``.
        num_points: Part name to its number of points, in column order.
    """

    engine: str
    engine_version: str
    delegate: str
    num_points: Mapping[str, int]


class Detector(Protocol):
    """Finds landmarks in one clip after another; made once, used for days, by one thread."""

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        ...

    def begin_clip(self, clip_id: str) -> None:
        """Clears all state, so that the clip's landmarks do not depend on what came before it."""
        ...

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:
        """Finds the landmarks in the next frame of the clip.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Milliseconds from the clip's start, for engines that use it.
        """
        ...

    def close(self) -> None:
        """Gives back what the detector holds."""
        ...
