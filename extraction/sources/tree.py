"""Clips in a tree of folders: every folder that directly holds images, and every video file."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from extraction.clips import Clip, printable
from extraction.errors import JobError
from extraction.sources.discovery import (
    DEFAULT_NUM_THREADS,
    Discovery,
    OnProgress,
    ProgressMeter,
    in_order,
)
from extraction.sources.frame_folder import (
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    FrameFolder,
    media_kind,
    read_frame_folder,
)
from extraction.sources.inputs import frames_clip, lone_level, video_clip
from extraction.sources.parallel import run_tasks

SplitFrom = Literal["folder", "none"]
SPLIT_FOLDERS = ("train", "dev", "val", "test")

_NUM_SHOWN = 5


def discover_tree(
    root: str,
    *,
    split_from: SplitFrom = "folder",
    on_progress: OnProgress | None = None,
    num_threads: int = DEFAULT_NUM_THREADS,
) -> Discovery:
    """Finds the clips below a folder.

    A clip is a folder that directly holds images, or one video file. Its id is its POSIX path
    relative to the root, a video's without extension. A folder without images whose only sub folder
    is ``1`` gives its name to that one, unless it is a split's folder. Images directly in the root
    are a clip of the root's name. Linked folders are followed, but never into themselves.

    Args:
        root: A local folder.
        split_from: ``"folder"``: the first part of the id is the split where it is one of
            :data:`SPLIT_FOLDERS` and something follows it; ``"none"``: no clip has a split.
        on_progress: Called in the calling thread with the counts so far, a few times a second at
            most, and once at the end.
        num_threads: How many folders are listed at once.

    Returns:
        The clips and what was passed over; the same whatever the number of threads.

    Raises:
        JobError: If the root is no folder or cannot be listed, no clip is in it, or two would
            share an id.
    """
    root = os.path.abspath(root)
    _expect_folder(root)
    meter = ProgressMeter(on_progress)
    visits: list[_Visit] = []
    clips: list[Clip] = []
    first = _Place(root, "", os.path.basename(root) or "root", ())
    for visit in run_tasks([first], _visit, num_threads=num_threads):
        visits.append(visit)
        clips += [visit.clip] if visit.clip else []
        meter.add(visit.clip, folders=visit.folder is not None)
    videos = [video for visit in visits for video in _videos_in(visit)]
    for clip in run_tasks(videos, _look_at_video, num_threads=num_threads, start_with=num_threads):
        clips.append(clip)
        meter.add(clip)
    meter.finish()
    discovery = _gather(clips, visits, split_from)
    if not discovery.clips:
        raise JobError(_nothing_found(root, discovery))
    return discovery


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder to list.

    Attributes:
        path: Where it lies.
        relative: Its POSIX path below the root, as the file system spells it; "" for the root.
        clip_name: What its clip is called, likewise not yet valid Unicode.
        ancestors: Device and inode of each folder it lies in.
    """

    path: str
    relative: str
    clip_name: str
    ancestors: tuple[tuple[int, int], ...]

    @property
    def prefix(self) -> str:
        return f"{self.relative}/" if self.relative else ""


@dataclass(frozen=True, slots=True)
class _Visit:
    """What came of listing a folder."""

    place: _Place
    clip: Clip | None = None
    folder: FrameFolder | None = None
    is_loop: bool = False
    error: OSError | None = None


def _visit(place: _Place) -> tuple[_Visit, Sequence[_Place]]:
    try:
        status = os.stat(place.path)
        identity = (status.st_dev, status.st_ino)
        if identity in place.ancestors:
            return _Visit(place, is_loop=True), ()
        folder = read_frame_folder(place.path)
    except OSError as error:
        return _Visit(place, error=error), ()
    clip = frames_clip(printable(place.clip_name), place.path, folder) if folder.names else None
    return _Visit(place, clip, folder), _places_below(place, folder, identity)


def _places_below(place: _Place, folder: FrameFolder, identity: tuple[int, int]) -> list[_Place]:
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


def _videos_in(visit: _Visit) -> list[tuple[str, str]]:
    """Clip id and path of each video file that a folder directly holds."""
    return [
        (printable(visit.place.prefix + os.path.splitext(name)[0]), os.path.join(visit.place.path, name))
        for name in (visit.folder.videos if visit.folder else ())
    ]


def _look_at_video(video: tuple[str, str]) -> tuple[Clip, tuple[()]]:
    return video_clip(*video), ()


def _gather(clips: Sequence[Clip], visits: Sequence[_Visit], split_from: SplitFrom) -> Discovery:
    if split_from == "folder":
        clips = [dataclasses.replace(clip, split=_split_of(clip.clip_id)) for clip in clips]
    folders = [visit.folder for visit in visits if visit.folder]
    unreadable = {printable(visit.place.path): str(visit.error.strerror) for visit in visits if visit.error}
    return Discovery(
        clips=in_order(clips),
        other_files=sum(folder.num_other_files for folder in folders),
        hidden_files=sum(folder.num_hidden for folder in folders),
        empty_folders=sum(folder.is_empty for folder in folders),
        link_loops=sum(visit.is_loop for visit in visits),
        broken_links=sum(folder.num_broken_links for folder in folders),
        unreadable=tuple(sorted(unreadable.items())),
    )


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
