"""What a data set adapter is: a few declarations, and a function from files of annotations to annotations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from extraction.sources.datasets.annotation import Annotation


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """A file of annotations, and how to recognise it.

    Attributes:
        key: What the adapter calls it; often a split.
        pattern: Regular expression for its whole name.
        shown: Its name, for people.
        begins: Regular expression that its first line matches from its beginning; "" for any.
        is_enough: Whether this file alone makes the data set recognisable.
    """

    key: str
    pattern: str
    shown: str
    begins: str = ""
    is_enough: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    """What a split should hold.

    Attributes:
        clips: Annotated clips; None where nobody has said so.
        frames: Frames of all of them; None likewise.
    """

    clips: int | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set as people have it on disk.

    Attributes:
        name: Its name on the command line.
        title: Its full name, and its language.
        lies: How it lies on disk, one line each.
        licence: Under what terms it is given, and where they stand.
        home: Its page.
        files: Files of annotations.
        read: Turns the files that were found, by key, into annotations.
        media: Regular expressions for the name of the folder that holds frames or videos, the best first;
            empty where that is ROOT itself.
        inner: Names of folders that lie inside the data set, should ROOT be one of them.
        ignores: Regular expression for ids of inputs that are not clips; "" for none.
        expected: Split to what it should hold.
        counts_from: Where these numbers stand.
        known_bad: Clip id to what is wrong with it in every copy.
        fps: Frames per second of its folders of frames; None where the job's default or the video says it.
        takes_all: Whether inputs without an annotation are clips as any other.
    """

    name: str
    title: str
    lies: tuple[str, ...]
    licence: str
    home: str
    files: tuple[AnnotationFile, ...]
    read: Callable[[Mapping[str, str]], Iterator[Annotation]]
    media: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    ignores: str = ""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    counts_from: str = ""
    known_bad: Mapping[str, str] = field(default_factory=dict)
    fps: float | None = None
    takes_all: bool = False

    @property
    def lying(self) -> str:
        """How it lies on disk, as a part of a sentence."""
        return "; ".join(self.lies).replace(" or; ", " or ")


def per_split(pattern: str, shown: str, begins: str, splits: Mapping[str, str]) -> tuple[AnnotationFile, ...]:
    """One file of annotations for each split.

    Args:
        pattern: With ``{split}`` where the split's name stands.
        shown: Likewise.
        begins: See :class:`AnnotationFile`.
        splits: Split to a regular expression for its name in the file's.
    """
    return tuple(
        AnnotationFile(split, pattern.replace("{split}", name), shown.replace("{split}", split), begins)
        for split, name in splits.items()
    )
