"""Finding one clip again by its id, without looking at all others."""

import os

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.sources.frame_folder import VIDEO_EXTENSIONS, read_frame_folder
from extraction.sources.inputs import frames_clip, lone_level, video_clip


def find_clip(root: str, clip_id: str) -> Clip:
    """Finds the clip of an id below a folder, by the rules of :func:`discover_tree`.

    Args:
        root: The folder of clips.
        clip_id: A path relative to it, a video's without extension.

    Raises:
        JobError: If it is not there, saying where it was looked for.
    """
    path = os.path.join(root, *clip_id.split("/"))
    is_root = clip_id == os.path.basename(os.path.abspath(root))
    for folder_path in (path, root) if is_root else (path,):
        if os.path.isdir(folder_path):
            folder = read_frame_folder(folder_path)
            if name := lone_level(folder):
                folder_path = os.path.join(folder_path, name)
                folder = read_frame_folder(folder_path)
            if folder.names:
                return frames_clip(clip_id, folder_path, folder)
    folder_path, base = os.path.split(path)
    names = sorted(os.listdir(folder_path)) if os.path.isdir(folder_path) else []
    for name in names:
        stem, extension = os.path.splitext(name)
        if stem == base and extension[1:].lower() in VIDEO_EXTENSIONS:
            return video_clip(clip_id, os.path.join(folder_path, name))
    raise JobError(
        f"{clip_id!r}: expected its frames in {path}, or a video of that name, found neither; give the "
        "folder that was FRAMES when the data set was made"
    )
