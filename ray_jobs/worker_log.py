"""Where a worker's native output lies, and how a person gets to see it."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from extraction.errors import JobError
from extraction.native_log import NativeLog
from storage.dataset import LOGS
from storage.files import Store

_SCRATCH = "landmarks-log-"


class WorkerLog:
    """The log of one worker: at once in a local data set, after each shard in one on an object store.

    Args:
        store: The data set's files.
        worker: Name of the worker.

    Attributes:
        native: What its detector's children write to.
    """

    def __init__(self, store: Store, worker: str) -> None:
        self._store, self._worker = store, worker
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if store.is_local:
            folder = os.path.join(store.root, LOGS)
        else:
            _forget_the_dead()
            self._scratch = tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-")
            folder = self._scratch.name
        self.native = NativeLog(os.path.join(folder, f"{worker}.log"))

    def keep(self) -> None:
        """Sees to it that what was written so far stands in the data set."""
        if self._scratch is None:
            return
        for name in os.listdir(self._scratch.name):
            with open(os.path.join(self._scratch.name, name), "rb") as file:
                data = file.read()
            with suppress(JobError):  # a log that cannot be kept costs no shard
                self._store.write(f"{LOGS}/{name}", data, durable=False)


def _forget_the_dead() -> None:
    """Deletes what workers of this machine left that were killed: Ray ends its actors so."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), f"{_SCRATCH}*-*")):
        pid = os.path.basename(folder).removeprefix(_SCRATCH).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class LogTail:
    """Follows the logs of a local data set, from where they end now.

    Args:
        store: The data set's files.
    """

    def __init__(self, store: Store) -> None:
        self._folder = os.path.join(store.root, LOGS)
        self._read_bytes: dict[str, int] = dict(self._sizes())

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """Whole lines written since the last call, each with the name of its worker."""
        for name, size in self._sizes():
            begin = self._read_bytes.get(name, 0)
            rest = b""
            if size < begin:  # it was rotated
                rest, begin = self._bytes(f"{name}.1", begin), 0
            data = self._bytes(name, begin)
            whole = data[: data.rfind(b"\n") + 1]
            self._read_bytes[name] = begin + len(whole)
            for line in (rest + whole).decode("utf-8", "replace").splitlines():
                yield name.removesuffix(".log"), line

    def _bytes(self, name: str, begin: int) -> bytes:
        # A log may be rotated, or deleted, at any moment.
        with suppress(FileNotFoundError), open(os.path.join(self._folder, name), "rb") as file:
            file.seek(begin)
            return file.read()
        return b""

    def _sizes(self) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith(".log"):
                    yield entry.name, entry.stat().st_size
