"""What a format is, and what a writer of one gets: the contract between the formats and what drives them.

A format is a :class:`Format` in a module of its own. Its writer turns clips into the bytes of one file; which
clips share a file is said by ``file_of``. Everything else (which clips, whole or absent, checksums, the
manifest, going on where a run stopped) is done once for all formats in :mod:`storage.exports.writing`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from extraction.landmarks import ClipLandmarks
from storage.shards import NO_SPLIT
from storage.stored import StoredClip

TENSORS = ("auto", "torch", "numpy")
"""Where a consumer reads torch tensors: as torch is here or not; torch or an error; NumPy arrays."""
PART_BY_PART = "part by part"
"""Layout of a format that has the data set's own parts."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user may ask of an export.

    Attributes:
        splits: Only these; all where empty.
        drop_empty_frames: Leave out the frames in which nothing was found; only where a format accepts it.
        parts: Only these, in this order; only where a format accepts it, its own choice where empty.
        tensors: One of :data:`TENSORS`; only where a format uses tensors.
    """

    splits: tuple[str, ...] = ()
    drop_empty_frames: bool = False
    parts: tuple[str, ...] = ()
    tensors: str = "auto"


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip that will be exported, known before its landmarks are read.

    Attributes:
        clip_id: Its id.
        split: None where it belongs to none.
        num_frames: Frame positions in all its rows.
        signer: "" where unknown.
        gloss: "" where unknown.
        text: "" where unknown.
        label: Class of an isolated sign; "" where unknown.
        digest: Of all that tells this extraction of the clip from another.
    """

    clip_id: str
    split: str | None
    num_frames: int
    signer: str
    gloss: str
    text: str
    label: str
    digest: str

    @property
    def split_name(self) -> str:
        """Its split; ``"none"`` where it belongs to none."""
        return self.split or NO_SPLIT


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of isolated signs, numbered alike in each export of a data set.

    Attributes:
        numbers: Label, or gloss in a data set without labels, to number.
        names: Name by number; "" for a number that no clip has.
    """

    numbers: Mapping[str, int]
    names: Sequence[str]

    def number_of(self, clip: ClipEntry | StoredClip) -> int:
        """A clip's number; -1 where it has no class."""
        label, gloss = (
            (clip.text_of("label"), clip.text_of("gloss"))
            if isinstance(clip, StoredClip)
            else (clip.label, clip.gloss)
        )
        return self.numbers.get(label, self.numbers.get(gloss, -1))

    def name_of(self, clip: ClipEntry | StoredClip) -> str:
        """The name of a clip's class; "" where it has none."""
        number = self.number_of(clip)
        return self.names[number] if number >= 0 else ""


@dataclass(frozen=True, slots=True)
class ExportRun:
    """What a writer may ask about the run it is part of.

    Attributes:
        options: What the user asked for.
        entries: The clips of this file, in the order in which they come.
        all_entries: The clips of the whole export.
        classes: Of the whole data set, whatever the split.
        config: The data set's ``dataset.json``.
        parts: Part name to its number of points, in the data set; of those chosen.
        with_torch: Whether tensors are torch's; NumPy arrays otherwise.
        file_name: Of the file that is written; its ending may ask for compression.
    """

    options: ExportOptions
    entries: Sequence[ClipEntry]
    all_entries: Sequence[ClipEntry]
    classes: Classes
    config: Mapping[str, object]
    parts: Mapping[str, int]
    with_torch: bool = False
    file_name: str = ""


class Writer(Protocol):
    """Writes one file."""

    def __call__(self, file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun, /) -> None:
        """Writes the clips of one file as they come, keeping no more of them than the format asks.

        Args:
            file: Open for writing; it can be told from but not sought in.
            clips: In the order of ``run.entries``; each may be looked at once.
            run: What is known beforehand.
        """


