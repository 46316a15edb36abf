"""Finding a data set on the disk: its files of annotations, and the folder of its frames or videos."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from extraction.clips import printable
from extraction.errors import JobError
from extraction.sources.datasets.layout import AnnotationFile, Layout
from extraction.sources.datasets.survey import Survey, files_in, survey
from extraction.sources.tables import first_line

_MAX_UP = 4
"""From ``features/fullFrame-210x260px`` to what its annotations lie beside, and some."""


@dataclass(frozen=True, slots=True)
class Located:
    """A data set that was found.

    Attributes:
        layout: Which one.
        files: Key of an annotation file to its path.
        media: The folder that holds its frames or videos; None where there is none.
        absent: Names of the files of annotations that were not found.
    """

    layout: Layout
    files: Mapping[str, str]
    media: str | None
    absent: tuple[str, ...]

    @property
    def why(self) -> str:
        """What tells that it is this data set, in words."""
        paths = list(self.files.values())
        parts = []
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            parts.append(f"{os.path.basename(paths[0])}{more} in {printable(os.path.dirname(paths[0]))}")
        if self.media:
            parts.append(f"clips below {printable(self.media)}")
        return f"{self.layout.name}: {', '.join(parts)}"


def locate(layout: Layout, root: str | None, annotations: str | None = None) -> Located:
    """Finds a data set in the folder that was unpacked, in one above it, or in one inside of it.

    Args:
        layout: Which one.
        root: The folder; None where only annotations are wanted.
        annotations: Where its annotations lie, if not there: a folder or a file.

    Raises:
        JobError: If it is not there, or there twice, naming what was looked for.
    """
    found = try_to_locate(layout, root, annotations)
    if found is None:
        raise JobError(_not_there(layout, root, annotations))
    return found


def try_to_locate(layout: Layout, root: str | None, annotations: str | None = None) -> Located | None:
    """As :func:`locate`, but None where the data set is not there."""
    _expect_there(root)
    _expect_there(annotations)
    if layout.takes_all:
        return _located_generic(layout, root, annotations)
    if annotations is not None:
        files = _files(layout, survey(annotations))
        media = None if root is None else _media(layout, survey(root), None)
        return _located(layout, files, media) if _are_enough(layout, files) else None
    without_clips = None
    for folder in _candidates(layout, root or ""):
        seen = survey(folder)
        files = _files(layout, seen)
        if _are_enough(layout, files):
            found = _located(layout, files, _media_of(layout, root or "", seen, files))
            if found.media is not None:
                return found
            without_clips = without_clips or found
    return without_clips


def _expect_there(folder: str | None) -> None:
    if folder is None or os.path.exists(folder):
        return
    if "://" in folder:
        scheme = folder.partition("://")[0]
        raise JobError(
            "a data set that is known by name, and its annotations, lie on this machine's disks: found a "
            f"URI ({scheme}://...): mount what it names, or name its clips with --manifest"
        )
    raise JobError(f"expected a folder at {printable(folder)!r}, found nothing there: check the path")


def _located(layout: Layout, files: Mapping[str, str], media: str | None) -> Located:
    absent = tuple(file.shown for file in layout.files if file.key not in files)
    return Located(layout, files, media, absent)


def _are_enough(layout: Layout, files: Mapping[str, str]) -> bool:
    return any(file.is_enough and file.key in files for file in layout.files)


def _media_of(layout: Layout, root: str, seen: Survey, files: Mapping[str, str]) -> str | None:
    """The folder of clips: ROOT where its name says so, otherwise one that lies near the annotations."""
    if any(re.fullmatch(pattern, os.path.basename(os.path.abspath(root))) for pattern in layout.media):
        return os.path.abspath(root)
    return _media(layout, seen, next(iter(files.values())))


def _located_generic(layout: Layout, root: str | None, annotations: str | None) -> Located:
    if annotations is not None and not os.path.isfile(annotations):
        raise JobError(
            f"--dataset {layout.name}: expected --annotations to name a CSV or TSV file with the column "
            f"clip_id, found {printable(annotations)!r}"
        )
    files = {"table": os.path.abspath(annotations)} if annotations else {}
    return Located(layout, files, os.path.abspath(root) if root is not None else None, ())


def _candidates(layout: Layout, folder: str) -> list[str]:
    """The folder, and those above it as long as it is one that lies inside the data set."""
    path = os.path.abspath(folder)
    found = [path]
    while len(found) <= _MAX_UP and _is_inner(layout, os.path.basename(path)):
        path = os.path.dirname(path)
        found.append(path)
    return found


def _is_inner(layout: Layout, name: str) -> bool:
    return name in layout.inner or any(re.fullmatch(pattern, name) for pattern in layout.media)


def _files(layout: Layout, seen: Survey) -> dict[str, str]:
    """Key to path of each file of annotations that is there.

    Raises:
        JobError: If one is there twice and the two differ.
    """
    found: dict[str, str] = {}
    for file in layout.files:
        paths = [path for path in seen.files if _is(file, path)]
        if len(paths) > 1 and len({_content(path) for path in paths}) > 1:
            shown = ", ".join(printable(path) for path in paths)
            raise JobError(
                f"{layout.name}: expected one {file.shown} below {printable(seen.root)}, found several that "
                f"differ: {shown}: give the folder of one of them, or name it with --annotations"
            )
        if paths:
            found[file.key] = paths[0]
    if _are_enough(layout, found):
        _expect_no_misfit(layout, seen, found)
    return found


def _expect_no_misfit(layout: Layout, seen: Survey, found: Mapping[str, str]) -> None:
    """Makes sure that no file of annotations is passed over for its content: a split would be gone unseen.

    Raises:
        JobError: If a file beside the others has the right name only.
    """
    beside = {os.path.dirname(path) for path in found.values()}
    for file in layout.files:
        for path in seen.files if file.key not in found else ():
            if os.path.dirname(path) in beside and _has_name(file, path):
                raise JobError(
                    f"{layout.name}: {printable(path)} has the name of {file.shown} but does not begin as "
                    f"that does, it begins {first_line(path)[:60]!r}: mend it, or take it out of this folder"
                )


def _is(file: AnnotationFile, path: str) -> bool:
    if not _has_name(file, path):
        return False
    return not file.begins or re.match(file.begins, first_line(path)) is not None


def _has_name(file: AnnotationFile, path: str) -> bool:
    return re.fullmatch(file.pattern, os.path.basename(path)) is not None


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _media(layout: Layout, seen: Survey, near: str | None) -> str | None:
    """The folder of frames or videos: of several, the one nearest to the annotations.

    Raises:
        JobError: If two are equally near.
    """
    if not layout.media:
        return seen.root
    for pattern in layout.media:
        found = [path for path in seen.folders if re.fullmatch(pattern, os.path.basename(path))]
        # A folder inside another of its kind is the one that holds the clips.
        inner = [path for path in found if not any(other.startswith(path + os.sep) for other in found)]
        if len(inner) > 1 and near is not None:
            shared = {path: len(os.path.commonpath([path, near])) for path in inner}
            inner = [path for path in inner if shared[path] == max(shared.values())]
        if len(inner) > 1:
            raise JobError(
                f"{layout.name}: expected one folder of clips below {printable(seen.root)}, found several: "
                f"{', '.join(map(printable, inner))}: give the folder of one of them"
            )
        if inner:
            return inner[0]
    return None


def _not_there(layout: Layout, root: str | None, annotations: str | None) -> str:
    names = [file.shown for file in layout.files if file.is_enough]
    where = printable(annotations or root or "")
    return (
        f"--dataset {layout.name}: expected {_or(names)} in {where!r} or below it, found none. It lies like "
        f"this: {layout.lying}. {found_above((layout,), root, annotations)}Give the folder that was "
        "unpacked, or name the folder of the annotations with --annotations; without annotations, use "
        "--dataset frames or --dataset videos"
    )


def found_above(layouts: Iterable[Layout], root: str | None, annotations: str | None) -> str:
    """A sentence that names a folder above, where that is a data set; "" where none is.

    Args:
        layouts: Of the data sets to look for.
        root: The folder in which none was found.
        annotations: As for :func:`locate`: where they are named, nobody looks above.
    """
    if root is None or annotations is not None:
        return ""
    named = tuple(layouts)
    folder = os.path.abspath(root)
    for _ in range(_MAX_UP):
        folder = os.path.dirname(folder)
        for path in files_in(folder):
            for layout in named:
                if any(file.is_enough and _is(file, path) for file in layout.files):
                    shown = f"{printable(folder)} holds {os.path.basename(path)} of {layout.name}"
                    return f"{shown}: is it the folder that is meant? "
    return ""


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
