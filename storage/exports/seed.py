"""The two pickles of the older extraction scripts, written and read: trainers that grew on them go on.

Layout A is one file with a list of frames a split; layout B a file a split with a tensor a clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from extraction.clips import from_uri
from extraction.errors import JobError
from extraction.landmarks import Floats
from extraction.topology import NUM_FACE_POINTS
from storage import restricted_pickle
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
from storage.imports.source import SPLIT_NAMES, About, Frames, SourceClip, clip_of
from storage.shards import NO_SPLIT
from storage.stored import StoredClip

COUNTS = {"face": 68, "left_hand": 21, "right_hand": 21, "pose": 33}
"""Parts in the order of layout B's 143 points."""
_TOTAL = sum(COUNTS.values())
_MAX_SIDE_PX = (1 << 31) - 1
_DESCRIPTIONS = {
    "face": "of MediaPipe's face mesh the points "
    + "; ".join(f"{run} {' '.join(map(str, points))}" for run, points in FACE_POINTS.items()),
    "left_hand": "MediaPipe's hand landmarks, of the hand the model names left",
    "right_hand": "MediaPipe's hand landmarks, of the hand the model names right",
    "pose": "MediaPipe's pose landmarks",
}
_ABOUT_FRAMES = ("stats", "keypoint_info", "dataset_info")
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
    if taken := sorted(set(splits) & set(_ABOUT_FRAMES)):
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
    yield "keypoint_info", {**about, "total_points": _TOTAL}
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


# Reading them back.

_UNKNOWN = (
    "frames in which nothing was found may be missing, and with them the times of those behind",
    "left and right hand may be exchanged: the older scripts called the first hand they found the right",
    "visibility of the pose's points, pose_world, and 400 of the 468 points of the face",
    "the engine's version and options",
)
_POINTS = {part: FACE_INDICES if part == "face" else tuple(range(count)) for part, count in COUNTS.items()}


class SeedA:
    """Layout A, read.

    Args:
        tree: What the pickle holds.
        location: Where it lies.
        fps: Of its clips, which it does not say.
    """

    def __init__(self, tree: Mapping[str, Any], location: str, fps: float) -> None:
        self.about = About("pickle of frames (layout A)", location, _POINTS, _UNKNOWN)
        self._fps = fps
        self._lists: dict[str, tuple[list[Any], list[Any]]] = {}
        self._rows: dict[tuple[str, str], list[int]] = {}
        for split, lists in tree.items():
            if split not in _ABOUT_FRAMES:
                self._index(split, lists)

    def _index(self, split: str, lists: Any) -> None:
        named = ("keypoints", "image_paths", "video_ids")
        if not isinstance(lists, dict) or any(not isinstance(lists.get(name), list) for name in named):
            raise JobError(f"{self.about.location}: split {split!r}: expected the lists {', '.join(named)}")
        frames, paths, names = (lists[name] for name in named)
        if not len(frames) == len(paths) == len(names):
            raise JobError(
                f"{self.about.location}: split {split!r}: expected three lists of one length, found "
                f"{len(frames)} keypoints, {len(paths)} image_paths, {len(names)} video_ids"
            )
        self._lists[split] = frames, paths
        for row, name in enumerate(names):
            self._rows.setdefault((split, str(name)), []).append(row)

    def clips(self) -> Sequence[SourceClip]:
        """One a split and video_id, in order of their first frames."""
        return [
            SourceClip(*_identity(split, f"{split}/{name}"), len(rows), self.about.location)
            for (split, name), rows in self._rows.items()
        ]

    def read(self, clip: SourceClip) -> StoredClip:
        """The frames of a video_id, in the order of the file."""
        frames, paths = self._lists[clip.split_name]
        rows = self._rows[clip.split_name, clip.base_name]
        of_clip = [self._frame(frames[row], clip) for row in rows]
        parts = {part: _stacked([self._part(f, part, clip) for f in of_clip], part) for part in COUNTS}
        shapes = [frame.get("image_shape") for frame in of_clip]
        sizes = np.array([_width_and_height(shape) for shape in shapes], np.int32).reshape(-1, 2)
        names = tuple(str(paths[row]).rpartition("/")[2] for row in rows)
        return clip_of(clip, Frames(parts, names, sizes), self._fps)

    def _frame(self, frame: Any, clip: SourceClip) -> dict[str, Any]:
        if not isinstance(frame, dict):
            raise JobError(f"{self.about.location}: {clip.clip_id!r}: expected frames that are dicts")
        return frame

    def _part(self, frame: dict[str, Any], part: str, clip: SourceClip) -> NDArray[Any] | None:
        value = frame.get(part)
        array = _array(value, f"{self.about.location}: {clip.clip_id!r}")
        if value is not None and (array is None or array.shape != (COUNTS[part], 3)):
            raise JobError(
                f"{self.about.location}: {clip.clip_id!r}: {part}: expected ({COUNTS[part]}, 3) numbers, "
                f"found {type(value).__name__ if array is None else array.shape}"
            )
        return array


