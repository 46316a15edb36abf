"""Where inputs lie and are looked at: the disk of this machine, or whatever else behaves like it."""

import os
from collections.abc import Hashable, Iterable
from typing import Protocol

from extraction.clips import to_uri
from extraction.sources.frame_folder import FrameFolder, read_frame_folder
from extraction.sources.video_file import claimed_num_frames, fingerprint_video


class Places(Protocol):
    """Looks at folders and files by their paths; the rules of what a clip is are the same for all."""

    def foresee(self, paths: Iterable[str]) -> None:
        """Is told what will be looked at, where that is known beforehand."""

    def expect_place(self, path: str) -> None:
        """Raises a JobError where nothing can lie there, whatever is put there."""

    def identity(self, path: str) -> Hashable:
        """What is the same for two paths to one folder."""

    def read_folder(self, path: str) -> FrameFolder:
        """Lists a folder, as :func:`~extraction.sources.frame_folder.read_frame_folder` does."""

    def is_file(self, path: str) -> bool:
        """Whether a file lies there."""

    def uri(self, path: str) -> str:
        """The path as a clip names it."""

    def look_at_video(self, path: str) -> tuple[int, str]:
        """How many frames a video says that it has, 0 where unknown, and its fingerprint."""


class Disk:
    """The file system of this machine; paths as the functions of :mod:`os` want them."""

    def foresee(self, paths: Iterable[str]) -> None:
        """Has nothing to prepare."""

    def expect_place(self, path: str) -> None:
        """Any path may be one."""

    def identity(self, path: str) -> Hashable:
        """Device and inode: a link may lead into a folder that it lies in."""
        status = os.stat(path)
        return status.st_dev, status.st_ino

    def read_folder(self, path: str) -> FrameFolder:
        """Lists a folder."""
        return read_frame_folder(path)

    def is_file(self, path: str) -> bool:
        """Whether a file lies there."""
        return os.path.isfile(path)

    def uri(self, path: str) -> str:
        """The absolute path where that is text."""
        return to_uri(path)

    def look_at_video(self, path: str) -> tuple[int, str]:
        """From its header, and from what the file system says of it."""
        return claimed_num_frames(path), fingerprint_video(path)


DISK = Disk()
