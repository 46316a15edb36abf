"""The two pickles of the older extraction scripts, read: inverse of storage/exports/seed.py."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.clips import printable
from extraction.errors import JobError
from extraction.landmarks import Floats
from extraction.topology import NUM_FACE_POINTS
from extraction.untrusted_pickle import shortly
from storage import restricted_pickle
from storage.exports.seed import ABOUT_FRAMES, COUNTS, TOTAL
from storage.face68 import FACE_INDICES
from storage.imports.source import SPLIT_NAMES, About, Frames, SourceClip, clip_of
from storage.shards import NO_SPLIT
from storage.stored import StoredClip

_MAX_SIDE_PX = (1 << 31) - 1
_NUMBER_BITS = 64
_UNKNOWN = (
    "frames in which nothing was found may be missing, and with them the times of those behind",
    "left and right hand may be exchanged: the older scripts called the first hand they found the right",
    "visibility of the pose's points, pose_world, and 400 of the 468 points of the face",
    "the engine's version and options",
)
_POINTS = {part: FACE_INDICES if part == "face" else tuple(range(count)) for part, count in COUNTS.items()}

_FramesOfA = tuple[dict[str, list[NDArray[Any] | None]], tuple[str, ...], list[tuple[int, int]]]
"""Arrays of each part, names, and sizes of a clip's frames."""


def layout_of(tree: object) -> str:
    """``"A"``, ``"B"``, or "" for what no script of theirs wrote; single clips may be malformed."""
    if not isinstance(tree, dict):
        return ""
    splits = [value for key, value in tree.items() if key not in ABOUT_FRAMES]
    if splits and all(isinstance(value, dict) and "keypoints" in value for value in splits):
        return "A" if all(isinstance(key, str) for key in tree) else ""
    return "B" if any(isinstance(value, dict) and "keypoint" in value for value in tree.values()) else ""


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
        self._unnamed: dict[tuple[str, str], str] = {}
        self._clips: list[SourceClip] | None = None
        for split, lists in tree.items():
            if split not in ABOUT_FRAMES:
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
            known = _as_text(name)
            key = (split, f"unnamed ({shortly(name)})" if known is None else known)
            if known is None:
                self._unnamed[key] = f"expected a text as its video_id, found {shortly(name)}"
            self._rows.setdefault(key, []).append(row)

    def clips(self) -> Sequence[SourceClip]:
        """One a split and video_id, in order of their first frames."""
        if self._clips is None:
            self._clips = [
                SourceClip(
                    *_identity(split, f"{split}/{name}"),
                    len(rows),
                    self.about.location,
                    fingerprint=self._fingerprint(split, name),
                )
                for (split, name), rows in self._rows.items()
            ]
        return self._clips

    def read(self, clip: SourceClip) -> StoredClip:
        """The frames of a video_id, in the order of the file."""
        where = f"{self.about.location}: {clip.clip_id!r}"
        arrays, names, sizes = self._frames(clip.split_name, clip.base_name, where)
        parts = {part: _stacked(of_part, part, where) for part, of_part in arrays.items()}
        return clip_of(clip, Frames(parts, names, np.array(sizes, np.int32).reshape(-1, 2)), self._fps)

    def _frames(self, split: str, name: str, where: str) -> _FramesOfA:
        if reason := self._unnamed.get((split, name)):
            raise JobError(f"{where}: {reason}")
        frames, paths = self._lists[split]
        rows = self._rows[split, name]
        of_clip = [_frame(frames[row], where) for row in rows]
        arrays = {part: [_part(frame, part, where) for frame in of_clip] for part in COUNTS}
        sizes = [_width_and_height(frame.get("image_shape")) for frame in of_clip]
        return arrays, tuple(_frame_name(paths[row], where) for row in rows), sizes

    def _fingerprint(self, split: str, name: str) -> str:
        try:
            arrays, names, sizes = self._frames(split, name, "")
        except JobError as error:  # read() says it again, of this clip alone
            return _digest([str(error)])
        return _digest([*names, *map(str, sizes), *(a for of_part in arrays.values() for a in of_part)])


