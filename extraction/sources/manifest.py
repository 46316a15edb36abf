"""Clips named by a table: one row, one clip."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from extraction.clips import ANNOTATIONS, RANGE, Clip, from_uri
from extraction.errors import JobError
from extraction.sources.discovery import (
    DEFAULT_NUM_THREADS,
    Discovery,
    OnProgress,
    PassedOver,
    ProgressMeter,
    in_order,
)
from extraction.sources.frame_folder import media_kind
from extraction.sources.inputs import frames_clip, lone_level, part_of, video_clip
from extraction.sources.parallel import run_tasks
from extraction.sources.places import DISK, Places
from extraction.sources.tables import COMMAS, read_table

REQUIRED_COLUMNS = ("clip_id", "uri")
OPTIONAL_COLUMNS = ("split", *ANNOTATIONS, "fps", *RANGE)

_TEXT_COLUMNS = ("clip_id", "uri", "split", *ANNOTATIONS)
# Linux's longest path; from 4301 digits on Python, and with it natural order, takes no number.
_MAX_CLIP_ID_CHARACTERS = 4096

Row = tuple[int, Mapping[str, object]]

_SPLIT = re.compile(r"[A-Za-z0-9_.-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def read_csv_manifest(path: str, data: bytes | None = None) -> Iterator[Row]:
    """Reads the rows of a CSV file: UTF-8, commas, double quotes, a header line.

    Cells are kept exactly, with no guess at what is missing: ``null`` is a German word.

    Args:
        path: A local file.
        data: What stands in it, where it lies elsewhere and ``path`` is its name for messages only.

    Yields:
        The line on which the row begins, from 1, and its cells by column name.

    Raises:
        JobError: If the file cannot be read, is not UTF-8 or not well-formed CSV, lacks a required
            column, names a column twice, or a row is longer or shorter than the header.
    """
    yield from read_table(path, COMMAS, REQUIRED_COLUMNS, "a manifest", data)


def clips_from_rows(
    rows: Iterable[Row],
    *,
    base: str,
    source: str,
    numbered_by: Literal["line", "row"] = "line",
    allow_outside: bool = False,
    on_progress: OnProgress | None = None,
    num_threads: int = DEFAULT_NUM_THREADS,
    remote: Places | None = None,
) -> Discovery:
    """Makes a clip of every row of a manifest.

    A ``uri`` is a local path, a ``file://`` URI, or one of another scheme that names a place in ``remote``;
    a relative path counts from ``base``. A folder is a
    clip of its frames (of the frames in ``1`` where nothing else lies in it), a file is a video. One
    that does not exist or cannot be read is a clip too, and ends among the failures. An empty cell
    of an optional column says nothing. Columns of other names are ignored.

    Args:
        rows: Row number (for messages) and cells by column name; text, whole numbers or None, and
            numbers for ``fps``.
        base: The folder from which relative uris count, on the disk or in ``remote``.
        source: The manifest's name, for messages.
        numbered_by: What the row numbers count, for messages.
        allow_outside: Whether a relative uri may leave ``base`` through ``..``.
        on_progress: Called in the calling thread with the counts so far, a few times a second at
            most, and once at the end.
        num_threads: How many inputs are looked at at once.
        remote: Looks at what has a scheme other than ``file``, by its URI without percent-encoding.

    Returns:
        One clip for every row, in natural order of the ids.

    Raises:
        JobError: If there is no row, a required column is missing, or a cell is not what its column
            wants, naming the row.
    """
    entries: list[_Entry] = []
    first_row_of: dict[str, int] = {}
    for number, cells in rows:
        where = f"{source}, {numbered_by} {number}"
        entry = _entry_of(cells, where, base, allow_outside, remote)
        first = first_row_of.setdefault(entry.clip.clip_id, number)
        if first != number:
            raise JobError(f"{where}: clip_id {entry.clip.clip_id!r} stands on {numbered_by} {first} too.")
        entries.append(entry)
    first_row_of.clear()
    if not entries:
        raise JobError(f"{source}: expected one row for each clip, found none.")
    if remote is not None:
        remote.foresee([entry.path for entry in entries if entry.places is remote])
    return _look_at_all(entries, ProgressMeter(on_progress), num_threads)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row that was understood: where its input should lie, and a clip that says all but what is there."""

    path: str
    clip: Clip
    places: Places = DISK


