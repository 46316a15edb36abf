"""What every engine offers, and the options that decide its results."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import FrameLandmarks
from extraction.topology import EXTRA_PARTS


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Everything that can change a detector's results.

    Attributes:
        engine: One of :data:`extraction.detectors.registry.ENGINES`, or ``"package.module:function"`` for
            an engine of your own: a function that takes these options and returns a :class:`Detector`.
        delegate: What the models run on: ``"cpu"``, ``"gpu"``, or ``"auto"``, which the supervisor decides
            by the host; an engine is only ever given one of the first two.
        model: Model file, or folder of model files for an engine with several; "" for the engine's own.
        model_sha256: Digest of the model; "" for a model that lies in the MediaPipe wheel.
        extra_parts: Parts beyond the usual ones, of :data:`extraction.topology.EXTRA_PARTS`.
        mask: What a segmenter's masks hold: ``"category"`` or ``"confidence"``.
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
    delegate: str = "cpu"
    model: str = ""
    model_sha256: str = ""
    extra_parts: tuple[str, ...] = ()
    mask: str = "category"
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
        if self.delegate not in ("auto", "cpu", "gpu"):
            raise JobError(f"delegate must be 'auto', 'cpu' or 'gpu', found {self.delegate!r}")
        if self.mask not in ("category", "confidence"):
            raise JobError(f"mask must be 'category' or 'confidence', found {self.mask!r}")
        if unknown := sorted(set(self.extra_parts) - EXTRA_PARTS.keys()):
            raise JobError(f"unknown extra part {unknown[0]!r}: expected {', '.join(EXTRA_PARTS)}")
        # In one order, each once: the same parts are the same options.
        ordered = tuple(part for part in EXTRA_PARTS if part in self.extra_parts)
        object.__setattr__(self, "extra_parts", ordered)


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """What a detector says of itself once it stands.

    Attributes:
        engine: Name of the engine.
        engine_version: Version of the library that detects.
        delegate: What the models run on: ``"cpu"`` or ``"gpu"``.
        num_points: Part name to its number of points, in column order; none for a segmenter.
        has_masks: Whether each frame comes with a segmentation mask.
        closes_after_error: Whether ``close`` can be trusted after ``detect`` has raised. Where it cannot,
            the child process is replaced instead.
    """

    engine: str
    engine_version: str
    delegate: str
    num_points: Mapping[str, int]
    has_masks: bool = False
    closes_after_error: bool = True


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


def refuse_unused(options: DetectorOptions, *names: str) -> None:
    """Refuses options that an engine would silently ignore.

    Args:
        options: As asked for.
        names: Fields that mean nothing to the engine.

    Raises:
        JobError: Naming the first that differs from its default.
    """
    for field in fields(DetectorOptions):
        found = getattr(options, field.name)
        if field.name in names and found != field.default:
            option = f"--{'no-' if found is False else ''}{field.name.replace('_', '-')}"
            raise JobError(
                f"engine {options.engine!r} does not know {field.name}, found {found!r}: leave {option} out"
            )
