"""Where a worker's native output lies, and how a person gets to see it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from extraction.errors import JobError
from extraction.native_log import NativeLog
from storage.dataset import LOGS
from storage.files import Store


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
            self._scratch = tempfile.TemporaryDirectory(prefix="landmarks-log-")
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


class LogTail:
    """Follows the logs of a local data set, from where they end now.

    Args:
        store: The data set's files.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read_bytes: dict[str, int] = dict(self._sizes())

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """Whole lines written since the last call, each with the name of its worker."""
        for name, size in self._sizes():
            begin = self._read_bytes.get(name, 0)
            begin = 0 if size < begin else begin  # it was rotated
            try:
                with open(os.path.join(self._store.root, LOGS, name), "rb") as file:
                    file.seek(begin)
                    data = file.read(size - begin)
            except FileNotFoundError:  # it is being rotated, or was deleted
                continue
            whole = data[: data.rfind(b"\n") + 1]
            self._read_bytes[name] = begin + len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                yield name.removesuffix(".log"), line

    def _sizes(self) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError), os.scandir(os.path.join(self._store.root, LOGS)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith(".log"):
                    yield entry.name, entry.stat().st_size
