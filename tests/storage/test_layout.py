import numpy as np
import pytest

from extraction.errors import JobError
from extraction.topology import num_points
from storage.layout import point_layout

REFINED = num_points(refine_face=True, extra_parts=("face_blendshapes",))


def arrays(length: int = 2) -> dict[str, np.ndarray]:
    """Points that say which they are: x is the row, y the frame."""
    made = {}
    for part, count in num_points(refine_face=False).items():
        made[part] = np.zeros((length, count, 3), np.float32)
        made[part][..., 0] = np.arange(count)
        made[part][..., 1] = np.arange(length)[:, None]
    return made


def test_presets():
    assert len(point_layout()) == 75
    assert len(point_layout("hands")) == 42
    seed = point_layout("face68+hands+pose")
    assert len(seed) == 143
    assert seed.names[0] == ("face", "10")
    assert seed.slice_of("pose") == slice(110, 143)
    assert seed.join(arrays())[1, :3].tolist() == [[10, 1, 0], [338, 1, 0], [297, 1, 0]]


def test_points_by_name_come_in_the_order_asked_for():
    layout = point_layout({"left_hand": ["pinky_tip", "wrist"], "pose": ["nose", 12]})
    assert layout.names == (
        ("left_hand", "pinky_tip"),
        ("left_hand", "wrist"),
        ("pose", "nose"),
        ("pose", "right_shoulder"),
    )
    assert layout.join(arrays())[0, :, 0].tolist() == [20, 0, 0, 12]
    assert layout.index("pose", "right_shoulder", "nose") == (3, 2)
    assert layout.slice_of("left_hand") == slice(0, 2)


def test_parts_whole():
    layout = point_layout(["right_hand", "face"], REFINED)
    assert len(layout) == 21 + 478
    assert layout.names[-1] == ("face", "477")


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("everything", "expected parts, or one of pose[+]hands"),
        (["torso"], "part 'torso': the data set has pose, pose_world"),
        ({"pose": ["left_sholder"]}, "pose: no point 'left_sholder': expected one of nose"),
        ({"face": [478]}, "face: no point 478"),
        ({"pose": ["nose", 0]}, "pose: point 'nose' is chosen twice"),
        (["face_blendshapes"], "has scores, not points"),
        ([], "at least one point"),
    ],
)
def test_what_is_not_there_is_named(choice, text):
    with pytest.raises(JobError, match=text):
        point_layout(choice, REFINED)


def test_a_point_that_was_not_chosen_has_no_place():
    layout = point_layout({"pose": ["nose"]})
    with pytest.raises(JobError, match="'left_hip' is not among those"):
        layout.index("pose", "left_hip")
    with pytest.raises(JobError, match="part 'face': not among those"):
        layout.slice_of("face")
