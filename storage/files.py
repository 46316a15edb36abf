"""A folder of files that are either whole or absent: on a local disk, or on an object store."""

import contextlib
import copy
import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, TypeVar

import pyarrow as pa
from pyarrow import fs

from extraction.clips import from_uri, printable
from extraction.errors import JobError
from storage import local, s3
from storage.local import is_temporary
from storage.retry import NO_PATIENCE, Patience, advice, can_pass, is_of_store, patiently, said

_T = TypeVar("_T")

_FIRST_ANSWER_S = 15.0
"""Longest wait for a place that has not answered yet: a name may be wrong, and a person waits."""


class Store:
    """The files of one data set, named relative to its folder.

    What fails in a way that can pass is tried again. What is refused, or fails for too long, is a JobError
    that says what to mend; only :class:`FileNotFoundError` is left as it is.

    Args:
        location: A local path, or a URI that pyarrow's file systems know (``s3://bucket/folder``).
        patience: How long to go on with a place that fails.
        rights: What will be done there, for who has to be given the right to.

    Attributes:
        location: The same, absolute, as messages show it.
        is_local: Whether it is a folder of this machine's file system.
        filesystem: The pyarrow file system it lies on, for readers that go through many files by themselves;
            it tries again by itself.
        root: Its path there.
    """

    def __init__(
        self, location: str, patience: Patience | None = None, rights: str = "list, read, write and delete"
    ) -> None:
        self._patience, self._rights = patience or Patience(), rights
        if "://" in location and not location.startswith("file://"):
            s3.expect_place(location)
            shown = s3.without_secrets(location)
            try:
                opened = patiently(partial(s3.open_uri, location), self._patience, shown)
            except (pa.ArrowInvalid, OSError) as error:
                raise JobError(
                    f"{shown}: not a location that can be opened: {s3.said_of(location, error)}"
                ) from error
            self.filesystem, self._direct, self._small, self.root = opened
            self.location, self.is_local = f"{location.partition('://')[0]}://{self.root}", False
        else:
            self.filesystem = self._direct = self._small = fs.LocalFileSystem()
            self.root = os.path.abspath(from_uri(location))
            self.location, self.is_local = self.root, True
            if self.root != printable(self.root):
                raise JobError(f"{self.root!r}: expected a path of valid Unicode: choose another OUT")

    @property
    def impatient(self) -> "Store":
        """The same files, but what fails is not tried again: for what will be done again soon anyway."""
        return self.with_patience(NO_PATIENCE)

    def with_patience(self, patience: Patience) -> "Store":
        """The same files with another patience."""
        other = copy.copy(self)
        other._patience = patience
        return other

    def full(self, name: str) -> str:
        """The whole path or URI of a file, for messages."""
        return f"{self.location}/{name}" if name else self.location

    def expect_reachable(self, name: str = "") -> None:
        """Makes sure, in seconds, that anything answers there at all.

        Args:
            name: What will be looked at there; who may see it may not always see the store as a whole.

        Raises:
            JobError: If nothing does, or there is no such bucket.
        """
        hasty = self.with_patience(Patience(total_s=min(self._patience.total_s, _FIRST_ANSWER_S)))
        if hasty.exists(name):
            return
        bucket = self.root.partition("/")[0]
        if self._direct.type_name == "s3":
            with contextlib.suppress(OSError):  # who may see a folder may not always see the bucket
                if self._direct.get_file_info(bucket).type == fs.FileType.NotFound:
                    raise JobError(
                        f"{self.location}: there is no bucket {bucket!r}: create it, or mend its name, its "
                        "region or the endpoint"
                    )

    def expect_writable(self) -> None:
        """Makes sure that files can be written, and leaves nothing.

        Raises:
            JobError: If they cannot.
        """
        above = self.root
        while self.is_local and not os.path.exists(above):
            above = os.path.dirname(above)
        if self.is_local and not os.access(above, os.W_OK | os.X_OK):
            raise self._refused("", "written", PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def exists(self, name: str) -> bool:
        """Whether a file or folder stands.

        Raises:
            JobError: If that cannot be found out: no permission, no connection.
        """
        return bool(self._info(name).type != fs.FileType.NotFound)

    def is_file(self, name: str) -> bool:
        """Whether a file, not a folder, stands."""
        return bool(self._info(name).type == fs.FileType.File)

    def modified(self, name: str) -> float:
        """Unix time at which a file was written last; 0 where it does not stand."""
        return (self._info(name).mtime_ns or 0) / 1e9

    def _info(self, name: str) -> fs.FileInfo:
        return self._ask(name, "reached", lambda: self._direct.get_file_info(self._path(name)))

    def entries(self) -> list[str]:
        """Names of the files and folders at the top; none where the store is not there yet."""
        if self.is_local:
            return self._ask("", "listed", lambda: os.listdir(self.root) if os.path.isdir(self.root) else [])
        selector = fs.FileSelector(self.root, allow_not_found=True)
        return [
            info.base_name for info in self._ask("", "listed", lambda: self._direct.get_file_info(selector))
        ]

    def names(self, folder: str) -> Iterator[str]:
        """Names of all files below a folder, relative to the store; none where there is no such folder."""
        if self.is_local:
            yield from self._ask(folder, "listed", lambda: local.names(self.root, self._path(folder)))
            return
        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        for info in self._ask(folder, "listed", lambda: self._direct.get_file_info(selector)):
            if info.type == fs.FileType.File:
                yield info.path[len(self.root.rstrip("/")) + 1 :]

    def info(self, name: str) -> fs.FileInfo:
        """What is known of a file or folder without reading it."""
        return self._info(name)

    def infos(self, folder: str) -> list[tuple[str, fs.FileInfo]]:
        """What is known of all that stands in a folder, with its name there.

        Raises:
            FileNotFoundError: If nothing stands there.
            JobError: If it cannot be listed.
        """
        selector = fs.FileSelector(self._path(folder))
        return [
            (info.base_name, info)
            for info in self._ask(folder, "listed", lambda: self._direct.get_file_info(selector))
        ]

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: If it does not stand.
            JobError: If it cannot be read.
        """

        def read() -> bytes:
            with self._direct.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())

        return self._ask(name, "read", read)

    def load(self, name: str, reader: Callable[[pa.NativeFile], _T]) -> _T:
        """Reads a file with a reader of its own, from its beginning again where that fails but can pass.

        Args:
            name: Of the file.
            reader: Gets the open file.

        Returns:
            What the reader returned.

        Raises:
            FileNotFoundError: If the file does not stand.
            JobError: If it cannot be read.
            Exception: Whatever the reader says of the content, an OSError of Arrow's included.
        """

        def read() -> _T:
            with self._direct.open_input_file(self._path(name)) as file:
                try:
                    return reader(file)
                except OSError as error:
                    if is_of_store(error):
                        raise
                    raise _ContentError(error) from error

        try:
            return self._ask(name, "read", read)
        except _ContentError as wrapped:
            raise wrapped.error from None

    def open(self, name: str) -> pa.NativeFile:
        """Opens a file for reading at random; what that meets later is not tried again: see :meth:`load`."""
        return self._ask(name, "read", lambda: self.filesystem.open_input_file(self._path(name)))

    @contextlib.contextmanager
    def create(
        self, name: str, durable: bool = True, before_retry: Callable[[], None] = lambda: None
    ) -> Iterator[IO[bytes]]:
        """Opens a new file that will be whole or absent, whenever this process dies.

        On a local disk: a temporary name, fsync, rename. Elsewhere: the finished bytes are sent from memory,
        again where that fails in a way that can pass. An exception inside the ``with`` block leaves nothing.

        Args:
            name: Of the file.
            durable: Whether it must survive a power cut as well.
            before_retry: Called before the finished bytes are sent again, which may be minutes after the
                block; raise in it to leave nothing.

        Raises:
            JobError: If the store refuses: full, read-only, gone.
        """
        try:
            if self.is_local:
                with local.create(self._path(name), durable, self._patience) as file:
                    yield file
            else:
                sink = pa.BufferOutputStream()
                yield sink
                data = sink.getvalue()
                self._ask(name, "written", lambda: self._send(name, data), before_retry)
        except OSError as error:
            raise self._refused(name, "written", error) from error

    def _send(self, name: str, data: pa.Buffer) -> None:
        filesystem = self._small if data.size <= s3.SMALL_BYTES else self._direct

        def send() -> None:
            with filesystem.open_output_stream(self._path(name)) as stream:
                stream.write(data)

        # In a thread of its own: a KeyboardInterrupt between the two lines would close the stream, and a
        # stream that is closed before it was written to makes an empty object visible.
        with ThreadPoolExecutor(1) as alone:
            alone.submit(send).result()

    def write(self, name: str, data: bytes, durable: bool = True) -> None:
        """Writes a small file whole or not at all; see :meth:`create`."""
        with self.create(name, durable) as file:
            file.write(data)

    def delete(self, name: str) -> None:
        """Deletes a file; no harm where there is none. Refused, it is the error of :meth:`create`."""
        with contextlib.suppress(FileNotFoundError):
            self._ask(name, "written", lambda: self._direct.delete_file(self._path(name)))

    def delete_folder(self, name: str) -> None:
        """Deletes a folder and all in it; as :meth:`delete`."""
        with contextlib.suppress(FileNotFoundError):
            self._ask(name, "written", lambda: self._direct.delete_dir(self._path(name)))

    def sweep(self) -> int:
        """Deletes temporary files that a killed process left, and returns how many."""
        left = [name for name in self.names("") if is_temporary(name)]
        for name in left:
            self.delete(name)
        return len(left)

    def _ask(
        self,
        name: str,
        deed: str,
        action: Callable[[], _T],
        before_retry: Callable[[], object] = lambda: None,
    ) -> _T:
        """Has the file system do something, with patience; what it refuses for good is a JobError."""
        began = time.monotonic()
        try:
            return patiently(action, self._patience, self.full(name), before_retry)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refused(name, deed, error, time.monotonic() - began) from error

    def _refused(self, name: str, deed: str, error: OSError, passed_s: float = 0.0) -> JobError:
        error = self._more_of(error)
        why = said(error)
        if can_pass(error) and passed_s >= 1:
            why += f" (tried again for {passed_s:.0f} s)"
        if deed == "written":
            return JobError(
                f"{self.full(name)}: cannot be written: {why}. All shards that stand are whole: "
                f"{advice(error, 'write', self._rights)}, then run the same command again to go on"
            )
        return JobError(
            f"{self.full(name)}: cannot be {deed}: {why}: {advice(error, 'read', self._rights)}, then run "
            "the same command again"
        )

    def _more_of(self, error: OSError) -> OSError:
        """The same refusal with its reason, where S3 could not say it: answers to HEAD have no body."""
        if "No response body" in str(error) and not can_pass(error):
            try:
                self._direct.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
            except OSError as told:
                return told
        return error

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root


class _ContentError(Exception):
    """Carries what a reader says of a file's content past those who look for what can pass."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


__all__ = ["Store", "is_temporary"]
