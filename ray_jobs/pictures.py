"""``landmarks draw``: frames, videos and sheets of a clip, and samples of a whole data set."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.draw import COLOURS_RGB, Image
from extraction.drawn_difference import Difference, difference, draw_difference
from extraction.drawn_files import write_png
from extraction.drawn_sheet import black, close_up, evenly_spaced, fitted, grid, resized, side_by_side
from extraction.drawn_video import write_video
from extraction.errors import JobError
from extraction.landmarks import FrameLandmarks
from ray_jobs.clip_frames import Background, ClipFrames, Shown
from storage.dataset import Dataset
from storage.pieces import clip_ids, is_done, sampled

ANIMATION_SIDE_PX = 360
"""Longer side of a GIF or WebP where none is asked for: they are large for what they show."""

SAMPLE_SIDE_PX = 512
"""Longer side of the pictures of samples where none is asked for."""

SHEET_TILE_SIDE_PX = 320


@dataclass(frozen=True, slots=True)
class Request:
    """What all pictures of one call have in common.

    Attributes:
        out: The data set.
        to: Folder for the pictures, made where it is missing.
        background: What is drawn over.
        image_size_px: Longer side of a frame's picture; the kind's own default where None.
        against: Another data set, of the same clips, shown beside it with the difference.
    """

    out: str
    to: str = "."
    background: Background = field(default_factory=Background)
    image_size_px: int | None = None
    against: str | None = None
    _names: dict[str, str] = field(default_factory=dict)

    def stem(self, clip_id: str) -> str:
        """Path of a clip's pictures without their ends; no two clips of one call have the same."""
        if clip_id not in self._names:
            name, number = file_name(clip_id), 2
            while name in self._names.values():
                name, number = f"{file_name(clip_id)}-{number}", number + 1
            self._names[clip_id] = name
        return os.path.join(self.to, self._names[clip_id])


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture that was written.

    Attributes:
        path: Of the file.
        kind: ``"frame"``, ``"part"``, ``"sheet"``, ``"grid"`` or ``"video"``.
        clips: Ids of the clips in it.
        frames: Positions of the frames in it, in the order of the clips.
        difference: Part name to mean distance in px of the frame from the other data set; empty where none
            is compared.
    """

    path: str
    kind: str
    clips: tuple[str, ...]
    frames: tuple[int, ...]
    difference: dict[str, float] = field(default_factory=dict)


def draw_clip(out: str, clip_id: str, frames: str | None, positions: Sequence[int], to: str) -> list[str]:
    """Draws landmarks, or segmentation masks, over frames of a clip; see :func:`draw_frames`.

    Returns:
        Paths of the pictures.
    """
    request = Request(out, to, Background(frames=frames))
    return [drawn.path for drawn in draw_frames(request, clip_id, positions)]


def draw_frames(request: Request, clip_id: str, positions: Sequence[int] = ()) -> list[Drawn]:
    """Draws frames of a clip, a PNG each.

    Args:
        request: How.
        clip_id: Which clip.
        positions: Positions of frames in the clip; empty for the one with the most parts found, of masks
            alone the one with the largest.

    Raises:
        JobError: If the clip, its frames or a position are not there, or cannot be read or written.
    """
    clip = _Pictures(request, clip_id)
    wanted = sorted(set(positions)) or [clip.frames.choose(lambda counts: int(np.argmax(counts)))]
    made = []
    for one in clip.at(wanted, request.image_size_px):
        path = f"{request.stem(clip_id)}-{one.shown.position:06d}.png"
        write_png(path, one.picture)
        made.append(Drawn(path, "frame", (clip_id,), (one.shown.position,), one.mean_px()))
    return made


def draw_video(request: Request, clip_id: str, kind: str = "mp4", every: int = 1) -> Drawn:
    """Draws a whole clip as a video that takes as long as the clip.

    Args:
        request: How.
        clip_id: Which clip.
        kind: One of :data:`extraction.drawn_video.FORMATS`.
        every: Takes every so-manieth frame only.

    Raises:
        JobError: As :func:`draw_frames`; or if this kind cannot be made here.
    """
    if every < 1:
        raise JobError(f"--every must be 1 or more, found {every}")
    clip = _Pictures(request, clip_id)
    size = request.image_size_px or (None if kind == "mp4" else ANIMATION_SIDE_PX)
    positions = range(0, len(clip.frames), every)
    path = f"{request.stem(clip_id)}.{kind}"
    sums: dict[str, list[float]] = {}

    def pictures() -> Iterator[Image]:
        shape: tuple[int, ...] | None = None
        for one in clip.shown(None if every == 1 else set(positions), size):
            shape = shape or one.picture.shape
            for part, distance in one.mean_px().items():
                sums.setdefault(part, []).append(distance)
            yield fitted(one.picture, shape)

    write_video(path, pictures(), clip.frames.fps() / every)
    means = {part: float(np.mean(values)) for part, values in sums.items()}
    return Drawn(path, "video", (clip_id,), tuple(positions), means)


def draw_sheet(request: Request, clip_id: str, count: int) -> Drawn:
    """Draws evenly spaced frames of a clip in one PNG.

    Args:
        request: How.
        clip_id: Which clip.
        count: How many; all frames of a shorter clip.

    Raises:
        JobError: As :func:`draw_frames`.
    """
    if count < 1:
        raise JobError(f"--sheet must be 1 or more, found {count}")
    clip = _Pictures(request, clip_id)
    positions = evenly_spaced(len(clip.frames), count)
    size = request.image_size_px or SHEET_TILE_SIDE_PX
    tiles = [one.picture for one in clip.shown(set(positions), size)]
    path = f"{request.stem(clip_id)}-sheet.png"
    write_png(path, grid(tiles, columns=1 if request.against and len(tiles) < 4 else None))
    return Drawn(path, "sheet", (clip_id,), tuple(positions))


def sample_clips(request: Request, count: int, seed: int = 0, splits: Sequence[str] = ()) -> list[str]:
    """Chooses clips over the whole data set, each as likely as any other.

    Args:
        request: The data set; where another is to be shown beside it, only clips of both.
        count: How many; all where there are fewer.
        seed: The same one gives the same clips.
        splits: Only these; all where empty.

    Raises:
        JobError: If the number is below 1, a split has no clip, or none is in both data sets.
    """
    if count < 1:
        raise JobError(f"--num-samples must be 1 or more, found {count}")
    if seed < 0:
        raise JobError(f"--seed must be 0 or more, found {seed}")
    datasets = [Dataset.open(request.out)]
    ids = clip_ids(datasets[0], splits)
    if request.against:
        import pyarrow.compute as pc

        datasets.append(Dataset.open(request.against))
        ids = ids.filter(pc.is_in(ids, clip_ids(datasets[1])))
    chosen = sampled(ids, count, seed, lambda clip_id: all(is_done(d, clip_id) for d in datasets))
    if not chosen and request.against:
        raise JobError(
            f"{request.out} and {request.against} have no clip in common: give two extractions of the same "
            "FRAMES"
        )
    if not chosen:
        raise JobError(f"{request.out}: every clip failed: see `landmarks failures`")
    return chosen


def draw_samples(
    request: Request,
    clips: Sequence[str],
    seed: int = 0,
    individual: bool = True,
    combined: bool = True,
    as_grid: bool = True,
) -> list[Drawn]:
    """Draws one frame of each of some clips, chosen by chance among those with somebody in them.

    Args:
        request: How.
        clips: Which clips; see :func:`sample_clips`.
        seed: The same one gives the same frames.
        individual: Whether each part that was found is drawn close up.
        combined: Whether the frame is drawn with all parts.
        as_grid: Whether all of them are drawn in one picture as well.

    Raises:
        JobError: As :func:`draw_frames`; or if no kind of picture is left.
    """
    if not (individual or combined or as_grid):
        raise JobError("with --no-individual, --no-combined and --no-grid nothing is left to draw")
    size = request.image_size_px or SAMPLE_SIDE_PX
    made, tiles, positions = [], [], []
    for number, clip_id in enumerate(clips):
        clip = _Pictures(request, clip_id)
        random = np.random.default_rng([seed, number])
        position = clip.frames.choose(lambda counts, random=random: _any_found(counts, random))  # type: ignore[misc]
        (one,) = clip.at([position], size)
        stem = f"{request.stem(clip_id)}-{position:06d}"
        if combined:
            write_png(f"{stem}.png", one.picture)
            made.append(Drawn(f"{stem}.png", "frame", (clip_id,), (position,), one.mean_px()))
        for part in COLOURS_RGB if individual else ():
            picture = close_up(one.shown.image, one.shown.landmarks, part, size)
            if picture is not None:
                write_png(f"{stem}-{part}.png", picture)
                made.append(Drawn(f"{stem}-{part}.png", "part", (clip_id,), (position,)))
        tiles.append(resized(one.picture, size) if as_grid else black(1, 1))
        positions.append(position)
    if as_grid:
        path = os.path.join(request.to, "grid.png")
        write_png(path, grid(tiles))
        made.append(Drawn(path, "grid", tuple(clips), tuple(positions)))
    return made


def _any_found(counts: NDArray[np.int64], random: np.random.Generator) -> int:
    """Any position with something in it; any at all that could be read where there is none."""
    found = np.flatnonzero(counts > 0) if (counts > 0).any() else np.flatnonzero(counts == 0)
    return int(random.choice(found)) if len(found) else int(random.integers(len(counts)))


@dataclass(frozen=True, slots=True)
class _One:
    """One frame, drawn."""

    shown: Shown
    picture: Image
    difference: Difference | None = None

    def mean_px(self) -> dict[str, float]:
        return dict(self.difference.mean_px) if self.difference else {}


class _Pictures:
    """The pictures of one clip, alone or beside those of another extraction of it."""

    def __init__(self, request: Request, clip_id: str) -> None:
        if request.image_size_px is not None and not 16 <= request.image_size_px <= 8192:
            raise JobError(f"--image-size must be from 16 to 8192 px, found {request.image_size_px}")
        self.frames = ClipFrames(Dataset.open(request.out), clip_id, request.background)
        self._other: ClipFrames | None = None
        if request.against:
            other = Dataset.open(request.against)
            self._other = ClipFrames(other, clip_id, Background(black=True))
            self._name = os.path.basename(other.store.location.rstrip("/"))

    def at(self, positions: list[int], size_px: int | None) -> Iterator[_One]:
        self.frames.check(positions)
        return self._drawn(iter(self.frames.at(positions)), set(positions), size_px)

    def shown(self, wanted: set[int] | None, size_px: int | None) -> Iterator[_One]:
        return self._drawn(self.frames.shown(wanted), wanted, size_px)

    def _drawn(self, frames: Iterator[Shown], wanted: set[int] | None, size_px: int | None) -> Iterator[_One]:
        others = iter(self._other.shown(wanted)) if self._other else None
        for shown in frames:
            if others is None:
                yield _One(shown, shown.drawn(size_px))
                continue
            other = next(others, None)
            if other is not None and other.name != shown.name:
                raise JobError(
                    f"{shown.clip_id!r}: frame {shown.position} is {shown.name!r} in one data set and "
                    f"{other.name!r} in the other: give two extractions of the same frames"
                )
            yield self._compared(shown, other.landmarks if other else FrameLandmarks({}), size_px)

    def _compared(self, shown: Shown, other: FrameLandmarks, size_px: int | None) -> _One:
        apart = difference(shown.landmarks, other, shown.size_px)
        first = shown.drawn(size_px)
        enlarged: Any = shown.enlarged(max(first.shape[:2]))
        beside = Shown(shown.clip_id, shown.position, shown.name, enlarged.image, other)
        pictures = [
            first,
            beside.drawn(max(first.shape[:2]), self._name),
            draw_difference(enlarged.image, shown.landmarks, other, f"mean px  {apart.in_words()}"),
        ]
        return _One(shown, side_by_side(pictures), apart)


def file_name(clip_id: str) -> str:
    """A clip id as one harmless file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in clip_id)[:150]
