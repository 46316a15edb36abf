"""What a data set on an object store asks of it: requests cost money and, at 50 ms each, time."""

import uuid

import pytest
from flaky_s3 import FlakyS3

from extraction.clips import Clip
from storage.dataset import Dataset
from storage.plan import Plan, revise
from storage.running import JobMark, WorkerStatus, count_start, report, reports
from storage.shards import Failure, shard_name, write_shard

NUM_CLIPS = 20_000
"""Five row groups of the plan, and 313 shards."""


@pytest.fixture(scope="module")
def counted(moto):
    """A planned data set behind a proxy that counts."""
    with FlakyS3(moto) as s3:
        dataset = Dataset(f"s3://bucket/{uuid.uuid4().hex}?{s3.query}")
        clips = [Clip(f"{n:06d}", f"/in/{n:06d}", "frames", "train", 100) for n in range(NUM_CLIPS)]
        dataset.create({}, "0f", {})
        dataset.write_plan(revise(Plan(), clips, ()).plan)
        yield s3, dataset


def asked(s3: FlakyS3) -> int:
    count = len(s3.requests)
    s3.heal()
    return count


def make(dataset: Dataset, mark: JobMark, shard: int) -> None:
    """What a worker does for a shard, all but its reports and its log."""
    clips = dataset.planned_clips(shard)
    dataset.store.exists(shard_name(shard, "train"))
    count_start(dataset.store, shard)
    failures = [Failure(c.clip_id, c.uri, c.split, "decode", "broken", "it is", 1) for c in clips]
    write_shard(dataset.store, shard, "train", {"pose": 33}, failures, mark.check)


def test_what_is_asked_for(counted):
    s3, dataset = counted
    mark = JobMark(dataset.store)
    mark.take()
    s3.heal()
    make(dataset, mark, 200)
    assert asked(s3) <= 12
    report(dataset.store, WorkerStatus("w", 200))
    assert asked(s3) == 1
    assert [status.worker for status in reports(dataset.store)] == ["w"]
    assert asked(s3) <= 3  # a listing, and two for each worker
    assert len(dataset.plan().table) == NUM_CLIPS
    assert asked(s3) <= 4
    assert list(dataset.done()) == [200]
    assert asked(s3) == 1  # a listing for each thousand
    before = dataset.failures().num_rows
    one = asked(s3)
    make(dataset, mark, 201)
    s3.heal()
    assert dataset.failures().num_rows > before
    assert asked(s3) - one <= 5  # for each shard with failures: its footer, and their file
    mark.release()
