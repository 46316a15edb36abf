"""A job of one worker over frames and videos on S3, killed, resumed, and with a clip gone; without Ray."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from bare_loop import assert_same_bits
from flaky_s3 import Fault, FlakyS3

from extraction.detectors import DetectorOptions, resolve_engine
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess
from storage.dataset import Dataset
from storage.files import Store
from storage.pieces import find_pieces

pytestmark = pytest.mark.serial

USER, PASSWORD = "AKIAUNLIKELYNAME", "unlikelypassword"


@pytest.fixture
def local(phoenix_root, shared_clips, portrait, tmp_path) -> Path:
    """Two clips of frames, a video, and a clip that will have gone."""
    root = tmp_path / "in"
    shutil.copytree(phoenix_root / "train/wave", root / "train/wave")
    shutil.copytree(phoenix_root / "test/squats", root / "test/squats/1")
    shutil.copytree(portrait / "dev/pan", root / "dev/doomed")
    (root / "val").mkdir()
    shutil.copy(shared_clips / "videos/wave_pose_testvideo.mp4", root / "val/waving.mp4")
    return root


JOB = """
import sys
from dataclasses import replace
import pyarrow as pa
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, discover, job
from ray_jobs.remote_model import with_model_here
from ray_jobs.stages import ShardWorker
from storage.dataset import Dataset

inputs = Inputs(sys.argv[1])
config = replace(with_model_here(JobConfig(sys.argv[2])), inputs_uri=inputs.uri)
with job(Dataset(config.out), config, inputs, discover(inputs)) as prepared:
    worker = ShardWorker(config, prepared.job_id)
    for shard in prepared.revision.to_do:
        print(worker(pa.table({"shard": [shard]})).column("receipt")[0], flush=True)
"""


def begin(uri: str, out: Path, scratch: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, uri, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": scratch, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_killed_and_resumed_from_s3(local, moto, tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    with FlakyS3(moto) as s3:
        store = Store(f"s3://bucket/remote?{s3.query}")
        for file in local.rglob("*.*"):
            store.write(str(file.relative_to(local)), file.read_bytes())
        s3.add(Fault("slow", seconds=0.02, every=2))
        s3.add(Fault("error", times=12, path="(png|jpg|mp4)$"))
        uri = f"s3://{USER}:{PASSWORD}@bucket/remote?{s3.query}"

        killed = begin(uri, out, str(scratch))
        wait_for(lambda: killed.poll() is not None or (out.exists() and Dataset(str(out)).done()))
        before = set(fetched(scratch))  # of the shard that stands, perhaps: it may be gone at any moment
        wait_for(lambda: killed.poll() is not None or set(fetched(scratch)) - before)
        killed.kill()
        printed = killed.communicate()[0]
        assert killed.returncode == -signal.SIGKILL, printed
        assert len(fetched(scratch)) == 1  # what its shard had fetched
        store.delete_folder("dev/doomed")
        done = begin(uri, out, str(scratch))
        printed += done.communicate(timeout=240)[0]
        assert done.returncode == 0, printed
        assert fetched(scratch) == []

    dataset = Dataset.open(str(out))
    (failure,) = dataset.failures().to_pylist()
    assert (failure["clip_id"], failure["stage"], failure["reason"]) == ("dev/doomed", "open", "missing")
    assert failure["error"].startswith("s3://bucket/remote/dev/doomed: ")
    assert_same_as_here(dataset, local)
    assert dataset.config()["source"] == "s3://bucket/remote"
    for path in filter(Path.is_file, out.rglob("*")):
        assert not re.search(f"{USER}|{PASSWORD}|endpoint_override".encode(), path.read_bytes()), path
    assert not re.search(f"{USER}|{PASSWORD}|{scratch}", printed)


def fetched(scratch: Path) -> list[str]:
    return [name for name in os.listdir(scratch) if name.startswith("ray-landmarks-inputs")]


def assert_same_as_here(dataset: Dataset, root: Path) -> None:
    """That every clip that is done has the bits of its own extraction from the disk."""
    clips = [clip for clip in discover_tree(str(root)).clips if clip.clip_id != "dev/doomed"]
    assert len(clips) == 3
    with DetectorProcess(resolve_engine(DetectorOptions())) as process:
        for clip in clips:
            pieces = find_pieces(dataset, clip.clip_id)
            assert pieces.uri == f"s3://bucket/remote/{os.path.relpath(clip.path, root)}"
            for stored, now in zip(pieces, process.extract(clip).pieces, strict=True):
                assert (stored.fps, stored.frame_names) == (now.fps, now.frame_names)
                assert stored.frame_errors == now.frame_errors
                assert_same_bits(stored, {**now.parts, "pose_visibility": now.pose_visibility})


def wait_for(condition: Callable[[], object], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
