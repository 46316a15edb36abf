import dataclasses

import pytest

from extraction import topology
from extraction.topology import PARTS, REFINED_FACE, Part, num_points

COLUMN_ORDER = ["pose", "pose_world", "left_hand", "right_hand", "face"]


def test_the_columns_keep_their_order_and_counts():
    assert list(PARTS) == COLUMN_ORDER
    assert list(num_points(refine_face=False).items()) == list(
        zip(COLUMN_ORDER, [33, 33, 21, 21, 468], strict=True)
    )
    assert list(num_points(refine_face=True).items()) == list(
        zip(COLUMN_ORDER, [33, 33, 21, 21, 478], strict=True)
    )


def test_refining_only_adds_to_the_face():
    face = PARTS["face"]
    assert REFINED_FACE.point_names[:468] == face.point_names
    assert set(face.edges) < set(REFINED_FACE.edges)


@pytest.mark.parametrize(
    "part", [*PARTS.values(), REFINED_FACE], ids=lambda part: f"{part.name}-{part.num_points}"
)
def test_no_edge_is_drawn_twice(part):
    assert len({frozenset(edge) for edge in part.edges}) == len(part.edges)


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        PARTS["tail"] = REFINED_FACE
    with pytest.raises(dataclasses.FrozenInstanceError):
        PARTS["pose"].num_points = 34


@pytest.mark.parametrize(
    ("names", "edges", "message"),
    [
        (("a",), (), "2 different names"),
        (("a", "a"), (), "2 different names"),
        (("a", "b"), ((0, 2),), r"\(0, 2\)"),
        (("a", "b"), ((-1, 0),), r"\(-1, 0\)"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(names, edges, message):
    with pytest.raises(ValueError, match=message):
        Part("tail", 2, names, edges)


class TestAgainstMediapipe:
    """Holds our tables to the ones they cite, where the mediapipe that has them is installed."""

    def test_pose(self):
        pose = pytest.importorskip("mediapipe.python.solutions.pose")
        assert tuple(point.name.lower() for point in pose.PoseLandmark) == topology.POSE_POINTS
        assert set(topology.POSE_EDGES) == set(pose.POSE_CONNECTIONS)

    def test_hands(self):
        hands = pytest.importorskip("mediapipe.python.solutions.hands")
        assert tuple(point.name.lower() for point in hands.HandLandmark) == topology.HAND_POINTS
        assert set(topology.HAND_EDGES) == set(hands.HAND_CONNECTIONS)

    def test_face(self):
        mesh = pytest.importorskip("mediapipe.python.solutions.face_mesh_connections")
        assert set(topology.FACE_LIPS_EDGES) == mesh.FACEMESH_LIPS
        assert set(topology.FACE_EYES_EDGES) == mesh.FACEMESH_LEFT_EYE | mesh.FACEMESH_RIGHT_EYE
        assert set(topology.FACE_BROWS_EDGES) == mesh.FACEMESH_LEFT_EYEBROW | mesh.FACEMESH_RIGHT_EYEBROW
        assert set(topology.FACE_OVAL_EDGES) == mesh.FACEMESH_FACE_OVAL
        assert set(topology.FACE_IRIS_EDGES) == mesh.FACEMESH_IRISES
        assert set(PARTS["face"].edges) == mesh.FACEMESH_CONTOURS

    def test_face_counts(self):
        mesh = pytest.importorskip("mediapipe.python.solutions.face_mesh")
        assert topology.NUM_FACE_POINTS == mesh.FACEMESH_NUM_LANDMARKS
        assert topology.NUM_REFINED_FACE_POINTS == mesh.FACEMESH_NUM_LANDMARKS_WITH_IRISES
