"""What the landmarks are: parts, the names and order of their points, and the edges between them.

The tables are MediaPipe's, written down here so that nothing outside the detectors needs it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One group of landmarks that is found or missing as a whole.

    "Left" and "right" are the person's own, as in MediaPipe.

    Attributes:
        name: Key of the part in every record, and stem of its columns.
        num_points: Number of its landmarks, N.
        point_names: N names, in the order of the array's rows.
        edges: Pairs of rows that a skeleton picture joins.

    Raises:
        ValueError: If the names are not N different ones, or an edge leaves the part.
    """

    name: str
    num_points: int
    point_names: tuple[str, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        if len(self.point_names) != self.num_points or len(set(self.point_names)) != self.num_points:
            raise ValueError(
                f"part {self.name}: expected {self.num_points} different names, found {self.point_names}"
            )
        strays = [edge for edge in self.edges if not 0 <= min(edge) <= max(edge) < self.num_points]
        if strays:
            raise ValueError(f"part {self.name}: expected rows 0 to {self.num_points - 1}, found {strays}")


def _edges(*chains: tuple[int, ...]) -> tuple[Edge, ...]:
    """Expands chains of rows into the pairs of neighbours in them."""
    return tuple(pair for chain in chains for pair in pairwise(chain))


# mediapipe/python/solutions/pose.py, class PoseLandmark (BlazePose's 33 points).
POSE_POINTS = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer"),
    *(
        "right_eye_inner",
        "right_eye",
        "right_eye_outer",
        "left_ear",
        "right_ear",
        "mouth_left",
        "mouth_right",
    ),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)

# mediapipe/python/solutions/pose_connections.py, POSE_CONNECTIONS.
POSE_EDGES = _edges(
    # nose, eye, ear; mouth; shoulders; hips
    (0, 1, 2, 3, 7),
    (0, 4, 5, 6, 8),
    (9, 10),
    (11, 12),
    (23, 24),
    # arm and hand
    (11, 13, 15, 17, 19),
    (15, 19),
    (15, 21),
    (12, 14, 16, 18, 20),
    (16, 20),
    (16, 22),
    # side, leg and foot
    (11, 23, 25, 27, 29, 31),
    (27, 31),
    (12, 24, 26, 28, 30, 32),
    (28, 32),
)

# mediapipe/python/solutions/hands.py, class HandLandmark.
HAND_POINTS = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *("index_finger_mcp", "index_finger_pip", "index_finger_dip", "index_finger_tip"),
    *("middle_finger_mcp", "middle_finger_pip", "middle_finger_dip", "middle_finger_tip"),
    *("ring_finger_mcp", "ring_finger_pip", "ring_finger_dip", "ring_finger_tip"),
    *("pinky_mcp", "pinky_pip", "pinky_dip", "pinky_tip"),
)

# mediapipe/python/solutions/hands_connections.py, HAND_CONNECTIONS.
HAND_EDGES = _edges(
    (0, 1, 2, 3, 4),
    (0, 5, 6, 7, 8),
    (5, 9, 10, 11, 12),
    (9, 13, 14, 15, 16),
    (13, 17, 18, 19, 20),
    (0, 17),
)

# mediapipe/python/solutions/face_mesh_connections.py: FACEMESH_LIPS, _LEFT_EYE, _RIGHT_EYE,
# _LEFT_EYEBROW, _RIGHT_EYEBROW and _FACE_OVAL, which together are FACEMESH_CONTOURS. An eye or a lip
# is two chains from corner to corner, a brow its lower and upper line, the oval its left and right half.
FACE_LIPS_EDGES = _edges(
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
FACE_EYES_EDGES = _edges(
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
)
FACE_BROWS_EDGES = _edges(
    (276, 283, 282, 295, 285),
    (300, 293, 334, 296, 336),
    (46, 53, 52, 65, 55),
    (70, 63, 105, 66, 107),
)
FACE_OVAL_EDGES = _edges(
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
)
FACE_CONTOUR_EDGES = FACE_LIPS_EDGES + FACE_EYES_EDGES + FACE_BROWS_EDGES + FACE_OVAL_EDGES

# The same file, FACEMESH_IRISES. Rows 468 and 473 are the irises' centres and join nothing.
FACE_IRIS_EDGES = _edges((469, 470, 471, 472, 469), (474, 475, 476, 477, 474))

# mediapipe/python/solutions/face_mesh.py: FACEMESH_NUM_LANDMARKS and
# FACEMESH_NUM_LANDMARKS_WITH_IRISES. MediaPipe gives the mesh's points no names, only numbers.
NUM_FACE_POINTS = 468
NUM_REFINED_FACE_POINTS = 478


def _face(num_points: int, edges: tuple[Edge, ...]) -> Part:
    return Part("face", num_points, tuple(str(row) for row in range(num_points)), edges)


REFINED_FACE = _face(NUM_REFINED_FACE_POINTS, FACE_CONTOUR_EDGES + FACE_IRIS_EDGES)
"""The face as a detector with refined irises gives it; its first 468 rows are the plain face's."""

PARTS: Mapping[str, Part] = MappingProxyType(
    {
        part.name: part
        for part in (
            Part("pose", 33, POSE_POINTS, POSE_EDGES),
            Part("pose_world", 33, POSE_POINTS, POSE_EDGES),
            Part("left_hand", 21, HAND_POINTS, HAND_EDGES),
            Part("right_hand", 21, HAND_POINTS, HAND_EDGES),
            _face(NUM_FACE_POINTS, FACE_CONTOUR_EDGES),
        )
    }
)
"""Every part by name, in the order of the columns, with the plain face."""

# mediapipe/tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc, kBlendshapeNames.
FACE_BLENDSHAPES = (
    "_neutral",
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft"),
    *("eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft"),
    *("mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper"),
    *("mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft"),
    *("mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)

EXTRA_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        part.name: part
        for part in (
            Part("left_hand_world", 21, HAND_POINTS, HAND_EDGES),
            Part("right_hand_world", 21, HAND_POINTS, HAND_EDGES),
            Part("face_blendshapes", 52, FACE_BLENDSHAPES, ()),
        )
    }
)
"""Parts that an engine may give beyond :data:`PARTS`, in the order of the columns, behind those."""


def num_dims(part: str) -> int:
    """Values a point has: 3 (x, y, z), or 1 (a score in [0, 1]) for ``face_blendshapes``."""
    return 1 if part == "face_blendshapes" else 3


def parts(refine_face: bool, extra_parts: Collection[str] = ()) -> dict[str, Part]:
    """The parts that a detector gives.

    Args:
        refine_face: Whether the face has its refined irises: 478 points, otherwise 468.
        extra_parts: Which of :data:`EXTRA_PARTS` there are too.

    Returns:
        Part name to part, in the order of the columns.
    """
    extra = {name: part for name, part in EXTRA_PARTS.items() if name in extra_parts}
    return {**PARTS, **({"face": REFINED_FACE} if refine_face else {}), **extra}


def num_points(refine_face: bool, extra_parts: Collection[str] = ()) -> dict[str, int]:
    """How many points each part has.

    Args:
        refine_face: As in :func:`parts`.
        extra_parts: As in :func:`parts`.

    Returns:
        Part name to number of points, in the order of the columns.
    """
    return {name: part.num_points for name, part in parts(refine_face, extra_parts).items()}
