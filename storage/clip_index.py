"""Where each clip stands, and its points read from there without the rest of the file: no torch in it."""

import hashlib
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.dataset import NO_SPLIT, Dataset
from storage.layout import PointLayout
from storage.schema import expect_plain, part_shapes
from storage.shards import damaged_shard
from storage.signals import Floats
from storage.stored import shards_of

ABOUT = ("signer", "gloss", "text", "label", "fps", "width", "height")
"""What is known of a clip beside its points; None where its data set does not say."""
_PLACE = ("clip_id", "first_frame", "num_frames")
_SHARDS_AT_ONCE = 8
_FOOTER_END_BYTES = 8
"""Of a Parquet file: the footer's length in 4, little-endian, and PAR1."""
_OPEN_SHARDS = 128
"""Some 300 KB of parsed footer each; a data set of a million frames has about as many shards."""


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """Where a clip stands.

    Attributes:
        clip_id: Its id.
        split: None where it belongs to none.
        shard: Name of the file.
        rows: Row group and row in it of each of its rows, in order of their frames.
        num_frames: Frame positions in all rows.
        about: The values of :data:`ABOUT`.
        shard_frame: Frame positions in the rows before it in its shard.
    """

    clip_id: str
    split: str | None
    shard: str
    rows: tuple[tuple[int, int], ...]
    num_frames: int
    about: dict[str, object]
    shard_frame: int = 0

    @property
    def groups(self) -> tuple[int, ...]:
        """The row groups that hold it, in order."""
        return tuple(dict.fromkeys(group for group, _ in self.rows))


@dataclass(frozen=True, slots=True)
class ClipIndex:
    """Every clip of a data set that is done.

    Attributes:
        places: In the order of the shards, and of the rows in them.
        num_points: Part name to its number of points.
        fingerprints: Shard to what tells it from what it was or will be, where that was asked for.
    """

    places: tuple[ClipPlace, ...]
    num_points: dict[str, int]
    fingerprints: dict[str, str] = field(default_factory=dict)

    def by_row_group(self) -> list[range]:
        """Positions of clips that begin in one row group: what is best read together."""
        units: list[range] = []
        last = None
        for position, place in enumerate(self.places):
            key = place.shard, place.groups[0]
            if key == last:
                units[-1] = range(units[-1].start, position + 1)
            else:
                units.append(range(position, position + 1))
            last = key
        return units


def read_index(dataset: Dataset, splits: Sequence[str] = (), with_fingerprints: bool = False) -> ClipIndex:
    """Finds out where each clip stands; reads no coordinates.

    Args:
        dataset: Whose clips.
        splits: Only these (``"none"`` for clips without one); all where empty.
        with_fingerprints: Whether those of the shards are wanted, for which a little more must be read.

    Raises:
        JobError: If there is no clip, or a shard is damaged or has other parts than the rest.
    """
    names = shards_of(dataset, splits)
    fingerprints: dict[str, str] = {}
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as readers:
        if (
            with_fingerprints
        ):  # first: of a shard that is replaced meanwhile they fit nothing, and that is told
            found = readers.map(lambda name: _fingerprint_or_damaged(dataset, name), names)
            fingerprints = dict(zip(names, found, strict=True))
        shards = list(readers.map(lambda name: _index_shard(dataset, name), names))
    places = tuple(place for found, _ in shards for place in found)
    if not places:
        raise JobError(f"{dataset.store.location}: expected clips that are done, found none yet")
    num_points = shards[0][1]
    for name, (_, others) in zip(names, shards, strict=True):
        if others != num_points:
            raise JobError(f"{dataset.store.full(name)}: expected parts {num_points}, found {others}")
    return ClipIndex(places, num_points, fingerprints)


