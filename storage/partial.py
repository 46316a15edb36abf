"""What is done of shards that do not stand yet: a killed job goes on at the clip, not at the shard.

A Parquet file is nothing before its last byte. So the rows of each clip that is done are also appended, as
they are, to a file beside the data set, and that goes when the shard stands. Each piece carries a digest:
what a power cut left of a file counts as far as it is whole. An object store has no files that grow; there,
a kill costs the shards at work.
"""

import hashlib
import json
import os
import re
import struct
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO

import pyarrow as pa

from extraction.clips import Clip
from storage.files import Store
from storage.schema import expect_plain

PARTIAL = "_partial"
_NAME = re.compile(r"shard-(\d{6,})\.[0-9a-f]{8}\.rows")
_HEAD = struct.Struct("<8sQB16s16s")
"""Magic, bytes that follow, whether they are the clip's last, its key, digest of all this and the bytes."""
_MAGIC = b"LMROWS1\n"


@dataclass(frozen=True, slots=True)
class _Piece:
    path: str
    at: int
    size: int


@dataclass(slots=True)
class _Kept:
    """Where the rows of one clip lie, and how many frames they are."""

    pieces: list[_Piece]
    frames: int


class PartialShard:
    """The clips that earlier attempts at a shard have done, and a place for those of this one.

    Args:
        store: The data set's files.
        shard: Number of the shard.
        made_by: The code and options that make the rows; those of others are not taken.
    """

    def __init__(self, store: Store, shard: int, made_by: str) -> None:
        self._folder = os.path.join(store.root, PARTIAL) if store.is_local else ""
        self._shard, self._made_by = shard, made_by
        self._kept: dict[bytes, _Kept] = {}
        self._file: IO[bytes] | None = None
        for path in self._paths():
            # A file that cannot be read is work to be done again, no more.
            with suppress(OSError):
                self._scan(path)

    def __contains__(self, clip: Clip) -> bool:
        return self._key(clip) in self._kept

    def rows(self, clip: Clip) -> tuple[Iterator[pa.RecordBatch], int]:
        """The rows of a clip that an earlier attempt has done, and how many frames they are.

        Args:
            clip: One that is ``in`` this shard, as it is planned now.
        """
        kept = self._kept[self._key(clip)]
        return map(_read, kept.pieces), kept.frames

    def keeping(self, clip: Clip, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Passes the rows of a clip on, and keeps them.

        Args:
            clip: Whose they are, as it is planned.
            rows: All of its rows.
        """
        key, before = self._key(clip), None
        for row in rows:
            if before is not None:
                self._append(key, before, is_last=False)
                yield before
            before = row
        if before is not None:
            self._append(key, before, is_last=True)
            yield before

    def close(self) -> None:
        """Leaves what is done for the next attempt."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def discard(self) -> None:
        """The shard stands: deletes what all attempts at it have left."""
        self.close()
        for path in self._paths():
            with suppress(OSError):
                os.unlink(path)

    def _paths(self) -> list[str]:
        return [
            os.path.join(self._folder, name) for name, shard in _files(self._folder) if shard == self._shard
        ]

    def _key(self, clip: Clip) -> bytes:
        text = json.dumps([self._made_by, self._shard, asdict(clip)])
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def _append(self, key: bytes, row: pa.RecordBatch, is_last: bool) -> None:
        """Appends a piece; where the disk does not take it, what is here goes, and no more comes."""
        if not self._folder:
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, row.schema) as writer:
            writer.write_batch(row)
        data = sink.getvalue()
        head = (_MAGIC, data.size, int(is_last), key)
        try:
            if self._file is None:
                os.makedirs(self._folder, exist_ok=True)
                name = f"shard-{self._shard:06d}.{uuid.uuid4().hex[:8]}.rows"
                self._file = open(os.path.join(self._folder, name), "wb", buffering=0)  # noqa: SIM115
            for part in (_HEAD.pack(*head, _digest(head, data)), data):
                if self._file.write(part) != len(part):
                    raise OSError("the disk is full")
        except OSError:
            self._folder = ""
            if self._file is not None:
                with suppress(OSError):
                    os.unlink(self._file.name)
            self.close()

    def _scan(self, path: str) -> None:
        """Takes note of the clips that are whole in a file."""
        with open(path, "rb", buffering=0) as file:
            pieces: list[_Piece] = []
            frames, at_work = 0, b""
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                magic, size, is_last, key, digest = _HEAD.unpack(head)
                piece = _Piece(path, file.tell(), size)
                if magic != _MAGIC or size > os.fstat(file.fileno()).st_size - piece.at:
                    return
                if key != at_work:  # the one before broke off
                    pieces, frames, at_work = [], 0, key
                data = file.read(size)
                if len(data) != size or _digest((magic, size, is_last, key), data) != digest:
                    return
                try:
                    frames += _decode(data).column("num_frames")[0].as_py()
                except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
                    return
                pieces.append(piece)
                if is_last:
                    self._kept[key], at_work = _Kept(pieces, frames), b""


def sweep_partial(store: Store, waiting: Collection[int] | None = None) -> None:
    """Deletes what is left of shards that no longer wait to be made, and the folder where it is empty then.

    Args:
        store: The data set's files.
        waiting: Numbers of the shards that do; None where all may.
    """
    if not store.is_local:
        return
    folder = os.path.join(store.root, PARTIAL)
    for name, shard in _files(folder):
        if waiting is not None and shard not in waiting:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)


def _files(folder: str) -> list[tuple[str, int]]:
    """Our files in a folder, with the shard of each."""
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return []
    return [(name, int(match[1])) for name in names if (match := _NAME.fullmatch(name))]


def _digest(head: tuple[bytes, int, int, bytes], data: bytes | pa.Buffer) -> bytes:
    digest = hashlib.blake2b(repr(head).encode(), digest_size=16)
    digest.update(data)
    return digest.digest()


def _read(piece: _Piece) -> pa.RecordBatch:
    with open(piece.path, "rb", buffering=0) as file:
        file.seek(piece.at)
        return _decode(file.read(piece.size))


def _decode(data: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    expect_plain(batch.schema)
    batch.validate(full=True)
    return batch


__all__ = ["PARTIAL", "PartialShard", "sweep_partial"]
