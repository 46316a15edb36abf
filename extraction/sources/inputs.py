"""One input, turned into a clip."""

import dataclasses

from extraction.clips import Clip
from extraction.sources.frame_folder import FrameFolder, fingerprint_of_part
from extraction.sources.places import DISK, Places
from extraction.sources.video_file import num_frames_of_part

# Copies of PHOENIX have a folder of this name between the clip and its frames.
_LONE_LEVEL = "1"
_LIKELY_FPS = 25.0
"""Where only the opened input says the rate, for a first reckoning of a range in milliseconds."""


def lone_level(folder: FrameFolder) -> str | None:
    """Names the one sub folder that stands for its parent, as in copies of PHOENIX.

    Args:
        folder: The parent.

    Returns:
        ``"1"`` where the parent holds no image and no other sub folder, otherwise None.
    """
    return _LONE_LEVEL if not folder.names and folder.subfolders == (_LONE_LEVEL,) else None


def frames_clip(clip_id: str, path: str, folder: FrameFolder, places: Places = DISK) -> Clip:
    """Makes the clip of a folder that was listed.

    Args:
        clip_id: Its id, valid Unicode.
        path: The folder.
        folder: What lies in it.
        places: Where it lies.

    Returns:
        A clip of kind ``"frames"`` with the exact number of frames.
    """
    uri = places.uri(path)
    return Clip(clip_id, uri, "frames", num_frames=len(folder.names), fingerprint=folder.fingerprint)


def part_of(clip: Clip, found: Clip) -> Clip:
    """Tells a clip how long it is, and which input it is of.

    Args:
        clip: It, perhaps a range of its input.
        found: The clip of the whole input.

    Returns:
        The clip with its input's place and kind, and with the number of frames and fingerprint of its range.
    """
    fps = clip.fps or _LIKELY_FPS
    return dataclasses.replace(
        clip,
        uri=found.uri,
        kind=found.kind,
        num_frames=num_frames_of_part(found.num_frames, fps, clip),
        fingerprint=fingerprint_of_part(found.fingerprint, clip),
    )


def video_clip(clip_id: str, path: str, places: Places = DISK) -> Clip:
    """Makes the clip of a video file, whether it can be opened or not.

    Args:
        clip_id: Its id, valid Unicode.
        path: The file.
        places: Where it lies.

    Returns:
        A clip of kind ``"video"`` with the number of frames that its header claims.
    """
    num_frames, fingerprint = places.look_at_video(path)
    return Clip(clip_id, places.uri(path), "video", num_frames=num_frames, fingerprint=fingerprint)
