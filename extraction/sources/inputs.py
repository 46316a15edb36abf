"""One input on the disk, turned into a clip."""

from extraction.clips import Clip, to_uri
from extraction.sources.frame_folder import FrameFolder
from extraction.sources.video_file import claimed_num_frames, fingerprint_video

# Copies of PHOENIX have a folder of this name between the clip and its frames.
_LONE_LEVEL = "1"


def lone_level(folder: FrameFolder) -> str | None:
    """Names the one sub folder that stands for its parent, as in copies of PHOENIX.

    Args:
        folder: The parent.

    Returns:
        ``"1"`` where the parent holds no image and no other sub folder, otherwise None.
    """
    return _LONE_LEVEL if not folder.names and folder.subfolders == (_LONE_LEVEL,) else None


def frames_clip(clip_id: str, path: str, folder: FrameFolder) -> Clip:
    """Makes the clip of a folder that was listed.

    Args:
        clip_id: Its id, valid Unicode.
        path: The folder.
        folder: What lies in it.

    Returns:
        A clip of kind ``"frames"`` with the exact number of frames.
    """
    return Clip(clip_id, to_uri(path), "frames", num_frames=len(folder.names), fingerprint=folder.fingerprint)


def video_clip(clip_id: str, path: str) -> Clip:
    """Makes the clip of a video file, whether it can be opened or not.

    Args:
        clip_id: Its id, valid Unicode.
        path: The file.

    Returns:
        A clip of kind ``"video"`` with the number of frames that its header claims.
    """
    num_frames = claimed_num_frames(path)
    return Clip(clip_id, to_uri(path), "video", num_frames=num_frames, fingerprint=fingerprint_video(path))
