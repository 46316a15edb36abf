"""A disk that is full in the middle of a job."""

import shutil
import subprocess

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from storage.dataset import Dataset

pytestmark = pytest.mark.serial


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
