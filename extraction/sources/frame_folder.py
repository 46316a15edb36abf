"""One folder, listed once: its frames in natural order, and everything else that lies in it."""

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from natsort import natsort_keygen

from extraction.clips import Clip, ClipKind

IMAGE_EXTENSIONS = ("bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")
VIDEO_EXTENSIONS = ("avi", "mkv", "mov", "mp4", "webm")

_KIND_OF_EXTENSION: dict[str, ClipKind] = {
    **dict.fromkeys(IMAGE_EXTENSIONS, "frames"),
    **dict.fromkeys(VIDEO_EXTENSIONS, "video"),
}
_ANY_DIGIT_TO_ZERO = str.maketrans("123456789", "000000000")
_natural_key = natsort_keygen()


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """What directly lies in one folder.

    Attributes:
        names: File names of the frames, in natural order. A link with an image's name that leads
            nowhere is one of them: its place in time must not be lost.
        fingerprint: Digest of the frames' names, sizes and modification times; "" without frames.
        videos: File names of the videos, in natural order.
        subfolders: Names of the folders, in natural order, linked ones and ones that cannot be
            looked at included.
        num_other_files: Files that are neither image nor video, and what is no file at all.
        num_hidden: Files and folders whose name begins with a dot; they are in no other count.
        num_broken_links: Links that lead nowhere, or to themselves.
    """

    names: tuple[str, ...]
    fingerprint: str
    videos: tuple[str, ...]
    subfolders: tuple[str, ...]
    num_other_files: int
    num_hidden: int
    num_broken_links: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies here but hidden files."""
        return not (
            self.names or self.videos or self.subfolders or self.num_other_files or self.num_broken_links
        )


class Entry(Protocol):
    """One thing in a folder, as :func:`os.scandir` gives it."""

    @property
    def name(self) -> str:
        """Of it, without the folder's."""

    def is_dir(self) -> bool:
        """Whether it is a folder, or leads to one."""

    def is_symlink(self) -> bool:
        """Whether it is a link."""

    def stat(self) -> os.stat_result:
        """Its kind, size and time of modification, or of what it leads to."""


def read_frame_folder(path: str) -> FrameFolder:
    """Lists a folder: the one place that decides what a frame is and in which order frames stand.

    Args:
        path: A local folder, as the functions of :mod:`os` want it.

    Returns:
        What lies in it; the same for every order in which the file system lists it.

    Raises:
        OSError: If the folder cannot be listed to its end.
    """
    with os.scandir(path) as entries:
        return sort_out(entries)


def sort_out(entries: Iterable[Entry]) -> FrameFolder:
    """Decides what each thing in one folder is.

    Args:
        entries: All that directly lies in it, in any order.

    Raises:
        OSError: If the entries cannot be gone through to their end.
    """
    frames: list[tuple[str, int, int]] = []
    videos: list[str] = []
    subfolders: list[str] = []
    num_other_files = num_hidden = num_broken_links = 0
    for entry in entries:
        name = entry.name
        if name[0] == ".":
            num_hidden += 1
            continue
        kind = media_kind(name)
        if _is_folder(entry, kind):
            subfolders.append(name)
            continue
        size_and_time = _size_and_time(entry) if kind or entry.is_symlink() else None
        if size_and_time == _LEADS_NOWHERE:
            num_broken_links += 1
        if kind == "frames" and size_and_time is not None:
            frames.append((name, *size_and_time))
        elif kind == "video" and size_and_time is not None:
            videos.append(name)
        elif size_and_time != _LEADS_NOWHERE:
            num_other_files += 1
    return FrameFolder(
        names=tuple(natural_order([name for name, _, _ in frames])),
        fingerprint=fingerprint(frames),
        videos=tuple(natural_order(videos)),
        subfolders=tuple(natural_order(subfolders)),
        num_other_files=num_other_files,
        num_hidden=num_hidden,
        num_broken_links=num_broken_links,
    )


def media_kind(name: str) -> ClipKind | None:
    """What a file's name says it is.

    Args:
        name: A file name or path.

    Returns:
        ``"frames"`` for an image's extension, ``"video"`` for a video's (in any case), or None.
    """
    dot = name.rfind(".")
    return _KIND_OF_EXTENSION.get(name[dot + 1 :].lower()) if dot > 0 else None


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorts names as a person counts: ``frame2`` before ``frame10``.

    Args:
        names: Names, in any order.

    Returns:
        The names in an order that depends on nothing but the names: those that are equal under
        natural sort, such as ``a1`` and ``a01``, stand in the order of their characters.
    """
    ordered = sorted(names)
    # Names that differ only in the values of ASCII digits at the same places have numbers of equal
    # width throughout, and there comparing characters is comparing numbers. Nearly every frame
    # folder is like that, and natural keys cost ten times what this test does.
    shapes = {name.translate(_ANY_DIGIT_TO_ZERO) for name in ordered}
    if len(shapes) == 1 and shapes.pop().isascii():
        return ordered
    return sorted(ordered, key=_natural_key)


def fingerprint(files: Iterable[tuple[str, int, int]]) -> str:
    """Digests what can be known of files without reading them.

    Args:
        files: Name, size in bytes and modification time in nanoseconds of each, in any order.

    Returns:
        32 hexadecimal digits, or "" where there is no file.
    """
    # No name holds a slash, so no two lists of files are written alike.
    text = "".join([f"{name}/{size}/{time}/" for name, size, time in sorted(files)])
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest() if text else ""


def fingerprint_of_part(whole: str, clip: Clip) -> str:
    """Digests an input together with the range of it that a clip is.

    Args:
        whole: Of the whole input.
        clip: The clip.

    Returns:
        The same where the clip is all of its input, or there is none.
    """
    if not whole or not clip.is_part:
        return whole
    return blake2b(f"{whole}/{clip.span}".encode(), digest_size=16).hexdigest()


_LEADS_NOWHERE = (-1, -1)
_CANNOT_BE_LOOKED_AT = (-1, -2)


def _is_folder(entry: Entry, kind: ClipKind | None) -> bool:
    """Whether to list it; one that cannot be looked at counts, so that listing it says why not."""
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno != errno.ELOOP and kind is None


def _size_and_time(entry: Entry) -> tuple[int, int] | None:
    """Size in bytes and modification time in nanoseconds; None for a pipe, socket or device."""
    try:
        status = entry.stat()
    except OSError as error:
        nowhere = entry.is_symlink() and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return _LEADS_NOWHERE if nowhere else _CANNOT_BE_LOOKED_AT
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
