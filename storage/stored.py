"""Reading clips back, one after another, whole: what exports, checks and reports go through."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage.dataset import NO_SPLIT, Dataset
from storage.rows import decode
from storage.schema import expect_plain
from storage.shards import damaged_shard

_SPLIT = re.compile(r"clips/split=([^/]+)/")


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip of a data set, all its rows in one.

    Attributes:
        clip_id: Its id.
        split: ``"train"``, ``"dev"``, ... or None where it belongs to none.
        landmarks: Of all its frames, from the first.
        columns: Name and value of every column that has one value a clip (``uri``, ``signer``, ``gloss``,
            ``text``, ``engine`` ...), from its first row.
    """

    clip_id: str
    split: str | None
    landmarks: ClipLandmarks
    columns: dict[str, object]

    def text_of(self, column: str) -> str:
        """An annotation (``signer``, ``gloss``, ``text``), "" where there is none."""
        return str(self.columns.get(column) or "")


def stored_clips(
    dataset: Dataset, splits: Sequence[str] = (), clip_ids: Sequence[str] = ()
) -> Iterator[StoredClip]:
    """Reads clips in the order of their shards; memory holds one row group at a time.

    Args:
        dataset: Whose.
        splits: Only these (``"none"`` for clips without one); all where empty.
        clip_ids: Only these; all where empty.

    Raises:
        JobError: If a split has no clip, or a shard is damaged.
    """
    names = shards_of(dataset, splits)
    wanted = pc.field("clip_id").isin(list(clip_ids)) if clip_ids else None
    for name in names:
        match = _SPLIT.match(name)
        assert match
        split = None if match[1] == NO_SPLIT else match[1]
        rows = ((row.column("clip_id")[0].as_py(), row) for row in _rows(dataset, name, wanted))
        for clip_id, group in groupby(rows, key=lambda pair: pair[0]):
            yield _stored(clip_id, split, [row for _, row in group])


def shards_of(dataset: Dataset, splits: Sequence[str] = ()) -> list[str]:
    """Names of the shards that stand, in the order of their numbers.

    Args:
        dataset: Whose.
        splits: As in :func:`stored_clips`.

    Raises:
        JobError: If a split that was asked for has no clip.
    """
    done = dataset.done()
    split_of = {name: name.split("/")[1].removeprefix("split=") for name in done.values()}
    if missing := sorted(set(splits) - set(split_of.values())):
        raise JobError(
            f"{dataset.store.location}: no clip of split {', '.join(missing)}: "
            f"it has {', '.join(sorted(set(split_of.values()))) or 'none'}"
        )
    return [done[shard] for shard in sorted(done) if not splits or split_of[done[shard]] in splits]


def _rows(dataset: Dataset, name: str, wanted: pc.Expression | None) -> Iterator[pa.Table]:
    try:
        with dataset.store.open(name) as source:
            file = pq.ParquetFile(source)
            expect_plain(file.schema_arrow)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                table = table if wanted is None else table.filter(wanted)
                yield from (table.slice(index, 1) for index in range(table.num_rows))
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise damaged_shard(dataset.store, name, error) from error


def _stored(clip_id: str, split: str | None, rows: list[pa.Table]) -> StoredClip:
    first = rows[0]
    # Of the columns with one entry a frame only the landmarks speak.
    columns = {f.name: first[f.name][0].as_py() for f in first.schema if not pa.types.is_list(f.type)}
    return StoredClip(clip_id, split, joined([decode(row) for row in rows]), columns)


def joined(pieces: Sequence[ClipLandmarks]) -> ClipLandmarks:
    """The pieces of one clip as one.

    Args:
        pieces: In order, without a gap; with the same parts.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    return replace(
        first,
        timestamps_ms=np.concatenate([p.timestamps_ms for p in pieces]),
        frame_names=tuple(name for p in pieces for name in p.frame_names),
        frame_status=np.concatenate([p.frame_status for p in pieces]),
        frame_errors=tuple(error for p in pieces for error in p.frame_errors),
        frame_sizes_px=np.concatenate([p.frame_sizes_px for p in pieces]),
        parts={part: np.concatenate([p.parts[part] for p in pieces]) for part in first.parts},
        pose_visibility=np.concatenate([p.pose_visibility for p in pieces]),
        masks_png=None if first.masks_png is None else tuple(m for p in pieces for m in p.masks_png or ()),
    )
