"""Stores that fail: S3 over HTTP through a proxy with faults, and disks that are full, lost or locked."""

import contextlib
import errno
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from failing_syscalls import CAN_FAIL
from flaky_s3 import Fault, FlakyS3
from open_to_all import open_to_all

from extraction.clips import Clip
from extraction.errors import JobError
from storage import retry, s3
from storage.dataset import Dataset
from storage.files import Store
from storage.plan import Plan
from storage.retry import Patience, can_pass, patiently
from storage.running import JobMark, WorkerStatus, count_start, report, reports, running_job
from storage.schema import clip_schema
from storage.shards import Failure, shard_name, write_shard

pytestmark = pytest.mark.once

SUPPORT = Path(__file__).resolve().parents[1] / "support"
NOBODY = 65534
LARGE = 12 << 20  # sent in parts

QUICK = Patience(total_s=20, first_pause_s=0.01, longest_pause_s=0.03)
SHORT = Patience(total_s=1.5, first_pause_s=0.1, longest_pause_s=0.4)

# Status and code as S3 answers, or the kind of a fault of the line.
PASSING = [
    (500, "InternalError"),
    (502, "BadGateway"),
    (503, "SlowDown"),
    (503, "ServiceUnavailable"),
    (504, "GatewayTimeout"),
    (429, "TooManyRequests"),
    (0, "drop"),
    (0, "lose"),
]
LASTING = [
    (403, "AccessDenied", "give these credentials the right to list, read, write and delete there"),
    (400, "ExpiredToken", "these credentials have expired: get new ones"),
    (403, "InvalidAccessKeyId", "these credentials are not known there"),
    (403, "SignatureDoesNotMatch", "these credentials are not known there"),
    (403, "QuotaExceeded", "free some space or quota there"),
    (507, "XMinioStorageFull", "free some space or quota there"),
    (301, "PermanentRedirect", "name the bucket's region"),
    (403, "RequestTimeTooSkewed", "set this machine's clock"),
]


def fault(status: int, code: str, **more) -> Fault:
    return Fault("error", status=status, code=code, **more) if status else Fault(code, **more)


@pytest.fixture
def flaky(moto) -> Iterator[FlakyS3]:
    with FlakyS3(moto) as proxy:
        yield proxy


@pytest.fixture
def uri(flaky) -> str:
    return f"s3://bucket/{uuid.uuid4().hex}?{flaky.query}"


