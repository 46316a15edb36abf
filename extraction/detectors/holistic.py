"""The legacy MediaPipe Holistic graph: the field's standard, with its models in the wheel (0.10.21).

This is the only engine file that imports ``mediapipe.python.solutions``.
"""

import importlib.util
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import topology
from extraction.detectors.protocol import DetectorInfo, DetectorOptions, refuse_unused
from extraction.errors import JobError
from extraction.landmarks import Floats, FrameLandmarks

_POSE_MODELS = {
    0: "pose_landmark_lite.tflite",
    1: "pose_landmark_full.tflite",
    2: "pose_landmark_heavy.tflite",
}

# Wire format of one landmark of a serialised (Normalized)LandmarkList: tag and length of the message,
# then each float behind its own tag (field number << 3 | 5). Read in mediapipe 0.10.21's
# framework/formats/landmark.proto: x = 1, y = 2, z = 3, visibility = 4.
_XYZ = [
    ("head", "u1", 2),
    ("x_tag", "u1"),
    ("x", "<f4"),
    ("y_tag", "u1"),
    ("y", "<f4"),
    ("z_tag", "u1"),
    ("z", "<f4"),
]
_LANDMARK = {
    17: np.dtype(_XYZ),
    22: np.dtype([*_XYZ, ("visibility_tag", "u1"), ("visibility", "<f4")]),
}
_TAGS = {"x": 0x0D, "y": 0x15, "z": 0x1D, "visibility": 0x25}


DELEGATES = ("cpu",)


def resolve(options: DetectorOptions, mediapipe_version: str | None) -> DetectorOptions:
    """Finds out, without importing MediaPipe, whether this engine can run here.

    Args:
        options: What the detector is to be.
        mediapipe_version: The installed version, or None where there is none.

    Returns:
        The options on the CPU; the models lie in the wheel.

    Raises:
        JobError: If MediaPipe is missing or has no legacy solutions, the pose model is not there, or an
            option means nothing to this engine.
    """
    refuse_unused(options, "model", "mask", "extra_parts")
    package = importlib.util.find_spec("mediapipe")
    folder = Path(package.origin).parent if package and package.origin else None
    if mediapipe_version is None or folder is None:
        raise JobError(
            "engine 'holistic' needs mediapipe 0.10.21, found none: install this project's dependencies"
        )
    if not (folder / "python" / "solutions" / "holistic.py").exists():
        raise JobError(
            "engine 'holistic' needs the legacy solutions of mediapipe 0.10.21, found mediapipe "
            f"{mediapipe_version}, which has none (Python {platform.python_version()}): "
            "use Python 3.11 or 3.12, where this project installs 0.10.21"
        )
    model = folder / "modules" / "pose_landmark" / _POSE_MODELS[options.model_complexity]
    if not model.exists():
        raise JobError(
            f"--model-complexity {options.model_complexity} needs the pose model {model.name}, which the "
            f"mediapipe wheel does not carry: put it at {model}, or use --model-complexity 1"
        )
    return replace(options, delegate="cpu") if options.delegate == "auto" else options


def create(options: DetectorOptions) -> "HolisticDetector":
    """Makes the detector."""
    return HolisticDetector(options)


class HolisticDetector:
    """One legacy Holistic graph, state cleared between clips.

    A clip's landmarks are bit-identical to those of a fresh detector: ``reset()`` closes the graph and
    starts it again, which clears tracking and every smoothing filter.
    """

    def __init__(self, options: DetectorOptions) -> None:
        holistic = importlib.import_module("mediapipe.python.solutions.holistic")
        self._info = DetectorInfo(
            engine="holistic",
            engine_version=importlib.import_module("mediapipe").__version__,
            delegate="cpu",
            num_points=topology.num_points(options.refine_face),
        )
        self._graph: Any = holistic.Holistic(
            static_image_mode=options.static,
            model_complexity=options.model_complexity,
            smooth_landmarks=options.smooth,
            refine_face_landmarks=options.refine_face,
            min_detection_confidence=options.min_detection_confidence,
            min_tracking_confidence=options.min_tracking_confidence,
        )
        self._used = False

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        return self._info

    def begin_clip(self, clip_id: str) -> None:  # noqa: ARG002
        """Clears all state; free for a detector that has seen nothing yet."""
        if self._used:
            self._graph.reset()
        self._used = False

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:  # noqa: ARG002
        """Finds the landmarks in the next frame; legacy graphs count their own time, 33,333 us a frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Not used by this engine.

        Raises:
            RuntimeError: If the graph fails (from MediaPipe; ValueError for some failures).
        """
        self._used = True
        results = self._graph.process(image)
        parts = {
            part: to_array(found)
            for part, found in (
                ("pose", results.pose_landmarks),
                ("pose_world", results.pose_world_landmarks),
                ("left_hand", results.left_hand_landmarks),
                ("right_hand", results.right_hand_landmarks),
                ("face", results.face_landmarks),
            )
            if found is not None
        }
        pose = results.pose_landmarks
        visibility = None if pose is None else np.array([p.visibility for p in pose.landmark], np.float32)
        return FrameLandmarks(parts, visibility)

    def close(self) -> None:
        """Closes the graph, twice where the first close raises: after a graph error it frees nothing."""
        graph, self._graph = self._graph, None
        if graph is None:
            return
        try:
            graph.close()
        except (RuntimeError, ValueError):
            graph.close()


def to_array(landmarks: Any) -> Floats:
    """Turns a landmark list into an array, reading its serialised form at once where that is regular.

    Args:
        landmarks: A ``NormalizedLandmarkList`` or ``LandmarkList`` of N points.

    Returns:
        float32 (N, 3) of x, y, z.
    """
    count = len(landmarks.landmark)
    raw = landmarks.SerializeToString()
    dtype = _LANDMARK.get(len(raw) // count) if count and len(raw) % count == 0 else None
    if dtype is not None:
        points = np.frombuffer(raw, dtype)
        if all(
            (points[f"{name}_tag"] == tag).all() for name, tag in _TAGS.items() if name in (dtype.names or ())
        ):
            return np.stack([points["x"], points["y"], points["z"]], axis=1)
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32)
