import numpy as np
import pytest

from extraction.draw import COLOURS_RGB
from extraction.drawn_sheet import (
    BACKGROUND_RGB,
    GAP_PX,
    black,
    close_up,
    evenly_spaced,
    fitted,
    grid,
    resized,
    side_by_side,
)
from extraction.landmarks import FrameLandmarks


def plain(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("total", "count", "positions"),
    [(10, 1, [5]), (10, 2, [2, 7]), (10, 5, [1, 3, 5, 7, 9]), (3, 9, [0, 1, 2]), (1, 1, [0])],
)
def test_frames_are_evenly_spaced_over_the_whole(total, count, positions):
    assert evenly_spaced(total, count) == positions


@pytest.mark.parametrize("total", [1, 7, 100, 100_000])
@pytest.mark.parametrize("count", [1, 3, 12, 60])
def test_evenly_spaced_frames_differ_and_leave_no_large_gap(total, count):
    positions = evenly_spaced(total, count)
    assert len(positions) == len(set(positions)) == min(total, count)
    edges = np.diff([-1, *positions, total])
    assert edges.max() <= total / len(positions) + 1


def test_resized_keeps_the_proportions():
    assert resized(plain(260, 210, 9), 512).shape == (512, 414, 3)
    assert resized(plain(210, 260, 9), 130).shape == (105, 130, 3)
    assert resized(plain(1, 1000, 9), 10).shape == (1, 10, 3)


def test_fitted_cuts_nothing_off():
    tall = fitted(plain(100, 50, 200), (60, 60, 3))
    assert tall.shape == (60, 60, 3)
    bright = np.argwhere(tall[:, :, 0] > 190)
    assert bright.min(axis=0).tolist() == [0, 15]
    assert bright.max(axis=0).tolist() == [59, 44]


def test_a_grid_holds_every_picture_whole_in_order():
    sizes = [(40, 30), (20, 50), (40, 50), (10, 10), (40, 50)]
    pictures = [plain(*size, 50 * (index + 1)) for index, size in enumerate(sizes)]
    whole = grid(pictures, columns=2)
    assert whole.shape == (3 * 40 + 4 * GAP_PX, 2 * 50 + 3 * GAP_PX, 3)
    for index, (height, width) in enumerate(sizes):
        own = np.argwhere(whole[:, :, 0] == 50 * (index + 1))
        assert len(own) == height * width
        row, column = divmod(index, 2)
        cell = np.array([GAP_PX + row * (40 + GAP_PX), GAP_PX + column * (50 + GAP_PX)])
        middle = (own.min(axis=0) + own.max(axis=0)) / 2
        assert np.abs(middle - cell - [19.5, 24.5]).max() <= 0.5
    assert (whole[-1, -1] == BACKGROUND_RGB).all()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (6, 3), (9, 3), (12, 4), (20, 5)])
def test_a_grid_of_portraits_is_neither_a_tower_nor_a_ribbon(count, columns):
    whole = grid([plain(312, 252, 9)] * count)
    assert whole.shape[1] == columns * (252 + GAP_PX) + GAP_PX


def test_side_by_side():
    whole = side_by_side([plain(40, 30, 50), plain(20, 60, 100)])
    assert whole.shape == (40, 30 + GAP_PX + 60, 3)
    assert (whole[:, :30] == 50).all()
    assert (whole[10:30, 30 + GAP_PX :] == 100).all()


def test_no_picture_makes_no_grid():
    with pytest.raises(ValueError, match="one picture or more"):
        grid([])


def hand(x: float, y: float, spread: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 21, endpoint=False)
    return np.stack([x + spread * np.cos(angles), y + spread * np.sin(angles), 0 * angles], 1).astype(
        np.float32
    )


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (0.02, 0.98), (1.2, 0.5)])
def test_close_up_fills_the_picture_with_the_part(x, y):
    found = FrameLandmarks({"left_hand": hand(x, y, 0.05), "right_hand": hand(0.2, 0.2, 0.1)})
    picture = close_up(plain(400, 400, 100), found, "left_hand", 300)
    assert picture is not None
    assert picture.shape == (300, 300, 3)
    orange = np.argwhere((picture == COLOURS_RGB["left_hand"]).all(axis=2))
    assert orange.min() == pytest.approx(50, abs=8)  # a quarter of its box around it
    assert orange.max() == pytest.approx(250, abs=8)
    assert not (picture == COLOURS_RGB["right_hand"]).all(axis=2).any()


def test_close_up_is_black_beyond_the_frame():
    picture = close_up(
        plain(400, 400, 100), FrameLandmarks({"left_hand": hand(0.0, 0.5, 0.05)}), "left_hand", 300
    )
    assert picture is not None
    assert (picture[20:280, :20] == 0).all()
    assert (picture[20:280, -20:] == 100).all()


@pytest.mark.parametrize("points", [None, np.full((21, 3), np.nan, np.float32)])
def test_a_part_that_was_not_found_has_no_close_up(points):
    found = FrameLandmarks({} if points is None else {"left_hand": points})
    assert close_up(black(50, 50), found, "left_hand", 100) is None


def test_wild_coordinates_make_no_giant_picture():
    wild = hand(0.5, 0.5, 0.1)
    wild[3] = 1e30, -1e30, 0
    picture = close_up(black(50, 50), FrameLandmarks({"left_hand": wild}), "left_hand", 100)
    assert picture is not None
    assert picture.shape == (100, 100, 3)
