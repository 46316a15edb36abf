"""A disk that is full in the middle of a job."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from storage.dataset import Dataset

pytestmark = pytest.mark.serial


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", folder]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk can only be made by root, where mounting is allowed")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_the_job_stops_says_why_and_goes_on(small_disk, portrait, landmarks, tmp_path):
    root = tmp_path / "in"
    for index in range(6):
        shutil.copytree(portrait / "dev/pan", root / f"clip{index}")
    out = small_disk / "out"
    stopped = landmarks("extract", root, out, "--workers", "1")
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert stopped.stderr.startswith("error: ")
    assert "No space left on device" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert len(stopped.stderr.splitlines()) == 1
    assert not list(out.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=20M", small_disk], check=True)
    done = landmarks("extract", root, out, "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert Dataset.open(str(out)).clips().count_rows() == 6
