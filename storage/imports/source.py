"""What every source of finished landmarks offers, whatever its format: its clips, each on demand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from extraction.clips import SPLIT_NAMES as SPLIT_NAMES
from extraction.landmarks import ClipLandmarks, Floats, FrameStatus
from extraction.topology import PARTS
from storage.shards import NO_SPLIT
from storage.stored import StoredClip


@dataclass(frozen=True, slots=True)
class SourceClip:
    """A clip that a source has, known without its landmarks.

    Attributes:
        clip_id: Its id there.
        split: None where it belongs to none, or the format does not say.
        num_frames: Frames that the source has of it.
        uri: Where it lies.
        said: Annotations, by column: ``gloss``, ``text``.
        fingerprint: Another one where what the source has of it has changed; "" where it does not say.
    """

    clip_id: str
    split: str | None
    num_frames: int
    uri: str
    said: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def split_name(self) -> str:
        """Its split; ``"none"`` where it belongs to none."""
        return self.split or NO_SPLIT

    @property
    def base_name(self) -> str:
        """Its id without the split in front."""
        return self.clip_id.removeprefix(f"{self.split}/") if self.split else self.clip_id


VISIBILITY = "pose_visibility"


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a source.

    Attributes:
        format: In words, for people.
        location: Where it lies.
        points: Part name to the rows of it that the source knows; :data:`VISIBILITY` is one of them.
        unknown: What the format does not say, a sentence each.
        has_status: Whether it tells frames that could not be read from those with nobody in them.
        masks: What its masks hold, ``"category"`` or ``"confidence"``; "" where it has none.
    """

    format: str
    location: str
    points: Mapping[str, tuple[int, ...]]
    unknown: tuple[str, ...] = ()
    has_status: bool = False
    masks: str = ""


class Source(Protocol):
    """Finished landmarks in some format."""

    about: About

    def clips(self) -> Sequence[SourceClip]:
        """All clips, in the order in which they are read cheaply; an id may come twice if it does there."""

    def read(self, clip: SourceClip) -> StoredClip:
        """The landmarks of one of :meth:`clips`, NaN where a part was not found.

        Raises:
            JobError: If it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Frames:
    """What a format says of the frames of a clip; None for what it does not say.

    Attributes:
        parts: Part name to float32 (T, N, 3), NaN where absent.
        names: T names.
        sizes_px: int32 (T, 2) of width, height.
        visibility: float32 (T, 33) of the pose's points.
        fps: Frames per second.
    """

    parts: Mapping[str, Floats]
    names: tuple[str, ...] | None = None
    sizes_px: "np.ndarray[tuple[int, ...], np.dtype[np.int32]] | None" = None
    visibility: Floats | None = None
    fps: float | None = None


def clip_of(clip: SourceClip, frames: Frames, fps: float) -> StoredClip:
    """A clip in the form in which a data set's own come.

    Args:
        clip: Which.
        frames: What the format says.
        fps: Where it does not say that.
    """
    length = len(next(iter(frames.parts.values())))
    fps = frames.fps or fps
    found = np.zeros(length, np.bool_)
    for points in frames.parts.values():
        found |= ~np.isnan(points).all(axis=(1, 2))
    visibility = frames.visibility
    landmarks = ClipLandmarks(
        first_frame=0,
        fps=fps,
        timestamps_ms=np.arange(length) * (1000.0 / fps),
        frame_names=frames.names or tuple(map(str, range(length))),
        frame_status=np.where(found, FrameStatus.OK, FrameStatus.NOBODY).astype(np.int8),
        frame_errors=(None,) * length,
        frame_sizes_px=np.zeros((length, 2), np.int32) if frames.sizes_px is None else frames.sizes_px,
        parts={part: frames.parts[part] for part in PARTS if part in frames.parts},
        pose_visibility=np.full((length, 33), np.nan, np.float32) if visibility is None else visibility,
    )
    return StoredClip(clip.clip_id, clip.split, landmarks, {"uri": clip.uri, "fps": fps, **clip.said})