@pytest.fixture
def store(uri) -> Store:
    found = Store(uri, QUICK)
    found.write("a", b"before")
    return found


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("new", b"1"),
    "read": lambda store: store.read("a"),
    "load": lambda store: store.load("a", lambda file: file.read()),
    "names": lambda store: list(store.names("")),
    "entries": lambda store: store.entries(),
    "exists": lambda store: store.exists("a"),
    "modified": lambda store: store.modified("a") > 0,
    "delete": lambda store: store.delete("a"),
    "sweep": lambda store: store.sweep(),
}
OUTCOMES = {
    "write": None,
    "read": b"before",
    "load": b"before",
    "names": ["a"],
    "entries": ["a"],
    "exists": True,
    "modified": True,
    "delete": None,
    "sweep": 0,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_bursts_of_faults_pass_unseen(flaky, store, name):
    for status, code in PASSING:
        flaky.heal()
        met = flaky.add(fault(status, code, times=3))
        assert OPERATIONS[name](store) == OUTCOMES[name], code
        assert met.hits == 3, code
        assert store.exists("a") == (name != "delete"), code
        assert store.exists("new") == (name == "write"), code
        store.write("a", b"before")
        store.delete("new")


@pytest.mark.parametrize("kind", ["sever", "cut"])
def test_a_line_that_is_cut_passes_unseen(flaky, store, kind):
    data = random.Random(1).randbytes(1 << 20)
    sent = flaky.add(Fault("sever", times=2, method="PUT")) if kind == "sever" else None
    store.write("big", data)
    cut = flaky.add(Fault("cut", times=2, method="GET")) if kind == "cut" else None
    assert store.read("big") == data
    assert (sent or cut).hits == 2


@pytest.mark.parametrize("name", ["write", "read", "names", "exists", "delete", "load"])
def test_faults_that_do_not_end_end_the_job_in_bounded_time(flaky, uri, name):
    met = flaky.add(fault(503, "SlowDown"))
    began = time.monotonic()
    with pytest.raises(JobError) as caught:
        OPERATIONS[name](Store(uri, SHORT))
    assert 0.8 < time.monotonic() - began < 4
    assert 4 <= met.hits <= 12
    words = str(caught.value)
    assert words.startswith("s3://bucket/")
    assert "SLOW_DOWN" in words or "HTTP status 503" in words
    assert re.search(r"\(tried again for [123] s\)", words)
    assert "wait until it answers well again, then run the same command again" in words


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_does_not_pass_ends_the_job_at_once_and_says_what_to_mend(flaky, store, name):
    for status, code, words in LASTING:
        flaky.heal()
        flaky.add(fault(status, code))
        began = time.monotonic()
        with pytest.raises(JobError, match=words) as caught:
            OPERATIONS[name](store)
        assert time.monotonic() - began < 2, code
        assert len(flaky.requests) <= 2, code  # the second asks for the reason, where HEAD could not say it
        assert "then run the same command again" in str(caught.value), code
        assert "testing" not in str(caught.value), code


@pytest.fixture
def place(uri) -> Callable[[str], str]:
    """The same endpoint with something else in the URI."""
    return lambda folder: f"s3://{folder}?{uri.partition('?')[2]}"


def test_a_missing_bucket_is_told(place):
    words = r"there is no bucket 'nothing': create it, or mend its name"
    with pytest.raises(JobError, match=rf"^s3://nothing/x: {words}"):
        Store(place("nothing/x"), QUICK).expect_reachable()
    with pytest.raises(JobError, match=r"^s3://nothing/x/a: .*NO_SUCH_BUCKET.*: create the bucket, or mend"):
        Store(place("nothing/x"), QUICK).write("a", b"")
    Store(place("bucket/nothing/yet"), QUICK).expect_reachable()


def test_an_endpoint_that_does_not_answer_is_told_in_seconds(flaky, uri):
    flaky.stop()
    began = time.monotonic()
    with pytest.raises(JobError, match=r"cannot be reached: .*see to it that the endpoint answers"):
        Store(uri, SHORT).expect_reachable()
    assert time.monotonic() - began < 4


def test_a_wrong_scheme_is_told_at_once(uri):
    began = time.monotonic()
    with pytest.raises(JobError, match=r"cannot be reached: .*mend the scheme .* or the certificate"):
        Store(uri.replace("scheme=http", "scheme=https")).exists("a")
    assert time.monotonic() - began < 5


def test_who_waits_is_told_once(flaky, store, caplog):
    flaky.add(Fault("drop", times=4))
    store.read("a")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert store.full("a") in record.message
    assert "Connection reset by peer: trying again, for 20 s at most" in record.message


def test_what_is_done_again_soon_is_tried_once(flaky, store):
    flaky.heal()
    met = flaky.add(Fault("drop"))
    with pytest.raises(JobError, match="cannot be read"):
        store.impatient.read("a")
    with pytest.raises(JobError):
        report(store, WorkerStatus("w", 0))
    assert reports(store) == []
    assert met.hits == 3


def test_a_server_that_never_answers_is_given_up(flaky, uri, monkeypatch):
    monkeypatch.setattr(s3, "_SILENCE_TIMEOUT_S", 1.0)
    store = Store(uri, Patience(tries=1))
    flaky.add(Fault("hang"))
    for name in ("read", "names"):
        began = time.monotonic()
        with pytest.raises(JobError, match="Timeout was reached"):
            OPERATIONS[name](store)
        assert time.monotonic() - began < 6


def test_a_slow_server_is_waited_for(flaky, store):
    flaky.add(Fault("slow", seconds=4))  # Arrow's own limit is 3
    flaky.heal()
    slow = flaky.add(Fault("slow", seconds=4, method="GET", times=1))
    assert store.read("a") == b"before"
    assert (slow.hits, [request.method for request in flaky.requests]) == (1, ["HEAD", "GET"])


def test_an_endpoint_that_dies_and_comes_back_costs_a_wait(flaky, store):
    flaky.stop()
    timer = threading.Timer(1.0, flaky.start)
    timer.start()
    began = time.monotonic()
    store.write("b", b"2")
    assert time.monotonic() - began > 0.9
    assert sorted(store.names("")) == ["a", "b"]


def test_an_endpoint_that_stays_dead_ends_the_job(flaky, uri):
    store = Store(uri, SHORT)
    flaky.stop()
    with pytest.raises(JobError, match=r"cannot be written: .*Could not connect to server.*All shards that"):
        store.write("b", b"2")


# What is sent.


def test_the_block_runs_once_however_often_its_bytes_are_sent(flaky, store):
    flaky.heal()
    met = flaky.add(Fault("error", times=3, method="PUT"))
    asked, runs = [], 0
    with store.create("b", before_retry=lambda: asked.append(met.hits)) as file:
        runs += 1
        file.write(b"whole")
    assert (runs, asked, store.read("b")) == (1, [1, 2, 3], b"whole")


def test_a_gate_that_closes_between_two_tries_leaves_nothing(flaky, store):
    def closed() -> None:
        raise JobError("another job took over")

    flaky.add(Fault("error", times=1, method="PUT"))
    with (
        pytest.raises(JobError, match="another job took over"),
        store.create("b", before_retry=closed) as file,
    ):
        file.write(b"late")
    assert list(store.names("")) == ["a"]


@pytest.mark.parametrize(
    "met",
    [
        Fault("error", method="POST", path="uploads"),  # at the start of an upload in parts
        Fault("drop", method="POST", path="uploads"),
        Fault("error", method="PUT", path="partNumber=2", times=1),
        Fault("lose", method="PUT", times=1),
        Fault("sever", method="PUT"),
        Fault("error", method="POST", path="uploadId"),  # at its end
        Fault("lose", method="POST", path="uploadId"),
    ],
    ids=lambda met: f"{met.kind} {met.method} {met.path}",
)
def test_a_large_file_is_whole_or_absent_whatever_fails(flaky, uri, store, met):
    """Arrow can leave an empty object under the name of an upload that was refused at its beginning."""
    data = random.Random(2).randbytes(LARGE)
    flaky.add(met)
    with contextlib.suppress(JobError):
        Store(uri, Patience(tries=1)).write("big", data)
    flaky.heal()
    assert not store.exists("big") or store.read("big") == data
    met.hits = met.seen = 0
    met.times = 2
    flaky.add(met)
    store.write("big", data)
    assert store.read("big") == data
    assert met.hits == 2


INTERRUPTED = """
import sys
from storage.files import Store
store = Store(sys.argv[1])
print("ready", flush=True)
try:
    for number in range(1000):
        store.write(f"n/{number}", b"whole")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_leaves_no_empty_object(uri, store):
    chance = random.Random(3)
    for _ in range(3):
        with python(INTERRUPTED, uri, stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.05, 0.3))
            child.send_signal(signal.SIGINT)
            assert child.stdout.read() == "interrupted\n"
    written = list(store.names("n"))
    assert written
    assert {store.read(name) for name in written} == {b"whole"}


# A data set on a store that fails now and then.


def clip(number: int) -> Clip:
    return Clip(f"clip{number}", f"/in/{number}", "frames", "train", 3)


def failed(owner: Clip) -> Failure:
    return Failure(owner.clip_id, owner.uri, owner.split, "decode", "broken", "it is broken", 1)


def test_a_data_set_is_made_on_a_store_that_fails_every_third_request(flaky, uri):
    met = [
        flaky.add(Fault("error", every=7, status=503, code="SlowDown")),
        flaky.add(Fault("error", every=6, status=500, code="InternalError")),
        flaky.add(Fault("drop", every=9)),
        flaky.add(Fault("lose", every=8)),
    ]
    dataset = Dataset(uri, QUICK)
    mark = JobMark(dataset.store)
    mark.take()
    dataset.expect_empty()
    dataset.create({"engine": "holistic"}, "0f", {})
    clips = tuple(clip(number) for number in range(5))
    dataset.write_plan(Plan(clips, tuple(range(5))))
    for number in range(5):
        assert dataset.planned_clips(number) == [clips[number]]
        assert count_start(dataset.store, number) == 1
        write_shard(dataset.store, number, "train", {"pose": 33}, [failed(clips[number])], mark.check)
        mark.renew()
    assert sorted(dataset.done()) == list(range(5))
    assert dataset.plan().clips == clips
    assert dataset.failures()["clip_id"].to_pylist() == [c.clip_id for c in clips]
    assert dataset.clips().to_table().num_rows == 0
    flaky.heal()
    dataset.store.sweep()
    mark.release()
    assert list(dataset.store.names("_running")) == []
    assert all(f.hits > 3 for f in met), met
    dataset.delete()
    assert list(dataset.store.names("")) == []


@pytest.mark.parametrize("kind", ["drop", "cut"])
def test_a_plan_that_cannot_be_reached_is_not_called_damaged(flaky, uri, kind):
    dataset = Dataset(uri, SHORT)
    dataset.write_plan(Plan((clip(1),), (0,)))
    flaky.add(Fault(kind, method="GET", path="plan.parquet"))
    for read in (dataset.plan, lambda: dataset.planned_clips(0)):
        with pytest.raises(JobError, match=r"plan\.parquet: cannot be read: .*Connection reset") as caught:
            read()
        assert "--overwrite" not in str(caught.value)


def test_a_mark_outlives_a_bad_while(flaky, uri, monkeypatch):
    monkeypatch.setattr("storage.running._RENEWAL", Patience(total_s=0.5, first_pause_s=0.1))
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    mark = JobMark(Store(uri, QUICK))
    mark.take()
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    other = JobMark(Store(uri, QUICK))
    before = running_job(Store(uri))["renewed"]
    for lost in (Fault("error", method="PUT"), Fault("drop")):
        flaky.add(lost)
        for _ in range(2):
            with pytest.raises(JobError):
                mark.keep()
        flaky.heal()
        with pytest.raises(JobError, match="another job works on it"):
            other.take()
        mark.keep()
        mark.check()
    after = running_job(Store(uri))["renewed"]
    assert after - before > 1
    assert time.time() - after < 1  # it says when it was made, not when it was first tried


# Local disks.


def python(code: str, *arguments: object, **options) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SUPPORT), *sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        text=True,
        env=env,
        **options,
    )


def rows(size: int, number: int = 1) -> Iterator[list[pa.RecordBatch]]:
    """Clips whose rows take so many bytes on the disk."""
    chance = random.Random(4)
    for _ in range(number):
        row = {"num_frames": 1, "text": chance.randbytes(size // 2).hex()}
        yield [pa.RecordBatch.from_pylist([row], clip_schema({}))]


def shell(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


@contextlib.contextmanager
def mounted(folder: Path, *how: object) -> Iterator[Path]:
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk for this test")
    folder.mkdir()
    done = subprocess.run(["mount", *map(str, how), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.splitlines()[:1]}")
    try:
        yield folder
    finally:
        shell("umount", "--lazy", folder)


def test_a_disk_that_fills_up_in_the_middle_of_a_shard(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        store = Store(f"{disk}/out")
        write_shard(store, 0, "train", {}, rows(200_000))
        before = store.read(shard_name(0, "train"))
        began = time.monotonic()
        with pytest.raises(JobError, match=r"No space left on device.*free some space on that disk"):
            write_shard(store, 1, "train", {}, rows(200_000, number=40))
        assert time.monotonic() - began < 5  # it was not waited for
        assert list(store.names("")) == [shard_name(0, "train")]
        assert store.read(shard_name(0, "train")) == before
        shell("mount", "-o", "remount,size=20m", disk)
        write_shard(store, 1, "train", {}, rows(200_000, number=40))
        assert len(list(store.names(""))) == 2


def test_a_disk_that_turns_read_only_between_shards(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        store = Store(f"{disk}/out")
        write_shard(store, 0, "train", {}, rows(1000))
        shell("mount", "-o", "remount,ro", disk)
        for refused in (
            lambda: write_shard(store, 1, "train", {}, rows(1000)),
            lambda: store.delete(shard_name(0, "train")),
            lambda: JobMark(store).take(),
        ):
            with pytest.raises(JobError, match=r"Read-only file system.*mount it for writing"):
                refused()
        assert list(store.names("")) == [shard_name(0, "train")]


def test_a_disk_that_breaks_in_the_middle_of_a_shard(tmp_path):
    """ext4 turns itself read-only when it finds damage, whatever is open for writing."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4 here")
    shell("mkfs.ext4", "-q", "-F", image)

    def breaking(disk: Path) -> Iterator[list[pa.RecordBatch]]:
        yield from rows(1000)
        shell("mount", "-o", "remount,abort", disk)
        yield from rows(1000)

    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        store = Store(f"{disk}/out")
        write_shard(store, 0, "train", {}, rows(1000))
        with pytest.raises(JobError) as caught:
            write_shard(store, 1, "train", {}, breaking(disk))
        assert "Read-only file system" in str(caught.value) or "Input/output error" in str(caught.value)
        assert not Store(f"{disk}/out").exists(shard_name(1, "train"))
        assert Dataset(store.root).done().keys() == {0}


