"""Jobs on a cluster whose head has no core, and whose nodes come when they are asked for."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

import eglfaults
from ray_head import Head, ray_head
from rgb_segmenter import write_rgb_segmenter

from storage.dataset import Dataset

pytestmark = [pytest.mark.serial, pytest.mark.once, pytest.mark.timeout(280)]

NO_MEMORY = ["--memory-per-actor=0"]  # the fake's kinds of node cannot state theirs
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Its GPU is a number in Ray's books; OpenGL is Mesa's."""
    kinds = {"cpu": {"CPU": 1}, "gpu": {"CPU": 2, "GPU": 1}}
    with ray_head(0, job_server=False, kinds=kinds, **eglfaults.MESA) as running:
        yield running


@pytest.fixture
def extract(head, landmarks, tmp_path) -> Run:
    return lambda *options: landmarks(
        "extract", tmp_path / "in", tmp_path / "out", "--address", head.address, *options, **tokens(head)
    )


def tokens(head: Head) -> dict[str, str]:
    return {name: value for name, value in head.environment.items() if name.startswith("RAY_")}


@pytest.fixture(autouse=True)
def clips(portrait, tmp_path) -> None:
    """As many shards as clips: a clip of its own split is a shard of its own, and so is one of 50 frames."""
    for number in range(12):
        frames = tmp_path / f"in/train/clip{number:02d}"
        frames.mkdir(parents=True)
        for at in range(54):
            source = sorted((portrait / "dev/pan").iterdir())[at % 6]
            os.link(source, frames / f"{at:03d}{source.suffix}")


def by_delegate(out: Path) -> dict[str, set[str]]:
    rows = Dataset.open(str(out)).clips().to_table(columns=["delegate", "worker"]).to_pylist()
    workers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        workers[row["delegate"]].add(row["worker"])
    assert len(rows) == 12
    return workers


def test_nodes_come_and_workers_with_and_without_a_gpu_share_one_job(extract, tmp_path):
    eglfaults._need_mesa()
    model = write_rgb_segmenter(tmp_path / "rgb.tflite")
    done = extract(
        "--engine=segmenter", "--model", model, "--delegate=auto", "--gpus-per-actor=0.5", "--gpu-workers=2",
        "--workers=3", *NO_MEMORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting for a node with room for a worker (1 CPU); now there is" in done.stdout
    workers = by_delegate(tmp_path / "out")
    assert len(workers["gpu"]) in (1, 2), done.stdout
    assert len(workers["cpu"]) == 1, done.stdout


def test_without_a_number_a_job_grows_with_its_cluster(extract, tmp_path):
    done = extract(*NO_MEMORY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(by_delegate(tmp_path / "out")["cpu"]) >= 2


def test_a_label_that_no_node_has_is_waited_for_in_words(head, start, portrait, tmp_path):
    out = tmp_path / "out"
    job = start("extract", portrait, out, "--address", head.address, "--node-label=disk=a", **tokens(head))
    line = next(line for line in job.stdout if "waiting" in line)
    assert "label disk=a" in line
    job.terminate()
    assert job.wait(60) == 130
