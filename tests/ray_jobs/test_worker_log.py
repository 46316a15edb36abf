import os
import subprocess
import sys
import tempfile

import pytest

from extraction.native_log import NativeLog
from ray_jobs.worker_log import LogTail, WorkerLog
from storage.dataset import LOGS
from storage.files import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "out"))


def write(log: NativeLog, *lines: str) -> None:
    for line in lines:
        log._add(line, 1)


def test_lines_are_followed_over_a_rotation_none_lost_none_twice(store):
    tail = LogTail(store)
    path = os.path.join(store.root, LOGS, "w.log")
    log = NativeLog(path, max_bytes=400)
    seen = []
    for number in range(40):
        write(log, f"line {number}")
        if number % 3 == 0:
            seen += [line.rpartition(" ")[2] for _, line in tail.new_lines()]
    seen += [line.rpartition(" ")[2] for _, line in tail.new_lines()]
    assert os.path.exists(f"{path}.1")
    assert seen == [str(number) for number in range(40)]


def test_a_log_that_is_deleted_ends_nothing(store):
    log = NativeLog(os.path.join(store.root, LOGS, "w.log"))
    write(log, "first")
    tail = LogTail(store)
    os.unlink(os.path.join(store.root, LOGS, "w.log"))
    assert list(tail.new_lines()) == []


def test_half_a_line_is_not_shown_before_its_end(store):
    folder = os.path.join(store.root, LOGS)
    os.makedirs(folder)
    tail = LogTail(store)
    with open(os.path.join(folder, "w.log"), "w", buffering=1) as file:
        file.write("half")
        file.flush()
        assert list(tail.new_lines()) == []
        file.write(" and half\n")
        assert list(tail.new_lines()) == [("w", "half and half")]


def test_what_killed_workers_left_in_the_temporary_folder_goes(monkeypatch, tmp_path, s3_uri):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import tempfile, os; print(tempfile.mkdtemp(prefix=f'landmarks-log-{os.getpid()}-', dir={!r}))"
    command = [sys.executable, "-c", code.replace("{!r}", repr(str(tmp_path)))]
    dead = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    alive = tmp_path / f"landmarks-log-{os.getpid()}-x"
    alive.mkdir()
    assert os.path.isdir(dead)
    remote = Store(s3_uri)
    log = WorkerLog(remote, "w")
    assert not os.path.exists(dead)
    assert alive.is_dir()
    write(log.native, "kept")
    log.keep()
    assert b"kept" in remote.read(f"{LOGS}/w.log")
