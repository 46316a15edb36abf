"""MSKA (sutwangyan/MSKA): one file a split with keypoints and annotations together."""

from collections.abc import Iterator
from typing import IO

import numpy as np

from storage.exports.pickling import DictOf, dump, tensor
from storage.exports.protocol import ExportRun, Format, file_a_split
from storage.exports.wholebody import PARTS, wholebody
from storage.stored import StoredClip


def _write(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    dump(file, DictOf((clip.clip_id, _sample(clip, run)) for clip in clips))


def _sample(clip: StoredClip, run: ExportRun) -> dict[str, object]:
    points, scores = wholebody(clip.landmarks, in_pixels=True)
    keypoint = np.concatenate([points, scores[..., np.newaxis]], axis=2)
    return {
        "keypoint": tensor(keypoint, run.with_torch),
        "name": clip.clip_id,
        "gloss": clip.text_of("gloss"),
        "num_frames": len(clip.landmarks),
        "text": clip.text_of("text"),
    }


FORMATS = (
    Format(
        name="mska",
        consumer="sutwangyan/MSKA: data.train_label_path, dev_label_path, test_label_path",
        structure="{clip id: {'keypoint': float32 (T, 133, 3) of x, y, score, 'name', 'gloss', 'num_frames', "
        "'text'}}, a file a split: PATH.train ...",
        layout="COCO-WholeBody-133, by the table of docs/exports.md",
        units="x, y in pixels of the frame; score: visibility for body and feet, 1 for face and hands. MSKA "
        "itself divides by 210x260, or 512x512 for CSL-Daily, whatever the frames are",
        missing="x, y and score 0, for a part that was not found and for a frame that cannot be read",
        differs="points are MediaPipe's instead of HRNet's. MSKA permutes a torch tensor: as a NumPy array "
        "(export_options.tensors says which) each needs torch.from_numpy first",
        parts=PARTS,
        file_of=file_a_split,
        write=_write,
        uses_tensors=True,
    ),
)
