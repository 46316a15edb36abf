"""What a data set says of one clip, and where that clip's frames may lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HoleKind = Literal[
    "missing", "unannotated", "known-bad", "annotated-twice", "found-twice", "length", "no-split", "no-label"
]

HOLE_KINDS: dict[HoleKind, str] = {
    "missing": "annotated, but no frames or video of it are on the disk: not extracted",
    "unannotated": "on the disk, but not annotated: not extracted unless asked for",
    "known-bad": "known to be bad in every copy of the data set: extracted, to be left out of training",
    "annotated-twice": "annotated more than once: the first holds",
    "found-twice": "lies on the disk more than once: the first in natural order is taken",
    "length": "has another number of frames than its annotation says: extracted as it is",
    "no-split": "annotated, but in no split: extracted, without one",
    "no-label": "in the list of a split, but without annotation: extracted, without one",
}
"""What each kind of hole means, and what is done about it."""
HOLES_ON_DISK: tuple[HoleKind, ...] = ("missing", "unannotated", "found-twice", "length")
"""Those that are seen only by looking for the frames."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Something about one clip that is not as it should be.

    Attributes:
        kind: One of :data:`HOLE_KINDS`.
        clip_id: Whose.
        detail: What else to know: a path, two numbers; "" where the kind says it all.
    """

    kind: HoleKind
    clip_id: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a clip's frames may lie, and which part of it the clip is.

    Attributes:
        tail: The end of the path of a folder of frames, or of a video without its extension: one name, or
            several with slashes between.
        start_frame: See :class:`extraction.clips.Clip`.
        end_frame: Likewise.
        start_ms: Likewise.
        end_ms: Likewise.
        may_be_cut: The file may hold the part alone: the range is applied only where the file is long enough
            to be the whole.
    """

    tail: str
    start_frame: int | None = None
    end_frame: int | None = None
    start_ms: float | None = None
    end_ms: float | None = None
    may_be_cut: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotated clip.

    Attributes:
        clip_id: Its name in the data set of landmarks.
        sources: Where its frames may lie, the likeliest first.
        split: ``"train"``, ``"dev"``, ``"val"``, ``"test"`` or None, as the data set calls it.
        signer: Who signs.
        gloss: Glosses, separated by spaces.
        text: Translation.
        label: Class of an isolated sign.
        num_frames: Frames that it should have; None where that is not said.
        where: File and line, for messages.
        holes: What is wrong with the annotation itself.
    """

    clip_id: str
    sources: tuple[Source, ...]
    split: str | None = None
    signer: str | None = None
    gloss: str | None = None
    text: str | None = None
    label: str | None = None
    num_frames: int | None = None
    where: str = ""
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """What the annotations of a data set say, beside what lies on the disk.

    Attributes:
        name: Of the data set.
        why: What tells that it is this one.
        annotations: Every annotated clip, once.
        uris: Clip id to where it lies, of all annotated clips that are on the disk.
        holes: What is not as it should be.
        absent: Names of files of annotations that were not found.
        left_out: Number of inputs on the disk that are not annotated and not extracted.
    """

    name: str
    why: str
    annotations: tuple[Annotation, ...]
    uris: Mapping[str, str]
    holes: tuple[Hole, ...]
    absent: tuple[str, ...]
    left_out: int


def cell(cells: Mapping[str, str], name: str) -> str | None:
    """A cell exactly as it stands; None where it is empty or there is no such column."""
    return cells.get(name) or None
