"""What must hold of one shard as a file: its schema, the checksums of its pages, the bounds in its footer."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.schema import (
    LATER_COLUMNS,
    LATER_PROVENANCE,
    SCHEMA_VERSION,
    clip_schema,
    expect_plain,
    has_masks,
    num_points,
    part_shapes,
)
from storage.verified import Finding

DAMAGED = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError)
"""What reading a damaged file raises."""
_VERSION_KEY = b"ray_landmarks.schema_version"

Shapes = Mapping[str, tuple[int, int]]
"""Part name to its number of points and of values a point; masks count as a part of their own."""
_MASKS = ("masks", (1, 1))


def open_shard(source: pa.NativeFile) -> pq.ParquetFile:
    """Opens a shard so that reading a page compares it with its checksum.

    Raises:
        ValueError: If a column is of a type that runs code; or another of :data:`DAMAGED`.
    """
    file = pq.ParquetFile(source, page_checksum_verification=True)
    expect_plain(file.schema_arrow)
    return file


def shapes_of(schema: pa.Schema) -> Shapes:
    """What a shard holds."""
    return {**part_shapes(schema), **dict([_MASKS] if has_masks(schema) else [])}


def schema_findings(schema: pa.Schema, first: tuple[str, Shapes]) -> Iterator[Finding]:
    """Compares a shard's schema with the one that this version writes, and with another shard's parts.

    Args:
        schema: Of the shard.
        first: Name of a shard of the same data set, and its parts.

    Yields:
        What is wrong, and yet lets the rows be looked at.

    Raises:
        ValueError: If a column is missing or of another type.
    """
    shapes = shapes_of(schema)
    if not shapes:
        yield "schema", "has neither landmarks nor masks"
    if first[1] != shapes:
        yield "schema", f"its parts are {_told(shapes)}, those of {first[0]} {_told(first[1])}"
    version = int((schema.metadata or {}).get(_VERSION_KEY, b"0"))
    if not 1 <= version <= SCHEMA_VERSION:
        yield "schema", f"schema version {version}, expected 1 to {SCHEMA_VERSION}"
    expected = clip_schema(num_points(schema), has_masks(schema))
    there = {column.name: _bare(column.type) for column in schema}
    for column in expected:
        since = column.name in (*LATER_COLUMNS, *LATER_PROVENANCE)
        since = since or (version < 2 and column.name == "retry_reasons")
        if there.get(column.name) != _bare(column.type) and not (since and column.name not in there):
            raise ValueError(
                f"column {column.name}: expected {_bare(column.type)}, found {there.get(column.name)}"
            )


def bounds_findings(file: pq.ParquetFile, number: int, table: pa.Table) -> Iterator[Finding]:
    """Readers skip a row group by the bounds in the footer, which no checksum covers.

    Args:
        file: The shard.
        number: Of the row group.
        table: The row group.

    Yields:
        Columns whose bounds leave out their values.

    Raises:
        ValueError: If the footer contradicts itself about a column's type.
    """
    group = file.metadata.row_group(number)
    if group.num_columns != len(file.schema):
        raise ValueError(f"{group.num_columns} columns in a row group, {len(file.schema)} in its schema")
    for index in range(group.num_columns):
        column = group.column(index)
        expected = file.schema.column(index).physical_type
        if column.physical_type != expected:  # asked for its statistics, pyarrow would end the process
            raise ValueError(
                f"{column.path_in_schema} is {column.physical_type} and {expected} in its footer"
            )
        statistics = column.statistics
        if "." in column.path_in_schema or statistics is None or not statistics.has_min_max:
            continue
        actual = pc.min_max(table[column.path_in_schema]).as_py()
        if actual["min"] is None or actual["min"] != actual["min"]:
            continue
        try:
            is_bound = statistics.min <= actual["min"] and actual["max"] <= statistics.max
        except (TypeError, UnicodeError):
            is_bound = False
        if not is_bound:
            yield "damaged", f"the bounds of {column.path_in_schema} in its footer leave out its values"


def has_checksum(source: pa.NativeFile, group: Any) -> bool:
    """Whether the first page of a row group carries a checksum, which pyarrow does not tell.

    A page header in Thrift's compact protocol begins with three numbers: type, size, compressed size. Each
    is a byte 0x15 (the next field, an i32) and a varint; the fourth, if it is there, is the checksum.
    """
    column = group.column(0)
    source.seek(column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset)
    header, at = source.read(64), 0
    for _ in range(3):
        at += 1
        while header[at] & 0x80:
            at += 1
        at += 1
    return bool(header[at] == 0x15)


def _told(shapes: Shapes) -> str:
    named = (part if part == _MASKS[0] else f"{part} {count}" for part, (count, _) in shapes.items())
    return ", ".join(named) or "none"


def _bare(dtype: pa.DataType) -> str:
    """A type without what older versions said otherwise: whether an item may be null."""
    return f"list<{dtype.value_type}>" if pa.types.is_list(dtype) else str(dtype)
