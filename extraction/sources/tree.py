"""Clips in a tree of folders: every folder that directly holds images, and every video file."""

import dataclasses
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from extraction.clips import SPLIT_NAMES, Clip, ClipKind, printable
from extraction.errors import JobError
from extraction.sources.discovery import (
    DEFAULT_NUM_THREADS,
    Discovery,
    OnProgress,
    PassedOver,
    ProgressMeter,
    in_order,
)
from extraction.sources.frame_folder import (
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    FrameFolder,
    media_kind,
)
from extraction.sources.inputs import frames_clip, lone_level, video_clip
from extraction.sources.parallel import run_tasks
from extraction.sources.places import DISK, Disk, Places

SplitFrom = Literal["folder", "none"]
SPLIT_FOLDERS = SPLIT_NAMES

_NUM_SHOWN = 5


def discover_tree(
    root: str,
    *,
    split_from: SplitFrom = "folder",
    on_progress: OnProgress | None = None,
    num_threads: int = DEFAULT_NUM_THREADS,
    places: Places = DISK,
) -> Discovery:
    """Finds the clips below a folder.

    A clip is a folder that directly holds images, or one video file. Its id is its POSIX path
    relative to the root, a video's without extension. A folder without images whose only sub folder
    is ``1`` gives its name to that one, unless it is a split's folder. Images directly in the root
    are a clip of the root's name. Linked folders are followed, but never into themselves.

    Args:
        root: A folder, as ``places`` names it; on the disk any path to it.
        split_from: ``"folder"``: the first part of the id is the split where it is one of
            :data:`SPLIT_FOLDERS` and something follows it; ``"none"``: no clip has a split.
        on_progress: Called in the calling thread with the counts so far, a few times a second at
            most, and once at the end.
        num_threads: How many folders are listed at once.
        places: Where the root lies.

    Returns:
        The clips and what was passed over; the same whatever the number of threads.

    Raises:
        JobError: If the root is no folder or cannot be listed, no clip is in it, or two would
            share an id.
    """
    if isinstance(places, Disk):
        root = os.path.abspath(root)
        _expect_folder(root)
    meter = ProgressMeter(on_progress)
    passed_over, num_loops = PassedOver(), 0
    unreadable: dict[str, str] = {}
    videos: list[tuple[str, str]] = []
    clips: list[Clip] = []
    first = _Place(root, "", os.path.basename(root) or "root", ())
    for visit in run_tasks([first], partial(_visit, places=places), num_threads=num_threads):
        passed_over += visit.passed_over or PassedOver()
        videos += visit.videos
        if visit.error:
            unreadable[printable(visit.place.path)] = str(visit.error.strerror)
        num_loops += visit.is_loop
        clips += [visit.clip] if visit.clip else []
        meter.add(visit.clip, folders=visit.passed_over is not None)
    look_at = partial(_look_at_video, places=places)
    for clip in run_tasks(videos, look_at, num_threads=num_threads, start_with=num_threads):
        clips.append(clip)
        meter.add(clip)
    meter.finish()
    if split_from == "folder":
        clips = [dataclasses.replace(clip, split=_split_of(clip.clip_id)) for clip in clips]
    discovery = Discovery(
        clips=in_order(clips),
        link_loops=num_loops,
        unreadable=tuple(sorted(unreadable.items())),
        **dataclasses.asdict(passed_over),
    )
    if not discovery.clips:
        raise JobError(_nothing_found(root, discovery))
    return discovery


