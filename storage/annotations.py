"""What people said of clips: OUT/annotations.parquet, and the columns of rows that repeat it.

The landmarks of a clip are never touched: a shard whose annotations change is written anew, whole or not at
all, with every other column as it was.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.clips import ANNOTATIONS
from extraction.errors import JobError
from storage.dataset import ANNOTATION_TABLE, Dataset
from storage.files import Store
from storage.plan import Plan
from storage.schema import clip_schema, expect_plain, parquet_options
from storage.shards import damaged_shard

ANNOTATION_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("dataset_id", pa.string()),
        ("split", pa.string()),
        ("uri", pa.string()),
        ("signer", pa.string()),
        ("gloss", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("num_frames", pa.int64()),
        ("holes", pa.list_(pa.string())),
        ("details", pa.list_(pa.string())),
    ]
)
"""One row for each annotated clip and for each input without annotation.

``clip_id`` is that of the clip's rows, and the data set's own id where it has none; ``dataset_id`` is the
data set's own, null of an input without annotation; ``uri`` is null where no frames are on the disk;
``num_frames`` is what the annotation says; ``holes`` names what is not as it should be.
"""

_ABOUT = b"ray_landmarks.annotations"
_EXAMPLES = 20
_SHOWN = 3
_OF_THE_FILE = {b"ARROW:schema"}
"""Metadata that Parquet's writer makes by itself."""

Said = Mapping[str, str | None]
"""Column to what is said of one clip."""


@dataclass(frozen=True, slots=True)
class About:
    """What the annotations of a data set are, in short.

    Attributes:
        name: Of the data set.
        why: What told that it was this one.
        annotated: Annotated clips.
        found: Of these, clips that are on the disk.
        holes: Kind of a hole to how many clips it concerns.
        examples: Kind to the first of their ids.
        absent: Files of annotations that were not there.
        left_out: Inputs that are not annotated and were not extracted.
    """

    name: str
    why: str
    annotated: int = 0
    found: int = 0
    holes: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    left_out: int = 0


def summed_up(about: About, rows: Sequence[Mapping[str, Any]]) -> About:
    """Counts the holes of rows.

    Args:
        about: The name and the rest that rows do not say.
        rows: In the schema of the annotations.
    """
    holes: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for row in rows:
        for kind in dict.fromkeys(row["holes"]):
            holes[kind] += 1
            if len(known := examples.setdefault(kind, [])) < _EXAMPLES:
                known.append(row["clip_id"])
    annotated = [row for row in rows if "unannotated" not in row["holes"]]
    return replace(
        about,
        annotated=len(annotated),
        found=sum(row["uri"] is not None for row in annotated),
        holes=dict(sorted(holes.items())),
        examples=dict(sorted(examples.items())),
    )


def write_annotations(store: Store, rows: Sequence[Mapping[str, Any]], about: About) -> bool:
    """Writes OUT/annotations.parquet, whole or not at all, if it says anything new.

    Args:
        store: The data set's files.
        rows: In the schema of the annotations.
        about: As :func:`summed_up` gives it.

    Returns:
        Whether it was written.
    """
    text = json.dumps({name: getattr(about, name) for name in About.__slots__}, sort_keys=True)
    schema = ANNOTATION_SCHEMA.with_metadata({_ABOUT: text.encode()})
    table = pa.Table.from_pylist(list(rows), schema)
    with suppress(JobError):  # damaged: to be written anew
        old, is_of_today = _read(store)
        same = old.equals(table.replace_schema_metadata(None)) and read_about(store) == about
        if same and is_of_today:
            return False
    with store.create(ANNOTATION_TABLE) as file:
        pq.write_table(table, file, compression="zstd")
    return True


def read_annotations(store: Store) -> pa.Table:
    """The rows of OUT/annotations.parquet; none where there is no such file.

    Raises:
        JobError: If it is damaged.
    """
    return _read(store)[0]


def _read(store: Store) -> tuple[pa.Table, bool]:
    """The rows, and whether they stand there in the columns of today."""
    if not store.exists(ANNOTATION_TABLE):
        return ANNOTATION_SCHEMA.empty_table(), True
    try:
        table = store.load(ANNOTATION_TABLE, lambda file: pq.read_table(file))
        expect_plain(table.schema)
        is_of_today = "dataset_id" in table.column_names
        table = table if is_of_today else _with_dataset_id(table)
        return table.select(ANNOTATION_SCHEMA.names).cast(ANNOTATION_SCHEMA), is_of_today
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise _damaged(store, error) from error


def _with_dataset_id(table: pa.Table) -> pa.Table:
    """A table of before there was the column: ``clip_id`` was the data set's own id."""
    ids = [
        None if "unannotated" in row["holes"] else row["clip_id"]
        for row in table.select(["clip_id", "holes"]).to_pylist()
    ]
    return table.append_column("dataset_id", pa.array(ids, pa.string()))


def read_about(store: Store) -> About | None:
    """What the annotations are, read from the end of their file; None where there are none.

    Raises:
        JobError: If the file is damaged.
    """
    if not store.exists(ANNOTATION_TABLE):
        return None
    try:
        metadata = store.load(ANNOTATION_TABLE, lambda file: pq.read_metadata(file).metadata)
        about = About(**json.loads((metadata or {})[_ABOUT]))
        if not isinstance(about.holes, dict) or not isinstance(about.examples, dict):
            raise TypeError("its counts of holes are none")
        return about
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged(store, error) from error


