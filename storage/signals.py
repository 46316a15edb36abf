"""What trainers do to points before a network sees them: pure functions of NumPy arrays, missing is NaN."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def found(points: Floats) -> NDArray[np.bool_]:
    """Where there is a point.

    Args:
        points: float32 (T, N, 3), NaN where absent.

    Returns:
        bool (T, N).
    """
    there: NDArray[np.bool_] = ~np.isnan(points[..., 0])
    return there


def normalized(points: Floats, shoulders: tuple[int, int], width_over_height: float = 1.0) -> Floats:
    """Points about the middle of the shoulders, in shoulder widths.

    Origin and unit are the medians of the clip, so that a person who leans or steps still does so afterwards.

    Args:
        points: float32 (T, N, 3), NaN where absent; x, y as fractions of width and height.
        shoulders: Which of the N points are the two shoulders.
        width_over_height: Of the frames, so that a unit is as long across as down; z shares the unit of x.

    Returns:
        A new float32 (T, N, 3) array; all NaN where no frame shows both shoulders.
    """
    scaled = points * np.array([width_over_height, 1.0, width_over_height], np.float32)
    pair = scaled[:, list(shoulders)]
    pair = pair[~np.isnan(pair).any(axis=(1, 2))].astype(np.float64)
    width = np.median(np.hypot(*(pair[:, 0, :2] - pair[:, 1, :2]).T)) if len(pair) else 0.0
    if not width > 0:
        return np.full_like(points, np.nan)
    centre = np.median(pair.mean(axis=1), axis=0)
    about_shoulders: Floats = ((scaled - centre) / width).astype(np.float32)
    return about_shoulders


def interpolated(points: Floats, longest_gap: int) -> Floats:
    """Short gaps in time closed by straight lines, point by point.

    Args:
        points: float32 (T, N, 3), NaN where absent.
        longest_gap: A longer run of frames without a point stays as it is, and so do those at either end.

    Returns:
        A new float32 (T, N, 3) array; what was there is there bit for bit.
    """
    there = found(points)
    frames = np.arange(len(points))[:, None]
    before = np.maximum.accumulate(np.where(there, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(there, frames, len(points))[::-1], axis=0)[::-1]
    closes = ~there & (before >= 0) & (after < len(points)) & (after - before - 1 <= longest_gap)
    closed = points.copy()
    time, point = np.nonzero(closes)
    first, last = before[time, point], after[time, point]
    share = ((time - first) / (last - first))[:, None]
    closed[time, point] = (1 - share) * points[first, point] + share * points[last, point]
    return closed


def window_starts(num_frames: int, size: int, stride: int) -> NDArray[np.int64]:
    """First frames of windows that cover a clip; the last one is moved back to end with it.

    Args:
        num_frames: Of the clip.
        size: Frames of a window.
        stride: Frames from one window to the next.

    Returns:
        int64 (number of windows,); ``[0]`` for a clip no longer than a window.

    Raises:
        ValueError: If size or stride is not positive.
    """
    if size < 1 or stride < 1:
        raise ValueError(f"expected a window and a stride of 1 frame or more, found {size} and {stride}")
    last = max(num_frames - size, 0)
    return np.append(np.arange(0, last, stride), last)


def windows(points: Floats, size: int, stride: int) -> list[Floats]:
    """The windows of a clip, as views of it; see :func:`window_starts`. A shorter clip is one window."""
    return [points[start : start + size] for start in window_starts(len(points), size, stride)]


def batches_by_length(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator, pool_batches: int = 50
) -> Iterator[list[int]]:
    """Batches of clips of about equal length in random order, so that little of a batch is padding.

    Args:
        lengths: Frames of each clip.
        batch_size: Clips a batch.
        rng: Decides the order.
        pool_batches: So many batches are cut from one random pool, sorted by length.

    Yields:
        Positions in ``lengths``; each once. The last batch of a pool may be smaller.
    """
    order = rng.permutation(len(lengths))
    frames = np.asarray(lengths)
    pool_size = batch_size * pool_batches
    for begin in range(0, len(order), pool_size):
        pool = order[begin : begin + pool_size]
        pool = pool[np.argsort(frames[pool], kind="stable")]
        batches = [pool[at : at + batch_size].tolist() for at in range(0, len(pool), batch_size)]
        for number in rng.permutation(len(batches)):
            yield batches[number]
