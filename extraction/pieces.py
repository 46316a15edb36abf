"""The landmarks of one clip on their way from the child to the writer."""

import tempfile
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import IO

from extraction.landmarks import ClipLandmarks

_SPOOL_BYTES = 256 << 20


class Pieces:
    """The pieces of one clip in order, kept as bytes, on disk beyond 256 MiB: a long video fits."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._lengths: list[int] = []

    def __del__(self) -> None:
        self._file.close()

    def append(self, pickled: bytes) -> None:
        """Adds one piece as the child pickled it."""
        self._file.write(pickled)
        self._lengths.append(len(pickled))

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[ClipLandmarks]:
        self._file.seek(0)
        for length in self._lengths:
            yield ForkingPickler.loads(self._file.read(length))
