"""What a detector found: in one frame, and in a whole clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from extraction.topology import num_dims

Floats = NDArray[np.float32]

FOREGROUND_FROM = 128
"""Value of a confidence mask that counts as foreground: 255 times a half, rounded."""


class FrameStatus(IntEnum):
    """What became of one frame position."""

    OK = 0
    """Read, and at least one part, or one pixel of the mask's foreground, found."""
    NOBODY = 1
    """Read, and nobody found in it."""
    UNREADABLE = 2
    """Not read; the reason stands beside it."""


@dataclass(frozen=True, slots=True)
class FrameLandmarks:
    """What was found in one frame.

    Attributes:
        parts: Part name to float32 (N, D) array, D as in :func:`extraction.topology.num_dims`; a part that
            was not found is left out. Of x, y, z the first two are fractions of the frame's width and
            height, z as MediaPipe gives it; parts whose name ends in ``_world`` are in metres.
        pose_visibility: float32 (33,) in [0, 1], or None where no pose was found.
        mask_png: Segmentation mask as a PNG of 8 bits in one channel, (H, W) as the frame; None from an
            engine that makes none.
        mask_has_foreground: Whether any pixel of the mask is foreground.
    """

    parts: Mapping[str, Floats]
    pose_visibility: Floats | None = None
    mask_png: bytes | None = None
    mask_has_foreground: bool = False

    @property
    def status(self) -> FrameStatus:
        """What became of this frame, which was read."""
        return FrameStatus.OK if self.parts or self.mask_has_foreground else FrameStatus.NOBODY


@dataclass(frozen=True, slots=True)
class ClipLandmarks:
    """The landmarks of consecutive frames of one clip: the whole of it, or a part of a long video.

    T is the number of frame positions here. Arrays are read-only. Missing is NaN and a mask.

    Attributes:
        first_frame: Position in the clip of the first frame here.
        fps: Frames per second of the clip.
        timestamps_ms: float64 (T,), milliseconds from the clip's start.
        frame_names: T names: file names, or the position for a video.
        frame_status: int8 (T,) of :class:`FrameStatus`.
        frame_errors: T entries: why a frame is unreadable, None for all others.
        frame_sizes_px: int32 (T, 2) of width, height; 0 where unreadable.
        parts: Part name to float32 (T, N, D), NaN where absent; D is 3, or 1 for scores.
        pose_visibility: float32 (T, 33), NaN where absent.
        masks_png: T masks as in :class:`FrameLandmarks`, None for an unreadable frame; None instead of
            all of them from an engine that makes none.

    Raises:
        ValueError: If lengths, shapes or types do not agree, naming what does not.
    """

    first_frame: int
    fps: float
    timestamps_ms: NDArray[np.float64]
    frame_names: tuple[str, ...]
    frame_status: NDArray[np.int8]
    frame_errors: tuple[str | None, ...]
    frame_sizes_px: NDArray[np.int32]
    parts: Mapping[str, Floats]
    pose_visibility: Floats
    masks_png: tuple[bytes | None, ...] | None = None
    _present: dict[str, NDArray[np.bool_]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        length = len(self.frame_status)
        expected: list[tuple[str, NDArray[np.generic], type[np.generic], tuple[int, ...]]] = [
            ("timestamps_ms", self.timestamps_ms, np.float64, (length,)),
            ("frame_status", self.frame_status, np.int8, (length,)),
            ("frame_sizes_px", self.frame_sizes_px, np.int32, (length, 2)),
            ("pose_visibility", self.pose_visibility, np.float32, (length, 33)),
        ]
        expected += [
            (name, array, np.float32, (length, array.shape[1], num_dims(name)))
            for name, array in self.parts.items()
        ]
        for name, array, dtype, shape in expected:
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(
                    f"{name}: expected {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}"
                )
            array.setflags(write=False)
        if len(self.frame_names) != length or len(self.frame_errors) != length:
            raise ValueError(
                f"expected {length} frame names and errors, "
                f"found {len(self.frame_names)} and {len(self.frame_errors)}"
            )
        if self.masks_png is not None and len(self.masks_png) != length:
            raise ValueError(f"expected {length} masks, found {len(self.masks_png)}")

    def __len__(self) -> int:
        return len(self.frame_status)

    def __reduce__(self) -> tuple[type["ClipLandmarks"], tuple[object, ...]]:
        # Through the constructor: a copy from another process is checked and read-only as well.
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def present(self, part: str) -> NDArray[np.bool_]:
        """Where a part was found.

        Args:
            part: A key of :attr:`parts`.

        Returns:
            bool (T,).
        """
        if part not in self._present:
            mask = ~np.isnan(self.parts[part]).all(axis=(1, 2))
            mask.setflags(write=False)
            self._present[part] = mask
        return self._present[part]


def stack_frames(
    found: Sequence[FrameLandmarks | None], num_points: Mapping[str, int]
) -> tuple[dict[str, Floats], Floats]:
    """Lays the landmarks of T frames behind one another.

    Args:
        found: T entries; None where the frame could not be read.
        num_points: Part name to its number of points.

    Returns:
        Part name to float32 (T, N, D) with NaN where absent, and float32 (T, 33) of pose visibility.
    """
    parts = {
        name: np.full((len(found), n, num_dims(name)), np.nan, np.float32) for name, n in num_points.items()
    }
    visibility = np.full((len(found), 33), np.nan, np.float32)
    for position, frame in enumerate(found):
        if frame is None:
            continue
        for name, points in frame.parts.items():
            parts[name][position] = points
        if frame.pose_visibility is not None:
            visibility[position] = frame.pose_visibility
    return parts, visibility