class SeedB:
    """Layout B, read.

    Args:
        trees: Split to what its pickle holds.
        location: Where they lie.
        fps: Of their clips, which they do not say.
    """

    def __init__(self, trees: Mapping[str | None, Mapping[str, Any]], location: str, fps: float) -> None:
        self.about = About(
            "pickles of clips (layout B)", location, _POINTS, (*_UNKNOWN, "size of the frames")
        )
        self._fps = fps
        self._samples: dict[str, Any] = {}
        self._clips: list[SourceClip] = []
        for split, tree in trees.items():
            for key, sample in tree.items():
                if not isinstance(sample, dict) or "keypoint" not in sample:
                    raise JobError(f"{location}: {key!r}: expected a dict with 'keypoint'")
                first, slash, _ = key.partition("/")
                own = split or (first if slash and first in SPLIT_NAMES else None)
                is_in_id = own in (None, NO_SPLIT) or key.startswith(f"{own}/")
                clip_id = key if is_in_id else f"{own}/{key}"
                self._samples.setdefault(clip_id, sample)
                frames = self._points(sample, clip_id).shape[0]
                said = {name: str(sample[name]) for name in ("gloss", "text") if sample.get(name)}
                self._clips.append(SourceClip(*_identity(own or NO_SPLIT, clip_id), frames, location, said))

    def clips(self) -> Sequence[SourceClip]:
        """In the order of the files."""
        return self._clips

    def read(self, clip: SourceClip) -> StoredClip:
        """A part whose points are all zero was not found."""
        sample = self._samples[clip.clip_id]
        points = self._points(sample, clip.clip_id)
        parts, first = {}, 0
        for part, count in COUNTS.items():
            array = points[:, first : first + count].astype(np.float32)
            array[(array == 0).all(axis=(1, 2))] = np.nan
            parts[part] = _whole_face(array) if part == "face" else array
            first += count
        return clip_of(clip, Frames(parts), self._fps)

    def _points(self, sample: dict[str, Any], clip_id: str) -> NDArray[Any]:
        array = _array(sample["keypoint"], f"{self.about.location}: {clip_id!r}")
        if array is None or array.ndim != 3 or array.shape[1:] != (_TOTAL, 3):
            found = type(sample["keypoint"]).__name__ if array is None else array.shape
            raise JobError(
                f"{self.about.location}: {clip_id!r}: expected (T, {_TOTAL}, 3) numbers, found {found}"
            )
        return array


def layout_of(tree: object) -> str:
    """``"A"``, ``"B"``, or "" for what no script of theirs wrote."""
    if not isinstance(tree, dict) or not tree or not all(isinstance(key, str) for key in tree):
        return ""
    splits = [value for key, value in tree.items() if key not in _ABOUT_FRAMES]
    if splits and all(isinstance(value, dict) and "keypoints" in value for value in splits):
        return "A"
    return "B" if all(isinstance(value, dict) and "keypoint" in value for value in tree.values()) else ""


def _identity(split: str, clip_id: str) -> tuple[str, str | None]:
    """Clip id and split; a clip without one has none in its id either."""
    if split == NO_SPLIT:
        return clip_id.removeprefix(f"{NO_SPLIT}/"), None
    return clip_id, split


def _array(value: object, where: str) -> NDArray[Any] | None:
    try:
        array = restricted_pickle.as_array(value)
    except ValueError as error:
        raise JobError(f"{where}: found {error}") from error
    return array if array is None or array.dtype.kind in "fiub" else None


def _stacked(frames: list[NDArray[Any] | None], part: str) -> Floats:
    array = np.full((len(frames), COUNTS[part], 3), np.nan, np.float32)
    for row, points in enumerate(frames):
        if points is not None:
            array[row] = points
    return _whole_face(array) if part == "face" else array


def _whole_face(points: Floats) -> Floats:
    """68 points at their places among the mesh's 468; the others are not known."""
    face = np.full((len(points), NUM_FACE_POINTS, 3), np.nan, np.float32)
    face[:, FACE_INDICES] = points
    return face


def _width_and_height(shape: Any) -> tuple[int, int]:
    """Of ``(height, width, ...)``; zeros where that is not what stands there."""
    if not isinstance(shape, tuple | list) or len(shape) < 2 or not all(isinstance(n, int) for n in shape):
        return 0, 0
    return max(0, min(shape[1], _MAX_SIDE_PX)), max(0, min(shape[0], _MAX_SIDE_PX))