@dataclass(frozen=True, slots=True)
class Format:
    """A format; the texts stand in the manifest and in the list of formats.

    Attributes:
        name: As ``--format`` has it.
        consumer: Whose code reads it.
        structure: What lies in a file, in one line.
        layout: Which points in which order.
        units: Of coordinates and scores.
        missing: What stands where a part was not found, and where a frame could not be read.
        differs: What is not as in files the consumer's authors made; "" where nothing is.
        parts: Parts that the data set must have.
        file_of: Which file a clip goes to, by its entry and its position among the clips of its split. In a
            folder: the file's name in it. Otherwise what is put behind PATH: ``""``, ``".train"``. Clips of
            one file must come in a row, split after split.
        write: Writes one file.
        is_folder: Whether PATH is a folder of files.
        is_file_a_clip: Whether each file has one clip.
        ending: What PATH must end in for its consumers; "" where they do not mind.
        package: Name of an optional package to import that it needs; "" for none.
        uses_tensors: Whether torch's tensors stand in it where torch is there.
        uses_classes: Whether numbers of classes stand in it: files of other classes do not go with it.
        accepts_drop: Whether ``--drop-empty-frames`` means anything to its consumers.
        accepts_parts: Whether ``--parts`` may choose other parts than ``parts``; ``()`` there means all.
        index: Names and bytes of small files beside, made from ``all_entries``; only in a folder.
    """

    name: str
    consumer: str
    structure: str
    layout: str
    units: str
    missing: str
    parts: tuple[str, ...]
    file_of: Callable[[ClipEntry, int], str]
    write: Writer
    differs: str = ""
    is_folder: bool = False
    is_file_a_clip: bool = False
    ending: str = ""
    package: str = ""
    uses_tensors: bool = False
    uses_classes: bool = False
    accepts_drop: bool = False
    accepts_parts: bool = False
    index: Callable[[ExportRun], Iterable[tuple[str, bytes]]] = lambda _: ()


def one_file(_entry: ClipEntry, _position: int) -> str:
    """``file_of`` where all clips go to PATH itself."""
    return ""


def file_a_split(entry: ClipEntry, _position: int) -> str:
    """``file_of`` where each split has its file ``PATH.<split>``."""
    return f".{entry.split_name}"


def base_name(entry: ClipEntry | StoredClip) -> str:
    """The clip's id without its split in front: what most annotation files call the clip."""
    return entry.clip_id.removeprefix(f"{entry.split}/") if entry.split else entry.clip_id


def split_and_name(entry: ClipEntry | StoredClip) -> str:
    """``split/name``, as annotation files of PHOENIX have it; the id alone where there is no split."""
    return f"{entry.split}/{base_name(entry)}" if entry.split else entry.clip_id


def without_empty_frames(clip: StoredClip) -> StoredClip:
    """The same clip without the frames in which none of its landmarks was found.

    Positions, and with them ``first_frame``, then say nothing any more about time; timestamps still do.
    """
    landmarks = clip.landmarks
    found = np.zeros(len(landmarks), np.bool_)
    for part in landmarks.parts:
        found |= landmarks.present(part)
    return clip if found.all() else replace(clip, landmarks=_selected(landmarks, found))


def _selected(landmarks: ClipLandmarks, keep: NDArray[np.bool_]) -> ClipLandmarks:
    where = np.flatnonzero(keep).tolist()
    masks = landmarks.masks_png
    return replace(
        landmarks,
        timestamps_ms=landmarks.timestamps_ms[keep],
        frame_names=tuple(landmarks.frame_names[i] for i in where),
        frame_status=landmarks.frame_status[keep],
        frame_errors=tuple(landmarks.frame_errors[i] for i in where),
        frame_sizes_px=landmarks.frame_sizes_px[keep],
        parts={part: points[keep] for part, points in landmarks.parts.items()},
        pose_visibility=landmarks.pose_visibility[keep],
        masks_png=None if masks is None else tuple(masks[i] for i in where),
    )