LOCKED_OUT = """
import os, sys
from extraction.errors import JobError
from storage.files import Store
from storage.shards import shard_name
if not os.geteuid():
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
store = Store(sys.argv[1])
store.write(shard_name(0, "train"), b"whole")
try:
    with store.create(shard_name(1, "train")) as file:
        file.write(b"half")
        print("writing", flush=True)
        sys.stdin.readline()
        file.write(b"whole")
except JobError as error:
    print(error)
"""


def test_a_permission_that_is_lost_in_the_middle_of_a_shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    open_to_all(folder)
    (folder / "out").mkdir(mode=0o777)
    (folder / "out").chmod(0o777)
    with python(LOCKED_OUT, folder / "out", NOBODY, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == "writing\n"
        (folder / "out/clips/split=train").chmod(0o555)
        told, _ = child.communicate("\n", timeout=60)
    assert "cannot be written: Permission denied" in told
    assert "give yourself permission to write there, or choose another OUT" in told
    store = Store(str(folder / "out"))
    assert Dataset(store.root).done().keys() == {0}
    (folder / "out/clips/split=train").chmod(0o777)
    assert store.sweep() == 1  # it could not take its own away
    assert list(store.names("")) == [shard_name(0, "train")]


FAILING = """
import errno, sys, time
from failing_syscalls import fail
from extraction.errors import JobError
from storage.files import Store
from storage.retry import Patience
store = Store(sys.argv[1], Patience(total_s=1, first_pause_s=0.02, longest_pause_s=0.1))
store.write("there", b"whole")
call, error, times = sys.argv[2], getattr(errno, sys.argv[3]), int(sys.argv[4])
met = fail(call, error, times or None, "" if call == "fsync" else store.root)
began = time.monotonic()
for action in {
    "open": (lambda: store.write("new", b"whole"), lambda: store.read("there")),
    "rename": (lambda: store.write("new", b"whole"),),
    "fsync": (lambda: store.write("new", b"whole"),),
    "stat": (lambda: store.exists("there"), lambda: store.is_file("there")),
    "unlink": (lambda: store.delete("there"),),
}[call]:
    try:
        action()
    except JobError as error:
        print(error)
print(met.met, sorted(store.names("")), time.monotonic() - began < 0.5)
"""

needs_failing_syscalls = pytest.mark.skipif(not CAN_FAIL, reason="system calls cannot be made to fail here")


def failing(tmp_path: Path, call: str, error: str, times: int) -> list[str]:
    with python(FAILING, tmp_path / "out", call, error, times, stdout=subprocess.PIPE) as child:
        told, _ = child.communicate(timeout=60)
    return told.splitlines()


@needs_failing_syscalls
@pytest.mark.parametrize("error", ["ESTALE", "ETIMEDOUT", "EAGAIN"])
@pytest.mark.parametrize("call", ["open", "rename", "stat", "unlink"])
def test_a_network_file_system_that_hiccups_is_asked_again(tmp_path, call, error):
    left = {"open": ["new", "there"], "rename": ["new", "there"], "stat": ["there"], "unlink": []}[call]
    assert failing(tmp_path, call, error, times=2) == [f"2 {left} True"]


@needs_failing_syscalls
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("open", "EDQUOT", "Disk quota exceeded. All shards that stand are whole: free some of your quota"),
        ("fsync", "EDQUOT", "Disk quota exceeded. All shards that stand are whole: free some of your quota"),
        ("fsync", "ENOSPC", "No space left on device. All shards that stand are whole: free some space"),
        ("fsync", "EIO", "Input/output error. All shards that stand are whole: that disk or file system"),
        ("fsync", "ESTALE", "Stale file handle. All shards that stand are whole: wait until it answers"),
        ("rename", "EROFS", "Read-only file system. All shards that stand are whole: that file system is"),
    ],
)
def test_what_a_local_write_meets_and_cannot_pass_is_met_once(tmp_path, call, error, words):
    """An fsync above all: a second one can succeed although the bytes are lost."""
    told, count = failing(tmp_path, call, error, times=1)[:2]
    assert told.startswith(f"{tmp_path}/out/new: cannot be written: {words}")
    assert count == "1 ['there'] True"


