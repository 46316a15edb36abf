"""A node on which every detector dies, beside one on which none does."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from storage.dataset import Dataset

pytestmark = [pytest.mark.serial, pytest.mark.timeout(280)]

SUPPORT = Path(__file__).resolve().parents[1] / "support"

_NODES = """
import json, sys
from ray.cluster_utils import Cluster
nodes = json.loads(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={
    "num_cpus": 1, "include_dashboard": False, "env_vars": nodes[0], "object_store_memory": 80_000_000})
for variables in nodes[1:]:
    cluster.add_node(num_cpus=1, env_vars=variables, object_store_memory=80_000_000)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def cluster() -> Callable[..., Iterator[str]]:
    """A cluster with a node of one core for each set of variables."""

    @contextmanager
    def start(*nodes: dict[str, str]) -> Iterator[str]:
        with subprocess.Popen(
            [sys.executable, "-c", _NODES, json.dumps(nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as head:
            try:
                yield head.stdout.readline().strip()
            finally:
                head.stdin.close()
                head.wait(60)

    return start


@pytest.fixture
def many(portrait, tmp_path) -> list[str]:
    names = [f"train/clip{number:02d}" for number in range(24)]
    for name in names:
        shutil.copytree(portrait / "dev/pan", tmp_path / "in" / name)
    return names


def variables(host: str, **more: str) -> dict[str, str]:
    return {"LANDMARKS_HOST": host, "PYTHONPATH": str(SUPPORT), **more}


def test_a_node_on_which_all_detectors_die_gets_no_more_work(cluster, many, landmarks, tmp_path):
    bad = variables("bad", FAULTS=json.dumps(dict.fromkeys(many, "segv")))
    options = ["--engine", "faulty_engine:make"]
    with cluster(variables("good"), bad) as address:
        done = landmarks("extract", tmp_path / "in", tmp_path / "out", "--address", address, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "node bad gets no more work: 3 clips in a row lost their detector (signal)" in done.stdout
    dataset = Dataset.open(str(tmp_path / "out"))
    rows = dataset.clips().to_table(columns=["clip_id", "host", "attempts"])
    assert sorted(rows["clip_id"].to_pylist()) == many
    assert set(rows["host"].to_pylist()) == {"good"}
    assert dataset.failures().num_rows == 0


def test_a_node_on_which_no_detector_comes_up_gets_no_more_work(cluster, many, landmarks, tmp_path):
    bad = variables("bad", STARTUP_FAULT="exit")
    with cluster(variables("good"), bad) as address:
        done = landmarks(
            "extract",
            tmp_path / "in",
            tmp_path / "out",
            "--address",
            address,
            "--engine",
            "faulty_engine:make",
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "node bad gets no more work: no detector comes up" in done.stdout
    assert Dataset.open(str(tmp_path / "out")).clips().count_rows() == len(many)


def test_poison_clips_are_not_the_fault_of_a_node(cluster, many, landmarks, tmp_path):
    poison = dict.fromkeys(many[:6], "segv")
    with cluster(
        variables("one", FAULTS=json.dumps(poison)), variables("two", FAULTS=json.dumps(poison))
    ) as address:
        done = landmarks(
            "extract",
            tmp_path / "in",
            tmp_path / "out",
            "--address",
            address,
            "--engine",
            "faulty_engine:make",
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gets no more work" not in done.stdout
    dataset = Dataset.open(str(tmp_path / "out"))
    assert sorted(dataset.failures()["clip_id"].to_pylist()) == many[:6]
    assert dataset.clips().count_rows() == len(many) - 6
