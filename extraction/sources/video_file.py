"""One video file, looked at from outside: who it is, and how long it says it is."""

import math
import os

from extraction.clips import Clip
from extraction.sources.frame_folder import fingerprint

# The demuxers of the extensions we take. Without a list, a text file called x.mp4 could be a
# playlist that makes FFmpeg open other files and addresses.
_CONTAINERS = "avi,matroska,webm,mov,mp4"
# FFmpeg's own defaults read 5 MB and 5 s of a stream to guess what its header leaves open.
_HEADER_ONLY = {
    "format_whitelist": _CONTAINERS,
    "protocol_whitelist": "file",
    "probesize": "65536",
    "analyzeduration": "0",
}
_TIMEOUT_S = 10.0


def fingerprint_video(path: str) -> str:
    """Digests a video's name, size and modification time.

    Args:
        path: A local file, as the functions of :mod:`os` want it.

    Returns:
        32 hexadecimal digits, or "" where the file cannot be looked at.
    """
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return fingerprint([(os.path.basename(path), status.st_size, status.st_mtime_ns)])


def num_frames_of_part(whole: int, fps: float, clip: Clip) -> int:
    """How many frames a clip has that may be a part of its input.

    Args:
        whole: Frames of the whole input, 0 where unknown.
        fps: Frames per second, for a range in milliseconds.
        clip: The clip.

    Returns:
        The number of frames; 0 where it cannot be known.
    """
    if not clip.is_part:
        return whole
    if clip.start_ms is not None or clip.end_ms is not None:
        first = math.ceil((clip.start_ms or 0.0) * fps / 1000)
        end = None if clip.end_ms is None else math.ceil(clip.end_ms * fps / 1000)
    else:
        first, end = clip.start_frame or 0, clip.end_frame
    if whole:
        end = whole if end is None else min(end, whole)
    return max((end or 0) - first, 0)


def claimed_num_frames(path: str) -> int:
    """Reads from a video's header how many frames it claims; nothing is decoded.

    Args:
        path: A local file, as the functions of :mod:`os` want it.

    Returns:
        The number of frames, from the duration where none is written; 0 where the header says
        neither or the file cannot be opened: it fails later, as a clip.
    """
    import av  # here: FFmpeg takes a while to load, and most data sets are frames

    try:
        with av.open(os.path.abspath(path), options=_HEADER_ONLY, timeout=_TIMEOUT_S) as container:
            if not container.streams.video:
                return 0
            stream = container.streams.video[0]
            if stream.frames > 0:
                return int(stream.frames)
            rate = stream.average_rate
            if stream.duration is not None and stream.time_base is not None:
                duration_s = float(stream.duration * stream.time_base)
            else:
                duration_s = (container.duration or 0) / av.time_base
    # A header may hold any nonsense. PyAV's errors share no base but their own, and one of them is EOFError.
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, LookupError, MemoryError):
        return 0
    return max(0, round(duration_s * float(rate))) if rate else 0
