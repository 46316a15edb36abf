"""The same command on a Ray cluster that somebody else started."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from bare_loop import assert_same_bits, bare_landmarks

from storage.dataset import Dataset
from storage.rows import decode

pytestmark = pytest.mark.serial


_HEAD = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={
    "num_cpus": 8, "memory": 1_500_000_000, "include_dashboard": False, "object_store_memory": 80_000_000})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def cluster() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", _HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as head:
        yield head.stdout.readline().strip()
        head.stdin.close()
        head.wait(30)


def test_a_job_grows_to_two_workers_for_which_the_memory_is_enough(cluster, landmarks, portrait, tmp_path):
    pictures = sorted((portrait / "dev/pan").iterdir())
    for number in range(8):  # each a shard, which holds 50 frames at least
        clip = tmp_path / f"in/train/long{number}"
        clip.mkdir(parents=True)
        for frame in range(54):
            (clip / f"{frame:03d}.jpg").symlink_to(pictures[frame % len(pictures)])
    (tmp_path / "in/dev").symlink_to(portrait / "dev")
    out = tmp_path / "out"
    done = landmarks("extract", tmp_path / "in", out, "--address", cluster, "--workers=1..4")
    assert done.returncode == 0, done.stdout + done.stderr
    dataset = Dataset.open(str(out))
    assert_same_bits(decode(dataset.read_clip("dev/pan")), bare_landmarks(portrait / "dev/pan"))
    assert len(dataset.done()) == 9
    assert len(set(dataset.clips().to_table(columns=["worker"])["worker"].to_pylist())) == 2
