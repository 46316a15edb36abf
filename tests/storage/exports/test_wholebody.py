"""The table of 133 points: its order, its marks, and where its points lie on real faces."""

import numpy as np
import pytest
from real_dataset import real_landmarks

from extraction.topology import FACE_OVAL_EDGES, POSE_POINTS
from storage.exports.wholebody import PARTS, TABLE, Match, pose_scores, wholebody

FACE = slice(23, 91)


@pytest.fixture(scope="module")
def landmarks(shared_clips):
    return real_landmarks(np.load(shared_clips / "phoenix_like/expected/french_a1.npz")["static"])


@pytest.fixture(scope="module")
def face(landmarks):
    """(T, 68, 2) in pixels, of the frames with a face."""
    points, _ = wholebody(landmarks, in_pixels=True)
    return points[landmarks.present("face"), FACE]


def test_the_133_points_in_their_order():
    assert len(TABLE) == 133
    assert [row.part for row in TABLE[23:]] == ["face"] * 68 + ["left_hand"] * 21 + ["right_hand"] * 21
    for row in TABLE[:17]:
        assert (POSE_POINTS[row.point], row.match) == (row.name, Match.EXACT)
    assert [row.name for row in TABLE[17:23]] == [
        *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
    ]
    assert [row.point for row in TABLE[91:]] == [*range(21), *range(21)]
    assert [row.name for row in TABLE if row.match is Match.NONE] == ["left_small_toe", "right_small_toe"]
    assert all((row.part in PARTS) == (row.match is not Match.NONE) for row in TABLE)


def test_no_point_stands_for_two():
    used = [(row.part, row.point) for row in TABLE if row.part]
    assert len(set(used)) == len(used)


def test_the_jaw_lies_on_the_outline_of_the_face():
    oval = {point for edge in FACE_OVAL_EDGES for point in edge}
    assert {row.point for row in TABLE[23:40]} <= oval


# iBUG 300-W, figure_68_markup, from 0: jaw, brows and eyes run from the person's right to the left.
RIGHTWARDS = [range(17), range(17, 27), (36, 39, 42, 45), (36, 37, 38, 39), (48, 49, 50, 51, 52, 53, 54)]


@pytest.mark.parametrize(
    "points", [*RIGHTWARDS, (42, 43, 44, 45), (31, 32, 33, 34, 35), (60, 61, 62, 63, 64)]
)
def test_points_run_from_the_left_of_the_picture_to_the_right(face, points):
    x = face[:, list(points), 0].mean(axis=0)
    assert (np.diff(x) > 0).all()


@pytest.mark.parametrize(
    "points",
    [(27, 28, 29, 30, 33, 51, 62, 66, 57, 8), (37, 41), (38, 40), (43, 47), (44, 46), (19, 37), (24, 44)],
)
def test_points_run_from_above_to_below(face, points):
    y = face[:, list(points), 1].mean(axis=0)
    assert (np.diff(y) > 0).all()


# COCO-WholeBody's own pairs of points that change places when a picture is mirrored.
MIRRORED = [(n, 16 - n) for n in range(8)] + [(n, 43 - n) for n in range(17, 22)]
MIRRORED += [(31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
MIRRORED += [(48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65)]


def test_mirrored_points_lie_on_either_side_of_the_nose_equally_far(face):
    middle = face[:, [27, 28, 29, 30, 33, 51, 57, 8]].mean(axis=0)
    width = np.ptp(face[..., 0].mean(axis=0))
    for right, left in MIRRORED:
        one, other = face[:, right].mean(axis=0), face[:, left].mean(axis=0)
        x = np.interp((one + other)[1] / 2, middle[:, 1], middle[:, 0])
        assert abs((one + other)[0] / 2 - x) < 0.08 * width, (right, left)
        assert abs((one - other)[1]) < 0.08 * width, (right, left)


def test_outlines_are_split_evenly(face):
    for chain in (range(17), range(17, 22), range(22, 27), range(27, 31)):
        steps = np.linalg.norm(np.diff(face[:, list(chain)].mean(axis=0), axis=0), axis=1)
        assert steps.max() < 2.2 * steps.min(), list(chain)


def test_points_and_scores_are_those_of_the_parts(shared_clips):
    landmarks = real_landmarks(np.load(shared_clips / "phoenix_like/expected/bsl_demo.npz")["tracking"])
    fractions, scores = wholebody(landmarks, in_pixels=False)
    pixels, same_scores = wholebody(landmarks, in_pixels=True)
    np.testing.assert_array_equal(scores, same_scores)
    hands = landmarks.present("left_hand")
    assert hands.any()
    assert not hands.all()
    np.testing.assert_array_equal(fractions[hands, 91:112], landmarks.parts["left_hand"][hands][..., :2])
    np.testing.assert_array_equal(scores[:, 91:112], np.repeat(hands[:, None], 21, axis=1))
    assert not fractions[~hands, 91:112].any()
    np.testing.assert_array_equal(pixels, fractions * np.float32([210, 260]))
    pose = landmarks.present("pose")
    np.testing.assert_array_equal(scores[pose, 9], landmarks.pose_visibility[pose, 15])
    assert not scores[:, [18, 21]].any()
    assert not pixels[:, [18, 21]].any()


def test_an_unreadable_frame_keeps_its_place(landmarks):
    points, scores = wholebody(landmarks, in_pixels=True)
    assert landmarks.frame_status[-2] == 2
    assert not points[-2].any()
    assert not scores[-2].any()
    assert points[-3].any()


def test_a_pose_without_visibility_counts_in_full(landmarks):
    from dataclasses import replace

    without = replace(landmarks, pose_visibility=np.full_like(landmarks.pose_visibility, np.nan))
    scores = pose_scores(without)
    np.testing.assert_array_equal(scores, np.repeat(without.present("pose")[:, None], 33, axis=1))
