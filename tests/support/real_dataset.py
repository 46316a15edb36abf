"""A data set of real landmarks, written without running a detector: for tests of what reads one."""

import csv
from pathlib import Path

import numpy as np

from extraction.clips import Clip
from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import Failure, write_shard

# As the arrays of the sample files lie (their MANIFEST says so).
SLICES = {
    "pose": slice(0, 33),
    "face": slice(33, 501),
    "left_hand": slice(501, 522),
    "right_hand": slice(522, 543),
}
POINTS = {"pose": 33, "pose_world": 33, "left_hand": 21, "right_hand": 21, "face": 468}
SPLITS = {"bsl_demo": "train", "wave": "train", "french_a1": "dev", "squats": "test"}
FAILED = "train/lost"
SIZE_PX = (210, 260)


def real_landmarks(array: np.ndarray) -> ClipLandmarks:
    """Landmarks of (T, 543, 3) points; the last frame but one is unreadable.

    ``pose_world`` and the visibility stand in no sample file: the first is the pose about its hips, the
    second a ramp, so that each value is one of its own.
    """
    length = len(array)
    array = array.copy()
    array[-2] = np.nan
    parts = {part: np.ascontiguousarray(array[:, where]) for part, where in SLICES.items()}
    hips = parts["pose"][:, 23:25].mean(axis=1, keepdims=True)
    parts["pose_world"] = parts["pose"] - hips
    visibility = np.linspace(0, 1, length * 33, dtype=np.float32).reshape(length, 33)
    visibility[np.isnan(parts["pose"]).all(axis=(1, 2))] = np.nan
    found = np.any([~np.isnan(points).all(axis=(1, 2)) for points in parts.values()], axis=0)
    status = np.where(found, 0, 1).astype(np.int8)
    sizes = np.tile(np.array(SIZE_PX, np.int32), (length, 1))
    status[-2], sizes[-2] = 2, 0
    return ClipLandmarks(
        first_frame=0,
        fps=25.0,
        timestamps_ms=np.arange(length) * 40.0,
        frame_names=tuple(f"images{number:04d}.png" for number in range(1, length + 1)),
        frame_status=status,
        frame_errors=tuple("truncated PNG" if s == 2 else None for s in status),
        frame_sizes_px=sizes,
        parts={part: parts[part] for part in POINTS},
        pose_visibility=visibility,
    )


def annotations(folder: Path) -> dict[str, dict[str, str]]:
    """Clip name to its row in the corpus files below a folder."""
    rows = {}
    for path in sorted(folder.glob("*.corpus.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows |= {row["name"]: row for row in csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE)}
    return rows


def make_dataset(out: Path, clips: Path, rows_of: int | None = None, array: str = "tracking") -> Dataset:
    """Writes the four sample clips, and one that failed, as ``landmarks extract`` lays them out.

    Args:
        out: Where.
        clips: The folder of sample clips.
        rows_of: Frames a row, so that a clip has several; all in one where None.
        array: ``"tracking"`` or ``"static"``.
    """
    said = annotations(clips / "phoenix_like/PHOENIX-2014-T/annotations/manual")
    dataset = Dataset(str(out))
    options = {"engine": "holistic", "fps": 25.0, "refine_face": False}
    dataset.create(options, "0f", {"source": "/in", "mediapipe_version": "0.10.21"})
    planned, shards, outcomes = [], [], {}
    for number, (name, split) in enumerate(SPLITS.items()):
        landmarks = real_landmarks(np.load(clips / f"phoenix_like/expected/{name}.npz")[array])
        row = said[name]
        clip = Clip(
            f"{split}/{name}", f"/in/{split}/{name}", "frames", split, len(landmarks), f"f{number}",
            signer=row["speaker"], gloss=row["orth"], text=row["translation"], fps=25.0,
        )  # fmt: skip
        shard = list(dict.fromkeys(SPLITS.values())).index(split)
        planned.append(clip)
        shards.append(shard)
        made = Provenance(
            *("holistic", "0.10.21", "0f", "cpu", 1, 900.0, 100.0, 700.0, "host", f"f{number}"),
            worker=f"host-{100 + shard}", write_ms=15.0,
        )  # fmt: skip
        pieces = split_rows(landmarks, rows_of or len(landmarks))
        outcomes.setdefault((shard, split), []).append([encode(clip, piece, made) for piece in pieces])
    lost = Clip(FAILED, f"/in/{FAILED}", "frames", "train", 3, "f9")
    planned.append(lost)
    shards.append(0)
    outcomes[0, "train"].append(
        Failure(FAILED, lost.uri, "train", "decode", "no-readable-frame", "broken", 1)
    )
    order = np.argsort(shards, kind="stable")
    dataset.write_plan(Plan(tuple(planned[i] for i in order), tuple(shards[i] for i in order)))
    for (shard, split), of_clips in outcomes.items():
        write_shard(dataset.store, shard, split, POINTS, of_clips)
    return dataset


def split_rows(landmarks: ClipLandmarks, length: int) -> list[ClipLandmarks]:
    """The same landmarks in pieces of so many frames."""
    pieces = []
    for first in range(0, len(landmarks), length):
        part = slice(first, first + length)
        pieces.append(
            ClipLandmarks(
                first,
                landmarks.fps,
                landmarks.timestamps_ms[part].copy(),
                landmarks.frame_names[part],
                landmarks.frame_status[part].copy(),
                landmarks.frame_errors[part],
                landmarks.frame_sizes_px[part].copy(),
                {name: points[part].copy() for name, points in landmarks.parts.items()},
                landmarks.pose_visibility[part].copy(),
            )
        )
    return pieces
