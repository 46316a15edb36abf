"""The arithmetic of benchmarks/scaling_model.py: bounds that any schedule keeps."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from scaling_model import Assumptions, Costs, Job, makespan, predict, shards_of

COSTS = Costs(decode=2.0, detect=22.0, write=1.0, clip=50.0, shard=20.0)
JOB = Job("small", 1_000, 100_000)
pytestmark = pytest.mark.once


def told(cores: int, given: Assumptions | None = None, remote: bool = True):
    return predict(JOB, shards_of(JOB, cores), COSTS, 6.0, cores, given or Assumptions(), remote)


def test_makespan_lies_between_its_bounds():
    lengths = [9.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert makespan(lengths, 1) == sum(lengths)
    assert makespan(lengths, 100) == 9.0
    # Graham 1966: nobody idles while work is left, so the last to end began before the others ended.
    assert max(sum(lengths) / 3, 9.0) <= makespan(lengths, 3) <= sum(lengths) / 3 + 9.0 * 2 / 3
    assert makespan([1.0] * 6, 3) == 2.0


def test_shards_hold_every_clip_once():
    for cores in (1, 8, 512):
        shards = shards_of(JOB, cores)
        assert sum(clips for _, clips in shards) == JOB.clips
        assert sum(frames for frames, _ in shards) == pytest.approx(JOB.frames)


def test_one_worker_does_all_the_work():
    local = told(1, remote=False)
    work_s = (JOB.frames * 25 + JOB.clips * 50 + len(shards_of(JOB, 1)) * 20) / 1000
    assert local.seconds == pytest.approx(work_s)
    assert local.busy == pytest.approx(1)
    assert local.whole_s == pytest.approx(6 + JOB.frames * 10 / 1e6 + work_s)


def test_more_cores_take_less_time_and_no_less_than_their_share():
    times = [told(cores).seconds for cores in (1, 2, 8, 64)]
    assert times == sorted(times, reverse=True)
    assert all(told(cores).busy <= 1 + 1e-9 for cores in (2, 8, 64))


def test_a_slow_driver_is_the_limit():
    slow = replace(Assumptions(), task_ms=60_000)
    assert told(64, slow).seconds == len(shards_of(JOB, 64)) * 60


def test_price_and_nodes():
    assert told(64, replace(Assumptions(), price=0.09)).dollars == pytest.approx(2 * told(64).dollars)
    free = replace(Assumptions(), node_start_s=0.0, idle_s=0.0)
    assert told(64, free).dollars == pytest.approx(64 * told(64, free).seconds / 3600 * 0.045)
    assert told(8, free).dollars == pytest.approx(8 * told(8, free).seconds / 3600 * 0.045)
