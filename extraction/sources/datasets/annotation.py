"""What a data set says of one clip, and where that clip's frames may lie."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from extraction.clips import ANNOTATIONS
from extraction.errors import JobError

_SPLIT = re.compile(r"[A-Za-z0-9_.-]+")

HoleKind = Literal[
    "missing",
    "unannotated",
    "known-bad",
    "annotated-twice",
    "found-twice",
    "length",
    "no-range",
    "no-split",
    "no-label",
]

HOLE_KINDS: dict[HoleKind, str] = {
    "missing": "annotated, but no frames or video of it are on the disk: not extracted",
    "unannotated": "on the disk, but not annotated: not extracted unless asked for",
    "known-bad": "known to be bad in every copy of the data set: extracted, to be left out of training",
    "annotated-twice": "annotated more than once: the first holds",
    "found-twice": "lies on the disk more than once: the nearest to the top is taken, then the first by name",
    "length": "has another number of frames than its annotation says: extracted as it is",
    "no-range": "annotated as a range that is none: a file of its own is extracted whole, an uncut one not",
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

    @property
    def span(self) -> tuple[int | None, int | None, float | None, float | None]:
        """As :attr:`extraction.clips.Clip.span`."""
        return (self.start_frame, self.end_frame, self.start_ms, self.end_ms)

    @property
    def is_part(self) -> bool:
        """Whether it is a range of the file, not all of it."""
        return self.span != (None, None, None, None)


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


def expect_split(split: str | None, where: str) -> None:
    """Makes sure that a split can name a folder.

    Raises:
        JobError: If it cannot, saying where it stands.
    """
    if split is not None and not _SPLIT.fullmatch(split):
        raise JobError(f"{where}: split may hold A-Z a-z 0-9 _ . - only, found {split!r}")


def expect_text(annotation: Annotation) -> None:
    """Makes sure that all texts are Unicode: JSON, for one, can hold halves of characters.

    Raises:
        JobError: If one is not, saying where it stands.
    """
    for name in ("clip_id", *ANNOTATIONS):
        text = getattr(annotation, name)
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:
            raise JobError(f"{annotation.where}: {name} is not valid Unicode: {text!r}") from error


def cell(cells: Mapping[str, str], name: str) -> str | None:
    """A cell exactly as it stands; None where it is empty or there is no such column."""
    return cells.get(name) or None
