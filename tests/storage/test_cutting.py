"""How a job ends: simulated with the real plan, and workers of different speed that take the next shard."""

import heapq

import numpy as np
import pytest

from extraction.clips import Clip
from storage.cutting import MAX_CLIPS_PER_SHARD, MAX_FRAMES_PER_SHARD, cut
from storage.plan import Plan, revise, weights

PHOENIX_SPLITS = {"dev": (519, 55_775), "test": (642, 64_627), "train": (7_096, 827_354)}
"""PHOENIX-2014-T as published: clips and frames of each split; a clip has 16 to 475."""
COMMIT_FRAMES = 2.0
"""What else a shard takes, as frames of 30 ms: a task of Ray, a file."""


def phoenix_lengths(clips: int, frames: int) -> np.ndarray:
    """Lengths of a split: of gamma shape, within the published bounds, as many frames in all as published."""
    lengths = np.random.default_rng(clips).gamma(5, frames / clips / 5, clips)
    for _ in range(20):
        lengths = np.clip(lengths * frames / lengths.sum(), 16, 475)
    whole = np.floor(lengths).astype(np.int64)
    whole[np.argsort(whole)[clips // 4 :][: frames - whole.sum()]] += 1
    return whole


def phoenix() -> list[Clip]:
    return [
        Clip(f"{split}/{number}", "/in", "frames", split, int(length))
        for split, (clips, frames) in PHOENIX_SPLITS.items()
        for number, length in enumerate(phoenix_lengths(clips, frames))
    ]


def heavy_tailed() -> list[Clip]:
    """16 to 3,000 frames: half of all frames in the longest tenth of the clips."""
    lengths = np.clip(16 / (1 - np.random.default_rng(0).random(8_000)), 16, 3_000)
    return [Clip(str(n), "/in", "frames", None, int(length)) for n, length in enumerate(lengths)]


def shard_frames(clips: list[Clip], workers: int) -> list[int]:
    """Frames of each shard, in the order of the job."""
    revision = revise(Plan(), clips, (), workers=workers)
    frames = np.bincount(revision.plan.shards, weights(revision.plan.table))
    return [int(frames[shard]) for shard in revision.to_do]


def makespan(shards: list[int], speeds: np.ndarray) -> float:
    """Until the last worker is done: each takes the next shard as it becomes free."""
    free = [(0.0, worker) for worker in range(len(speeds))]
    for frames in shards:
        at, worker = free[0]
        heapq.heapreplace(free, (at + (frames + COMMIT_FRAMES) / speeds[worker], worker))
    return max(at for at, _ in free)


def above_bound(clips: list[Clip], workers: int, planned_for: int | None = None) -> float:
    """How much longer than the least possible a job takes, at the worst of ten draws of speeds."""
    lengths = [clip.num_frames for clip in clips]
    shards = shard_frames(clips, planned_for or workers)
    worst = 0.0
    for seed in range(10):
        speeds = np.random.default_rng(seed).uniform(0.9, 1.1, workers)
        speeds /= speeds.mean()
        bound = max(sum(lengths) / workers, max(lengths) / speeds.max())
        worst = max(worst, makespan(shards, speeds) / bound - 1)
    return worst


def test_the_made_up_lengths_are_those_of_phoenix():
    lengths = [clip.num_frames for clip in phoenix()]
    assert (len(lengths), sum(lengths), min(lengths)) == (8_257, 947_756, 16)
    assert max(lengths) <= 475


@pytest.mark.parametrize("make", [phoenix, heavy_tailed])
@pytest.mark.parametrize("workers", [1, 2, 8, 64])
def test_a_job_ends_within_three_hundredths_of_the_least_possible(make, workers):
    assert above_bound(make(), workers) <= 0.03


def test_512_workers_all_have_something_to_do_to_the_end():
    assert above_bound(phoenix(), 512) <= 0.03
    # Here one clip of 3,000 frames takes longer than a worker's share: the slowest may have it.
    assert above_bound(heavy_tailed(), 512) <= 0.25


def test_cut_for_256_a_job_ends_well_on_fewer_and_on_twice_as_many():
    clips = phoenix()
    for workers, most in ((8, 0.03), (64, 0.03), (256, 0.03), (512, 0.1)):
        assert above_bound(clips, workers, planned_for=256) <= most


def test_few_files():
    """With equal shards of 7,000 frames it would be 141."""
    assert len(shard_frames(phoenix(), 2)) <= 150
    assert len(shard_frames(phoenix(), 8)) <= 165


def test_a_million_clips_are_as_many_shards_as_designed():
    shards = cut(np.full(1_000_000, 100, np.int64), np.zeros(1_000_000, np.int64), 512)
    assert len(shards) <= 1_000_000 // MAX_CLIPS_PER_SHARD * 1.15
    assert max(map(len, shards)) * 100 <= MAX_FRAMES_PER_SHARD
    assert sum(map(len, shards)) == 1_000_000
