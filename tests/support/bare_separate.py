"""The plainest way to hands, pose and face, as a reference: fresh detectors, nothing of this project."""

import pathlib

import numpy as np


def bare_legacy(images: list[np.ndarray], static: bool) -> list[dict[str, list]]:
    """A frame's parts to MediaPipe's landmarks, by the legacy solutions."""
    from mediapipe.python.solutions.face_mesh import FaceMesh
    from mediapipe.python.solutions.hands import Hands
    from mediapipe.python.solutions.pose import Pose

    frames = []
    mode = {"static_image_mode": static}
    with Hands(**mode) as hands, Pose(**mode) as pose, FaceMesh(**mode) as face:
        for image in images:
            found = hands.process(image)
            body = pose.process(image)
            faces = face.process(image).multi_face_landmarks
            parts = {
                "pose": body.pose_landmarks and body.pose_landmarks.landmark,
                "pose_world": body.pose_world_landmarks and body.pose_world_landmarks.landmark,
                "face": faces and faces[0].landmark,
            }
            labelled = [
                (side.classification[0].label, points.landmark, world.landmark)
                for side, points, world in zip(
                    found.multi_handedness or (),
                    found.multi_hand_landmarks or (),
                    found.multi_hand_world_landmarks or (),
                    strict=True,
                )
            ]
            frames.append(with_hands(parts, labelled, {"Left": "right", "Right": "left"}))
    return frames


def bare_tasks(folder: pathlib.Path, images: list[np.ndarray], static: bool) -> list[dict[str, list]]:
    """The same by the Tasks API, frames 40 ms apart."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    def options(kind: str) -> dict[str, object]:
        mode = vision.RunningMode.IMAGE if static else vision.RunningMode.VIDEO
        base = BaseOptions(model_asset_path=str(folder / f"{kind}_landmarker.task"))
        return {"base_options": base, "running_mode": mode}

    hands = vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(**options("hand"), num_hands=2)
    )
    pose = vision.PoseLandmarker.create_from_options(vision.PoseLandmarkerOptions(**options("pose")))
    face = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(**options("face")))
    frames = []
    for index, image in enumerate(images):
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        found, body, faces = (
            task.detect(image) if static else task.detect_for_video(image, 1 + 40 * index)
            for task in (hands, pose, face)
        )
        parts = {
            "pose": body.pose_landmarks and body.pose_landmarks[0],
            "pose_world": body.pose_world_landmarks and body.pose_world_landmarks[0],
            "face": faces.face_landmarks and faces.face_landmarks[0],
        }
        labelled = [
            (side[0].category_name, points, world)
            for side, points, world in zip(
                found.handedness, found.hand_landmarks, found.hand_world_landmarks, strict=True
            )
        ]
        frames.append(with_hands(parts, labelled, {"Left": "left", "Right": "right"}))
    for task in (hands, pose, face):
        task.close()
    return frames


def with_hands(parts: dict[str, list], labelled: list, sides: dict[str, str]) -> dict[str, list]:
    labels = [label for label, *_ in labelled]
    assert len(set(labels)) == len(labels), "choose frames in which no side is found twice"
    for label, points, world in labelled:
        parts[f"{sides[label]}_hand"], parts[f"{sides[label]}_hand_world"] = points, world
    return parts
