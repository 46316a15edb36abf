"""PYSKL and MMAction2: one file with skeletons, labels and splits together."""

from collections.abc import Iterator
from itertools import groupby
from typing import IO

import numpy as np

from storage.exports.pickling import DictOf, ListOf, dump
from storage.exports.protocol import ExportRun, Format, one_file
from storage.exports.wholebody import PARTS, wholebody
from storage.stored import StoredClip


def _write(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    splits = {
        split: [entry.clip_id for entry in of_split]
        for split, of_split in groupby(run.entries, key=lambda entry: entry.split_name)
    }
    annotations = ListOf(_annotation(clip, run) for clip in clips)
    names = list(run.classes.names)
    dump(file, DictOf([("split", splits), ("label_names", names), ("annotations", annotations)]))


def _annotation(clip: StoredClip, run: ExportRun) -> dict[str, object]:
    points, scores = wholebody(clip.landmarks, in_pixels=True)
    sizes = clip.landmarks.frame_sizes_px
    readable = sizes[sizes[:, 0] > 0]
    width, height = (int(size) for size in readable[0]) if len(readable) else (0, 0)
    return {
        "frame_dir": clip.clip_id,
        "total_frames": len(clip.landmarks),
        "img_shape": (height, width),
        "original_shape": (height, width),
        "label": run.classes.number_of(clip),
        "keypoint": points[np.newaxis],
        "keypoint_score": scores[np.newaxis],
    }


FORMATS = (
    Format(
        name="pyskl",
        consumer="kennymckormick/pyskl, open-mmlab/mmaction2: PoseDataset: ann_file",
        structure="{'split': {split: [clip id]}, 'label_names': [name], 'annotations': [{'frame_dir', "
        "'total_frames', 'img_shape', 'original_shape' (height, width), 'label', 'keypoint': float32 (1, T, "
        "133, 2), 'keypoint_score': float32 (1, T, 133)}]}",
        layout="COCO-WholeBody-133, by the table of docs/exports.md",
        units="x, y in pixels of the frame; score: visibility for body and feet, 1 for face and hands",
        missing="x, y and score 0, for a part that was not found and for a frame that cannot be read",
        differs="133 points instead of 17. label is the clip's label where labels are numbers, otherwise the "
        "place of its label, or gloss, in the alphabet of the whole data set; -1 where there is none. split "
        "must be given in the config",
        parts=PARTS,
        file_of=one_file,
        write=_write,
        ending=".pkl",
        uses_classes=True,
    ),
)
