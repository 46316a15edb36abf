"""Scratch folders go with their process, however it ends."""

import os
import subprocess
import sys

import pytest

from storage.scratch import scratch_folder, sweep_scratch

HOLD = """
from storage.scratch import scratch_folder
with scratch_folder() as folder:
    open(folder + "/frame", "w").close()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def own_tmp(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_folder_lasts_as_long_as_its_block(tmp_path):
    with scratch_folder() as folder:
        assert os.path.dirname(folder) == str(tmp_path)
        assert os.stat(folder).st_mode & 0o077 == 0
        assert sweep_scratch() == 0
        os.mkdir(f"{folder}/1")
    with pytest.raises(ZeroDivisionError), scratch_folder():
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_has_is_not(tmp_path):
    os.mkdir(tmp_path / "somebody-elses")
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    folders = [holder.stdout.readline().strip() for holder in holders]
    assert sweep_scratch() == 0
    holders[0].kill()
    holders[0].communicate()
    assert os.path.exists(f"{folders[0]}/frame")
    with scratch_folder():
        assert not os.path.exists(folders[0])
    assert os.path.exists(f"{folders[1]}/frame")
    holders[1].communicate("\n")
    assert os.listdir(tmp_path) == ["somebody-elses"]