def described(about: About) -> list[str]:
    """Lines that say of which data set the annotations are, and what is not as it should be."""
    holes = [
        f"{kind} {count:,} ({_some(about.examples.get(kind, []), count)})"
        for kind, count in about.holes.items()
    ]
    line = f"{about.name}: {about.annotated:,} annotated clips, {about.found:,} of them on the disk"
    lines = ["; ".join([line, *holes])]
    return [*lines, f"not there: {', '.join(about.absent)}"] if about.absent else lines


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if count > _SHOWN else "")


def _damaged(store: Store, why: object) -> JobError:
    return JobError(
        f"{store.full(ANNOTATION_TABLE)}: damaged: {why}: write it anew with `landmarks annotate`, or "
        "put back a good copy"
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """What :func:`annotate` did.

    Attributes:
        clips: Finished clips whose columns changed.
        shards: Shards that were written anew.
        planned: Clips whose annotations changed in the plan, finished or not.
    """

    clips: int
    shards: int
    planned: int


def annotate(
    dataset: Dataset, said_of: Mapping[str, Said], before_commit: Callable[[], None] = lambda: None
) -> Changes:
    """Puts annotations into the rows of finished clips and into the plan, and changes nothing else.

    Stopped on the way, some shards have the new annotations and some the old; the same call again goes on.

    Args:
        dataset: Whose.
        said_of: Clip id to all of its annotations; of clips that are not in it, nothing changes.
        before_commit: Called when a file is written and before it is visible; raise in it to leave nothing.

    Raises:
        JobError: If a shard is damaged or cannot be written.
    """
    plan = dataset.plan().table
    clips = shards = 0
    for _, name in sorted(dataset.done().items()):
        if changed := _annotate_shard(dataset.store, name, said_of, before_commit):
            clips, shards = clips + changed, shards + 1
    planned = _changed_clips(plan.select(["clip_id", *ANNOTATIONS]), said_of)
    if planned:
        before_commit()
        dataset.write_plan(Plan.of(_replaced(plan, plan.schema, said_of)))
    return Changes(clips, shards, len(planned))


def _annotate_shard(
    store: Store, name: str, said_of: Mapping[str, Said], before_commit: Callable[[], None]
) -> int:
    """Writes a shard anew if its annotations differ; returns how many of its clips they differ of."""
    with ExitStack() as opened:
        with _of_shard(store, name):
            file = pq.ParquetFile(opened.enter_context(store.open(name)))
            old = file.schema_arrow
            expect_plain(old)
            there = [column for column in ("clip_id", *ANNOTATIONS) if column in old.names]
            changed = _changed_clips(file.read(columns=there), said_of)
            schema, metadata = _with_label(old), _own_metadata(file, old)
        if not changed:
            return 0
        with store.create(name) as sink:
            with pq.ParquetWriter(sink, schema, **parquet_options(schema)) as writer:
                for group in range(file.num_row_groups):
                    with _of_shard(store, name):  # or the store would say that it cannot be written
                        table = _replaced(file.read_row_group(group), schema, said_of)
                    writer.write_table(table, row_group_size=max(table.num_rows, 1))
                writer.add_key_value_metadata(metadata)
            before_commit()
    return len(changed)


@contextmanager
def _of_shard(store: Store, name: str) -> Iterator[None]:
    """Says which shard it is that cannot be read; what cannot be written, the store says itself."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        raise damaged_shard(store, name, error) from error


def _changed_clips(table: pa.Table, said_of: Mapping[str, Said]) -> set[str]:
    changed = set()
    for row in table.to_pylist():
        said = said_of.get(row["clip_id"])
        if said is not None and any(row.get(name) != said[name] for name in ANNOTATIONS):
            changed.add(row["clip_id"])
    return changed


def _with_label(schema: pa.Schema) -> pa.Schema:
    """The schema of a shard; of one that is older than the column ``label``, with it behind ``text``."""
    for name in ANNOTATIONS:
        if name not in schema.names:
            position = schema.get_field_index("text") + 1
            schema = schema.insert(position, clip_schema({}).field(name))
    return schema


def _replaced(table: pa.Table, schema: pa.Schema, said_of: Mapping[str, Said]) -> pa.Table:
    """Rows with new annotations; every other column is the same memory."""
    ids = table.column("clip_id").to_pylist()
    columns = []
    for column in schema:
        if column.name not in ANNOTATIONS:
            columns.append(table.column(column.name))
            continue
        known = column.name in table.column_names
        old = table.column(column.name).to_pylist() if known else [None] * len(ids)
        values = [
            said_of[clip_id][column.name] if clip_id in said_of else value
            for clip_id, value in zip(ids, old, strict=True)
        ]
        columns.append(pa.chunked_array([pa.array(values, column.type)]))
    return pa.Table.from_arrays(columns, schema=schema)


def _own_metadata(file: pq.ParquetFile, schema: pa.Schema) -> dict[bytes, bytes]:
    """What the shard's maker wrote behind its rows: its failures."""
    written = file.metadata.metadata or {}
    known = _OF_THE_FILE | set(schema.metadata or {})
    return {key: value for key, value in written.items() if key not in known}


__all__ = [
    "ANNOTATION_SCHEMA",
    "About",
    "Changes",
    "annotate",
    "described",
    "read_about",
    "read_annotations",
    "summed_up",
    "write_annotations",
]
