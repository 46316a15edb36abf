"""Cutting clips into shards: large ones first, small ones last, so that nobody waits long at the end."""

import numpy as np
from numpy.typing import NDArray

MAX_FRAMES_PER_SHARD = 7_000
"""About three minutes of one core at 25 ms a frame: what a kill can cost, and far above a task's 9 ms."""
MIN_FRAMES_PER_SHARD = 50
MAX_CLIPS_PER_SHARD = 64
_SHARDS_OF_REST = 2
"""A shard is half of what is left for each worker: guided self-scheduling (Polychronopoulos and Kuck 1987,
IEEE Trans. Computers C-36), halved so that a worker of half the speed does not come last either."""
_SMALLEST_SHARE = 0.02
"""Of one worker's share of all frames: what the last shards are cut down to. Smaller ones cost files, and
gain less than a fiftieth."""


def cut(weights: NDArray[np.int64], splits: NDArray[np.int64], workers: int) -> list[NDArray[np.int64]]:
    """Cuts clips into shards of one split each.

    The frames that are left decide how large the next shard is, so that sizes fall towards the end: taken in
    order of their size, with each worker taking the next as it becomes free, all end at about one time.

    Args:
        weights: Frames of each clip, int64 (N,).
        splits: Number of the split of each clip, int64 (N,).
        workers: How many share the work.

    Returns:
        For each shard the positions of its clips, in order.
    """
    left = int(weights.sum())
    smallest = max(int(left / workers * _SMALLEST_SHARE), MIN_FRAMES_PER_SHARD)

    def size(left: int) -> int:
        return min(max(left // (workers * _SHARDS_OF_REST), smallest), MAX_FRAMES_PER_SHARD)

    shards: list[list[int]] = []
    _, first = np.unique(splits, return_index=True)
    for split in splits[np.sort(first)]:
        group: list[int] = []
        frames, target = 0, size(left)
        members = np.flatnonzero(splits == split)
        for position, weight in zip(members.tolist(), weights[members].tolist(), strict=True):
            left -= weight
            if weight >= target:
                shards.append([position])
                continue
            if group and (frames + weight > target or len(group) == MAX_CLIPS_PER_SHARD):
                shards.append(group)
                group, frames, target = [], 0, size(left + weight)
            group.append(position)
            frames += weight
        if group:
            shards.append(group)
    return [np.array(shard, np.int64) for shard in shards]


__all__ = ["MAX_CLIPS_PER_SHARD", "MAX_FRAMES_PER_SHARD", "MIN_FRAMES_PER_SHARD", "cut"]
