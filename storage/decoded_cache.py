"""Decoded landmarks on the local disk, for who reads a data set many times: each shard is decoded once.

A file holds one part of one shard: a plain ``.npy`` of float32 (frames, points, 3), clips in its order.
It is named by the shard's fingerprint, so that a shard that was written anew is never taken for the old one.
Files are mapped, not read: all processes of a machine share what the kernel keeps of them.

::

    CACHE/<digest of the data set's place>/shard-000123.<fingerprint>.pose.npy
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage import local
from storage.clip_index import ClipIndex, ClipPlace, fingerprint, written_anew
from storage.dataset import Dataset
from storage.layout import PointLayout
from storage.retry import NO_PATIENCE
from storage.shards import damaged_shard
from storage.signals import Floats

_NPY: Any = np.lib.format
_BYTES_A_POINT = 12
_HEADER_BYTES = 128
"""Of a .npy file: NumPy pads the header to a multiple of 64, and that of such an array has some 80."""
_OPEN_MAPS = 4096
"""Linux gives a process 65,530 (vm.max_map_count), and all else in it needs some."""


class CachedReader:
    """Reads the points of clips from decoded shards, and decodes those that nobody has decoded yet.

    What it returns is bit for bit that of :class:`storage.clip_index.PointReader`. Any number of threads and
    processes may read and fill one cache at once.

    Args:
        location: The data set's folder, or a URI.
        layout: Which points.
        index: Of the splits to be read, with fingerprints.
        cache: A folder on a local disk.

    Attributes:
        folder: Where in it this data set's files lie.

    Raises:
        JobError: If there can be no cache.
    """

    def __init__(self, location: str, layout: PointLayout, index: ClipIndex, cache: str) -> None:
        self._location = location
        self._layout = layout
        self._num_points = index.num_points
        self._fingerprints = index.fingerprints
        self._frames = {place.shard: place.shard_frame + place.num_frames for place in index.places}
        self._maps: dict[tuple[str, str], Floats] = {}
        self.folder = _folder(location, cache)
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}

    def points(self, place: ClipPlace) -> Floats:
        """The points of a clip.

        Returns:
            A new float32 (T, N, 3) array, NaN where absent.

        Raises:
            JobError: If its shard cannot be read, or the cache not be written.
        """
        frames = slice(place.shard_frame, place.shard_frame + place.num_frames)
        return self._layout.join({part: self._map(place.shard, part)[frames] for part in self._layout.parts})

    @property
    def shards(self) -> list[str]:
        """Names of all shards with clips."""
        return list(self._frames)

    def num_bytes(self, shard: str) -> int:
        """What the chosen parts of a shard take here."""
        return sum(_HEADER_BYTES + self._values_bytes(shard, part) for part in self._layout.parts)

    def fill(self, shard: str) -> int:
        """Decodes what is missing of a shard.

        Returns:
            Bytes that were written.

        Raises:
            JobError: As :meth:`points`.
        """
        if not self._missing(shard):
            return 0
        try:
            with _alone(os.path.join(self.folder, f"{stem(shard, self._fingerprints[shard])}.lock")):
                missing = self._missing(shard)
                self._write(shard, missing)
        except OSError as error:
            raise self._refused(error) from error
        return sum(_HEADER_BYTES + self._values_bytes(shard, part) for part in missing)

    def expect_room(self) -> None:
        """Makes sure, before hours of work, that the disk has room for all that is missing.

        Raises:
            JobError: If it has not.
        """
        missing = sum(
            _HEADER_BYTES + self._values_bytes(shard, part)
            for shard in self._frames
            for part in self._missing(shard)
        )
        if missing > shutil.disk_usage(self.folder).free:
            raise self._refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _missing(self, shard: str) -> list[str]:
        return [part for part in self._layout.parts if self._opened(shard, part) is None]

    def _map(self, shard: str, part: str) -> Floats:
        found = self._maps.get((shard, part))
        if found is None:
            found = self._opened(shard, part)
            if found is None:
                self.fill(shard)
                found = self._opened(shard, part)
            if found is None:
                raise JobError(
                    f"{self._path(shard, part)}: was written and is not there: expected that nothing else "
                    "deletes files of the cache: give another folder as cache, or none"
                )
            if len(self._maps) >= _OPEN_MAPS:
                self._maps.clear()
            self._maps[shard, part] = found
        return found

    def _opened(self, shard: str, part: str) -> Floats | None:
        """The mapped file; None where there is none, or one that was cut short or is something else."""
        path, shape = self._path(shard, part), (self._frames[shard], self._num_points[part], 3)
        try:
            if os.path.getsize(path) != _HEADER_BYTES + self._values_bytes(shard, part):
                return None
            mapped = _NPY.open_memmap(path, mode="r")
        except (OSError, ValueError):
            return None
        is_ours = mapped.shape == shape and mapped.dtype == np.float32 and mapped.flags.c_contiguous
        return np.asarray(mapped) if is_ours else None

    def _write(self, shard: str, parts: list[str]) -> None:
        """All parts at once: most of the work beside decoding is to understand the shard's footer."""
        sizes = {part: self._values_bytes(shard, part) for part in parts}
        with contextlib.ExitStack() as stack:
            files = {
                part: stack.enter_context(local.create(self._path(shard, part), True, NO_PATIENCE))
                for part in parts
            }
            for part, file in files.items():
                _make_room(file.fileno(), _HEADER_BYTES + sizes[part])
                file.write(_header((self._frames[shard], self._num_points[part], 3)))
            for part, values in self._decoded(shard, parts):
                files[part].write(values.data)
                sizes[part] -= values.nbytes
            if any(sizes.values()):
                raise self._changed(shard)

    def _decoded(self, shard: str, parts: list[str]) -> Iterator[tuple[str, Floats]]:
        """Part and float32 values of one dimension, row group after row group."""
        dataset = Dataset(self._location)
        try:
            self._expect_same(dataset, shard)
            with dataset.store.open(shard) as source:
                file = pq.ParquetFile(source, pre_buffer=not dataset.store.is_local)
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=parts, use_threads=False)
                    for part in parts:
                        for chunk in table.column(part).chunks:
                            yield part, chunk.flatten().to_numpy()
            self._expect_same(dataset, shard)
        except FileNotFoundError as error:
            raise self._changed(shard) from error
        except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
            raise damaged_shard(dataset.store, shard, error) from error

    def _expect_same(self, dataset: Dataset, shard: str) -> None:
        if fingerprint(dataset, shard) != self._fingerprints[shard]:
            raise self._changed(shard)

    def _path(self, shard: str, part: str) -> str:
        # Quoted: a part is named by whoever made the data set.
        return os.path.join(self.folder, f"{stem(shard, self._fingerprints[shard])}.{quote(part, '')}.npy")

    def _values_bytes(self, shard: str, part: str) -> int:
        return self._frames[shard] * self._num_points[part] * _BYTES_A_POINT

    def _changed(self, shard: str) -> JobError:
        return written_anew(self._location, shard)

    def _refused(self, error: OSError) -> JobError:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = sum(map(self.num_bytes, self._frames)) / 1e9
            free = shutil.disk_usage(self.folder).free / 1e9
            return JobError(
                f"{self.folder}: the cache cannot be written: {why}: these parts of these splits take "
                f"{need:.3g} GB decoded, {free:.3g} GB are free: make room, read fewer parts or splits, "
                "give a folder on another disk as cache, or none"
            )
        return JobError(
            f"{self.folder}: the cache cannot be written: {why}: expected a folder on a local disk that may "
            "be written to: give another one as cache, or none"
        )


def stem(shard: str, its_fingerprint: str) -> str:
    """How the names of a shard's files begin, whatever the part."""
    return f"{os.path.basename(shard).removesuffix('.parquet')}.{its_fingerprint}"


def _folder(location: str, cache: str) -> str:
    if "://" in cache:
        raise JobError(
            f"cache {cache!r}: expected a folder on a local disk, found a URI: its files are mapped"
        )
    store = Dataset(location).store
    folder = os.path.abspath(cache)
    if store.is_local and os.path.commonpath([folder, store.root]) == store.root:
        raise JobError(
            f"cache {cache!r}: expected a folder outside of the data set {store.location}: give another one"
        )
    digest = hashlib.blake2b(store.location.encode(), digest_size=8).hexdigest()
    return os.path.join(folder, digest)


def _header(shape: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    about = {"descr": _NPY.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
    _NPY.write_array_header_1_0(file, about)
    header = file.getvalue()
    if len(header) != _HEADER_BYTES:
        raise ValueError(f"expected a .npy header of {_HEADER_BYTES} bytes, found {len(header)}")
    return header


def _make_room(descriptor: int, size: int) -> None:
    """Has the disk say at once that it is full."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """While others who fill the same file wait; where there are no locks, work is done twice at worst."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)
