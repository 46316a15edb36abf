"""Writing a shard so that it is either whole or absent; its file is the mark of completion."""

import datetime
import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.files import Store
from storage.schema import (
    BYTES_PER_GROUP,
    FAILURE_SCHEMA,
    FRAMES_PER_GROUP,
    ROWS_PER_GROUP,
    clip_schema,
    parquet_options,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be extracted, and why; each field is a column of the failures file."""

    clip_id: str
    uri: str
    split: str | None
    stage: str
    reason: str
    error: str
    attempts: int
    host: str = field(default_factory=socket.gethostname)
    time: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))


def damaged_shard(store: Store, name: str, why: object) -> JobError:
    """What to say of a shard that cannot be read.

    Args:
        store: Of its data set.
        name: Of the file.
        why: What its reader said.
    """
    return JobError(
        f"{store.full(name)}: expected a shard of this data set, cannot read it: {why}: put back a "
        "good copy, or delete it and run the same extract command again"
    )


_FAILED_KEY = b"ray_landmarks.failed"
_ERROR_CHARACTERS = 500
"""Of an error's text in the shard itself; all of it stands in the failures file."""

Rows = Iterable[pa.RecordBatch]
"""The rows of one clip: one, or several for a long video."""


def shard_name(shard: int, split: str | None) -> str:
    """Where a shard lies in the data set; ``split=none`` for clips that belong to no split."""
    return f"clips/split={split or NO_SPLIT}/shard-{shard:06d}.parquet"


NO_SPLIT = "none"


def failures_name(shard: int) -> str:
    """Where the failures of a shard lie."""
    return f"failures/shard-{shard:06d}.parquet"


def write_shard(
    store: Store,
    shard: int,
    split: str | None,
    points: Mapping[str, int],
    outcomes: Iterable[Rows | Failure],
    before_commit: Callable[[], None] = lambda: None,
    has_masks: bool = False,
) -> list[Failure]:
    """Writes the clips of a shard as they come, then their failures, then makes the shard visible.

    The failures stand in the shard's metadata too, so that one rename, or one PUT, decides about clips and
    failures together: an attempt on a machine that was only thought dead may come in between.

    Args:
        store: The data set's files.
        shard: Number of the shard.
        split: Which split all its clips belong to.
        points: Part name to its number of points.
        outcomes: Of each clip its rows, or its failure.
        before_commit: Called when all is written and nothing is visible; raise in it to leave nothing.
        has_masks: Whether the rows hold masks.

    Returns:
        The failures among the outcomes.

    Raises:
        JobError: If the store refuses to be written.
    """
    schema = clip_schema(points, has_masks)
    failures: list[Failure] = []
    with store.create(shard_name(shard, split)) as file:
        with pq.ParquetWriter(file, schema, **parquet_options(schema)) as writer:
            for group in _row_groups(_rows(outcomes, failures)):
                writer.write_table(pa.Table.from_batches(group, schema), row_group_size=len(group))
            writer.add_key_value_metadata({_FAILED_KEY: _to_json(failures)})
        before_commit()
        # Emptied, not deleted: where another attempt wins, its failures are found by this file.
        if failures or store.exists(failures_name(shard)):
            _write_failures(store, shard, failures)
    return failures


def _rows(outcomes: Iterable[Rows | Failure], failures: list[Failure]) -> Iterator[pa.RecordBatch]:
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            yield from outcome


def _row_groups(rows: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    frames = size = 0
    for row in rows:
        group.append(row)
        frames += row.column("num_frames")[0].as_py()
        size += row.nbytes
        if len(group) == ROWS_PER_GROUP or frames >= FRAMES_PER_GROUP or size >= BYTES_PER_GROUP:
            yield group
            group, frames, size = [], 0, 0
    if group:
        yield group


def committed_failures(metadata: Mapping[bytes, bytes] | None, beside: pa.Table) -> pa.Table:
    """Failures of the attempt that made a shard.

    Args:
        metadata: The shard's.
        beside: What its failures file says; another attempt may have written that.

    Returns:
        In the schema of failures. Of a failure that only the shard knows, the error may be cut short.
    """
    text = (metadata or {}).get(_FAILED_KEY)
    if text is None:  # written before shards said so themselves
        return beside
    failed = {row["clip_id"]: row for row in json.loads(text)}
    known = set(beside["clip_id"].to_pylist())
    for row in failed.values():
        row["time"] = datetime.datetime.fromisoformat(row["time"])
    others = [row for clip_id, row in failed.items() if clip_id not in known]
    kept = pa.array([clip_id in failed for clip_id in beside["clip_id"].to_pylist()], pa.bool_())
    return pa.concat_tables([beside.filter(kept), pa.Table.from_pylist(others, FAILURE_SCHEMA)])


def _to_json(failures: list[Failure]) -> bytes:
    rows = [
        {**asdict(failure), "error": failure.error[:_ERROR_CHARACTERS], "time": failure.time.isoformat()}
        for failure in failures
    ]
    return json.dumps(rows).encode()


def _write_failures(store: Store, shard: int, failures: list[Failure]) -> None:
    table = pa.Table.from_pylist([asdict(failure) for failure in failures], FAILURE_SCHEMA)
    with store.create(failures_name(shard)) as file:
        pq.write_table(table, file, compression="zstd")


__all__ = [
    "NO_SPLIT",
    "Failure",
    "Rows",
    "committed_failures",
    "failures_name",
    "shard_name",
    "write_shard",
]
