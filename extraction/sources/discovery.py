"""What discovery hands on: the clips, and a count of everything it passed over."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extraction.clips import Clip, printable
from extraction.errors import JobError
from extraction.sources.datasets.annotation import AnnotatedSet
from extraction.sources.frame_folder import FrameFolder, natural_order

# At 5 ms a folder 16 to 64 threads were equally fast, 10 times one (benchmarks/discovery.py). Only as
# many run as there is waiting to hide.
DEFAULT_NUM_THREADS = 32
_PROGRESS_EVERY_S = 0.3


@dataclass(frozen=True, slots=True)
class DiscoveryCounts:
    """What has been found so far.

    Attributes:
        clips: Clips.
        folders: Folders listed.
        frames: Frames, with what videos claim to hold.
    """

    clips: int = 0
    folders: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Discovery:
    """The clips that were found, and what was passed over.

    Attributes:
        clips: In natural order of their ids, each id once.
        other_files: Files that are neither image nor video.
        hidden_files: Files and folders whose name begins with a dot.
        empty_folders: Folders in which nothing lies but hidden files.
        link_loops: Folders that lie, through a link, inside themselves.
        broken_links: Links that lead nowhere. One with the name of an image or a video is a frame
            or a clip all the same, and fails there.
        unreadable: Path and reason of each folder that could not be listed: clips in it are missing.
        annotated: Of a data set that is known by name, what its annotations say.
    """

    clips: tuple[Clip, ...]
    other_files: int = 0
    hidden_files: int = 0
    empty_folders: int = 0
    link_loops: int = 0
    broken_links: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    annotated: AnnotatedSet | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What lies in folders and is no clip, counted where it is listed: nobody keeps the names of frames.

    Attributes:
        other_files: As in :class:`Discovery`, and so are the others.
        hidden_files: Files and folders.
        empty_folders: Folders.
        broken_links: Links.
    """

    other_files: int = 0
    hidden_files: int = 0
    empty_folders: int = 0
    broken_links: int = 0

    @classmethod
    def in_folder(cls, folder: FrameFolder) -> "PassedOver":
        """What lies in one folder."""
        return cls(folder.num_other_files, folder.num_hidden, int(folder.is_empty), folder.num_broken_links)

    def __add__(self, other: "PassedOver") -> "PassedOver":
        return PassedOver(
            self.other_files + other.other_files,
            self.hidden_files + other.hidden_files,
            self.empty_folders + other.empty_folders,
            self.broken_links + other.broken_links,
        )


OnProgress = Callable[[DiscoveryCounts], None]


class ProgressMeter:
    """Adds up what is found and passes it on a few times a second, and once at the end."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._counts = DiscoveryCounts()
        self._last_s = time.monotonic()

    def add(self, clip: Clip | None, *, folders: int = 0) -> None:
        """Counts what one step found."""
        if self._on_progress is None:
            return
        self._counts = DiscoveryCounts(
            clips=self._counts.clips + (clip is not None),
            folders=self._counts.folders + folders,
            frames=self._counts.frames + (clip.num_frames if clip else 0),
        )
        now_s = time.monotonic()
        if now_s - self._last_s >= _PROGRESS_EVERY_S:
            self._last_s = now_s
            self._on_progress(self._counts)

    def finish(self) -> None:
        """Passes on the final counts."""
        if self._on_progress is not None:
            self._on_progress(self._counts)


def in_order(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """Sorts clips by their ids.

    Args:
        clips: Clips, in any order.

    Returns:
        The clips in natural order of their ids.

    Raises:
        JobError: If two clips share an id, naming where both lie.
    """
    by_id: dict[str, Clip] = {}
    for clip in sorted(clips, key=lambda clip: clip.uri):
        first = by_id.setdefault(clip.clip_id, clip)
        if first is not clip:
            raise JobError(
                f"two inputs would both be clip {clip.clip_id!r}: {printable(first.path)!r} and "
                f"{printable(clip.path)!r}. Rename or move one of them, or name the clips in a manifest."
            )
    return tuple(by_id[clip_id] for clip_id in natural_order(by_id))
