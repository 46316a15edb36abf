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
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
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


def test_extract_on_a_cluster(cluster, landmarks, portrait, tmp_path):
    out = tmp_path / "out"
    done = landmarks("extract", portrait, out, "--address", cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("dev/pan", "train/zoom"):
        assert_same_bits(decode(Dataset.open(str(out)).read_clip(name)), bare_landmarks(portrait / name))
