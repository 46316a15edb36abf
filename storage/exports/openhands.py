"""OpenHands (AI4Bharat/OpenHands): one file a clip, as its own MediaPipe script writes them."""

from collections.abc import Iterator
from typing import IO

import numpy as np

from storage.exports.inventory import file_name
from storage.exports.pickling import dump
from storage.exports.protocol import ClipEntry, ExportRun, Format
from storage.exports.wholebody import pose_scores
from storage.stored import StoredClip

_PARTS = ("pose", "left_hand", "right_hand")


def _write(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    for clip in clips:
        marks = clip.landmarks
        points = np.concatenate([marks.parts[part] for part in _PARTS], axis=1)
        hands = [np.repeat(marks.present(hand)[:, np.newaxis], 21, axis=1) for hand in _PARTS[1:]]
        scores = np.concatenate([pose_scores(marks), *hands], axis=1)
        filled = np.where(np.isnan(points), 0, points)
        dump(file, {"keypoints": filled.astype(np.float64), "confidences": scores.astype(np.float64)})


def _file_of(entry: ClipEntry, _position: int) -> str:
    return file_name(entry.clip_id, ".pkl")


FORMATS = (
    Format(
        name="openhands",
        consumer="AI4Bharat/OpenHands: root_dir of a dataset with modality: pose",
        structure="a file a clip, PATH/<clip id>.pkl: {'keypoints': float64 (T, 75, 3), 'confidences': "
        "float64 (T, 75)}",
        layout="pose 33, left_hand 21, right_hand 21",
        units="x, y as fractions of width and height, z as MediaPipe gives it; confidence: visibility for "
        "the pose, 1 for a hand",
        missing="coordinates and confidence 0, for a part that was not found and for a frame that cannot be "
        "read",
        parts=_PARTS,
        file_of=_file_of,
        write=_write,
        is_folder=True,
        is_file_a_clip=True,
    ),
)
