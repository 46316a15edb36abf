"""Hands, pose and face by the landmarkers of MediaPipe's Tasks API, on the CPU or the GPU."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import topology
from extraction.detectors import tasks_api
from extraction.detectors.hands import Hand, hand_parts
from extraction.detectors.protocol import DetectorInfo, DetectorOptions
from extraction.errors import JobError
from extraction.landmarks import FrameLandmarks

POSE_SIZES = ("lite", "full", "heavy")
"""By ``model_complexity``."""

_NUM_HANDS = 2
# Unlike the legacy solution, the Tasks API says a hand's side for the image as it is; docs/engines.md has the
# figures.
_SIDES = {"Left": "left", "Right": "right"}


def model_files(folder: Path, model_complexity: int) -> dict[str, Path]:
    """The three bundles in a folder, by kind.

    Args:
        folder: With ``hand_landmarker.task``, ``face_landmarker.task`` and ``pose_landmarker_SIZE.task``, or
            ``pose_landmarker.task``, which counts as the full one.
        model_complexity: Size of the pose model: 0 lite, 1 full, 2 heavy.

    Raises:
        JobError: If one is missing.
    """
    pose = folder / f"pose_landmarker_{POSE_SIZES[model_complexity]}.task"
    plain = folder / "pose_landmarker.task"
    if model_complexity == 1 and not pose.exists() and plain.exists():
        pose = plain
    files = {
        "hand_landmarker": folder / "hand_landmarker.task",
        "pose_landmarker": pose,
        "face_landmarker": folder / "face_landmarker.task",
    }
    if missing := [file.name for file in files.values() if not file.is_file()]:
        raise JobError(
            f"{folder}: expected the models {', '.join(file.name for file in files.values())} in this "
            f"folder, {', '.join(missing)} missing: `landmarks models fetch NAME --to FILE` gets the "
            "official ones"
        )
    return files


class TasksDetector:
    """The Hand, Pose and Face landmarkers of the Tasks API, made anew for each clip.

    In IMAGE mode they keep nothing from image to image, and live on.
    """

    def __init__(self, options: DetectorOptions) -> None:
        self._static = options.static
        self._info = DetectorInfo(
            engine=options.engine,
            engine_version=version("mediapipe"),
            delegate=options.delegate,
            num_points=topology.num_points(True, options.extra_parts),
            closes_after_error=tasks_api.closes_after_error(),
        )
        self._times = tasks_api.Timestamps()
        files = model_files(Path(options.model), options.model_complexity)
        self._landmarkers: list[tasks_api.Landmarker] = []
        try:
            for kind, make in _MAKERS.items():
                make_one = partial(make, options, files[kind])
                self._landmarkers.append(tasks_api.Landmarker(make_one, stateless=options.static))
        except Exception:
            self.close()
            raise

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        return self._info

    def begin_clip(self, clip_id: str) -> None:  # noqa: ARG002
        """Makes the landmarkers anew, unless they have no state or have seen nothing yet."""
        for landmarker in self._landmarkers:
            landmarker.renew()
        self._times = tasks_api.Timestamps()

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:
        """Finds the landmarks in the next frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Milliseconds from the clip's start; not used where nothing is tracked.

        Raises:
            RuntimeError: If a graph fails (from MediaPipe; ValueError for some failures), or after close.
        """
        time_ms = None if self._static else self._times.next(timestamp_ms)
        frame = tasks_api.to_image(image)
        hands, pose, face = (landmarker.detect(frame, time_ms) for landmarker in self._landmarkers)
        visibility = None
        parts = hand_parts(_to_hands(hands), self._info.num_points)
        if pose.pose_landmarks:
            parts["pose"] = tasks_api.to_points(pose.pose_landmarks[0])
            parts["pose_world"] = tasks_api.to_points(pose.pose_world_landmarks[0])
            visibility = tasks_api.to_visibility(pose.pose_landmarks[0])
        if face.face_landmarks:
            parts["face"] = tasks_api.to_points(face.face_landmarks[0])
        if face.face_blendshapes:
            parts["face_blendshapes"] = tasks_api.to_scores(face.face_blendshapes[0])
        return FrameLandmarks(parts, visibility)

    def close(self) -> None:
        """Closes the landmarkers; one whose graph has failed is left to the end of the process."""
        for landmarker in self._landmarkers:
            landmarker.close()


def _to_hands(result: Any) -> list[Hand]:
    sides = (handedness[0] for handedness in result.handedness)
    return [
        Hand(
            _SIDES[side.category_name],
            side.score,
            tasks_api.to_points(points),
            tasks_api.to_points(world),
        )
        for side, points, world in zip(sides, result.hand_landmarks, result.hand_world_landmarks, strict=True)
    ]


# What the legacy solutions call tracking confidence, the least presence of landmarks that tracking goes on
# from, the Tasks API calls presence confidence. Its own tracking confidence is something else: how far the
# regions of two frames overlap to count as the same. The legacy graphs fix that at 0.5, the default here.
# Read in hand_landmarker_graph.cc and hand_landmarker.cc of mediapipe/tasks/cc/vision/hand_landmarker.


def _make_hands(options: DetectorOptions, model: Path) -> Any:
    vision = tasks_api.vision()
    return vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=tasks_api.base_options(model, options.delegate),
            running_mode=tasks_api.running_mode(options.static),
            num_hands=_NUM_HANDS,
            min_hand_detection_confidence=options.min_detection_confidence,
            min_hand_presence_confidence=options.min_tracking_confidence,
        )
    )


def _make_pose(options: DetectorOptions, model: Path) -> Any:
    vision = tasks_api.vision()
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(
            base_options=tasks_api.base_options(model, options.delegate),
            running_mode=tasks_api.running_mode(options.static),
            min_pose_detection_confidence=options.min_detection_confidence,
            min_pose_presence_confidence=options.min_tracking_confidence,
        )
    )


def _make_face(options: DetectorOptions, model: Path) -> Any:
    vision = tasks_api.vision()
    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=tasks_api.base_options(model, options.delegate),
            running_mode=tasks_api.running_mode(options.static),
            min_face_detection_confidence=options.min_detection_confidence,
            min_face_presence_confidence=options.min_tracking_confidence,
            output_face_blendshapes="face_blendshapes" in options.extra_parts,
        )
    )


# In the order in which `detect` takes their results.
_MAKERS: Mapping[str, Callable[[DetectorOptions, Path], Any]] = {
    "hand_landmarker": _make_hands,
    "pose_landmarker": _make_pose,
    "face_landmarker": _make_face,
}
