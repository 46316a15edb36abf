"""NumPy's own files: one a clip, with everything that stands in its row."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from storage.exports.inventory import file_name
from storage.exports.protocol import PART_BY_PART, ClipEntry, ExportRun, Format
from storage.stored import StoredClip


def _write(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    for clip in clips:
        np.savez(file, **_arrays(clip, run))


def _arrays(clip: StoredClip, run: ExportRun) -> dict[str, NDArray[Any]]:
    marks = clip.landmarks
    arrays: dict[str, NDArray[Any]] = {part: marks.parts[part] for part in run.parts}
    arrays |= {f"{part}_present": marks.present(part) for part in run.parts}
    if "pose" in run.parts:
        arrays["pose_visibility"] = marks.pose_visibility
    # Texts as NumPy's own strings: objects would need code of this file to be run by its reader.
    said = {name: np.array(clip.text_of(name)) for name in ("signer", "gloss", "text", "label")}
    return {
        **arrays,
        "frame_status": marks.frame_status,
        "frame_sizes_px": marks.frame_sizes_px,
        "frame_names": np.array(marks.frame_names, np.str_),
        "frame_errors": np.array([error or "" for error in marks.frame_errors], np.str_),
        "timestamps_ms": marks.timestamps_ms,
        "fps": np.array(marks.fps),
        "clip_id": np.array(clip.clip_id),
        "split": np.array(clip.split or ""),
        **said,
    }


def _file_of(entry: ClipEntry, _position: int) -> str:
    return file_name(entry.clip_id, ".npz")


FORMATS = (
    Format(
        name="npz",
        consumer="anything with NumPy",
        structure="a file a clip, PATH/<clip id>.npz: of each part float32 (T, N, 3) and <part>_present bool "
        "(T,); pose_visibility (T, 33), frame_status (T,), frame_sizes_px (T, 2), frame_names, frame_errors, "
        "timestamps_ms (T,), fps, clip_id, split, signer, gloss, text, label",
        layout=f"{PART_BY_PART}, as in the data set, or those of --parts",
        units="x, y as fractions of width and height, z as MediaPipe gives it; *_world in metres",
        missing="NaN and <part>_present false; a frame that cannot be read has frame_status 2 and size 0",
        parts=(),
        file_of=_file_of,
        write=_write,
        is_folder=True,
        is_file_a_clip=True,
        accepts_parts=True,
    ),
)