@needs_failing_syscalls
def test_a_network_file_system_that_stays_stale_ends_the_job(tmp_path):
    told, count = failing(tmp_path, "rename", "ESTALE", times=0)
    assert "new: cannot be written: Stale file handle" in told
    assert count.endswith("['there'] False")


def test_a_rename_whose_answer_was_lost_is_done(tmp_path, monkeypatch):
    real, calls = os.replace, []

    def lost(source: str, target: str) -> None:
        calls.append(target)
        real(source, target)
        if len(calls) == 1:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(os, "replace", lost)
    store = Store(str(tmp_path), QUICK)
    store.write("a", b"1")
    assert (len(calls), store.read("a"), store.entries()) == (2, b"1", ["a"])


# Patience itself.


def test_pauses_grow_to_a_limit_and_are_drawn():
    patience = Patience()
    drawn = [[patience.pause_s(failed) for failed in range(1, 12)] for _ in range(50)]
    for pauses in drawn:
        assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses[:5]))
        assert all(5 <= pause <= 10 for pause in pauses[5:])
    assert len({pauses[0] for pauses in drawn}) > 40
    assert patience.total_s == 120


def test_time_and_tries_are_both_bounded(monkeypatch):
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(retry.time, "monotonic", lambda: now)
    monkeypatch.setattr(retry.time, "sleep", sleep)
    tries = 0

    def fails() -> None:
        nonlocal tries, now
        tries += 1
        now += 3
        raise OSError(errno.ETIMEDOUT, "")

    with pytest.raises(TimeoutError):
        patiently(fails, Patience(), "it")
    assert 105 < now <= 123
    assert 8 < tries < 25
    tries = 0
    with pytest.raises(TimeoutError):
        patiently(fails, Patience(tries=4), "it")
    assert tries == 4


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO]
)
def test_a_full_or_locked_disk_does_not_pass(number):
    assert not can_pass(OSError(number, os.strerror(number)))
