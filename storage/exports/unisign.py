"""Uni-Sign (ZechengLi19/Uni-Sign): one file a clip, as its own RTMPose script writes them."""

from collections.abc import Iterator
from typing import IO

import numpy as np

from storage.exports.inventory import file_name
from storage.exports.pickling import dump
from storage.exports.protocol import ClipEntry, ExportRun, Format
from storage.exports.wholebody import PARTS, wholebody
from storage.stored import StoredClip


def _write(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    for clip in clips:
        points, scores = wholebody(clip.landmarks, in_pixels=False)
        # One person. Each frame an array of its own: Uni-Sign samples frames from the lists.
        people, of_people = points.astype(np.float64)[:, np.newaxis], scores[:, np.newaxis]
        dump(file, {"keypoints": list(people), "scores": list(of_people)})


def _file_of(entry: ClipEntry, _position: int) -> str:
    return file_name(entry.clip_id, ".pkl")


FORMATS = (
    Format(
        name="unisign",
        consumer="ZechengLi19/Uni-Sign: pose_dirs of config.py",
        structure="a file a clip, PATH/<clip id>.pkl: {'keypoints': T times float64 (1, 133, 2), 'scores': T "
        "times float32 (1, 133)}",
        layout="COCO-WholeBody-133, by the table of docs/exports.md",
        units="x, y as fractions of width and height; score: visibility for body and feet, 1 for face and "
        "hands. Uni-Sign takes a point of at most 0.3 for missing",
        missing="x, y and score 0, for a part that was not found and for a frame that cannot be read",
        differs="points are MediaPipe's instead of RTMPose's",
        parts=PARTS,
        file_of=_file_of,
        write=_write,
        is_folder=True,
        is_file_a_clip=True,
    ),
)
