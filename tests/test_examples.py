"""The examples run as a user runs them, and so does the benchmark of reading."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch_here import require_torch

require_torch()
ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_classifier_learns(real_dataset):
    done = run("examples/train_tiny.py", real_dataset.store.location)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 clips of 4 classes, 75 points a frame\n")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert len(losses) == 10
    assert losses[0] > 0.7
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--label", "label"], "expected 2 classes or more in label, found []"),
        (["--label", "face"], "invalid choice: 'face'"),
    ],
)
def test_what_cannot_be_learned_is_told(real_dataset, arguments, text):
    done = run("examples/train_tiny.py", real_dataset.store.location, *arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_folder_that_is_no_data_set(tmp_path):
    done = run("examples/train_tiny.py", tmp_path)
    assert done.returncode == 2
    assert "expected a landmark data set" in done.stderr


def test_the_benchmark_of_reading(real_dataset):
    arguments = ["--clips", 12, "--frames", 20, "--rounds", 1, "--json"]
    done = run("benchmarks/reading.py", "--source", real_dataset.store.location, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sizes = found["bytes_a_frame"]
    assert sizes["parquet float16"] < sizes["parquet float32"]
    assert sizes["npz"] == pytest.approx(576 * 12, rel=0.1)
    assert sizes["decoded cache"] == pytest.approx(576 * 12, rel=0.02)
    assert sizes["pose"] == pytest.approx(576 * 16, rel=0.1)
    for choice in ("pose+hands", "all parts"):
        rows = found["clips_a_second"][choice]
        assert rows["1 thread"].keys() >= {"parquet float32", "decoded cache, at random", "pose", "npz"}
        assert rows["2 threads"]["pose"]["ratio_to_pose"] == 1