def _look_at_all(entries: list[_Entry], meter: ProgressMeter, num_threads: int) -> Discovery:
    """Empties the list: of a million entries and their clips only one of both stays."""
    clips: list[Clip] = []
    passed_over = PassedOver()
    files: list[_Entry] = []
    for found in run_tasks(_taken_from(entries), _look_at, num_threads=num_threads):
        if isinstance(found, _Entry):
            files.append(found)
            continue
        clip, in_folder = found
        passed_over += in_folder or PassedOver()
        clips.append(clip)
        meter.add(clip, folders=in_folder is not None)
    look_at_video = run_tasks(
        _taken_from(files), _look_at_video, num_threads=num_threads, start_with=num_threads
    )
    for clip in look_at_video:
        clips.append(clip)
        meter.add(clip)
    meter.finish()
    return Discovery(clips=in_order(clips), **dataclasses.asdict(passed_over))


def _taken_from(entries: list[_Entry]) -> Iterator[_Entry]:
    entries.reverse()
    while entries:
        yield entries.pop()


def _look_at(entry: _Entry) -> tuple[_Entry | tuple[Clip, PassedOver | None], tuple[()]]:
    """The clip of the folder that an entry names, or of the one below it where that stands for it.

    Returns:
        The clip, and what else lies in the folder, if there is one; of a file, the entry.
    """
    path, places = entry.path, entry.places
    if places.is_file(path):
        return entry, ()
    try:
        folder = places.read_folder(path)
        if name := lone_level(folder):
            path = os.path.join(path, name)
            folder = places.read_folder(path)
    except OSError:
        return (entry.clip, None), ()
    clip = part_of(entry.clip, frames_clip(entry.clip.clip_id, path, folder, places))
    return (clip, PassedOver.in_folder(folder)), ()


def _look_at_video(entry: _Entry) -> tuple[Clip, tuple[()]]:
    return part_of(entry.clip, video_clip(entry.clip.clip_id, entry.path, entry.places)), ()


def _entry_of(
    cells: Mapping[str, object], where: str, base: str, allow_outside: bool, remote: Places | None
) -> _Entry:
    _expect_columns(cells, where)
    text = {name: _text(cells.get(name), name, where) for name in _TEXT_COLUMNS}
    clip_id, split = expect_clip_id(text["clip_id"], where), text["split"]
    if split is not None and not _SPLIT.fullmatch(split):
        raise JobError(f"{where}: split may hold A-Z a-z 0-9 _ . - only, found {split!r}.")
    path = _path_of(text["uri"], where, base, allow_outside, remote is not None)
    places = remote if remote is not None and _SCHEME.match(path) else DISK
    try:
        places.expect_place(path)
    except JobError as error:
        raise JobError(f"{where}: {error}") from error
    try:
        clip = Clip(
            clip_id,
            places.uri(path),
            media_kind(path) or "frames",
            split=split,
            signer=text["signer"],
            gloss=text["gloss"],
            text=text["text"],
            label=text["label"],
            fps=_fps(cells.get("fps"), where),
            start_frame=_position(cells.get("start_frame"), "start_frame", where),
            end_frame=_position(cells.get("end_frame"), "end_frame", where),
            start_ms=_time_ms(cells.get("start_ms"), "start_ms", where),
            end_ms=_time_ms(cells.get("end_ms"), "end_ms", where),
        )
    except ValueError as error:
        raise JobError(f"{where}: {error}.") from error
    return _Entry(path, clip, places)