def list_tree(root: str, *, num_threads: int = DEFAULT_NUM_THREADS) -> list[tuple[str, str, ClipKind]]:
    """Names the clips below a folder, by the rules of :func:`discover_tree`; no video is opened.

    Args:
        root: A local folder.
        num_threads: How many folders are listed at once.

    Returns:
        Clip id, path and kind of each, in no order. A folder that cannot be listed holds none.

    Raises:
        JobError: If the root is no folder or cannot be listed.
    """
    root = os.path.abspath(root)
    _expect_folder(root)
    first = _Place(root, "", os.path.basename(root) or "root", ())
    found: list[tuple[str, str, ClipKind]] = []
    for visit in run_tasks([first], _visit, num_threads=num_threads):
        if visit.clip:
            found.append((visit.clip.clip_id, visit.clip.path, "frames"))
        found += [(clip_id, path, "video") for clip_id, path in visit.videos]
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder to list.

    Attributes:
        path: Where it lies.
        relative: Its POSIX path below the root, as the file system spells it; "" for the root.
        clip_name: What its clip is called, likewise not yet valid Unicode.
        ancestors: What identifies each folder it lies in.
    """

    path: str
    relative: str
    clip_name: str
    ancestors: tuple[Hashable, ...]

    @property
    def prefix(self) -> str:
        return f"{self.relative}/" if self.relative else ""


@dataclass(frozen=True, slots=True)
class _Visit:
    """What came of listing a folder."""

    place: _Place
    clip: Clip | None = None
    videos: tuple[tuple[str, str], ...] = ()
    passed_over: PassedOver | None = None
    is_loop: bool = False
    error: OSError | None = None


def _visit(place: _Place, places: Places = DISK) -> tuple[_Visit, Sequence[_Place]]:
    try:
        identity = places.identity(place.path)
        if identity in place.ancestors:
            return _Visit(place, is_loop=True), ()
        folder = places.read_folder(place.path)
    except OSError as error:
        return _Visit(place, error=error), ()
    clip = frames_clip(printable(place.clip_name), place.path, folder, places) if folder.names else None
    visit = _Visit(place, clip, _videos_in(place, folder), PassedOver.in_folder(folder))
    return visit, _places_below(place, folder, identity)


def _places_below(place: _Place, folder: FrameFolder, identity: Hashable) -> list[_Place]:
    # train/1 is the clip "1" of its split, not a clip "train".
    stands_for_parent = lone_level(folder) if place.relative not in SPLIT_FOLDERS else None
    own_name = place.relative or place.clip_name
    return [
        _Place(
            path=os.path.join(place.path, name),
            relative=place.prefix + name,
            clip_name=own_name if name == stands_for_parent else place.prefix + name,
            ancestors=(*place.ancestors, identity),
        )
        for name in folder.subfolders
    ]


def _videos_in(place: _Place, folder: FrameFolder) -> tuple[tuple[str, str], ...]:
    """Clip id and path of each video file that a folder directly holds."""
    return tuple(
        (printable(place.prefix + os.path.splitext(name)[0]), os.path.join(place.path, name))
        for name in folder.videos
    )


def _look_at_video(video: tuple[str, str], places: Places) -> tuple[Clip, tuple[()]]:
    return video_clip(*video, places), ()


def _split_of(clip_id: str) -> str | None:
    first, _, rest = clip_id.partition("/")
    return first if rest and first in SPLIT_FOLDERS else None


def _expect_folder(root: str) -> None:
    shown = printable(root)
    if os.path.isfile(root):
        advice = {
            "video": f"To take this one video, give its folder {printable(os.path.dirname(root))!r} and "
            "choose the video by its clip id.",
            "frames": "Give the folder that holds the images.",
            None: "A list of clips is given as a manifest.",
        }[media_kind(root)]
        raise JobError(f"expected a folder with clips, found the file {shown!r}. {advice}")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise JobError(
            f"expected a folder with clips at {shown!r}, found: {error.strerror}. Check the path, that "
            "its disk is mounted on this machine, and that this user may read it."
        ) from error


def _nothing_found(root: str, discovery: Discovery) -> str:
    images, videos = ", ".join(IMAGE_EXTENSIONS), ", ".join(VIDEO_EXTENSIONS)
    text = (
        f"expected clips below {printable(root)!r}: folders that hold images ({images}) or video files "
        f"({videos}). Found none of them, but {discovery.other_files} other files, "
        f"{discovery.hidden_files} hidden files, {discovery.empty_folders} empty folders and "
        f"{discovery.broken_links} broken links."
    )
    if discovery.unreadable:
        shown = "; ".join(f"{path!r}: {reason}" for path, reason in discovery.unreadable[:_NUM_SHOWN])
        text += f" {len(discovery.unreadable)} folders could not be listed: {shown}."
    return text + " Check the path."
