"""The two pickles of the older extraction scripts, for trainers that grew on them.

Layout A is one file with a list of frames a split; layout B a file a split with a tensor a clip. They are
read back in storage/imports/seed_pickles.py.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePath
from typing import IO

import numpy as np

from extraction.clips import from_uri
from extraction.errors import JobError
from extraction.landmarks import Floats
from storage.exports.pickling import DictOf, ListOf, dump, tensor
from storage.exports.protocol import (
    ExportRun,
    Format,
    base_name,
    file_a_split,
    one_file,
    split_and_name,
)
from storage.face68 import FACE_INDICES, FACE_POINTS
from storage.shards import NO_SPLIT
from storage.stored import StoredClip

COUNTS = {"face": 68, "left_hand": 21, "right_hand": 21, "pose": 33}
"""Parts in the order of layout B's 143 points."""
TOTAL = sum(COUNTS.values())
"""143."""
_DESCRIPTIONS = {
    "face": "of MediaPipe's face mesh the points "
    + "; ".join(f"{run} {' '.join(map(str, points))}" for run, points in FACE_POINTS.items()),
    "left_hand": "MediaPipe's hand landmarks, of the hand the model names left",
    "right_hand": "MediaPipe's hand landmarks, of the hand the model names right",
    "pose": "MediaPipe's pose landmarks",
}
ABOUT_FRAMES = ("stats", "keypoint_info", "dataset_info")
"""Keys of layout A beside the splits."""


def _points(clip: StoredClip) -> dict[str, Floats]:
    """The parts as the scripts have them: the face has 68 points."""
    parts = clip.landmarks.parts
    return {part: parts[part][:, FACE_INDICES] if part == "face" else parts[part] for part in COUNTS}


# Layout A.


