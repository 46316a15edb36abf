"""A folder of files that are either whole or absent: on a local disk, or on an object store."""

import contextlib
import errno
import os
import re
import socket
import uuid
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
from pyarrow import fs

from extraction.clips import printable
from extraction.errors import JobError


class Store:
    """The files of one data set, named relative to its folder.

    Args:
        location: A local path, or a URI that pyarrow's file systems know (``s3://bucket/folder``).

    Attributes:
        location: The same, absolute, as messages show it.
        is_local: Whether it is a folder of this machine's file system.
        filesystem: The pyarrow file system it lies on.
        root: Its path there.
    """

    def __init__(self, location: str) -> None:
        if "://" in location and not location.startswith("file://"):
            try:
                self.filesystem, self.root = fs.FileSystem.from_uri(location)
            except (pa.ArrowInvalid, OSError) as error:
                raise JobError(f"{location}: not a location that can be opened: {error}") from error
            # Without the query and the user, where an access key may stand: this goes into messages.
            self.location, self.is_local = f"{location.partition('://')[0]}://{self.root}", False
        else:
            self.filesystem, self.root = (
                fs.LocalFileSystem(),
                os.path.abspath(location.removeprefix("file://")),
            )
            self.location, self.is_local = self.root, True
            if self.root != printable(self.root):
                raise JobError(f"{self.root!r}: expected a path of valid Unicode: choose another OUT")

    def full(self, name: str) -> str:
        """The whole path or URI of a file, for messages."""
        return f"{self.location}/{name}"

    def expect_writable(self) -> None:
        """Makes sure that files can be written, and leaves nothing.

        Raises:
            JobError: If they cannot.
        """
        above = self.root
        while self.is_local and not os.path.exists(above):
            above = os.path.dirname(above)
        if self.is_local and not os.access(above, os.W_OK | os.X_OK):
            with _explained(self.location):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def exists(self, name: str) -> bool:
        """Whether a file or folder stands.

        Raises:
            JobError: If that cannot be found out: no permission, no connection.
        """
        try:
            return bool(self.filesystem.get_file_info(self._path(name)).type != fs.FileType.NotFound)
        except OSError as error:
            raise JobError(
                f"{self.full(name)}: cannot be reached: {_what(error)}. See to it that it can be read and "
                "written, then run the same command again"
            ) from error

    def is_file(self, name: str) -> bool:
        """Whether a file, not a folder, stands."""
        return bool(self.filesystem.get_file_info(self._path(name)).type == fs.FileType.File)

    def modified(self, name: str) -> float:
        """Unix time at which a file was written last; 0 where it does not stand."""
        return (self.filesystem.get_file_info(self._path(name)).mtime_ns or 0) / 1e9

    def entries(self) -> list[str]:
        """Names of the files and folders at the top; none where the store is not there yet."""
        if self.is_local:
            return os.listdir(self.root) if os.path.isdir(self.root) else []
        selector = fs.FileSelector(self.root, allow_not_found=True)
        return [info.base_name for info in self.filesystem.get_file_info(selector)]

    def names(self, folder: str) -> Iterator[str]:
        """Names of all files below a folder, relative to the store; none where there is no such folder."""
        if self.is_local:
            yield from _names_local(self.root, self._path(folder))
            return
        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        for info in self.filesystem.get_file_info(selector):
            if info.type == fs.FileType.File:
                yield info.path[len(self.root.rstrip("/")) + 1 :]

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: If it does not stand.
        """
        with self.filesystem.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> pa.NativeFile:
        """Opens a file for reading at random."""
        return self.filesystem.open_input_file(self._path(name))

    @contextlib.contextmanager
    def create(self, name: str, durable: bool = True) -> Iterator[IO[bytes]]:
        """Opens a new file that will be whole or absent, whenever this process dies.

        On a local disk: a temporary name, fsync, rename. Elsewhere: one PUT of the finished bytes. An
        exception inside the ``with`` block leaves nothing.

        Args:
            name: Of the file.
            durable: Whether it must survive a power cut as well.

        Raises:
            JobError: If the store refuses: full, read-only, gone.
        """
        with _explained(self.full(name)):
            if self.is_local:
                with _create_local(self._path(name), durable) as file:
                    yield file
            else:
                sink = pa.BufferOutputStream()
                yield sink
                with self.filesystem.open_output_stream(self._path(name)) as stream:
                    stream.write(sink.getvalue())

    def write(self, name: str, data: bytes, durable: bool = True) -> None:
        """Writes a small file whole or not at all; see :meth:`create`."""
        with self.create(name, durable) as file:
            file.write(data)

    def delete(self, name: str) -> None:
        """Deletes a file; no harm where there is none. Refused, it is the error of :meth:`create`."""
        with _explained(self.full(name)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        """Deletes a folder and all in it; as :meth:`delete`."""
        with _explained(self.full(name)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_dir(self._path(name))

    def sweep(self) -> int:
        """Deletes temporary files that a killed process left, and returns how many."""
        left = [name for name in self.names("") if is_temporary(name)]
        for name in left:
            self.delete(name)
        return len(left)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root


def _names_local(root: str, folder: str) -> Iterator[str]:
    # Not by pyarrow, which cannot list a folder that somebody else has put a name into that is no UTF-8.
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for place, _, files in os.walk(folder, onerror=refuse):
        for file in files:
            yield os.path.join(place, file)[len(root.rstrip("/")) + 1 :]


@contextlib.contextmanager
def _create_local(path: str, durable: bool) -> Iterator[IO[bytes]]:
    folder, base = os.path.split(path)
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = os.path.join(folder, f".{base}.{owner}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


_TEMPORARY = re.compile(r"\..+\.[^/]+-\d+-[0-9a-f]{8}\.tmp")  # .NAME.HOST-PID-RANDOM.tmp
_ADVICE = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "that file system is read-only: mount it for writing, or choose another OUT",
    errno.EACCES: "give yourself permission to write there, or choose another OUT",
    errno.EPERM: "give yourself permission to write there, or choose another OUT",
}


@contextlib.contextmanager
def _explained(location: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "see to it that it can be written")
        raise JobError(
            f"{location}: cannot be written: {_what(error)}. All shards that stand are whole: {advice}, "
            "then run the same command again to go on"
        ) from error


def _what(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file not yet whole, as :meth:`Store.create` gives it."""
    return bool(_TEMPORARY.fullmatch(os.path.basename(name)))


def _sync_folder(folder: str) -> None:
    # Without this a power cut can forget the rename although the file's bytes are safe.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
