"""A clip's frames with what was found in each, one after another: what all pictures are drawn from."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.clips import RANGE, Clip, from_uri, printable
from extraction.draw import Image, draw, frame_landmarks, read_classes
from extraction.drawn_sheet import black, resized
from extraction.errors import ClipError, JobError
from extraction.frames import Frame, FrameOptions, open_frames
from extraction.landmarks import ClipLandmarks, FrameLandmarks, FrameStatus
from extraction.sources import ClipFinder
from extraction.sources.frame_folder import fingerprint_of_part
from ray_jobs.staging import staged
from storage.dataset import Dataset
from storage.pieces import ClipPieces, find_pieces
from storage.stores import Stores, is_remote, location_of, uri_of

_NO_SIZE_PX = (480, 480)
"""Of a black frame in a row where no frame could be read."""


@dataclass(frozen=True, slots=True)
class Background:
    """What landmarks are drawn over.

    Attributes:
        black: Nothing: the input is not needed.
        frames: The folder of clips, of a data set known by name the one that was unpacked, or its URI; None
            where the input lies where it was read.
        annotations: Where the annotations lie by which clips are found in it, if not there.
    """

    black: bool = False
    frames: str | None = None
    annotations: str | None = None
    _finders: dict[str, ClipFinder] = field(default_factory=dict, repr=False, compare=False)

    def find(self, dataset: Dataset, clip: Clip) -> Clip:
        """The clip of some rows where it lies in ``frames``; what a folder is asked is kept for the next one.

        Args:
            dataset: Whose rows.
            clip: As they describe it.

        Raises:
            JobError: If it is not there, or nobody can say which part of what is there it is.
        """
        assert self.frames is not None
        if is_remote(self.frames):
            return replace(clip, uri=_moved(clip.uri, dataset.config().get("source"), self.frames))
        finder = self._finders.get(dataset.store.location)
        if finder is None:
            finder = self._finders[dataset.store.location] = self._finder(dataset)
        found = finder.find(clip.clip_id)
        # Annotations know whether this copy of a file is the whole or the part alone; rows, what it was then.
        ranges = found if finder.is_annotated(clip.clip_id) else clip
        if (why := finder.unspoken(clip.clip_id)) and not _is_the_same(found, clip):
            raise JobError(_cannot_say(found, clip, why))
        values: dict[str, Any] = {name: getattr(ranges, name) for name in RANGE}
        return replace(clip, uri=found.uri, kind=found.kind, **values)

    def _finder(self, dataset: Dataset) -> ClipFinder:
        config: Any = dataset.config()
        name, annotations = config["options"].get("dataset"), self.annotations
        if not name and annotations is not None:
            raise JobError(
                f"--annotations: {dataset.store.location} was not made with --dataset NAME, so its clips are "
                "found by their paths: give --frames FRAMES alone"
            )
        kept = config.get("annotations")
        if annotations is None and isinstance(kept, str) and os.path.exists(kept):
            annotations = kept
        return ClipFinder(self.frames or "", name or None, annotations)


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame of a clip, ready to be drawn.

    Attributes:
        clip_id: Of the clip.
        position: In the clip.
        name: Of the frame.
        image: uint8 (H, W, 3), RGB; black where the frame is not to be seen.
        landmarks: What was found in it.
        classes: uint8 (H, W) of its mask; None without one.
        error: Why it is unreadable; None otherwise.
    """

    clip_id: str
    position: int
    name: str
    image: Image
    landmarks: FrameLandmarks
    classes: Image | None = None
    error: str | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the frame."""
        return self.image.shape[1], self.image.shape[0]

    def caption(self) -> str:
        """Which frame it is, and what is wrong with it."""
        return f"{self.clip_id}  frame {self.position}" + (": unreadable" if self.error else "")

    def enlarged(self, longer_side_px: int | None) -> "Shown":
        """The same in another size; as it is where None."""
        if longer_side_px is None:
            return self
        image = resized(self.image, longer_side_px)
        rows = np.arange(image.shape[0]) * self.image.shape[0] // image.shape[0]
        columns = np.arange(image.shape[1]) * self.image.shape[1] // image.shape[1]
        classes = None if self.classes is None else self.classes[rows][:, columns]
        return replace(self, image=image, classes=classes)

    def drawn(self, longer_side_px: int | None, caption: str | None = None) -> Image:
        """The picture of it: of the size asked for, by default large enough to see.

        Args:
            longer_side_px: Of the picture.
            caption: Instead of its own.
        """
        shown = self.enlarged(longer_side_px)
        least = 480 if longer_side_px is None else 0
        words = self.caption() if caption is None else caption
        return draw(
            shown.image, shown.landmarks, classes=shown.classes, min_side_px=least, caption=words or None
        )


class ClipFrames:
    """The frames of one clip.

    Args:
        dataset: Whose.
        clip_id: Which clip.
        background: What is drawn over.

    Raises:
        JobError: If the clip is not there.
    """

    def __init__(self, dataset: Dataset, clip_id: str, background: Background) -> None:
        self._pieces: ClipPieces = find_pieces(dataset, clip_id)
        self._background, self._dataset = background, dataset
        options: Any = dataset.config()["options"]
        usual = FrameOptions()
        # As they were read; at which rate a folder plays decides what a range of milliseconds holds.
        self._frame_options = FrameOptions(
            max_pixels=int(options.get("max_pixels", usual.max_pixels)),
            default_fps=float(options.get("fps", usual.default_fps)),
        )
        self._mask = str(options.get("mask", "category"))
        self.clip_id = clip_id

    def __len__(self) -> int:
        return self._pieces.num_frames

    def fps(self) -> float:
        """Frames per second."""
        return next(iter(self._pieces)).fps

    def choose(self, how_much: Callable[[NDArray[np.int64]], int]) -> int:
        """Chooses a position by how much was found.

        Args:
            how_much: Gets int64 (T,), how many parts were found in each frame (of masks alone, how many
                pixels of foreground), and says which.
        """
        return how_much(np.concatenate([_counts(piece, self._mask) for piece in self._pieces]))

    def check(self, positions: list[int]) -> None:
        """Makes sure that frames are there.

        Raises:
            JobError: Naming the first that is not.
        """
        if wrong := [position for position in positions if not 0 <= position < len(self)]:
            raise JobError(f"{self.clip_id!r}: it has frames 0 to {len(self) - 1}, found --frame {wrong[0]}")

    def at(self, positions: list[int]) -> list[Shown]:
        """Some frames, in order; an unreadable one is an error, as it shows nothing.

        Raises:
            JobError: If a frame is not to be had, or is not the one that was extracted.
        """
        self.check(positions)
        shown = list(self.shown(set(positions)))
        for frame in shown:
            if frame.error and not self._background.black:
                raise JobError(f"{self.clip_id!r}: frame {frame.position} cannot be read: {frame.error}")
        return shown

    def shown(self, wanted: set[int] | None = None) -> Iterator[Shown]:
        """Frames one after another; memory holds one image and the landmarks of some rows.

        Args:
            wanted: Positions; all where None.

        Raises:
            JobError: If a frame is not to be had, or is not the one that was extracted.
        """
        with closing(self._images(wanted)) as images:
            size = _NO_SIZE_PX
            for piece in self._pieces:
                first = piece.first_frame
                readable = piece.frame_sizes_px[piece.frame_sizes_px[:, 0] > 0]
                size = tuple(readable[0].tolist()) if len(readable) else size
                for row in range(len(piece)):
                    if wanted is not None and first + row not in wanted:
                        continue
                    own = tuple(piece.frame_sizes_px[row].tolist())
                    yield self._one(piece, row, own if own[0] else size, images)
                if wanted is not None and first + len(piece) > max(wanted, default=-1):
                    return

    def _one(self, piece: ClipLandmarks, row: int, size: tuple[int, int], images: Iterator[Frame]) -> Shown:
        position, name, image = piece.first_frame + row, piece.frame_names[row], black(*size)
        error = piece.frame_errors[row] or ("unreadable" if piece.frame_status[row] == 2 else None)
        if not self._background.black:
            frame = next(images, None)
            if frame is None or frame.index != position:
                raise JobError(
                    f"{self.clip_id!r}: frame {position} is no longer in {self._where()}: "
                    "give --frames FRAMES, or --on black"
                )
            if frame.name != name:
                raise JobError(
                    f"{self.clip_id!r}: frame {position} was {name!r} when it was extracted, now it is "
                    f"{frame.name!r} in {self._where()}: give the frames that were extracted, or --on black"
                )
            image, error = (image, frame.error) if frame.image is None else (frame.image, None)
        found = frame_landmarks(piece, row)
        classes = read_classes(found.mask_png, self._mask) if found.mask_png is not None else None
        if classes is not None and classes.shape != image.shape[:2]:
            classes = None
        return Shown(self.clip_id, position, name, image, found, classes, error)

    def _images(self, wanted: set[int] | None) -> Generator[Frame, None, None]:
        """The wanted frames; the others are decoded and let go."""
        if self._background.black:
            return
        clip = replace(self._pieces.clip, uri=self._pieces.uri)
        if self._background.frames is not None:
            clip = self._background.find(self._dataset, clip)
        stores = Stores(self._background.frames or "")
        try:
            with staged([clip], stores, max_bytes=0) as inputs, inputs.here(clip) as here:
                for frame in open_frames(here, self._frame_options).frames:
                    if wanted is None or frame.index in wanted:
                        yield frame
        except ClipError as error:
            raise JobError(
                f"{error}; if the frames lie elsewhere now, say where with --frames FRAMES, "
                "or draw without them: --on black"
            ) from error

    def _where(self) -> str:
        place = self._background.frames or self._pieces.uri
        return location_of(place) if is_remote(place) else printable(from_uri(place))


def _is_the_same(found: Clip, clip: Clip) -> bool:
    """Whether a file, or a folder, is the input of a clip, as far as that can be told without annotations."""
    if clip.fingerprint and fingerprint_of_part(found.fingerprint, clip) == clip.fingerprint:
        return True
    is_unknown = "video" in (found.kind, clip.kind) and 0 in (found.num_frames, clip.num_frames)
    return not clip.is_part and (is_unknown or found.num_frames == clip.num_frames)


def _cannot_say(found: Clip, clip: Clip, why: str) -> str:
    was = "as a part of a longer input" if clip.is_part else f"of an input of {clip.num_frames:,} frames"
    # What else could be done about annotations is no help here.
    return (
        f"{clip.clip_id!r}: it was extracted {was}, and no annotation says which part of "
        f"{printable(found.path)} ({found.num_frames:,} frames) that is: {why.partition('. ')[0]}; say where "
        "the annotations lie with --annotations DIR, or draw without the frames: --on black"
    )


def _moved(uri: str, source: object, frames: str) -> str:
    """Where a clip lies now, if all that was below one place lies on an object store.

    Args:
        uri: Where it lay.
        source: What was FRAMES then; None where the data set does not say.
        frames: What is FRAMES now: a URI, perhaps with how to reach its store.
    """
    if not isinstance(source, str):
        raise JobError(
            f"--frames {location_of(frames)}: the data set does not say of what it was made (source, in "
            "dataset.json), so nobody knows where its clips lie below that: give --frames a folder of this "
            "machine, or draw without: --on black"
        )
    was, root = (location_of(x) if is_remote(x) else from_uri(x) for x in (uri, source))
    if not was.startswith(root.rstrip("/") + "/"):
        raise JobError(
            f"--frames {location_of(frames)}: the data set was made of {root}, but the clip lay in {was}, "
            "which is not below it: give --frames a folder of this machine, or draw without: --on black"
        )
    return uri_of(f"{location_of(frames)}/{was[len(root.rstrip('/')) + 1 :]}")


def _counts(piece: ClipLandmarks, mask: str) -> NDArray[np.int64]:
    """How much was found in each frame, int64 (T,): parts, or pixels of foreground where there are none.

    -1 where the frame could not be read.
    """
    counts = np.zeros(len(piece), np.int64)
    for part in piece.parts:
        counts += piece.present(part)
    masks = piece.masks_png if piece.masks_png is not None and not piece.parts else ()
    for position, png in enumerate(masks):
        counts[position] = 0 if png is None else np.count_nonzero(read_classes(png, mask))
    counts[piece.frame_status == FrameStatus.UNREADABLE] = -1
    return counts