def fingerprint(dataset: Dataset, shard: str) -> str:
    """What tells a shard from one of the same name: its time, its size, and the digest of its footer.

    The footer has the compressed size of each column of each row group, and the range of their values, that
    of the milliseconds each clip took among them.

    Raises:
        FileNotFoundError: If it does not stand.
    """
    changed = dataset.store.modified(shard)
    with dataset.store.open(shard) as source:
        size = source.size()
        length = int.from_bytes(source.read_at(_FOOTER_END_BYTES, size - _FOOTER_END_BYTES)[:4], "little")
        begin = max(size - _FOOTER_END_BYTES - length, 0)
        footer = source.read_at(size - begin, begin)
    return hashlib.blake2b(repr((changed, size)).encode() + footer, digest_size=12).hexdigest()


def _fingerprint_or_damaged(dataset: Dataset, name: str) -> str:
    try:
        return fingerprint(dataset, name)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise damaged_shard(dataset.store, name, error) from error


def _index_shard(dataset: Dataset, name: str) -> tuple[list[ClipPlace], dict[str, int]]:
    try:
        with dataset.store.open(name) as source:
            file = pq.ParquetFile(source)
            expect_plain(file.schema_arrow)
            columns = [column for column in (*_PLACE, *ABOUT) if column in file.schema_arrow.names]
            table = file.read(columns=columns, use_threads=False)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            num_points = {part: count for part, (count, _) in part_shapes(file.schema_arrow).items()}
        split = name.split("/")[1].removeprefix("split=")
        where = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
        places = list(_places(table.to_pylist(), where, name, None if split == NO_SPLIT else split))
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        raise damaged_shard(dataset.store, name, error) from error
    return places, num_points


def _places(
    rows: list[dict[str, object]], where: list[tuple[int, int]], shard: str, split: str | None
) -> Iterator[ClipPlace]:
    begin = frames_before = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end]["clip_id"] == rows[begin]["clip_id"]:
            continue
        own, first = rows[begin:end], rows[begin]
        about = {column: first.get(column) for column in ABOUT}
        clip_id, frames = str(first["clip_id"]), sum(_length(row) for row in own)
        yield ClipPlace(clip_id, split, shard, tuple(where[begin:end]), frames, about, frames_before)
        frames_before += frames
        begin = end


def _length(row: dict[str, object]) -> int:
    length = row["num_frames"]
    if not isinstance(length, int) or length < 0:
        raise ValueError(f"num_frames of {row['clip_id']!r} is {length}")
    return length


def written_anew(location: str, shard: str) -> JobError:
    """What to say of a shard that holds no longer what it held when the data set was opened."""
    return JobError(f"{location}: {shard} was written anew since this data set was opened: open it again")


@dataclass(frozen=True, slots=True)
class _OpenShard:
    """A file, and the points and values a point of the parts to be read from it.

    Attributes:
        file: The open file.
        shapes: Part name to points and values a point.
        is_known: Whether it is the file that was indexed, so that ids need not be read with each row group.
    """

    file: pq.ParquetFile
    shapes: dict[str, tuple[int, int]]
    is_known: bool


_Row = tuple[str | None, dict[str, Floats]]
"""Id of the clip it is of, where the file may be another one by now; and its parts."""


