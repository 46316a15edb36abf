"""Remote clips on their way to a worker's detector: fetched ahead of it to this machine's disk, and let go.

While the detector works on one clip, the next ones are fetched: as many as fit into the space that was
given, and a few at most. Where the disk turns out to be full, what was fetched ahead is let go, and the rest
comes one by one. A clip lies here as it lies there, names, sizes and times included, so that whoever
reads it finds what was planned, or that it has changed.
"""

import errno
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from pyarrow import fs

from extraction.clips import Clip, ClipKind, to_uri
from extraction.errors import ClipError, JobError
from extraction.sources.frame_folder import media_kind
from storage.files import Store
from storage.scratch import scratch_folder
from storage.stores import (
    ScratchError,
    Stores,
    fetch,
    is_denied,
    is_no_bucket,
    is_remote,
    location_of,
    mtime_ns,
)

_INPUTS = 8
"""Inputs that lie here at once, the one at work included: a shard is 64 clips at most, usually 50 of them."""
_INPUTS_AT_ONCE = 4
_FILES_AT_ONCE = 24
"""A frame is two requests, HEAD and GET: at 50 ms each, 240 frames a second, 8 times what a core detects; the
first clip of a shard, which nobody fetched ahead, is there the sooner. Arrow's S3 keeps 25 connections."""

_FAREWELL_S = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_OTHERS_LEAVE_S, _OTHERS_PAUSE_S = 120.0, 1.0
"""Workers that find the disk full fetch no further ahead: a few clips later there is room for who waits."""
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
"""Names of a store that a disk does not take: more than 255 bytes, or characters that are not for it."""

_Contents = dict[str, tuple[int, int]]
"""Name to size in bytes and modification time in ns."""


@contextmanager
def staged(clips: Sequence[Clip], stores: Stores, max_bytes: int) -> Iterator["Staged"]:
    """Fetches the remote ones of some clips, in order, ahead of who asks for them.

    Args:
        clips: In the order in which they will be asked for.
        stores: Where they lie.
        max_bytes: What may lie here at once; an input that is larger lies here alone.

    Yields:
        Where to ask for each.
    """
    if not any(is_remote(clip.uri) for clip in clips):
        yield Staged({}, "", stores, 0)
        return
    inputs: dict[str, _Input] = {}
    for clip in clips:
        if is_remote(clip.uri):
            inputs.setdefault(clip.uri, _Input(len(inputs), clip.uri, clip.kind)).users += 1
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder())
        except OSError as error:
            raise _no_room(error) from error
        here = Staged(inputs, folder, stores, max_bytes)
        stack.callback(here.close)
        yield here


