"""A short chaos run: a cluster of two nodes, poison among the clips, kills at random, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

pytestmark = pytest.mark.serial

CHAOS = Path(__file__).resolve().parents[2] / "benchmarks" / "chaos.py"
POISON = ("abort", "changing", "empty", "exit", "garbage", "hang", "hog", "links", "novideo", "raise", "segv")


@pytest.mark.timeout(570)
def test_every_clip_is_there_or_failed_for_its_reason(tmp_path):
    figures = tmp_path / "figures.json"
    # The first faults of this seed, where the job starts soon: a node, a detector, the driver, two detectors.
    options = ["--minutes", "0.6", "--pause", "2", "--faults", "5", "--seed", "20", "--clips", "32"]
    options += ["--poison", "1", "--frame-timeout", "5", "--agents-wait", "0", "--json", figures]
    done = subprocess.run(
        [sys.executable, CHAOS, *map(str, options)], capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert sum(found["injected"].values()) >= 4  # or the job was done before the fifth
    assert found["verdict"]["equal"] == 32
    assert sum(found["verdict"]["reasons"].values()) == len(POISON) + 1  # and the one that vanished
    assert not any(found["verdict"]["faults"].values())
