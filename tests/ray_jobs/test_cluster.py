"""The same command on a Ray cluster that somebody else started."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from bare_loop import assert_same_bits, bare_landmarks

from storage.dataset import Dataset
from storage.rows import decode

pytestmark = pytest.mark.serial


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    support = Path(__file__).resolve().parents[1] / "support"
    process = subprocess.Popen(
        [Path(sys.executable).parent / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
         "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={tmp_path}/r"],
        env={**os.environ, "PYTHONPATH": str(support)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 40
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline, "ray start did not come up"
        assert process.poll() is None
        time.sleep(0.2)
    time.sleep(2)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def test_extract_on_a_cluster(cluster, landmarks, portrait, tmp_path):
    out = tmp_path / "out"
    done = landmarks("extract", portrait, out, "--address", cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("dev/pan", "train/zoom"):
        assert_same_bits(decode(Dataset.open(str(out)).read_clip(name)), bare_landmarks(portrait / name))