def expect_clip_id(clip_id: str | None, where: str) -> str:
    """Refuses what cannot be a clip's id.

    Args:
        clip_id: A name or a relative path.
        where: Where it stands, for the message.

    Raises:
        JobError: If it is empty, too long, absolute, or leads out by ``..``.
    """
    if clip_id is None or not clip_id.strip():
        raise JobError(f"{where}: clip_id must not be empty, found {clip_id!r}.")
    if clip_id.startswith("/") or ".." in clip_id.split("/") or "\0" in clip_id:
        raise JobError(f"{where}: clip_id must be a name or relative path without '..', found {clip_id!r}.")
    if len(clip_id) > _MAX_CLIP_ID_CHARACTERS:
        raise JobError(
            f"{where}: clip_id may be {_MAX_CLIP_ID_CHARACTERS} characters long, found {len(clip_id)}."
        )
    return clip_id


def _path_of(uri: str | None, where: str, base: str, allow_outside: bool, may_be_remote: bool) -> str:
    """The path that a row's uri names, or its URI without percent-encoding where that is of a store."""
    if not uri or "\0" in uri:
        raise JobError(f"{where}: uri must not be empty, found {uri!r}.")
    is_file_uri = uri.startswith("file://")
    if _SCHEME.match(uri) and not is_file_uri and may_be_remote:
        return _remote_path(uri, where)
    path = from_uri(uri)
    if (_SCHEME.match(uri) and not is_file_uri) or (is_file_uri and not os.path.isabs(path)):
        raise JobError(f"{where}: uri must be a path or begin with file:///, found {uri!r}.")
    if os.path.isabs(path):
        return path
    if os.path.normpath(path).split(os.sep)[0] == os.pardir and not allow_outside:
        raise JobError(
            f"{where}: uri {uri!r} leaves the manifest's folder. Write it as an absolute path, or allow "
            "uris outside."
        )
    if scheme := _SCHEME.match(base):
        return scheme[0] + os.path.normpath(os.path.join(base[scheme.end() :], path))
    return os.path.abspath(os.path.join(base, path))


def _remote_path(uri: str, where: str) -> str:
    scheme, _, rest = uri.partition("://")
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise JobError(
            f"{where}: a uri is kept in the data set, so it names a place and nothing else; found one with a "
            f"user, ? or # ({scheme}://...). Credentials and endpoints come from the environment "
            "(AWS_ENDPOINT_URL), or stand behind the URI of --manifest; in a name, ? and # are %3F and %23."
        )
    return f"{scheme}://{unquote(rest).rstrip('/')}"


def _text(value: object, name: str, where: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise JobError(f"{where}: {name} must be text, found {type(value).__name__} {value!r}.")


def _fps(value: object, where: str) -> float | None:
    if value is None or value == "":
        return None
    fps = _number(value)
    if fps is None or not 0 < fps < float("inf"):
        raise JobError(f"{where}: fps must be a number above 0, found {value!r}.")
    return fps


def _position(value: object, name: str, where: str) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise JobError(f"{where}: {name} must be a whole number, 0 or more, found {value!r}.")


def _time_ms(value: object, name: str, where: str) -> float | None:
    if value is None or value == "":
        return None
    time_ms = _number(value)
    if time_ms is None or not 0 <= time_ms < float("inf"):
        raise JobError(f"{where}: {name} must be a number of milliseconds, 0 or more, found {value!r}.")
    return time_ms


def _number(value: object) -> float | None:
    """A number as it was meant; None where it was not."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "_" in str(value):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _expect_columns(columns: Iterable[str], where: str) -> None:
    found = list(columns)
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    twice = [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if found.count(name) > 1]
    if missing or twice:
        what = f"lacks {missing}" if missing else f"has {twice} twice"
        raise JobError(
            f"{where}: expected the columns {list(REQUIRED_COLUMNS)} and any of {list(OPTIONAL_COLUMNS)}, "
            f"separated by commas; the table {what}: found {found}."
        )
