"""The same promises on an object store, against a real server over HTTP."""

import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from storage.dataset import Dataset
from storage.files import Store
from storage.plan import Plan
from storage.running import JobMark, WorkerStatus, report, reports, running_job
from storage.shards import Failure, write_shard


@pytest.fixture
def uri(s3_uri: str) -> str:
    return s3_uri


def test_files_come_and_go(uri):
    store = Store(uri)
    assert (store.entries(), list(store.names("")), store.exists("a"), store.sweep()) == ([], [], False, 0)
    store.delete("a")
    store.delete_folder("clips")
    with pytest.raises(FileNotFoundError):
        store.read("a")
    store.write("clips/split=train/a", b"1")
    store.write("b", b"2")
    assert (store.read("b"), store.open("b").read()) == (b"2", b"2")
    assert (store.is_file("b"), store.is_file("clips"), store.exists("clips")) == (True, False, True)
    assert sorted(store.entries()) == ["b", "clips"]
    assert sorted(store.names("")) == ["b", "clips/split=train/a"]
    assert list(store.names("clips")) == ["clips/split=train/a"]
    store.delete("b")
    store.delete_folder("clips")
    assert list(store.names("")) == []


def test_an_exception_leaves_nothing(uri):
    store = Store(uri)
    with pytest.raises(ZeroDivisionError), store.create("a") as file:
        file.write(b"%d" % (1 // 0))
    assert not store.exists("a")


def test_a_bucket_that_is_not_there_is_a_job_error(s3_uri):
    with pytest.raises(JobError, match=r"^s3://nothing/x/a: cannot be written: .*NO_SUCH_BUCKET"):
        Store(f"s3://nothing/x?{s3_uri.partition('?')[2]}").write("a", b"")


def test_a_data_set_lives_there(uri):
    dataset = Dataset(uri)
    mark = JobMark(dataset.store)
    dataset.expect_empty()
    mark.take()
    with pytest.raises(JobError, match="another job"):
        JobMark(dataset.store).take()
    dataset.create({"engine": "holistic"}, "0f", {})
    clips = (Clip("a", "/a", "frames", "train", 3), Clip("b", "/b", "frames", "train", 3))
    dataset.write_plan(Plan(clips, (0, 1)))
    report(dataset.store, WorkerStatus("w", 0))
    assert [status.worker for status in reports(dataset.store)] == ["w"]
    failure = Failure("a", "/a", "train", "decode", "broken", "it is broken", 1)
    write_shard(dataset.store, 0, "train", {"pose": 33}, [failure], mark.check)
    mark.release()

    again = Dataset.open(uri)
    assert running_job(again.store) is None
    assert again.plan().clips == clips
    assert again.planned_clips(1) == [clips[1]]
    assert list(again.done()) == [0]
    assert again.failures()["clip_id"].to_pylist() == ["a"]
    assert again.clips().to_table().num_rows == 0
    with pytest.raises(JobError, match="it is broken"):
        again.read_clip("a")
    again.delete()
    assert list(again.store.names("")) == []
    again.expect_empty()
