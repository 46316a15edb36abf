import numpy as np
import pytest

from extraction.drawn_difference import APART_RGB, difference, draw_difference
from extraction.landmarks import FrameLandmarks

WIDTH, HEIGHT = 400, 300


def pose(shift_x: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(0)
    points = random.uniform(0.3, 0.6, (33, 3)).astype(np.float32)
    points[:, 0] += np.float32(shift_x)
    return points


def test_distances_are_pixels_of_the_frame():
    found = difference(FrameLandmarks({"pose": pose()}), FrameLandmarks({"pose": pose(0.1)}), (WIDTH, HEIGHT))
    assert found.mean_px["pose"] == pytest.approx(40, abs=0.01)
    assert found.max_px["pose"] == pytest.approx(40, abs=0.01)
    assert found.only_one == ()
    assert found.in_words() == "pose 40.0"


def test_what_only_one_has_is_said_and_points_that_are_unknown_do_not_count():
    one, other = pose(), pose()
    one[5] = np.nan
    other[6, 0] += 0.033
    hand = np.full((21, 3), 0.5, np.float32)
    found = difference(
        FrameLandmarks({"pose": one, "left_hand": hand}), FrameLandmarks({"pose": other}), (WIDTH, HEIGHT)
    )
    assert found.mean_px["pose"] == pytest.approx(0.033 * WIDTH / 32, rel=0.01)
    assert found.max_px["pose"] == pytest.approx(0.033 * WIDTH, rel=0.01)
    assert found.only_one == ("left_hand",)
    assert difference(FrameLandmarks({}), FrameLandmarks({}), (9, 9)).in_words() == "nothing in either"


def test_lines_run_from_where_a_point_is_in_one_to_where_it_is_in_the_other():
    one, other = (np.full((33, 3), np.nan, np.float32) for _ in range(2))
    y = (HEIGHT // 2 + 0.5) / HEIGHT
    one[25], other[25] = (0.25, y, 0), (0.75, y, 0)
    frame = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    picture = draw_difference(frame, FrameLandmarks({"pose": one}), FrameLandmarks({"pose": other}))
    assert picture.shape == frame.shape
    assert picture[HEIGHT // 2, WIDTH // 2].tolist() == pytest.approx(APART_RGB, abs=30)
    assert picture[HEIGHT // 2, WIDTH // 8].tolist() == [40, 40, 40]
    assert (frame == 100).all()


def test_equal_extractions_have_no_line():
    found = FrameLandmarks({"pose": pose()})
    picture = draw_difference(np.zeros((HEIGHT, WIDTH, 3), np.uint8), found, found)
    assert (picture[:, :, 1] > 20).any()
    moved = draw_difference(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), found, FrameLandmarks({"pose": pose(0.1)})
    )
    reddish = [int(((p[:, :, 0] > 150) & (p[:, :, 1] < 100)).sum()) for p in (picture, moved)]
    assert reddish[0] < reddish[1] / 5


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1e30])
def test_no_coordinate_crashes_it(value):
    one, other = pose(), pose(0.2)
    one[::2, 0] = value
    other[1::3, 1] = value
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    draw_difference(frame, FrameLandmarks({"pose": one}), FrameLandmarks({"pose": other}))
    difference(FrameLandmarks({"pose": one}), FrameLandmarks({"pose": other}), (WIDTH, HEIGHT))
