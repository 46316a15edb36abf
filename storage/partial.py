"""What is done of shards that do not stand yet: a killed job goes on at the clip, not at the shard.

A Parquet file is nothing before its last byte. So the rows of each clip that is done are also appended, as
they are, to a file beside the data set, and that goes when the shard stands. Each piece carries a digest:
what a power cut left of a file counts as far as it is whole. An object store has no files that grow; there,
a kill costs the shards at work. Failures are not kept: a clip that failed is tried again.
"""

import errno
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
from extraction.errors import JobError
from extraction.landmarks import FrameStatus
from storage.files import Store
from storage.schema import expect_plain

PARTIAL = "_partial"
_NAME = re.compile(r"shard-(\d{6,})\.([0-9a-zA-Z]{1,8})-[0-9a-f]{8}\.rows")
_HEAD = struct.Struct("<8sQB16s16s")
"""Magic, bytes that follow, whether they are the clip's last, its key, digest of all this and the bytes."""
_MAGIC = b"LMROWS1\n"
_NO_ROW = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration)
"""What bytes that are no row make Arrow and its readers raise."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where one row lies."""

    file: IO[bytes]
    at: int
    size: int
    digest: bytes


@dataclass(slots=True)
class Kept:
    """A clip that an earlier attempt has done.

    Attributes:
        clip_id: Of it.
        frames: Its frame positions.
        unreadable_frames: Of these, frames that could not be read.
        is_own: Whether that attempt was one of this job.
    """

    clip_id: str
    frames: int
    unreadable_frames: int
    is_own: bool
    _schema: pa.Schema
    _pieces: list[_Piece]

    def rows(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Its rows.

        Args:
            schema: What they have to be.

        Raises:
            JobError: If they are something else.
            OSError: If they cannot be read any more.
        """
        if not self._schema.equals(schema):
            raise JobError(
                f"{self._pieces[0].file.name}: {self.clip_id!r}: expected rows as this job makes them, found "
                "other columns: delete this file and run the same command again"
            )
        return map(_read, self._pieces)


class PartialShard:
    """The clips that earlier attempts at a shard have done, and a place for those of this one.

    Args:
        store: The data set's files.
        shard: Number of the shard.
        made_by: The code and options that make the rows; those of others are not taken. "" where nothing
            says what makes them: then nothing is kept.
        job_id: Of the job.
    """

    def __init__(self, store: Store, shard: int, made_by: str, job_id: str) -> None:
        self._store, self._shard, self._made_by, self._job = store, shard, made_by, job_id[:8]
        self._folder = os.path.join(store.root, PARTIAL) if store.is_local and made_by else ""
        self._kept: dict[bytes, Kept] = {}
        self._files: list[IO[bytes]] = []
        self._file: IO[bytes] | None = None
        for name, number, job in _files(self._folder):
            # A file that cannot be read is work to be done again, no more.
            with suppress(OSError):
                if number == shard:
                    self._scan(os.path.join(self._folder, name), job == self._job)

    def __contains__(self, clip: Clip) -> bool:
        return self.get(clip) is not None

    def get(self, clip: Clip) -> Kept | None:
        """A clip, as it is planned now, that an earlier attempt has done; None otherwise."""
        kept = self._kept.get(self._key(clip))
        return kept if kept and kept.clip_id == clip.clip_id else None

    def keeping(self, clip: Clip, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Passes the rows of a clip on, and keeps them.

        Args:
            clip: Whose they are, as it is planned.
            rows: All of its rows.
        """
        if not clip.fingerprint:  # nothing would say that its input is still the same
            yield from rows
            return
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
        for file in (*self._files, *filter(None, [self._file])):
            with suppress(OSError):
                file.close()
        self._files, self._file = [], None

    def _key(self, clip: Clip) -> bytes:
        text = json.dumps([self._made_by, self._shard, asdict(clip)])
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def _append(self, key: bytes, row: pa.RecordBatch, is_last: bool) -> None:
        """Appends a piece; where the disk does not take it, what is here goes, and no more comes."""
        if not self._folder:  # none, or it has refused
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, row.schema) as writer:
            writer.write_batch(row)
        data = sink.getvalue()
        head = (_MAGIC, data.size, int(is_last), key)
        try:
            if self._file is None:
                os.makedirs(self._folder, exist_ok=True)
                name = f"shard-{self._shard:06d}.{self._job}-{uuid.uuid4().hex[:8]}.rows"
                self._file = open(os.path.join(self._folder, name), "wb", buffering=0)  # noqa: SIM115
            for part in (_HEAD.pack(*head, _digest(head, data)), data):
                if self._file.write(part) != len(part):
                    raise OSError("the disk is full")
        except OSError:
            self._folder = ""
            if self._file is not None:
                with suppress(OSError):
                    os.unlink(self._file.name)
                    self._file.close()
            self._file = None

    def _scan(self, path: str, is_own: bool) -> None:
        """Takes note of the clips that are whole in a file; it stays open, as others may delete it."""
        file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._files.append(file)
        at_work: tuple[bytes, Kept] | None = None
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, size, is_last, key, digest = _HEAD.unpack(head)
            at = file.tell()
            if magic != _MAGIC or size > os.fstat(file.fileno()).st_size - at:
                return
            data = file.read(size)
            if len(data) != size or _digest((magic, size, is_last, key), data) != digest:
                return
            try:
                row = _decode(data)
                clip_id, frames = (row.column(name)[0].as_py() for name in ("clip_id", "num_frames"))
                unreadable = row.column("frame_status")[0].as_py().count(FrameStatus.UNREADABLE)
            except _NO_ROW:
                return
            if at_work is None or at_work[0] != key:  # the first row, or the clip before broke off
                at_work = key, Kept(clip_id, 0, 0, is_own, row.schema, [])
            kept = at_work[1]
            if (clip_id, row.schema) != (kept.clip_id, kept._schema):
                return
            kept.frames += frames
            kept.unreadable_frames += unreadable
            kept._pieces.append(_Piece(file, at, size, hashlib.blake2b(data).digest()))
            if is_last:
                self._kept[key], at_work = kept, None


