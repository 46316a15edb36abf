"""The Holistic landmarker of MediaPipe's Tasks API, on the CPU or the GPU (mediapipe 1.0.1 and newer)."""

import importlib
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import models, topology
from extraction.detectors import tasks_api
from extraction.detectors.protocol import DetectorInfo, DetectorOptions, refuse_unused
from extraction.errors import JobError
from extraction.landmarks import Floats, FrameLandmarks

DELEGATES = ("cpu", "gpu")

_MODEL = "holistic_landmarker"
_OLDEST = (1, 0, 1)
_SUPPRESSION = 0.5  # of overlapping detections; MediaPipe's default in Python

# Part name to field of HolisticLandmarkerResult; in mediapipe/tasks/python/vision/holistic_landmarker.py.
_FIELDS = {
    "pose": "pose_landmarks",
    "pose_world": "pose_world_landmarks",
    "left_hand": "left_hand_landmarks",
    "right_hand": "right_hand_landmarks",
    "face": "face_landmarks",
    "left_hand_world": "left_hand_world_landmarks",
    "right_hand_world": "right_hand_world_landmarks",
}


def resolve(options: DetectorOptions, mediapipe_version: str | None) -> DetectorOptions:
    """Finds out, without importing MediaPipe, whether this engine can run here.

    Args:
        options: What the detector is to be.
        mediapipe_version: The installed version, or None where there is none.

    Returns:
        The options with the model's path and digest, and with the refined face, which this engine always
        gives.

    Raises:
        JobError: If MediaPipe is missing or too old, the model is missing, damaged or not the expected one,
            or an option means nothing to this engine.
    """
    refuse_unused(options, "model_complexity", "mask")
    if not options.static:
        refuse_unused(options, "smooth")
    _check_version(mediapipe_version)
    model = _model(options)
    tasks_api.check_bundle(model, _MODEL)
    found = models.digest(model)
    tasks_api.check_digest(options, str(model), found)
    return replace(options, model=str(model), model_sha256=found, refine_face=True)


def create(options: DetectorOptions) -> "TasksDetector":
    """Makes the detector."""
    return TasksDetector(options)


class TasksDetector:
    """One Holistic landmarker, made anew for each clip, or for each image where nothing is tracked.

    A clip's landmarks are bit-identical to those of a fresh detector: it is one. There is no reset, times far
    apart do not clear tracking, and in IMAGE mode it tracks as well.
    """

    def __init__(self, options: DetectorOptions) -> None:
        self._options = options
        self._info = DetectorInfo(
            engine="tasks",
            engine_version=version("mediapipe"),
            delegate=options.delegate,
            num_points=topology.num_points(True, options.extra_parts),
            closes_after_error=tasks_api.closes_after_error(),
        )
        self._landmarker = tasks_api.Landmarker(lambda: _make(options), fresh_each_image=options.static)
        self._times = tasks_api.Timestamps()

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        return self._info

    def begin_clip(self, clip_id: str) -> None:  # noqa: ARG002
        """Makes the landmarker anew, unless it has seen nothing yet."""
        self._landmarker.renew()
        self._times = tasks_api.Timestamps()

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:
        """Finds the landmarks in the next frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Milliseconds from the clip's start; not used where nothing is tracked.

        Raises:
            RuntimeError: If the graph fails (from MediaPipe; ValueError for some failures), or after close.
        """
        time_ms = None if self._options.static else self._times.next(timestamp_ms)
        result = self._landmarker.detect(tasks_api.to_image(image), time_ms)
        return FrameLandmarks(self._parts(result), _visibility(result))

    def close(self) -> None:
        """Closes the landmarker; one whose graph has failed is left to the end of the process."""
        self._landmarker.close()

    def _parts(self, result: Any) -> dict[str, Floats]:
        wanted = (part for part in _FIELDS if part in self._info.num_points)
        found = {part: getattr(result, _FIELDS[part]) for part in wanted}
        parts = {part: tasks_api.to_points(landmarks) for part, landmarks in found.items() if landmarks}
        if "face_blendshapes" in self._info.num_points and result.face_blendshapes:
            parts["face_blendshapes"] = tasks_api.to_scores(result.face_blendshapes)
        return parts


def _check_version(mediapipe_version: str | None) -> None:
    wanted = "engine 'tasks' needs mediapipe 1.0.1 or newer"
    if mediapipe_version is None:
        raise JobError(f"{wanted}, found none: install this project's dependencies")
    if tasks_api.release(mediapipe_version) < _OLDEST:
        raise JobError(
            f"{wanted}, found {mediapipe_version} (Python {platform.python_version()}). The Holistic "
            "landmarker of 0.10.21 ends the whole process when a part of the body is out of sight, and "
            "versions between are not supported: use Python 3.13, where this project installs a newer one, "
            "or --engine holistic"
        )


def _model(options: DetectorOptions) -> Path:
    cached = models.find_model(_MODEL)
    if not options.model:
        if cached is None:
            raise JobError(
                f"engine 'tasks' needs the model {_MODEL}, found none: {models.how_to_get(_MODEL)}, "
                "or give another with --model"
            )
        return cached
    return tasks_api.place_here(options, cached)


def _make(options: DetectorOptions) -> Any:
    vision = tasks_api.vision()
    return vision.HolisticLandmarker.create_from_options(
        vision.HolisticLandmarkerOptions(
            base_options=tasks_api.base_options(Path(options.model), options.delegate),
            running_mode=tasks_api.running_mode(options.static),
            output_face_blendshapes="face_blendshapes" in options.extra_parts,
            **_thresholds(options),
        )
    )


def _thresholds(options: DetectorOptions) -> dict[str, float]:
    """The thresholds, each under the name by which it reaches its place in the graph.

    They mean what they mean to the legacy Holistic graph: the first decides whether a detector has found
    somebody, the second whether landmarks count, and so whether tracking goes on. There they reach the pose
    only, and face and hands stay at 0.5; here all follow.
    """
    detection, tracking = options.min_detection_confidence, options.min_tracking_confidence
    # In the order in which the C library reads them: struct HolisticLandmarkerOptions of
    # mediapipe/tasks/c/vision/holistic_landmarker/holistic_landmarker.h.
    meant = {
        "min_face_detection_confidence": detection,
        "min_face_suppression_threshold": _SUPPRESSION,
        "min_face_landmarks_confidence": tracking,
        "min_hand_landmarks_confidence": tracking,
        "min_pose_detection_confidence": detection,
        "min_pose_suppression_threshold": _SUPPRESSION,
        "min_pose_landmarks_confidence": tracking,
    }
    # The Python side of 1.2.2 writes them in another order, with the hand's last, so that its
    # min_pose_detection_confidence arrives as the hand's. Whatever its order is: the first name it writes
    # gets what is read first.
    module = importlib.import_module("mediapipe.tasks.python.vision.holistic_landmarker")
    written = [field[0] for field in module.MpHolisticLandmarkerOptionsC._fields_ if field[0] in meant]
    return dict(zip(written, meant.values(), strict=True))


def _visibility(result: Any) -> Floats | None:
    return tasks_api.to_visibility(result.pose_landmarks) if result.pose_landmarks else None
