"""A clip to its frames: the only place that decodes, and the only bouncer for hostile files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extraction.clips import Clip, printable
from extraction.errors import ClipError, JobError
from extraction.sources.frame_folder import fingerprint_of_part, read_frame_folder
from extraction.sources.video_file import claimed_num_frames, fingerprint_video, num_frames_of_part

# OpenCV and FFmpeg are loaded when a clip is opened: who only plans a job does not wait for them.
if TYPE_CHECKING:
    from extraction.videos import Picture

__all__ = ["Frame", "FrameOptions", "FrameStream", "current_fingerprint", "open_frames"]


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """How to read frames.

    Attributes:
        max_pixels: Width times height above which a frame is unreadable, and not decoded.
        default_fps: Frames per second where neither the clip nor its container says so.

    Raises:
        JobError: If a number is out of range.
    """

    max_pixels: int = 50_000_000
    default_fps: float = 25.0

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise JobError(f"max_pixels must be 1 or more, found {self.max_pixels}")
        if not 0 < self.default_fps < float("inf"):
            raise JobError(f"default_fps must be above 0 and finite, found {self.default_fps}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame position of a clip.

    Attributes:
        index: Position in the clip, from 0.
        name: File name as valid Unicode, or the position for a video.
        timestamp_ms: Milliseconds from the clip's first frame position, which is at 0 whatever start
            time its container has.
        image: uint8 (H, W, 3), RGB, C-contiguous; None where unreadable.
        error: Why it is unreadable; None otherwise.
    """

    index: int
    name: str
    timestamp_ms: float
    image: NDArray[np.uint8] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FrameStream:
    """The frames of one clip, as it lies there now.

    Attributes:
        fps: Frames per second: of a folder what the clip says, of a video the average rate of its
            container; the job's default where they are silent. A video's timestamps are its own.
        fingerprint: Digest of the input's names, sizes and modification times as they are now.
        num_frames: Exact for a folder; for a video what its container claims, 0 where it is silent.
        frames: Every frame position of the clip in order, of a clip that is a part of its input counted
            from that part's beginning; each image is decoded when it is asked for, and
            none is kept. It raises nothing: what cannot be read is a frame with an error.
    """

    fps: float
    fingerprint: str
    num_frames: int
    frames: Iterator[Frame]


def open_frames(clip: Clip, options: FrameOptions) -> FrameStream:
    """Opens a clip.

    Args:
        clip: A folder that directly holds its frames, or a video file.
        options: How to read them.

    Returns:
        Its frames and what is known of them.

    Raises:
        ClipError: At stage ``"open"``, with the reason ``"missing"``, ``"unreadable"``,
            ``"not-a-folder"``, ``"not-a-video"``, ``"no-video-stream"``, ``"no-decoder"`` or
            ``"no-frames"``.
    """
    return _open_folder(clip, options) if clip.kind == "frames" else _open_video(clip, options)


def current_fingerprint(clip: Clip) -> str:
    """Looks at a clip's input once more without reading it.

    Returns:
        As :attr:`FrameStream.fingerprint` now; "" where the input has gone.
    """
    if clip.kind == "video":
        return fingerprint_of_part(fingerprint_video(clip.path), clip)
    try:
        return fingerprint_of_part(read_frame_folder(clip.path).fingerprint, clip)
    except OSError:
        return ""


def _open_folder(clip: Clip, options: FrameOptions) -> FrameStream:
    path = clip.path
    try:
        folder = read_frame_folder(path)
    except FileNotFoundError as error:
        raise ClipError("open", "missing", f"{clip.uri}: no such folder") from error
    except NotADirectoryError as error:
        raise ClipError("open", "not-a-folder", f"{clip.uri}: expected a folder, found a file") from error
    except OSError as error:
        raise ClipError("open", "unreadable", f"{clip.uri}: cannot be listed: {error.strerror}") from error
    if not folder.names:
        raise ClipError("open", "no-frames", f"{clip.uri}: holds no file with an image's name")
    fps = clip.fps or options.default_fps
    names = tuple(
        name for index, name in enumerate(folder.names) if clip.holds(index, _folder_time_ms(index, fps))
    )
    if not names:
        raise ClipError("open", "no-frames", _nothing_in_range(clip, f"{len(folder.names)} frames"))
    return FrameStream(
        fps=fps,
        fingerprint=fingerprint_of_part(folder.fingerprint, clip),
        num_frames=len(names),
        frames=_folder_frames(path, names, fps, options.max_pixels),
    )


def _nothing_in_range(clip: Clip, found: str) -> str:
    unit, start, end = "frames", clip.start_frame, clip.end_frame
    if (start, end) == (None, None):
        unit, start, end = "ms", clip.start_ms, clip.end_ms  # type: ignore[assignment]
    upto = "its end" if end is None else end
    return f"{clip.uri}: expected the {unit} {start or 0} to {upto} of it, found {found}"


def _folder_time_ms(index: int, fps: float) -> float:
    return index * 1000 / fps


def _folder_frames(path: str, names: tuple[str, ...], fps: float, max_pixels: int) -> Iterator[Frame]:
    from extraction.images import UnreadableFrame, read_image

    for index, name in enumerate(names):
        image, reason = None, None
        try:
            image = read_image(os.path.join(path, name), max_pixels)
        except UnreadableFrame as error:
            reason = str(error)
        yield Frame(index, printable(name), _folder_time_ms(index, fps), image, reason)


def _open_video(clip: Clip, options: FrameOptions) -> FrameStream:
    from extraction.videos import open_video

    video = open_video(clip, options.max_pixels)
    first = next(video.pictures, None)
    if first is None:
        text = f"{clip.uri}: its video stream holds no picture"
        raise ClipError(
            "open", "no-frames", _nothing_in_range(clip, "no picture there") if clip.is_part else text
        )
    fps = video.fps or clip.fps or options.default_fps
    return FrameStream(
        fps=fps,
        fingerprint=fingerprint_of_part(fingerprint_video(clip.path), clip),
        num_frames=num_frames_of_part(claimed_num_frames(clip.path), fps, clip),
        frames=_video_frames(chain([first], video.pictures)),
    )


def _video_frames(pictures: "Iterator[Picture]") -> Iterator[Frame]:
    for index, (timestamp_ms, image, error) in enumerate(pictures):
        yield Frame(index, str(index), timestamp_ms, image, error)
