"""``.pose`` files of the library pose-format, written and read: MediaPipe Holistic as its tool makes them."""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Any

import numpy as np

from extraction.clips import from_uri, printable, to_uri
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, Floats
from extraction.topology import (
    FACE_IRIS_EDGES,
    HAND_EDGES,
    HAND_POINTS,
    NUM_FACE_POINTS,
    PARTS,
    POSE_EDGES,
    POSE_POINTS,
)
from storage.exports.face_triangles import SIDES
from storage.exports.inventory import file_name
from storage.exports.protocol import ClipEntry, ExportRun, Format
from storage.exports.wholebody import pose_scores
from storage.imports.source import SPLIT_NAMES, VISIBILITY, About, Frames, SourceClip, clip_of
from storage.stored import StoredClip

# pose_format/utils/holistic.py, holistic_components: names, order and colours. That module itself cannot be
# asked where mediapipe is 1.x; tests/storage/exports/test_pose_file.py compares with it where it can.
COMPONENTS = {
    "POSE_LANDMARKS": "pose",
    "FACE_LANDMARKS": "face",
    "LEFT_HAND_LANDMARKS": "left_hand",
    "RIGHT_HAND_LANDMARKS": "right_hand",
    "POSE_WORLD_LANDMARKS": "pose_world",
}
"""Component of a file to part, in the order of the points."""
_VERSION = 0.2
_POINT_FORMAT = "XYZC"
_BODY_COLOUR, _FACE_COLOUR = (255, 0, 0), (128, 0, 0)
_LARGEST_PX = 65_535
"""Of a width or height in a header: two bytes."""
SUFFIX = ".pose"


# Writing.


