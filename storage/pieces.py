"""One clip read row by row, and many clips found by chance: what pictures are drawn from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.rows import decode
from storage.schema import expect_plain
from storage.shards import damaged_shard
from storage.stored import shards_of

_PLAN = "plan.parquet"


@dataclass(frozen=True, slots=True)
class ClipPieces:
    """Where the rows of a clip that is done stand.

    Attributes:
        dataset: Whose clip it is.
        clip: As it was planned.
        shard: Name of the file.
        uri: Where its input lay when it was read.
        num_frames: Frame positions in all rows.
    """

    dataset: Dataset
    clip: Clip
    shard: str
    uri: str
    num_frames: int

    def __iter__(self) -> Iterator[ClipLandmarks]:
        """Its rows in order; memory holds those of one row group."""
        for row in rows_of_clip(self.dataset, self.shard, self.clip.clip_id):
            yield decode(row)


def find_pieces(dataset: Dataset, clip_id: str) -> ClipPieces:
    """Finds a clip without reading its landmarks, or the plan of all others.

    Args:
        dataset: Whose.
        clip_id: Which.

    Raises:
        JobError: If it is not there, saying what became of it.
    """
    shard = _shard_of(dataset, clip_id)
    name = dataset.done().get(shard) if shard is not None else None
    rows: list[pa.Table] = []
    if shard is not None and name is not None:
        rows = list(rows_of_clip(dataset, name, clip_id, ("uri", "num_frames")))
    if shard is None or name is None or not rows:
        dataset.read_clip(clip_id)
        raise JobError(f"{clip_id!r}: expected in {dataset.store.location}, is not found there")
    planned = next(clip for clip in dataset.planned_clips(shard) if clip.clip_id == clip_id)
    frames = sum(row["num_frames"][0].as_py() for row in rows)
    return ClipPieces(dataset, planned, name, rows[0]["uri"][0].as_py(), frames)


def _shard_of(dataset: Dataset, clip_id: str) -> int | None:
    def read(file: pa.NativeFile) -> pa.Table:
        return pq.read_table(file, columns=["shard"], filters=pc.field("clip_id") == clip_id)

    try:
        shards = dataset.store.load(_PLAN, read)["shard"].to_pylist()
    except (FileNotFoundError, pa.ArrowException, OSError, ValueError, LookupError, TypeError):
        return None  # what is wrong with the plan, reading the clip says
    return int(shards[0]) if shards and shards[0] is not None else None


def rows_of_clip(
    dataset: Dataset, shard: str, clip_id: str, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a clip, one after another.

    Args:
        dataset: Whose.
        shard: Name of the file that it stands in.
        clip_id: Which.
        columns: Only these; all where None.

    Raises:
        JobError: If the shard is damaged.
    """
    wanted = None if columns is None else [*dict.fromkeys([*columns, "clip_id"])]
    try:
        with dataset.store.open(shard) as source:
            file = pq.ParquetFile(source)
            expect_plain(file.schema_arrow)
            for group in range(file.num_row_groups):
                if not _may_hold(file, group, clip_id):
                    continue
                table = file.read_row_group(group, columns=wanted)
                table = table.filter(pc.field("clip_id") == clip_id)
                yield from (table.slice(index, 1) for index in range(table.num_rows))
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        raise damaged_shard(dataset.store, shard, error) from error


def _may_hold(file: pq.ParquetFile, group: int, clip_id: str) -> bool:
    """Whether the row group's own statistics leave room for the clip."""
    column = file.schema_arrow.get_field_index("clip_id")
    chunk = file.metadata.row_group(group).column(column)
    # Statistics of another type than the column's, as in a damaged footer, make Arrow end the process.
    statistics = chunk.statistics if chunk.physical_type == "BYTE_ARRAY" else None
    if statistics is None or not statistics.has_min_max:
        return True
    try:
        # Parquet compares bytes; so does Python code points of UTF-8, in the same order.
        return bool(statistics.min <= clip_id <= statistics.max)
    except TypeError:
        return True


def clip_ids(dataset: Dataset, splits: Sequence[str] = ()) -> pa.Array:
    """Ids of all clips whose shards stand, failed ones among them; read from the plan alone.

    Args:
        dataset: Whose.
        splits: Only these (``"none"`` for clips without one); all where empty.

    Raises:
        JobError: If a split has no clip, or there is none at all.
    """
    names = set(shards_of(dataset, splits))
    if not names:
        raise JobError(
            f"{dataset.store.location}: no clip is done yet: run the same extract command again to go on"
        )
    numbers = [number for number, name in dataset.done().items() if name in names]
    try:
        table = dataset.store.load(_PLAN, lambda file: pq.read_table(file, columns=["clip_id", "shard"]))
    except (FileNotFoundError, pa.ArrowException, OSError, ValueError, LookupError, TypeError):
        dataset.plan()  # says what is wrong with it
        raise
    return table.filter(pc.is_in(table["shard"], pa.array(numbers, pa.int32())))["clip_id"].combine_chunks()


def is_done(dataset: Dataset, clip_id: str) -> bool:
    """Whether a clip stands with its landmarks: it may have failed."""
    shard = _shard_of(dataset, clip_id)
    name = None if shard is None else dataset.done().get(shard)
    return name is not None and any(True for _ in rows_of_clip(dataset, name, clip_id, ("clip_id",)))


def sampled(
    ids: pa.Array, count: int, seed: int, stands: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Some of many clips, each as likely as any other.

    Args:
        ids: Of all clips.
        count: How many; all of them where there are fewer.
        seed: The same seed and ids give the same clips.
        stands: Says of a clip whether it may be taken.

    Returns:
        Their ids, in the order in which they stand.
    """
    chosen: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(ids)).tolist():
        if len(chosen) == count:
            break
        if stands(ids[index].as_py()):
            chosen.append(index)
    return [str(clip_id) for clip_id in ids.take(pa.array(sorted(chosen), pa.int64())).to_pylist()]


__all__ = ["ClipPieces", "clip_ids", "find_pieces", "is_done", "rows_of_clip", "sampled"]
