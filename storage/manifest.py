"""Reading a manifest of clips from Parquet."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError


def read_parquet_manifest(path: str, data: bytes | None = None) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Reads the rows of a Parquet manifest.

    Args:
        path: A local file.
        data: What stands in it, where it lies elsewhere and ``path`` is its name for messages only.

    Yields:
        The row's number from 1, and its values by column name.

    Raises:
        JobError: If the file cannot be read as Parquet.
    """
    number = 0
    for batch in _batches(path, data):
        for row in batch:
            number += 1
            yield number, row


def _batches(path: str, data: bytes | None) -> Iterator[list[dict[str, object]]]:
    try:
        for batch in pq.ParquetFile(path if data is None else pa.BufferReader(data)).iter_batches():
            yield batch.to_pylist()
    except (OSError, pa.ArrowException, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        # ValueError: text that is not UTF-8, a time that Python cannot express.
        raise JobError(f"{path}: expected a Parquet manifest with clip_id and uri: {error}") from error