def _write(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    library = import_module("pose_format")
    for clip in clips:
        width, height = _frame_size(clip)
        marks = clip.landmarks
        points, confidence = _body(marks, width, height)
        body = import_module("pose_format.numpy").NumPyPoseBody(
            fps=marks.fps, data=points[:, np.newaxis], confidence=confidence[:, np.newaxis]
        )
        library.Pose(_header(width, height, marks.parts["face"].shape[1]), body).write(file)


def _frame_size(clip: StoredClip) -> tuple[int, int]:
    """Of the clip's first readable frame, as the tool takes one size for a whole video."""
    sizes = clip.landmarks.frame_sizes_px
    readable = sizes[sizes[:, 0] > 0]
    if not len(readable) or readable[0].max() > _LARGEST_PX:
        found = "no size" if not len(readable) else "x".join(map(str, readable[0].tolist()))
        raise JobError(
            f"{clip.clip_id!r}: a .pose file holds pixels of frames up to {_LARGEST_PX} px, found {found}: "
            "choose another format, such as npz, or leave its split out"
        )
    return int(readable[0][0]), int(readable[0][1])


def _body(marks: ClipLandmarks, width: int, height: int) -> tuple[Floats, Floats]:
    """Points and confidences of all components.

    Returns:
        float32 (T, 576, 3) and float32 (T, 576); 0 where a part was not found.
    """
    to_pixels = np.array([width, height, 1])
    pose_confidence = pose_scores(marks)
    points, confidences = [], []
    for part in COMPONENTS.values():
        array = marks.parts[part]
        found = marks.present(part)[:, np.newaxis]
        scaled = array if part == "pose_world" else (array * to_pixels).astype(np.float32)
        known = np.where(np.isnan(array).any(axis=2), np.float32(0), np.float32(1))
        confidence = np.where(found, pose_confidence, 0) if part.startswith("pose") else known
        points.append(np.where(np.isnan(scaled), np.float32(0), scaled))
        confidences.append(confidence.astype(np.float32))
    return np.concatenate(points, axis=1), np.concatenate(confidences, axis=1)


def _header(width: int, height: int, face_points: int) -> Any:
    headers = import_module("pose_format.pose_header")
    hand_colours = import_module("pose_format.utils.openpose").hand_colors
    face_limbs = [*SIDES, *(FACE_IRIS_EDGES if face_points > NUM_FACE_POINTS else ())]
    body = ([name.upper() for name in POSE_POINTS], POSE_EDGES, [_BODY_COLOUR])
    hand = ([name.upper() for name in HAND_POINTS], HAND_EDGES, hand_colours)
    face = ([str(row) for row in range(face_points)], face_limbs, [_FACE_COLOUR])
    tables = {"pose": body, "pose_world": body, "left_hand": hand, "right_hand": hand, "face": face}
    components = []
    for name, part in COMPONENTS.items():
        points, limbs, colours = tables[part]
        components.append(headers.PoseHeaderComponent(name, points, list(limbs), colours, _POINT_FORMAT))
    dimensions = headers.PoseHeaderDimensions(width, height, 0)
    return headers.PoseHeader(_VERSION, dimensions, components)


def _file_of(entry: ClipEntry, _position: int) -> str:
    return file_name(entry.clip_id, SUFFIX)


FORMATS = (
    Format(
        name="pose",
        consumer="pose-format (sign-language-processing/pose) 0.2, and what reads its files",
        structure="a file a clip, PATH/<clip id>.pose, written with the library pose-format: float32 "
        "(T, 1, 576, 3) and confidences (T, 1, 576)",
        layout="POSE_LANDMARKS 33, FACE_LANDMARKS 468 (478 with --refine-face), LEFT_HAND_LANDMARKS 21, "
        "RIGHT_HAND_LANDMARKS 21, POSE_WORLD_LANDMARKS 33; points, limbs and colours as its video_to_pose",
        units="x, y in pixels of the clip's first readable frame, z as MediaPipe gives it; POSE_WORLD in "
        "metres; confidence: visibility for both poses, 1 for face and hands",
        missing="coordinates and confidence 0, for a part that was not found and for a frame that cannot be "
        "read",
        differs="the confidence of POSE_WORLD is the visibility of POSE_LANDMARKS, which MediaPipe gives to "
        "both. Frames of another size than the first are scaled to it",
        parts=tuple(COMPONENTS.values()),
        file_of=_file_of,
        write=_write,
        is_folder=True,
        is_file_a_clip=True,
        package="pose_format",
    ),
)


# Reading them back.

_UNKNOWN = (
    "which frames could not be read: they look like frames in which nothing was found",
    "names and sizes of single frames, annotations, the engine's version and options",
    "the last bit of x and y, which were pixels",
)
_BROKEN = (ValueError, TypeError, LookupError, OverflowError, struct.error, UnicodeError, ArithmeticError)
_BROKEN_TOO = (AssertionError, MemoryError, AttributeError)


class PoseFiles:
    """``.pose`` files, read one by one.

    Args:
        location: A file, or a folder with files in it at any depth.

    Raises:
        JobError: If the library is not there, or no file.
    """

    def __init__(self, location: str) -> None:
        if find_spec("pose_format") is None:
            raise JobError(
                f"{location}: .pose files need the package pose-format: run `pip install pose-format`"
            )
        self._paths = _paths(location)
        if not self._paths:
            raise JobError(f"{location}: expected .pose files in it, found none")
        self._clips: list[SourceClip] | None = None
        points = self._first_points()
        self.about = About(".pose files", location, {**points, **_visibility(points)}, _UNKNOWN)

    def _first_points(self) -> dict[str, tuple[int, ...]]:
        """Of the first file that can be read: one that cannot is a clip that fails, not all of them."""
        reason: JobError | None = None
        for _, path in self._paths:
            try:
                return _points(self._read(path).header, path)
            except JobError as error:
                reason = reason or error
        assert reason is not None
        raise reason

    def clips(self) -> Sequence[SourceClip]:
        """One a file, named by its path; of each only the header is read."""
        if self._clips is None:
            self._clips = [
                SourceClip(
                    clip_id,
                    _split_of(clip_id),
                    self._num_frames(path),
                    to_uri(path),
                    fingerprint=_fingerprint(path),
                )
                for clip_id, path in self._paths
            ]
        return self._clips

    def read(self, clip: SourceClip) -> StoredClip:
        """Pixels become fractions of the frame again."""
        pose = self._read(from_uri(clip.uri))
        points = _points(pose.header, clip.uri)
        if {*points, *_visibility(points)} != {*self.about.points}:
            raise JobError(
                f"{clip.uri}: expected the components {', '.join(self.about.points)} as in the first file, "
                f"found {', '.join(points)}"
            )
        data, confidence = np.asarray(pose.body.data.data), np.asarray(pose.body.confidence)
        if data.ndim != 4 or data.shape[1] != 1 or data.shape[3] != 3:
            raise JobError(f"{clip.uri}: expected one person in x, y, z, found an array {data.shape}")
        size = pose.header.dimensions
        if size.width < 1 or size.height < 1:
            raise JobError(f"{clip.uri}: expected the size of the frames, found {size.width}x{size.height}")
        parts: dict[str, Floats] = {}
        visibility: Floats | None = None
        first = 0
        for component in pose.header.components:
            part = COMPONENTS[component.name]
            rows = slice(first, first + len(component.points))
            first = rows.stop
            scale = 1 if part == "pose_world" else np.array([size.width, size.height, 1])
            array = (data[:, 0, rows].astype(np.float64) / scale).astype(np.float32)
            is_absent = (confidence[:, 0, rows] == 0) & (data[:, 0, rows] == 0).all(axis=2)
            array[is_absent] = np.nan
            parts[part] = array
            if part == "pose":
                visibility = np.where(is_absent, np.nan, confidence[:, 0, rows]).astype(np.float32)
        sizes = np.tile(np.array([size.width, size.height], np.int32), (len(data), 1))
        ordered = {part: parts[part] for part in PARTS if part in parts}
        fps = float(pose.body.fps)
        if not 0 < fps < float("inf"):
            raise JobError(f"{clip.uri}: expected frames per second above 0, found {fps:g}")
        return clip_of(clip, Frames(ordered, None, sizes, visibility, fps), fps)

    def _num_frames(self, path: str) -> int:
        try:
            return _count_frames(path)
        except (JobError, *_BROKEN, *_BROKEN_TOO, OSError):
            return 0  # whoever reads it says why

    def _read(self, path: str) -> Any:
        try:
            with open(path, "rb") as file:
                return import_module("pose_format").Pose.read(file.read())
        except (*_BROKEN, *_BROKEN_TOO, OSError) as error:
            reason = str(error) or type(error).__name__
            raise JobError(f"{printable(path)}: expected a .pose file, cannot read it: {reason}") from error


def _count_frames(path: str) -> int:
    """Read from the header alone."""
    library = import_module("pose_format")
    empty = import_module("pose_format.pose_body").EmptyPoseBody
    with open(path, "rb") as file:
        return int(library.Pose.read(file, empty).body.data.shape[0])


def _fingerprint(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""  # whoever reads it says why
    return f"{found.st_size}-{found.st_mtime_ns}"


def _points(header: Any, path: str) -> dict[str, tuple[int, ...]]:
    """Part name to its rows; refuses what is not MediaPipe Holistic in full."""
    found = {}
    for component in header.components:
        part = COMPONENTS.get(component.name)
        expected = {
            "pose": [name.upper() for name in POSE_POINTS],
            "pose_world": [name.upper() for name in POSE_POINTS],
            "face": [str(row) for row in range(len(component.points))],
        }.get(part or "", [name.upper() for name in HAND_POINTS])
        whole_face = part != "face" or len(component.points) >= NUM_FACE_POINTS
        if part is None or list(component.points) != expected or not whole_face:
            raise JobError(
                f"{printable(path)}: expected the components of MediaPipe Holistic with all their points, "
                f"found {component.name} with {len(component.points)} points"
            )
        found[part] = tuple(range(len(component.points)))
    if not found:
        raise JobError(f"{printable(path)}: expected the components of MediaPipe Holistic, found none")
    return found


def _visibility(points: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {VISIBILITY: points["pose"]} if "pose" in points else {}


def _paths(location: str) -> list[tuple[str, str]]:
    """Clip id and path of each file, in order of the ids."""
    if os.path.isfile(location):
        return [(_clip_id(os.path.basename(location)), location)]
    found = []
    for folder, _, names in os.walk(location):
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
                path = os.path.join(folder, name)
                found.append((_clip_id(os.path.relpath(path, location)), path))
    return sorted(found)


def _clip_id(relative: str) -> str:
    return printable(relative.removesuffix(SUFFIX).replace(os.sep, "/"))


def _split_of(clip_id: str) -> str | None:
    first, slash, _ = clip_id.partition("/")
    return first if slash and first in SPLIT_NAMES else None
