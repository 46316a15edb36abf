import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_dataset import real_landmarks

from storage.signals import (
    batches_by_length,
    found,
    interpolated,
    normalized,
    window_starts,
    windows,
)

NAN = np.nan
SHOULDERS = (11, 12)


@pytest.fixture(scope="module")
def pose(shared_clips):
    array = np.load(shared_clips / "phoenix_like/expected/bsl_demo.npz")["tracking"]
    return real_landmarks(array).parts["pose"]


def track(*values: float) -> np.ndarray:
    """One point whose x, y and z go through these values."""
    return np.repeat(np.array(values, np.float32), 3).reshape(-1, 1, 3)


def values(points: np.ndarray) -> list[float]:
    assert points.dtype == np.float32
    return points[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("before", "longest_gap", "after"),
    [
        ((0, NAN, 2), 1, (0, 1, 2)),
        ((0, NAN, NAN, 3), 2, (0, 1, 2, 3)),
        ((0, NAN, NAN, 3), 1, (0, NAN, NAN, 3)),
        ((NAN, 1, NAN, 3, NAN), 9, (NAN, 1, 2, 3, NAN)),
        ((0, NAN, 2, NAN, NAN, NAN, 6), 2, (0, 1, 2, NAN, NAN, NAN, 6)),
        ((NAN, NAN), 9, (NAN, NAN)),
        ((5,), 9, (5,)),
        ((0, NAN, 2), 0, (0, NAN, 2)),
    ],
)
def test_short_gaps_are_closed_and_no_others(before, longest_gap, after):
    points = track(*before)
    np.testing.assert_array_equal(values(interpolated(points, longest_gap)), after)
    np.testing.assert_array_equal(values(points), before)


def test_each_point_has_gaps_of_its_own():
    points = np.stack([track(0, NAN, 2)[:, 0], track(3, 4, NAN)[:, 0]], axis=1)
    np.testing.assert_array_equal(interpolated(points, 5)[..., 1], [[0, 3], [1, 4], [2, NAN]])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 6))
def test_what_interpolation_leaves_open_is_long_or_at_an_end(there, longest_gap):
    rng = np.random.default_rng(len(there))
    points = rng.random((len(there), 1, 3), np.float32)
    points[~np.array(there)] = NAN
    closed = interpolated(points, longest_gap)
    assert closed[found(points)].tobytes() == points[found(points)].tobytes()
    runs = "".join("1" if frame else "0" for frame in there).strip("0").split("1")
    short = sum(len(run) for run in runs if len(run) <= longest_gap)
    assert found(closed).sum() == found(points).sum() + short


def test_shoulders_are_the_origin_and_the_unit(pose):
    there = found(pose)[:, 0]
    assert not there.all()
    about = normalized(pose, SHOULDERS, 210 / 260)
    np.testing.assert_array_equal(found(about), found(pose))
    middle = about[there][:, SHOULDERS].mean(axis=1)
    np.testing.assert_allclose(np.median(middle, axis=0), 0, atol=1e-5)
    left, right = about[there][:, SHOULDERS, :2].swapaxes(0, 1)
    np.testing.assert_allclose(np.median(np.linalg.norm(left - right, axis=1)), 1, rtol=1e-5)
    assert left[:, 0].min() > right[:, 0].max()  # the signer faces us: her left is on our right


@pytest.mark.parametrize(("scale", "shift"), [(0.5, (0.1, -0.2, 0.0)), (2.0, (0.0, 0.3, 1.0))])
def test_where_the_signer_stands_and_how_near_does_not_matter(pose, scale, shift):
    moved = (pose * np.float32(scale) + np.array(shift, np.float32)).astype(np.float32)
    np.testing.assert_allclose(normalized(moved, SHOULDERS), normalized(pose, SHOULDERS), atol=2e-4)


def test_the_shape_of_the_frame_does_not_matter(pose):
    """The same picture cut to half its height has fractions of twice the size."""
    cut = pose * np.array([1, 2, 1], np.float32)
    whole, half = normalized(pose, SHOULDERS, 0.8), normalized(cut, SHOULDERS, 1.6)
    np.testing.assert_allclose(half, whole, atol=1e-4)


def test_without_shoulders_there_is_no_origin(pose):
    without = pose.copy()
    without[:, 11] = NAN
    assert np.isnan(normalized(without, SHOULDERS)).all()
    assert normalized(np.full((0, 33, 3), NAN, np.float32), SHOULDERS).shape == (0, 33, 3)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 60))
def test_windows_cover_a_clip_and_end_with_it(num_frames, size, stride):
    starts = window_starts(num_frames, size, stride)
    ends = np.minimum(starts + size, num_frames)
    assert starts[0] == 0
    assert ends[-1] == num_frames
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= stride).all()
    if num_frames >= size:
        assert (ends - starts == size).all()
    if stride <= size:
        assert {frame for s, e in zip(starts, ends, strict=True) for frame in range(s, e)} == set(
            range(num_frames)
        )


def test_windows_of_a_clip(pose):
    found_windows = windows(pose, 50, 30)
    assert [len(window) for window in found_windows] == [50, 50, 50, 50]
    np.testing.assert_array_equal(found_windows[-1], pose[75:])
    assert windows(pose[:20], 50, 30)[0].shape == (20, 33, 3)
    with pytest.raises(ValueError, match="found 0 and 3"):
        window_starts(10, 0, 3)


def test_batches_hold_clips_of_about_one_length():
    lengths = np.random.default_rng(0).integers(10, 300, 1000)
    batches = list(batches_by_length(lengths.tolist(), 16, np.random.default_rng(1)))
    assert sorted(position for batch in batches for position in batch) == list(range(1000))
    padding = [1 - lengths[batch].mean() / lengths[batch].max() for batch in batches]
    at_random = np.random.default_rng(2).permutation(1000)[:992].reshape(-1, 16)
    assert np.mean(padding) < 0.05
    assert np.mean(1 - lengths[at_random].mean(axis=1) / lengths[at_random].max(axis=1)) > 0.3
    assert batches != list(batches_by_length(lengths.tolist(), 16, np.random.default_rng(2)))
