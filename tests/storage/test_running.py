import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extraction.errors import JobError
from storage.files import Store
from storage.running import JobMark, WorkerStatus, count_start, process_began, report, reports, running_job

MARK = "_running/job.json"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


@pytest.fixture
def other_job(store):
    """A job of another process, at work until its input ends."""
    code = (
        "import sys; from storage.files import Store; from storage.running import JobMark\n"
        "JobMark(Store(sys.argv[1])).take(); print('taken', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, store.root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def change_mark(store: Store, **values: object) -> None:
    store.write(MARK, json.dumps({**json.loads(store.read(MARK)), **values}).encode())


def test_a_job_holds_its_mark_until_it_lets_go(store):
    mark = JobMark(store)
    assert running_job(store) is None
    mark.take()
    assert running_job(store)["pid"] == os.getpid()
    mark.check()
    mark.renew()
    JobMark(store, mark.job_id).check()  # as a worker does
    mark.release()
    assert running_job(store) is None
    assert store.entries() == []


def test_another_job_at_work_is_named(store, other_job):
    with pytest.raises(JobError, match=rf"started .* on {socket.gethostname()} \(process {other_job.pid}\)"):
        JobMark(store).take()
    assert running_job(store)["pid"] == other_job.pid


def test_the_mark_of_a_killed_job_is_taken_over(store, other_job):
    report(store, WorkerStatus("left-over", 3))
    other_job.kill()
    other_job.wait()
    assert running_job(store) is None
    mark = JobMark(store)
    mark.take()
    mark.check()
    assert reports(store) == []
    assert list(store.names("")) == [MARK]


def test_a_killed_job_that_nobody_has_waited_for_is_dead(store, other_job):
    other_job.kill()
    while Path(f"/proc/{other_job.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    JobMark(store).take()


def test_another_process_with_the_number_of_a_dead_job_is_not_that_job(store):
    JobMark(store).take()
    with pytest.raises(JobError, match="another job works"):
        JobMark(store).take()
    change_mark(store, pid_started="1")
    JobMark(store).take()


@pytest.mark.parametrize(
    "change", [{"host": "elsewhere", "pid": 1}, {"pid_started": None}], ids=["other host", "no /proc"]
)
def test_a_job_that_cannot_be_looked_up_lives_while_it_renews_its_mark(store, change):
    JobMark(store).take()
    change_mark(store, **change, renewed=time.time() - 100)
    with pytest.raises(JobError, match="another job works"):
        JobMark(store).take()
    change_mark(store, **change, renewed=time.time() - 130)
    JobMark(store).take()


def test_a_job_whose_mark_was_taken_over_finds_out_and_leaves_the_other_alone(store):
    first, second = JobMark(store), JobMark(store)
    first.take()
    second.renew()
    with pytest.raises(JobError, match="another job took over"):
        first.check()
    first.release()
    second.check()
    second.release()
    with pytest.raises(JobError, match="another job took over"):
        second.check()


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff"])
def test_a_damaged_mark_is_nobodys(store, damage):
    store.write(MARK, damage)
    assert running_job(store) is None
    JobMark(store).take()


def test_workers_report(store):
    assert reports(store) == []
    statuses = [WorkerStatus(f"host-{n}", n, clips=n, clip_id="a 'b'\n", child_pid=n) for n in range(3)]
    for status in [WorkerStatus("host-1", 0), *statuses]:
        report(store, status)
    store.write("_running/worker-half.json", b'{"worker":')
    store.write("_running/worker-older.json", b'{"what": 1}')
    assert sorted(reports(store), key=lambda status: status.shard) == statuses


def test_the_start_of_this_process_is_known():
    assert time.time() - 3600 < process_began() < time.time()


def test_starts_of_a_shard_are_counted(store):
    assert [count_start(store, 3), count_start(store, 4), count_start(store, 3)] == [1, 1, 2]


def test_of_a_shard_that_was_taken_over_only_the_newest_report_counts(store):
    report(store, WorkerStatus("dead", shard=1, frames=90, time=1.0))
    report(store, WorkerStatus("alive", shard=1, frames=10, time=2.0))
    report(store, WorkerStatus("other", shard=2, time=1.5))
    assert [status.worker for status in reports(store)] == ["alive", "other"]