class Staged:
    """Clips that are here, or on their way; asked for by one thread. Made by :func:`staged`."""

    def __init__(self, inputs: dict[str, "_Input"], folder: str, stores: Stores, max_bytes: int) -> None:
        self._inputs, self._folder, self._stores, self._max_bytes = inputs, folder, stores, max_bytes
        self._changed = threading.Condition()
        self._next = self._held = self._held_bytes = 0
        self._wanted: _Input | None = None
        self._closed = self._one_by_one = False
        self._files = ThreadPoolExecutor(_FILES_AT_ONCE, "fetch")
        self._crew = ThreadPoolExecutor(_INPUTS_AT_ONCE, "fetch-clip")
        for item in inputs.values():
            item.path = self._crew.submit(self._bring, item)

    @contextmanager
    def here(self, clip: Clip) -> Iterator[Clip]:
        """Waits until a clip lies on this machine; after the block it need not do so any longer.

        Args:
            clip: One of those that were announced; one of this machine is taken as it is.

        Yields:
            The clip as it lies here.

        Raises:
            ClipError: If it cannot be fetched, or what the block raised, with the clip's own place named.
            JobError: If its store is gone, or this machine has no room for it.
        """
        item = self._inputs.get(clip.uri)
        if item is None:
            yield clip
            return
        try:
            local = to_uri(self._path_of(item))
            try:
                yield replace(clip, uri=local)
            except ClipError as error:
                told = ClipError(error.stage, error.reason, str(error).replace(local, clip.uri))
                told.attempts = error.attempts
                raise told from error
        finally:
            item.users -= 1
            if not item.users:
                self._let_go(item)

    def close(self) -> None:
        """Fetches nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._crew.shutdown(wait=False, cancel_futures=True)
        self._files.shutdown(wait=False, cancel_futures=True)
        # Not for ever: a request to a dead store may last.
        begun = [item.path for item in self._inputs.values() if not item.path.cancelled()]
        wait(begun, timeout=_FAREWELL_S)

    def _path_of(self, item: "_Input") -> str:
        """Waits for an input that is asked for now."""
        with self._changed:
            self._wanted = item
            self._changed.notify_all()
        if not item.is_dropped:
            try:
                return item.path.result()
            except ScratchError as error:
                if error.error.errno not in _FULL:
                    raise _no_room(error.error) from error
        self._drop_all_but(item)
        location = location_of(item.uri)
        store, name = self._stores.of(location)
        contents = self._look(item, store, name)
        item.size_bytes = sum(size for size, _ in contents.values())
        self._admit(item)
        item.is_dropped, item.path = False, Future()
        try:
            item.path.set_result(self._bring_as_others_leave(item, store, name, contents))
        except BaseException as error:
            item.path.set_exception(error)
            if isinstance(error, ScratchError):
                raise _no_room(error.error) from error
            raise
        return item.path.result()

    def _bring_as_others_leave(self, item: "_Input", store: Store, name: str, contents: _Contents) -> str:
        """Fetches the one input that is due; other workers of this machine may leave it room in a while."""
        deadline = time.monotonic() + _OTHERS_LEAVE_S
        while True:
            try:
                return self._bring_now(item, store, name, contents)
            except ScratchError as error:
                never = item.size_bytes > shutil.disk_usage(self._folder).total
                if never or error.error.errno not in _FULL or time.monotonic() > deadline:
                    raise
            shutil.rmtree(self._folder_of(item), ignore_errors=True)
            time.sleep(_OTHERS_PAUSE_S)

    def _drop_all_but(self, item: "_Input") -> None:
        """Lets go what else was fetched, to be fetched again when it is asked for: from now on one by one."""
        with self._changed:
            self._one_by_one = True
            others = [other for other in self._inputs.values() if other is not item and other.is_admitted]
            for other in others:
                other.is_dropped = True
        wait([other.path for other in others])
        for other in others:
            self._let_go(other)

    def _admit(self, item: "_Input") -> None:
        with self._changed:
            item.is_admitted = True
            self._held += 1
            self._held_bytes += item.size_bytes

    def _let_go(self, item: "_Input") -> None:
        shutil.rmtree(self._folder_of(item), ignore_errors=True)
        with self._changed:
            if item.is_admitted:
                item.is_admitted = False
                self._held -= 1
                self._held_bytes -= item.size_bytes
            self._changed.notify_all()

    def _folder_of(self, item: "_Input") -> str:
        return os.path.join(self._folder, str(item.index))

    def _bring(self, item: "_Input") -> str:
        """Fetches an input once there is room for it, and returns where it lies."""
        location = location_of(item.uri)
        contents: _Contents = {}
        try:
            store, name = self._stores.of(location)
            contents = self._look(item, store, name)
            item.size_bytes = sum(size for size, _ in contents.values())
        finally:
            self._wait_for_room(item, is_needed=bool(contents))
        try:
            return self._bring_now(item, store, name, contents)
        except ScratchError:
            self._let_go(item)
            raise

    def _wait_for_room(self, item: "_Input", is_needed: bool) -> None:
        """Waits for an input's turn, and then until there is room for it or it is asked for."""

        def may_come() -> bool:
            if self._closed or self._next != item.index:
                return self._closed
            if not is_needed or (self._wanted and item.index <= self._wanted.index):
                return True
            fits = self._held < _INPUTS and self._held_bytes + item.size_bytes <= self._max_bytes
            return not self._one_by_one and (fits or not self._held)

        with self._changed:
            self._changed.wait_for(may_come)
            self._next += 1
            if is_needed:
                self._admit(item)
            self._changed.notify_all()

    def _bring_now(self, item: "_Input", store: Store, name: str, contents: _Contents) -> str:
        folder = self._folder_of(item)
        try:
            os.mkdir(folder)
        except OSError as error:
            raise ScratchError(error) from error
        sources = {file: f"{name}/{file}" if item.kind == "frames" else name for file in contents}

        def bring_file(file: str) -> int:
            if self._closed or item.is_dropped:
                raise JobError(f"{item.uri}: is not needed any more")
            return fetch(store, sources[file], os.path.join(folder, file))

        files = {file: self._files.submit(bring_file, file) for file in contents}
        try:
            sizes = {file: begun.result() for file, begun in files.items()}
        except FileNotFoundError as error:
            raise _changed(item.uri) from error
        except ScratchError as error:
            if error.error.errno in _NO_NAME:
                why = os.strerror(error.error.errno)
                raise _unreadable(
                    item.uri, f"this machine's disk takes no file of its name: {why}"
                ) from error
            raise
        except JobError as error:
            raise _of_clip(error, item.uri) from error
        finally:
            # None may write on into the folder, which is another's by then. (Cancelled ones never end.)
            wait([begun for begun in files.values() if not begun.cancel()])
        now = self._look(item, store, name)
        if now != contents or any(sizes[file] != size for file, (size, _) in contents.items()):
            raise _changed(item.uri)
        for file, (_, time_ns) in contents.items():
            os.utime(os.path.join(folder, file), ns=(time_ns, time_ns))
        return folder if item.kind == "frames" else os.path.join(folder, *contents)

    def _look(self, item: "_Input", store: Store, name: str) -> _Contents:
        """What an input consists of, as it lies in its store now."""
        what = "folder" if item.kind == "frames" else "file"
        try:
            infos = _frames_in(store, name) if item.kind == "frames" else _video_at(store, name)
        except FileNotFoundError as error:
            raise ClipError("open", "missing", f"{item.uri}: no such {what}") from error
        except JobError as error:
            if is_no_bucket(error):
                raise ClipError("open", "missing", f"{item.uri}: no such bucket: {error}") from error
            raise _of_clip(error, item.uri) from error
        if unsized := next((file for file, info in infos.items() if info.size is None), None):
            raise _unreadable(item.uri, f"the store does not say how large {unsized} is: give a mounted copy")
        return {file: (info.size, mtime_ns(info)) for file, info in infos.items()}


