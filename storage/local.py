"""Files of a local disk, or of one that the kernel makes look local: whole or absent."""

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Iterator
from functools import partial
from typing import IO

from storage.retry import Patience, patiently

_TEMPORARY = re.compile(r"\..+\.[^/]+-\d+-[0-9a-f]{8}\.tmp")  # .NAME.HOST-PID-RANDOM.tmp


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file not yet whole, as :func:`create` gives it."""
    return bool(_TEMPORARY.fullmatch(os.path.basename(name)))


def names(root: str, folder: str) -> list[str]:
    """Names of all files below a folder, relative to the root; none where there is no such folder.

    Raises:
        OSError: If a folder cannot be listed.
    """

    # Not by pyarrow, which cannot list a folder that somebody else has put a name into that is no UTF-8.
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    above = len(root.rstrip("/")) + 1
    return [
        os.path.join(place, file)[above:]
        for place, _, files in os.walk(folder, onerror=refuse)
        for file in files
    ]


@contextlib.contextmanager
def create(path: str, durable: bool, patience: Patience) -> Iterator[IO[bytes]]:
    """Opens a new file that will be whole or absent; see :meth:`storage.files.Store.create`.

    What fails while bytes are written is never tried again: that could hide a full disk.

    Raises:
        OSError: If the disk refuses.
    """
    folder, base = os.path.split(path)
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary = os.path.join(folder, f".{base}.{owner}.tmp")

    def begin() -> IO[bytes]:
        os.makedirs(folder, exist_ok=True)
        return open(temporary, "wb")

    try:
        with patiently(begin, patience, path) as file:
            yield file
            file.flush()
            if durable:
                # Never a second time: after an fsync that failed, another one can succeed although the
                # bytes are lost, because the kernel has let go of them.
                os.fsync(file.fileno())
            written = os.fstat(file.fileno())
        patiently(partial(_put_in_place, temporary, path, written), patience, path)
        if durable:
            _sync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _put_in_place(temporary: str, path: str, written: os.stat_result) -> None:
    """Renames; once more is no error, where a network file system lost only the answer."""
    try:
        os.replace(temporary, path)
    except FileNotFoundError:
        if not os.path.samestat(os.stat(path), written):
            raise


def _sync_folder(folder: str) -> None:
    # Without this a power cut can forget the rename although the file's bytes are safe.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
