"""Inputs on object stores: what their URIs say, and the stores that they lie in."""

import errno
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from extraction.errors import JobError
from storage.files import Store
from storage.retry import Patience

_REMOTE = re.compile(r"(?!file://)[A-Za-z][A-Za-z0-9+.-]*://")
_IN_PATH = "/~!$&'()*+,;=:@"
"""What RFC 3986 lets stand in a path as it is, beside letters, digits and ``-._``."""
_DENIED = re.compile(
    r"ACCESS_DENIED|AWS Error \[code 133\]|HTTP status 400\) during HeadObject .*No response body"
)
"""Also of an object that is archived (InvalidObjectState, for which Arrow 25 has no name), and of one that is
encrypted with a key of the client's: credentials that have expired would be told by the listing that
:class:`storage.files.Store` asks for where HEAD says so little."""
_READ_TRIES = 3
_READ_AGAIN = Patience()
_CHUNK_BYTES = 16 << 20
"""Of a large file in one request: at 50 ms a request, waiting for the first byte is a tenth of 30 MB/s."""


def is_remote(place: str) -> bool:
    """Whether something is named by a URI that is not of this machine's file system."""
    return bool(_REMOTE.match(place))


def location_of(uri: str) -> str:
    """The place that a URI names, for people and for joining names to it.

    Args:
        uri: As somebody wrote it.

    Returns:
        ``scheme://bucket/path`` without percent-encoding, without a slash at its end, and without the user
        and the query, where credentials may stand.
    """
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(parts.path)}".rstrip("/")


def uri_of(location: str) -> str:
    """Inverse of :func:`location_of`: percent-encoded where a URI has to be."""
    scheme, _, rest = location.partition("://")
    bucket, slash, path = rest.partition("/")
    return f"{scheme}://{bucket}{slash}{quote(path, safe=_IN_PATH)}"


class Stores:
    """The buckets that inputs lie in, each opened when it is first needed; for several threads.

    Args:
        given: URI of the inputs as a person gave it; its user and query say how to reach every bucket of
            its scheme. "" where the environment says all.
        patience: How long to go on with a store that fails.
    """

    def __init__(self, given: str = "", patience: Patience | None = None) -> None:
        self._patience = patience
        parts = urlsplit(given)
        self._scheme, self._query = parts.scheme, parts.query
        self._user = parts.netloc.rpartition("@")[0]
        self._opened: dict[str, Store] = {}
        self._lock = threading.Lock()

    def of(self, location: str) -> tuple[Store, str]:
        """The store of a place, and the place's name in it.

        Args:
            location: As :func:`location_of` gives it.

        Raises:
            JobError: If there is no such store, or no place is named.
        """
        scheme, _, rest = location.partition("://")
        bucket, _, name = rest.partition("/")
        top = f"{scheme}://{bucket}"
        with self._lock:
            if top not in self._opened:
                self._opened[top] = Store(
                    self._with_options(scheme, bucket), self._patience, rights="list and read"
                )
            return self._opened[top], name

    def _with_options(self, scheme: str, bucket: str) -> str:
        if scheme != self._scheme:
            return f"{scheme}://{bucket}"
        user = f"{self._user}@" if self._user else ""
        return f"{scheme}://{user}{bucket}{f'?{self._query}' if self._query else ''}"


class ScratchError(Exception):
    """This machine's disk did not take what came.

    Attributes:
        error: What it said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def fetch(store: Store, name: str, target: str) -> int:
    """Copies a file of a store to this machine, and returns its size in bytes.

    Args:
        store: Where it lies.
        name: Of it.
        target: The file to make.

    Raises:
        FileNotFoundError: If it does not stand.
        JobError: If it cannot be read.
        ScratchError: If it cannot be written here.
    """

    def copy(source: pa.NativeFile) -> int:
        with _of_scratch():
            file = open(target, "wb", buffering=0)  # noqa: SIM115
        size: int = source.size()
        left = size
        with file:
            while left and (data := source.read_buffer(min(left, _CHUNK_BYTES))):
                left -= data.size
                with _of_scratch():
                    if file.write(data) != data.size:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        return size - left

    began = time.monotonic()
    failed = 0
    while True:
        try:
            return store.load(name, copy)
        except (FileNotFoundError, JobError, ScratchError):
            raise
        except Exception as error:
            # What S3 says in the middle of a file is known and was tried again; other stores, and what fsspec
            # takes for them, say all kinds of things.
            failed += 1
            if failed >= _READ_TRIES:
                raise JobError(
                    f"{store.full(name)}: cannot be read: {error or type(error).__name__} (tried {failed} "
                    f"times in {time.monotonic() - began:.0f} s): see to it that the store answers well, "
                    "then run the same command again"
                ) from error
        time.sleep(_READ_AGAIN.pause_s(failed))


@contextmanager
def _of_scratch() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ScratchError(error) from error


def is_denied(error: JobError) -> bool:
    """Whether a store refused this one file or folder, rather than failed, or refused whoever asks."""
    cause = error.__cause__
    denied = isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM)
    return denied or bool(_DENIED.search(str(error)))


def is_no_bucket(error: JobError) -> bool:
    """Whether there is no bucket of that name."""
    return "NO_SUCH_BUCKET" in str(error)


def mtime_ns(info: fs.FileInfo) -> int:
    """When a file was written, in ns, to the second; 0 where the store does not say.

    The listing of some S3 servers says milliseconds, their answer to HEAD seconds.
    """
    return (info.mtime_ns or 0) // 1_000_000_000 * 1_000_000_000