@dataclass(slots=True, eq=False)
class _Input:
    """A folder or video that one or several of the clips are of."""

    index: int
    uri: str
    kind: ClipKind
    users: int = 0
    size_bytes: int = 0
    is_admitted: bool = False
    is_dropped: bool = False
    path: Future[str] = field(default_factory=Future)


def _frames_in(store: Store, folder: str) -> dict[str, fs.FileInfo]:
    return {
        name: info
        for name, info in store.infos(folder)
        if info.type == fs.FileType.File and media_kind(name) == "frames" and not name.startswith(".")
    }


def _video_at(store: Store, name: str) -> dict[str, fs.FileInfo]:
    info = store.info(name)
    if info.type != fs.FileType.File:
        raise FileNotFoundError(name)
    return {info.base_name: info}


def _of_clip(error: JobError, uri: str) -> JobError | ClipError:
    """What a store's refusal ends: this clip where it is denied, otherwise the job."""
    if is_denied(error):
        return _unreadable(uri, str(error))
    return error


def _unreadable(uri: str, why: str) -> ClipError:
    return ClipError("open", "unreadable", f"{uri}: cannot be read: {why}")


def _changed(uri: str) -> ClipError:
    return ClipError(
        "open",
        "input-changed",
        f"{uri}: the input changed while it was fetched: files were added, removed or written; run the same "
        "command again with --retry-failed",
    )


def _no_room(error: OSError) -> JobError:
    return JobError(
        f"this machine ({socket.gethostname()}, temporary files in {tempfile.gettempdir()}) cannot take the "
        f"inputs that are fetched to it: {error}: give TMPDIR more space or another place, or lower "
        "--scratch-gb or --workers; the same command again goes on"
    )
