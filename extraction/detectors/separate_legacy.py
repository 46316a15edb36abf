"""Hands, pose and face by the legacy solutions of mediapipe 0.10.21, with the models of its wheel."""

import importlib
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import topology
from extraction.detectors.hands import Hand, hand_parts
from extraction.detectors.holistic import to_array
from extraction.detectors.protocol import DetectorInfo, DetectorOptions
from extraction.landmarks import FrameLandmarks

_NUM_HANDS = 2
# The solution says a hand's side for a mirrored image, and our images are not mirrored: what it calls left
# is the person's right. docs/engines.md has the figures.
_SIDES = {"Left": "right", "Right": "left"}


class LegacyDetector:
    """The legacy solutions Hands, Pose and Face Mesh, state cleared between clips.

    A clip's landmarks are bit-identical to those of fresh detectors: ``reset()`` closes a graph and starts it
    again. The hands' model is always the full one, as in the legacy Holistic graph.
    """

    def __init__(self, options: DetectorOptions) -> None:
        self._info = DetectorInfo(
            engine=options.engine,
            engine_version=version("mediapipe"),
            delegate="cpu",
            num_points=topology.num_points(options.refine_face, options.extra_parts),
        )
        self._used = False
        self._graphs: list[Any] = []
        try:
            for make in (_make_hands, _make_pose, _make_face):
                self._graphs.append(make(options))
        except Exception:
            self.close()
            raise

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        return self._info

    def begin_clip(self, clip_id: str) -> None:  # noqa: ARG002
        """Clears all state; free for a detector that has seen nothing yet."""
        if self._used:
            for graph in self._graphs:
                graph.reset()
        self._used = False

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:  # noqa: ARG002
        """Finds the landmarks in the next frame; legacy graphs count their own time, 33,333 us a frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Not used by these detectors.

        Raises:
            RuntimeError: If a graph fails (from MediaPipe; ValueError for some failures), or after close.
        """
        if not self._graphs:
            raise RuntimeError("a closed detector cannot detect")
        self._used = True
        hands, pose, face = (graph.process(image) for graph in self._graphs)
        parts = hand_parts(_to_hands(hands), self._info.num_points)
        visibility = None
        if pose.pose_landmarks is not None:
            parts["pose"] = to_array(pose.pose_landmarks)
            parts["pose_world"] = to_array(pose.pose_world_landmarks)
            visibility = np.array([p.visibility for p in pose.pose_landmarks.landmark], np.float32)
        if face.multi_face_landmarks:
            parts["face"] = to_array(face.multi_face_landmarks[0])
        return FrameLandmarks(parts, visibility)

    def close(self) -> None:
        """Closes the graphs, twice where the first close raises: after a graph error it frees nothing."""
        graphs, self._graphs = self._graphs, []
        for graph in graphs:
            try:
                graph.close()
            except (RuntimeError, ValueError):
                graph.close()


def _make_hands(options: DetectorOptions) -> Any:
    return importlib.import_module("mediapipe.python.solutions.hands").Hands(
        static_image_mode=options.static,
        max_num_hands=_NUM_HANDS,
        min_detection_confidence=options.min_detection_confidence,
        min_tracking_confidence=options.min_tracking_confidence,
    )


def _make_pose(options: DetectorOptions) -> Any:
    return importlib.import_module("mediapipe.python.solutions.pose").Pose(
        static_image_mode=options.static,
        model_complexity=options.model_complexity,
        smooth_landmarks=options.smooth,
        min_detection_confidence=options.min_detection_confidence,
        min_tracking_confidence=options.min_tracking_confidence,
    )


def _make_face(options: DetectorOptions) -> Any:
    return importlib.import_module("mediapipe.python.solutions.face_mesh").FaceMesh(
        static_image_mode=options.static,
        refine_landmarks=options.refine_face,
        min_detection_confidence=options.min_detection_confidence,
        min_tracking_confidence=options.min_tracking_confidence,
    )


def _to_hands(results: Any) -> list[Hand]:
    if not results.multi_hand_landmarks:
        return []
    sides = (handedness.classification[0] for handedness in results.multi_handedness)
    return [
        Hand(_SIDES[side.label], side.score, to_array(points), to_array(world))
        for side, points, world in zip(
            sides, results.multi_hand_landmarks, results.multi_hand_world_landmarks, strict=True
        )
    ]
