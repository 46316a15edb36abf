"""TwoStreamNetwork (FangyunWei/SLRT): keypoints of all clips in one file, beside its annotation files."""

from collections.abc import Iterator
from typing import IO

import numpy as np

from storage.exports.pickling import DictOf, dump
from storage.exports.protocol import ExportRun, Format, one_file
from storage.exports.wholebody import PARTS, wholebody
from storage.stored import StoredClip


def _write(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    dump(file, DictOf((clip.clip_id, {"keypoints": _keypoints(clip)}) for clip in clips))


def _keypoints(clip: StoredClip) -> object:
    points, scores = wholebody(clip.landmarks, in_pixels=True)
    return np.concatenate([points, scores[..., np.newaxis]], axis=2)


FORMATS = (
    Format(
        name="twostream",
        consumer="FangyunWei/SLRT, TwoStreamNetwork: data.keypoint_file",
        structure="{clip id: {'keypoints': float32 (T, 133, 3) of x, y, score}}, one for all splits",
        layout="COCO-WholeBody-133, by the table of docs/exports.md",
        units="x, y in pixels of the frame; score: visibility for body and feet, 1 for face and hands",
        missing="x, y and score 0, for a part that was not found and for a frame that cannot be read",
        differs="points are MediaPipe's instead of HRNet's. Clip ids must be the names in the annotation "
        "files: they are where the folder of frames had the splits as its folders (train/<name>)",
        parts=PARTS,
        file_of=one_file,
        write=_write,
    ),
)