class PointReader:
    """Reads the points of clips, of each file only the row groups and columns that they stand in.

    Keeps files open, and the row groups read last. To be used by one thread; another process, be it forked or
    sent a copy, opens them anew.

    Args:
        location: The data set's folder, or a URI.
        layout: Which points.
        kept_groups: Decoded row groups to keep.
        fingerprints: Of the shards as they were indexed. A shard of this machine that is not what it was is
            refused; of one without, each clip's id is read along and compared.
    """

    def __init__(
        self,
        location: str,
        layout: PointLayout,
        kept_groups: int = 1,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        self._location = location
        self._layout = layout
        self._kept_groups = kept_groups
        self._fingerprints = dict(fingerprints or {})
        self._forget()

    def __getstate__(self) -> dict[str, object]:
        names = ("_location", "_layout", "_kept_groups", "_fingerprints")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._dataset: Dataset | None = None
        self._files: OrderedDict[str, _OpenShard] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], list[_Row]] = OrderedDict()

    def points(self, place: ClipPlace) -> Floats:
        """The points of a clip.

        Returns:
            A new float32 (T, N, 3) array, NaN where absent.

        Raises:
            JobError: If the shard cannot be read, or holds another clip there by now.
        """
        if self._process != os.getpid():
            self._forget()
        pieces = [self._layout.join(self._row(place, group, row)) for group, row in place.rows]
        points = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if len(points) != place.num_frames:
            raise written_anew(self._location, place.shard)
        return points

    def _row(self, place: ClipPlace, group: int, row: int) -> dict[str, Floats]:
        rows = self._group(place.shard, group)
        if row >= len(rows) or rows[row][0] not in (None, place.clip_id):
            raise written_anew(self._location, place.shard)
        return rows[row][1]

    def _group(self, shard: str, group: int) -> list[_Row]:
        """Every row of a row group, its parts as views of what was decoded."""
        key = shard, group
        if key not in self._groups:
            self._groups[key] = self._decoded(shard, group)
            while len(self._groups) > self._kept_groups:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def _decoded(self, shard: str, group: int) -> list[_Row]:
        if self._dataset is None:
            self._dataset = Dataset(self._location)
        try:
            opened = self._open(self._dataset, shard)
            if group >= opened.file.num_row_groups:
                raise written_anew(self._location, shard)
            columns = [*opened.shapes, *([] if opened.is_known else ["clip_id"])]
            table = opened.file.read_row_group(group, columns=columns, use_threads=False)
            ids = [None] * table.num_rows if opened.is_known else table["clip_id"].to_pylist()
            return list(zip(ids, row_arrays(table, opened.shapes), strict=True))
        except FileNotFoundError as error:
            raise written_anew(self._location, shard) from error
        except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
            raise damaged_shard(self._dataset.store, shard, error) from error

    def _open(self, dataset: Dataset, shard: str) -> _OpenShard:
        if shard not in self._files:
            # On an object store one request for all columns of a row group, not one for each.
            file = pq.ParquetFile(dataset.store.open(shard), pre_buffer=not dataset.store.is_local)
            shapes = part_shapes(file.schema_arrow)
            if not _fits(self._layout, shapes):
                raise written_anew(self._location, shard)
            kept = {part: shapes[part] for part in self._layout.parts}
            self._files[shard] = _OpenShard(file, kept, self._is_known(dataset, shard))
            while len(self._files) > _OPEN_SHARDS:
                self._files.popitem(last=False)[1].file.close(force=True)
        self._files.move_to_end(shard)
        return self._files[shard]

    def _is_known(self, dataset: Dataset, shard: str) -> bool:
        """Whether a shard that was opened is the indexed one; asked for after that, as it may be replaced."""
        if not dataset.store.is_local or shard not in self._fingerprints:
            return False
        if fingerprint(dataset, shard) != self._fingerprints[shard]:
            raise written_anew(self._location, shard)
        return True


def _fits(layout: PointLayout, shapes: dict[str, tuple[int, int]]) -> bool:
    counts = Counter(part for part, _ in layout.names)
    for part, rows in zip(layout.parts, layout.rows, strict=True):
        count = shapes[part][0] if part in shapes else 0
        if (count != counts[part]) if rows is None else (max(rows) >= count):
            return False
    return True


def row_arrays(table: pa.Table, shapes: dict[str, tuple[int, int]]) -> list[dict[str, Floats]]:
    """The points of each row, as views of the decoded columns.

    Args:
        table: With the columns of the parts.
        shapes: Part name to points and values a point.

    Returns:
        For each row, part name to a read-only float32 (T, N, D).
    """
    rows: list[dict[str, Floats]] = [{} for _ in range(table.num_rows)]
    for part, shape in shapes.items():
        column = table.column(part)
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which would copy
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy()
        for row, arrays in enumerate(rows):
            arrays[part] = values[offsets[row] : offsets[row + 1]].reshape(-1, *shape)
    return rows
