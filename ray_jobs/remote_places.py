"""Looking for clips on an object store."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyarrow import fs

from extraction.errors import JobError
from extraction.sources.frame_folder import FrameFolder, fingerprint, sort_out
from storage.stores import Stores, is_denied, is_no_bucket, mtime_ns, uri_of

_AT_ONCE = 16
_MANY_ROWS = 100
"""From so many inputs in one folder on, the folder is listed instead of asking for each: a request of a
listing names 1,000 of them."""

_File = tuple[int, int]
"""Size in bytes and modification time in ns."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or folder of a listing, with the face of an :class:`os.DirEntry`.

    Attributes:
        name: Without the folder's.
        file: None for a folder.
    """

    name: str
    file: _File | None = None

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.file is None

    def is_symlink(self) -> bool:
        """Object stores have none."""
        return False

    def stat(self) -> os.stat_result:
        """Kind, size and time."""
        size, time_ns = self.file or (0, 0)
        return os.stat_result((stat.S_IFREG, 0, 0, 0, 0, 0, size, 0, 0, 0), {"st_mtime_ns": time_ns})


class RemotePlaces:
    """Object stores, as :mod:`extraction.sources` looks at them; paths are URIs without percent-encoding.

    A folder is a listing of its own, and many are asked for at once. One listing of a whole tree would be
    fewer requests, but each of them has to wait for the one before: at 50 ms a request and 130 frames a clip,
    32 folders at once take a third of its time, and never more than a folder's names lie in memory.

    Args:
        stores: To open them.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._files: dict[str, _File] = {}
        self._known: set[str] = set()

    def foresee(self, paths: Iterable[str]) -> None:
        """Lists the folders that many of the paths lie in."""
        wanted = list(paths)
        rows = Counter(map(os.path.dirname, wanted))
        many: dict[str, set[str]] = {folder: set() for folder in sorted(rows) if rows[folder] >= _MANY_ROWS}
        for path in wanted:
            folder, name = os.path.split(path)
            if folder in many:
                many[folder].add(name)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._foresee, many, many.values()))

    def expect_place(self, path: str) -> None:
        """Opens its store, where that was not done before."""
        self._stores.of(path)

    def identity(self, path: str) -> Hashable:
        """The path: nothing leads back to where it lies."""
        return path

    def read_folder(self, path: str) -> FrameFolder:
        """Lists a folder."""
        entries = self._entries(path)
        folder = sort_out(entries)
        videos = set(folder.videos)
        self._files.update({f"{path}/{e.name}": e.file for e in entries if e.file and e.name in videos})
        return folder

    def is_file(self, path: str) -> bool:
        """Whether a file lies there."""
        if path in self._files or os.path.dirname(path) in self._known:
            return path in self._files
        store, name = self._stores.of(path)
        try:
            info = store.info(name)
        except JobError as error:
            if is_denied(error) or is_no_bucket(error):
                return False
            raise
        if info.type == fs.FileType.File:
            self._files[path] = (info.size, mtime_ns(info))
            return True
        return False

    def uri(self, path: str) -> str:
        """The path, percent-encoded."""
        return uri_of(path)

    def look_at_video(self, path: str) -> tuple[int, str]:
        """Its fingerprint; how long it is can be known when it is fetched."""
        file = self._files.get(path)
        return 0, fingerprint([(os.path.basename(path), *file)]) if file else ""

    def _foresee(self, folder: str, wanted: set[str]) -> None:
        try:
            entries = self._entries(folder)
        except FileNotFoundError:
            entries = []
        except PermissionError:
            return  # what lies in it may be had all the same
        # What else lies there may be a thousand times as much.
        self._files.update({f"{folder}/{e.name}": e.file for e in entries if e.file and e.name in wanted})
        self._known.add(folder)

    def _entries(self, path: str) -> list[Listed]:
        store, name = self._stores.of(path)
        try:
            return [_listed(name, info) for name, info in store.infos(name)]
        except JobError as error:
            if is_denied(error):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from error
            if is_no_bucket(error):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
            raise


def _listed(name: str, info: fs.FileInfo) -> Listed:
    is_file = info.type == fs.FileType.File
    return Listed(name, (info.size, mtime_ns(info)) if is_file else None)