class SeedB:
    """Layout B, read. A clip that is malformed is one of :meth:`clips`, and :meth:`read` says why not.

    Args:
        trees: Split to what its pickle holds.
        location: Where they lie.
        fps: Of their clips, which they do not say.
    """

    def __init__(self, trees: Mapping[str | None, Mapping[Any, Any]], location: str, fps: float) -> None:
        self.about = About(
            "pickles of clips (layout B)", location, _POINTS, (*_UNKNOWN, "size of the frames")
        )
        self._fps = fps
        self._samples: dict[str, tuple[Any, Any]] = {}
        self._clips: list[SourceClip] = []
        for split, tree in trees.items():
            for number, (key, sample) in enumerate(tree.items()):
                own, clip_id = _split_and_id(
                    split, _unicode(key) if isinstance(key, str) else _stand_in(key, number)
                )
                self._samples.setdefault(clip_id, (key, sample))
                self._clips.append(self._clip(clip_id, own, key, sample))

    def clips(self) -> Sequence[SourceClip]:
        """In the order of the files."""
        return self._clips

    def read(self, clip: SourceClip) -> StoredClip:
        """A part whose points are all zero was not found."""
        where = f"{self.about.location}: {clip.clip_id!r}"
        key, sample = self._samples[clip.clip_id]
        points, _ = _of_sample(key, sample, where)
        parts, first = {}, 0
        for part, count in COUNTS.items():
            array = _float32(points[:, first : first + count])
            array[(array == 0).all(axis=(1, 2))] = np.nan
            parts[part] = _whole(array, part, where)
            first += count
        return clip_of(clip, Frames(parts), self._fps)

    def _clip(self, clip_id: str, split: str | None, key: Any, sample: Any) -> SourceClip:
        try:
            points, said = _of_sample(key, sample, "")
        except JobError as error:  # read() says it again, of this clip alone
            return SourceClip(clip_id, split, 0, self.about.location, fingerprint=_digest([str(error)]))
        digest = _digest([points, *(text for item in said.items() for text in item)])
        return SourceClip(clip_id, split, len(points), self.about.location, said, digest)


def _digest(pieces: Iterable[str | NDArray[Any] | None]) -> str:
    """Of texts and arrays, each with its length, so that no two rows of them pass for one another."""
    state = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        if isinstance(piece, np.ndarray):
            about, data = f"{piece.dtype.str}{piece.shape}", piece.tobytes()
        else:
            about, data = "text", ascii(piece).encode()
        state.update(f"{about}:{len(data)}:".encode() + data)
    return state.hexdigest()


def _unicode(name: str) -> str:
    """As :func:`printable`, also of what no file's name can be."""
    try:
        return printable(name)
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def _as_text(name: Any) -> str | None:
    """A text or number as text; None for all else, which could be endless."""
    if isinstance(name, str):
        return _unicode(name)
    is_number = isinstance(name, float) or (isinstance(name, int) and name.bit_length() <= _NUMBER_BITS)
    return str(name) if is_number else None


def _frame_name(path: Any, where: str) -> str:
    name = _as_text(path)
    if name is None:
        raise JobError(f"{where}: expected texts in image_paths, found {shortly(path)}")
    return name.rpartition("/")[2]


def _stand_in(key: Any, number: int) -> str:
    """Under which a clip can be listed whose name is no text."""
    return f"entry {number} ({shortly(key)})"


def _split_and_id(split: str | None, key: str) -> tuple[str | None, str]:
    """Of a clip of layout B."""
    first, slash, _ = key.partition("/")
    own = split or (first if slash and first in SPLIT_NAMES else None)
    is_in_id = own in (None, NO_SPLIT) or key.startswith(f"{own}/")
    clip_id, own = _identity(own or NO_SPLIT, key if is_in_id else f"{own}/{key}")
    return own, clip_id


def _of_sample(key: Any, sample: Any, where: str) -> tuple[NDArray[Any], dict[str, str]]:
    """Points (T, 143, 3) and annotations of a clip of layout B.

    Raises:
        JobError: If it is malformed, saying how.
    """
    if not isinstance(key, str):
        raise JobError(f"{where}: expected a text as its name, found {shortly(key)}")
    if not isinstance(sample, dict) or "keypoint" not in sample:
        raise JobError(f"{where}: expected a dict with 'keypoint', found {type(sample).__name__}")
    points = _numbers(sample["keypoint"], f"(T, {TOTAL}, 3)", where)
    if points.ndim != 3 or points.shape[1:] != (TOTAL, 3):
        raise JobError(f"{where}: expected (T, {TOTAL}, 3) numbers, found {points.shape}")
    said = {name: _words(sample.get(name), f"{where}: {name}") for name in ("gloss", "text")}
    return points, {name: words for name, words in said.items() if words}


