"""Folders on this machine's disk for what only passes through, gone even when their process was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PREFIX = "ray-landmarks-inputs-"
_LOCK = ".lock"


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Makes a folder below TMPDIR, and deletes it and all in it when the block ends.

    What killed processes left on this machine is deleted first.

    Raises:
        OSError: If it cannot be made.
    """
    sweep_scratch()
    path, lock = _make()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep_scratch() -> int:
    """Deletes the folders of processes that are no more, and returns how many.

    Each living process holds a lock on its folder, which the kernel lets go when the process dies.
    """
    deleted = 0
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX):
                continue
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and entry.stat().st_uid == os.getuid():
                    deleted += _delete_dead(entry.path)
    return deleted


def _delete_dead(path: str) -> bool:
    lock = _take_lock(path)
    if lock is None:
        return False
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)
    return True


def _make() -> tuple[str, int]:
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        # Somebody who sweeps may have been here since, and be about to delete it, or have done so.
        try:
            lock = _take_lock(path)
        except FileNotFoundError:
            continue
        if lock is not None:
            if os.path.exists(os.path.join(path, _LOCK)):
                return path, lock
            os.close(lock)


def _take_lock(path: str) -> int | None:
    lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