def discard_partial(store: Store, shard: int) -> None:
    """Deletes what all attempts at a shard have left: it stands, or its space is needed."""
    if store.is_local:
        folder = os.path.join(store.root, PARTIAL)
        for name, number, _ in _files(folder):
            if number == shard:
                with suppress(OSError):
                    os.unlink(os.path.join(folder, name))


def sweep_partial(store: Store, waiting: Collection[int]) -> None:
    """Deletes what is left of shards that no longer wait to be made, and the folder where it is empty then.

    Args:
        store: The data set's files.
        waiting: Numbers of the shards that do.
    """
    if not store.is_local:
        return
    folder = os.path.join(store.root, PARTIAL)
    for name, shard, _ in _files(folder):
        if shard not in waiting:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)


def _files(folder: str) -> list[tuple[str, int, str]]:
    """Our files in a folder, with shard and job of each."""
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return []
    found = ((name, _NAME.fullmatch(name)) for name in names)
    return [(name, int(match[1]), match[2]) for name, match in found if match]


def _digest(head: tuple[bytes, int, int, bytes], data: bytes | pa.Buffer) -> bytes:
    digest = hashlib.blake2b(repr(head).encode(), digest_size=16)
    digest.update(data)
    return digest.digest()


def _read(piece: _Piece) -> pa.RecordBatch:
    data = os.pread(piece.file.fileno(), piece.size, piece.at)
    if hashlib.blake2b(data).digest() != piece.digest:
        raise OSError(errno.EIO, "its content has changed since it was looked at", piece.file.name)
    return _decode(data)


def _decode(data: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    expect_plain(batch.schema)
    batch.validate(full=True)
    if batch.num_rows != 1:
        raise ValueError(f"expected one row, found {batch.num_rows}")
    return batch


__all__ = ["PARTIAL", "Kept", "PartialShard", "discard_partial", "sweep_partial"]