def _words(value: Any, where: str) -> str:
    """A text, also where it stands as a list of words; "" for none."""
    array = _array(value, "a text", where)
    words = value if array is None else array.reshape(-1).tolist()
    words = words if isinstance(words, list | tuple) else [words]
    return " ".join(_word(word, where) for word in words if not _is_missing(word))


def _word(word: Any, where: str) -> str:
    try:
        if isinstance(word, str | int | float):
            text = str(word)
            text.encode("utf-8")
            return text
    except ValueError:  # no Unicode, or a number of thousands of digits
        pass
    raise JobError(f"{where}: expected a text or a list of texts, found {shortly(word)}")


def _is_missing(word: Any) -> bool:
    """Tables that pandas read say NaN where there is no text."""
    return word is None or (isinstance(word, float) and math.isnan(word))


def _identity(split: str, clip_id: str) -> tuple[str, str | None]:
    """Clip id and split; a clip without one has none in its id either."""
    if split == NO_SPLIT:
        return clip_id.removeprefix(f"{NO_SPLIT}/"), None
    return clip_id, split


def _frame(frame: Any, where: str) -> dict[str, Any]:
    if not isinstance(frame, dict):
        raise JobError(f"{where}: expected frames that are dicts, found {type(frame).__name__}")
    return frame


def _part(frame: dict[str, Any], part: str, where: str) -> NDArray[Any] | None:
    if frame.get(part) is None:
        return None
    array = _numbers(frame[part], f"({COUNTS[part]}, 3)", f"{where}: {part}")
    if array.shape != (COUNTS[part], 3):
        raise JobError(f"{where}: {part}: expected ({COUNTS[part]}, 3) numbers, found {array.shape}")
    return array


def _numbers(value: Any, shape: str, where: str) -> NDArray[Any]:
    array = _array(value, f"{shape} numbers", where)
    if array is None:
        raise JobError(f"{where}: expected {shape} numbers, found {type(value).__name__}")
    if array.dtype.kind not in "fiub":
        raise JobError(f"{where}: expected {shape} numbers, found an array of {array.dtype}")
    return array


def _array(value: Any, expected: str, where: str) -> NDArray[Any] | None:
    try:
        return restricted_pickle.as_array(value)
    except (ValueError, TypeError) as error:
        raise JobError(f"{where}: expected {expected}, found {error}") from error


def _stacked(frames: list[NDArray[Any] | None], part: str, where: str) -> Floats:
    array = np.full((len(frames), COUNTS[part], 3), np.nan, np.float32)
    for row, points in enumerate(frames):
        if points is not None:
            array[row] = _float32(points)
    return _whole(array, part, where)


def _float32(points: NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):  # it becomes infinite, which is refused
        return points.astype(np.float32)


def _whole(points: Floats, part: str, where: str) -> Floats:
    """A part that is there in a frame is there with all its points; a face at its places in the mesh's 468.

    Raises:
        JobError: If some of its points are, naming the first such frame.
    """
    finite = np.isfinite(points).all(axis=(1, 2))
    broken = np.flatnonzero(~finite & ~np.isnan(points).all(axis=(1, 2)))
    if len(broken):
        raise JobError(
            f"{where}: {part}: expected points that are all finite, or all NaN or 0 where it was not found, "
            f"found NaN or infinite numbers among them in frame {broken[0]}"
        )
    if part != "face":
        return points
    face = np.full((len(points), NUM_FACE_POINTS, 3), np.nan, np.float32)
    face[:, FACE_INDICES] = points
    return face


def _width_and_height(shape: Any) -> tuple[int, int]:
    """Of ``(height, width, ...)``; zeros where that is not what stands there."""
    if not isinstance(shape, tuple | list) or len(shape) < 2 or not all(isinstance(n, int) for n in shape):
        return 0, 0
    return max(0, min(shape[1], _MAX_SIDE_PX)), max(0, min(shape[0], _MAX_SIDE_PX))
