"""Workers on the CPU are kept off GL, where the host has it."""

import os
import subprocess
import sys
from pathlib import Path

import eglfaults
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="mediapipe 1.x makes no GL context on the CPU")

from extraction.detectors import DetectorOptions
from extraction.gl import worker_environment
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess
from ray_jobs.demo_clips import make_demo_clips

BARE = """
import os, sys, numpy as np
from mediapipe.python.solutions.holistic import Holistic
with Holistic() as holistic:
    holistic.process(np.zeros((64, 64, 3), np.uint8))
    for task in os.listdir("/proc/self/task"):
        print(open(f"/proc/self/task/{task}/comm").read().strip())
"""


@pytest.fixture
def gl(monkeypatch, tmp_path_factory) -> None:
    """A host on which EGL works."""
    for name, value in eglfaults.environment(tmp_path_factory).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LD_PRELOAD")


def gl_threads(names: list[str]) -> list[str]:
    """MediaPipe names the thread of a context mediapipe_gl_runner; the kernel keeps 15 letters."""
    return [name for name in names if "gl_ru" in name or "llvmpipe" in name]


@pytest.mark.usefixtures("gl")
def test_mediapipe_left_to_itself_makes_a_context():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    assert gl_threads(done.stdout.splitlines()) != []


@pytest.mark.usefixtures("gl")
def test_a_worker_on_the_cpu_does_not(tmp_path):
    make_demo_clips(str(tmp_path), num_frames=2)
    with DetectorProcess(DetectorOptions()) as detector:
        detector.extract(discover_tree(str(tmp_path)).clips[0])
        tasks = Path(f"/proc/{detector.child_pid}/task")
        names = [(task / "comm").read_text().strip() for task in tasks.iterdir()]
    assert len(names) > 1
    assert gl_threads(names) == []


def test_what_a_worker_is_given():
    assert worker_environment("cpu")["__EGL_VENDOR_LIBRARY_FILENAMES"] == "/nonexistent"
    assert "__EGL_VENDOR_LIBRARY_FILENAMES" not in worker_environment("gpu")
    for delegate in ("cpu", "gpu"):
        assert worker_environment(delegate)["MALLOC_ARENA_MAX"] == "2"
    assert os.environ.get("MALLOC_ARENA_MAX") is None
