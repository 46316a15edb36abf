"""MediaPipe's points as those of COCO-WholeBody, one table of 133 rows, each marked exact or approximate.

COCO-WholeBody: github.com/jin-s13/COCO-WholeBody, ``data_format.md``: 17 body, 6 foot, 68 face, 21 left hand
and 21 right hand points in this order. Body as in COCO keypoints; the face in the 68 points of iBUG 300-W
(ibug.doc.ic.ac.uk/resources/300-W, figure_68_markup), numbered from 0 here; a hand from its root, thumb to
little finger, root to tip. Left and right are the person's own in both. MediaPipe: the numbers in
:mod:`extraction.topology`, which cites their sources; points of the face mesh as in MediaPipe's
``canonical_face_model_uv_visualization.png``.

EXACT means that both name the same point of the body. APPROXIMATE means the nearest point that MediaPipe has:
along an outline iBUG's points are spread evenly, so those of the mesh were taken that split it most evenly.
NONE means that MediaPipe has no such point; it is missing in every frame.

The models were trained on other pictures by other people: even an exact point is not, to the pixel, where
HRNet or RTMPose would put it. A network trained on their points should be fine-tuned on these.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from extraction.landmarks import ClipLandmarks, Floats
from extraction.topology import HAND_POINTS, POSE_POINTS

NUM_POINTS = 133
PARTS = ("pose", "face", "left_hand", "right_hand")
"""Parts that a data set must have for it."""


class Match(StrEnum):
    """How well a point of MediaPipe stands for one of COCO-WholeBody."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """One of the 133 points.

    Attributes:
        name: In COCO-WholeBody.
        part: Of the data set; "" where there is no such point.
        point: Its number in that part; -1 where there is none.
        match: How well it fits.
    """

    name: str
    part: str
    point: int
    match: Match


# The 17 points of COCO keypoints, all of which MediaPipe's pose names too.
_BODY = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
# MediaPipe has one point at the tip of a foot, between the toes, and none at the small toe.
_FEET = (
    ("left_big_toe", "left_foot_index", Match.APPROXIMATE),
    ("left_small_toe", "", Match.NONE),
    ("left_heel", "left_heel", Match.EXACT),
    ("right_big_toe", "right_foot_index", Match.APPROXIMATE),
    ("right_small_toe", "", Match.NONE),
    ("right_heel", "right_heel", Match.EXACT),
)
# Numbers in the face mesh for iBUG's points 0 to 67, from the person's right to the left.
_FACE_68 = (
    # 0-16 jaw: FACEMESH_FACE_OVAL from ear to ear by the chin, without 149, 148, 377 and 378
    *(234, 93, 132, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 361, 323, 454),
    # 17-21 right and 22-26 left brow: the upper lines of FACEMESH_RIGHT_EYEBROW and _LEFT_EYEBROW
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    # 27-30 ridge of the nose from between the eyes to its tip, 31-35 its base
    *(168, 197, 5, 1),
    *(98, 97, 2, 326, 327),
    # 36-41 right and 42-47 left eye: corner, upper lid, corner, lower lid of FACEMESH_RIGHT_EYE and _LEFT_EYE
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    # 48-59 outer and 60-67 inner line of FACEMESH_LIPS: corner, upper lip, corner, lower lip
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
# Tip and base of the nose, corners of eyes and mouth, middles of the lips: points that both are fixed to.
_EXACT_OF_FACE = frozenset({30, 33, 36, 39, 42, 45, 48, 51, 54, 57, 60, 62, 64, 66})


def _rows() -> tuple[Row, ...]:
    pose = {name: number for number, name in enumerate(POSE_POINTS)}
    rows = [Row(name, "pose", pose[name], Match.EXACT) for name in _BODY]
    rows += [
        Row(name, "pose" if mediapipe else "", pose.get(mediapipe, -1), match)
        for name, mediapipe, match in _FEET
    ]
    rows += [
        Row(f"face-{n}", "face", point, Match.EXACT if n in _EXACT_OF_FACE else Match.APPROXIMATE)
        for n, point in enumerate(_FACE_68)
    ]
    for hand in ("left_hand", "right_hand"):
        rows += [Row(f"{hand}-{n}", hand, n, Match.EXACT) for n in range(len(HAND_POINTS))]
    return tuple(rows)


TABLE = _rows()
"""The 133 points in their order."""

_WHERE = MappingProxyType(
    {
        part: (
            np.array([number for number, row in enumerate(TABLE) if row.part == part]),
            np.array([row.point for row in TABLE if row.part == part]),
        )
        for part in PARTS
    }
)
"""Part to its places among the 133, and the points of the part that go there."""


def wholebody(landmarks: ClipLandmarks, in_pixels: bool) -> tuple[Floats, Floats]:
    """The 133 points of a clip.

    Args:
        landmarks: With the parts of :data:`PARTS`.
        in_pixels: Whether x and y are in pixels of the frame; fractions of its width and height otherwise.

    Returns:
        float32 (T, 133, 2) of x, y, and float32 (T, 133) of scores: MediaPipe's visibility for points of the
        pose, 1 for others. Both are 0 where the point is missing.
    """
    points = np.full((len(landmarks), NUM_POINTS, 2), np.nan, np.float32)
    scores = np.zeros((len(landmarks), NUM_POINTS), np.float32)
    for part, (places, numbers) in _WHERE.items():
        points[:, places] = landmarks.parts[part][:, numbers, :2]
        scores[:, places] = pose_scores(landmarks)[:, numbers] if part == "pose" else 1
    if in_pixels:
        points *= landmarks.frame_sizes_px[:, np.newaxis].astype(np.float32)
    missing = np.isnan(points).any(axis=2)
    points[missing], scores[missing] = 0, 0
    return points, scores


def pose_scores(landmarks: ClipLandmarks) -> Floats:
    """Visibility of the pose's points; 1 where an engine finds a pose and gives none.

    Returns:
        float32 (T, 33), 0 where there is no pose.
    """
    found = landmarks.present("pose")[:, np.newaxis]
    known = np.where(np.isnan(landmarks.pose_visibility), np.float32(1), landmarks.pose_visibility)
    return np.where(found, known, np.float32(0))