def _write_a(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    dump(file, DictOf(_items_a(clips, run)))


def _items_a(clips: Iterator[StoredClip], run: ExportRun) -> Iterator[tuple[object, object]]:
    splits = list(dict.fromkeys(entry.split_name for entry in run.entries))
    if taken := sorted(set(splits) & set(ABOUT_FRAMES)):
        raise JobError(
            f"--format pickle: a split is named {taken[0]!r}, which is another key of this format: leave it "
            "out with --splits, or use --format pickle-splits"
        )
    found: dict[str, int] = {}
    hosts: set[str] = set()
    for split, of_split in groupby(clips, key=lambda clip: clip.split or NO_SPLIT):
        yield split, DictOf(_lists(of_split, split, found, hosts))
    totals = {
        split: sum(entry.num_frames for entry in run.entries if entry.split_name == split) for split in splits
    }
    yield (
        "stats",
        {
            split: {"total": total, "success": found[split], "failed": total - found[split]}
            for split, total in totals.items()
        },
    )
    about: dict[str, object] = {
        part: {"num_points": count, "description": _DESCRIPTIONS[part]} for part, count in COUNTS.items()
    }
    yield "keypoint_info", {**about, "total_points": TOTAL}
    yield "dataset_info", _dataset_info(run, splits, hosts)


def _lists(
    clips: Iterator[StoredClip], split: str, found: dict[str, int], hosts: set[str]
) -> Iterator[tuple[object, object]]:
    """The three parallel lists of a split; of the frames only the names stay in memory."""
    paths: list[str] = []
    names: list[str] = []

    def frames() -> Iterator[dict[str, object]]:
        for clip in clips:
            folder = from_uri(str(clip.columns.get("uri") or "")).rstrip("/")
            folder = folder.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            hosts.add(str(clip.columns.get("host") or ""))
            for name, frame in zip(clip.landmarks.frame_names, _frames(clip), strict=True):
                paths.append(f"{folder}/{name}")
                names.append(base_name(clip))
                found[split] = found.get(split, 0) + any(frame[part] is not None for part in COUNTS)
                yield frame

    yield "keypoints", ListOf(frames())
    yield "image_paths", paths
    yield "video_ids", names
    found.setdefault(split, 0)


def _frames(clip: StoredClip) -> Iterator[dict[str, object]]:
    points = _points(clip)
    present = {part: ~np.isnan(array).all(axis=(1, 2)) for part, array in points.items()}
    for row, (width, height) in enumerate(clip.landmarks.frame_sizes_px.tolist()):
        parts = {part: array[row] if present[part][row] else None for part, array in points.items()}
        yield {**parts, "image_shape": (height, width)}


def _dataset_info(run: ExportRun, splits: list[str], hosts: set[str]) -> dict[str, object]:
    source = str(run.config.get("source") or "")
    options = run.config.get("options")
    known = options if isinstance(options, dict) else {}
    wanted = (
        *("engine", "mediapipe_version", "static", "model_complexity"),
        *("min_detection_confidence", "min_tracking_confidence"),
    )
    return {
        "name": PurePath(source).name,
        "source_path": source,
        "splits": splits,
        "processing_info": {
            "num_workers": None,  # what the data set does not know: its jobs may have had several numbers
            "distributed": len(hosts) > 1,
            "hosts": sorted(hosts),
            "empty_frames_dropped": run.options.drop_empty_frames,
            **{name: known[name] for name in wanted if name in known},
        },
    }


# Layout B.


def _write_b(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    dump(file, DictOf((split_and_name(clip), _sample_b(clip, run)) for clip in clips))


def _sample_b(clip: StoredClip, run: ExportRun) -> dict[str, object]:
    points = np.concatenate(list(_points(clip).values()), axis=1).astype(np.float64)
    return {
        "keypoint": tensor(np.where(np.isnan(points), 0.0, points), run.with_torch),
        "name": split_and_name(clip),
        "gloss": clip.text_of("gloss"),
        "num_frames": len(clip.landmarks),
        "text": clip.text_of("text"),
    }


_OUTLINE = (
    "the 17 points called outline run down the left half of the face only: the scripts' files have it so, "
    "and trainers count on it"
)
_FRAMES_KEPT = (
    "frames in which nothing was found are kept, so that time stays right; --drop-empty-frames leaves them "
    "out as the scripts did. Hands are left and right as the model names them, where the scripts called the "
    "first one found the right"
)

FORMATS = (
    Format(
        name="pickle",
        consumer="code that reads result_distributed.pkl of the older scripts (layout A)",
        structure="{split: {'keypoints': [frame], 'image_paths': [str], 'video_ids': [str]}, 'stats', "
        "'keypoint_info', 'dataset_info'}; a frame is {'face': float32 (68, 3) or None, 'left_hand': (21, 3) "
        "or None, 'right_hand': (21, 3) or None, 'pose': (33, 3) or None, 'image_shape': (height, width)}",
        layout=f"face 68: {_DESCRIPTIONS['face']}; left_hand 21, right_hand 21, pose 33",
        units="x, y as fractions of width and height, z as MediaPipe gives it",
        missing="None, for a part that was not found; all four, and the image_shape (0, 0), for a frame that "
        "cannot be read",
        differs=f"{_FRAMES_KEPT}; {_OUTLINE}. stats count frames: total, with something found, without. "
        "num_workers is None: a data set does not know it. image_paths are the paths that were read",
        parts=("face", "left_hand", "right_hand", "pose"),
        file_of=one_file,
        write=_write_a,
        accepts_drop=True,
    ),
    Format(
        name="pickle-splits",
        consumer="code that reads <base>.train, <base>.dev, <base>.test of the older scripts (layout B)",
        structure="{'split/clip': {'keypoint': float64 (T, 143, 3), 'name', 'gloss', 'num_frames', 'text'}}, "
        "a file a split: PATH.train ...",
        layout=f"143 points: face 68 ({_DESCRIPTIONS['face']}), left_hand 21, right_hand 21, pose 33",
        units="x, y as fractions of width and height, z as MediaPipe gives it",
        missing="0, for a part that was not found and for a frame that cannot be read",
        differs=f"{_FRAMES_KEPT}; {_OUTLINE}. A NumPy array (export_options.tensors says which) needs "
        "torch.from_numpy where the code expects a tensor",
        parts=("face", "left_hand", "right_hand", "pose"),
        file_of=file_a_split,
        write=_write_b,
        uses_tensors=True,
        accepts_drop=True,
    ),
)
