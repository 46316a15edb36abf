"""The plainest way to landmarks, as a reference: a fresh detector a clip, nothing of this project."""

import pathlib

import cv2
import numpy as np
from mediapipe.python.solutions.holistic import Holistic

PARTS = {
    "pose": ("pose_landmarks", 33),
    "pose_world": ("pose_world_landmarks", 33),
    "left_hand": ("left_hand_landmarks", 21),
    "right_hand": ("right_hand_landmarks", 21),
    "face": ("face_landmarks", 468),
}


def bare_landmarks(folder: pathlib.Path, static: bool = False) -> dict[str, np.ndarray]:
    """Part name to float32 (T, N, 3), and "pose_visibility" (T, 33), NaN where absent."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".png", ".jpg"))
    found = {name: np.full((len(files), n, 3), np.nan, np.float32) for name, (_, n) in PARTS.items()}
    found["pose_visibility"] = np.full((len(files), 33), np.nan, np.float32)
    with Holistic(static_image_mode=static, model_complexity=1) as holistic:
        for index, file in enumerate(files):
            results = holistic.process(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
            for name, (field, _) in PARTS.items():
                if (part := getattr(results, field)) is not None:
                    found[name][index] = [(p.x, p.y, p.z) for p in part.landmark]
            if results.pose_landmarks is not None:
                found["pose_visibility"][index] = [p.visibility for p in results.pose_landmarks.landmark]
    return found


def assert_same_bits(landmarks, expected: dict[str, np.ndarray]) -> None:
    """That a ClipLandmarks holds exactly these arrays, NaN for NaN."""
    for name, array in expected.items():
        ours = landmarks.pose_visibility if name == "pose_visibility" else landmarks.parts[name]
        np.testing.assert_array_equal(ours.view(np.uint32), array.view(np.uint32), err_msg=name)
