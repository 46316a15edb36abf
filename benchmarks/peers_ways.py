"""Who takes part: the command of each, unchanged, what of it is a result, and how fast it was when it ran."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peers_inputs import Inputs
from peers_watch import Watched

HERE = Path(__file__).parent
# What both peers are written for; pip, so that nothing but Python is needed.
_PACKAGES = ("mediapipe==0.10.21", "pose-format==0.15.0")
_OPENCV = "opencv-contrib-python-headless==4.11.0.86"
"""Instead of the one that mediapipe brings, which needs libGL.so.1."""


@dataclass(frozen=True, slots=True)
class Way:
    """One who takes part.

    Attributes:
        name: For a person.
        command: Of inputs and a folder of its own.
        results: Files in that folder that are whole results, as far as their names tell.
        rate: Frames per second in the steady state, of a run that was watched and its folder.
        whole: Clips whose results can be read, and clips whose results are there and cannot.
        kept: Of a run after a kill: clips that it did not do again although nobody could read them yet.
    """

    name: str
    command: Callable[[Inputs, Path], list[str]]
    results: Callable[[Path], list[Path]]
    rate: Callable[[Inputs, Watched, Path], float]
    whole: Callable[[Inputs, Path], tuple[int, int]]
    kept: Callable[[Watched], int] = lambda _: 0


def environment_of_peers(folder: Path) -> Path:
    """The peers' Python, with packages of their own; made where it is missing.

    Args:
        folder: Of the environment.
    """
    python = folder / "bin/python"
    if not (folder / ".ready").exists():
        print(f"making {folder} ({', '.join(_PACKAGES)}) ...", flush=True)
        run = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*run, "install", *_PACKAGES], check=True)
        subprocess.run([*run, "uninstall", "--yes", "opencv-contrib-python"], check=True)
        subprocess.run([*run, "install", _OPENCV], check=True)
        (folder / ".ready").touch()
    return python


def ways(python: Path, workers: int) -> dict[str, Way]:
    """All who take part, by a short name.

    Args:
        python: Of the peers.
        workers: Processes that detect.
    """
    poses = python.with_name("videos_to_poses")

    def ours(inputs: Inputs, out: Path, videos: bool = False) -> list[str]:
        frames = inputs.videos if videos else inputs.frames
        words = [*("-m", "ray_jobs.cli", "extract"), frames, out / "out", "--workers", workers, "--json"]
        return [sys.executable, *map(str, words)]

    def to_poses(inputs: Inputs, out: Path) -> list[str]:
        out.mkdir(parents=True, exist_ok=True)
        for video in inputs.videos.iterdir():  # it writes beside them
            if not (out / video.name).exists():
                os.link(video, out / video.name)
        return [str(poses), "-d", str(out), "--num-workers", str(workers)]

    def pool(inputs: Inputs, out: Path, detectors: str = "fresh") -> list[str]:
        words = [HERE / "peers_pool.py", detectors, out / "result.pkl", workers, *inputs.folders()]
        return [str(python), *map(str, words)]

    def bare(inputs: Inputs, _out: Path) -> list[str]:
        return [str(python), str(HERE / "peers_bare.py"), str(workers), *map(str, inputs.folders())]

    return {
        "ours": Way("landmarks extract", ours, _shards, _rate_of_job, _whole_rows, _kept),
        "bare": Way("bare loop", bare, lambda _: [], _rate_printed, lambda *_: (0, 0)),
        "pool": Way("pool, static chunks", pool, _pickles, _rate_printed, _whole_pickle),
        **{
            f"pool-{mode}": Way(
                f"pool, detectors {mode}",
                partial(pool, detectors=mode),
                _pickles,
                _rate_printed,
                _whole_pickle,
            )
            for mode in ("kept", "static")
        },
        "ours-videos": Way(
            "landmarks extract, videos",
            partial(ours, videos=True),
            _shards,
            _rate_of_job,
            _whole_rows,
            _kept,
        ),
        "poses": Way(
            "videos_to_poses",
            to_poses,
            lambda out: list(out.glob("*.pose")),
            lambda inputs, _, out: _rate_of_files(inputs, out, workers),
            _whole_poses,
        ),
    }


def _shards(out: Path) -> list[Path]:
    return [path for path in (out / "out/clips").rglob("*.parquet") if not path.name.startswith((".", "_"))]


def _pickles(out: Path) -> list[Path]:
    return list(out.glob("*.pkl"))


def _rate_of_job(_inputs: Inputs, seen: Watched, _out: Path) -> float:
    """Each worker from its first frame to its last shard."""
    totals = json.loads(seen.stdout)["workers"]
    return float(sum(worker["frames"] / worker["seconds"] for worker in totals if worker["seconds"]))


def _kept(seen: Watched) -> int:
    return int(json.loads(seen.stdout)["kept"])


def _rate_printed(_inputs: Inputs, seen: Watched, _out: Path) -> float:
    """Each process from its first frame to its last."""
    lines = [map(float, line.split()) for line in seen.stdout.splitlines() if line[:1].isdigit()]
    return sum(frames / (last - first) for frames, first, last in lines)


def _rate_of_files(inputs: Inputs, out: Path, workers: int) -> float:
    """It tells nothing of itself: all frames after the first file of each process, over that time."""
    made = sorted((path.stat().st_mtime, inputs.lengths[path.stem]) for path in out.glob("*.pose"))
    if len(made) <= workers:
        return float("nan")
    return sum(length for _, length in made[workers:]) / (made[-1][0] - made[workers - 1][0])


def _whole_rows(inputs: Inputs, out: Path) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole, broken = 0, 0
    for shard in _shards(out):
        try:
            rows = pq.read_table(shard, columns=["clip_id", "num_frames", "pose"], partitioning=None)
        except (OSError, pa.ArrowInvalid):
            broken += 1
            continue
        pairs = zip(rows["clip_id"].to_pylist(), rows["num_frames"].to_pylist(), strict=True)
        whole += sum(inputs.lengths[clip_id] == num_frames for clip_id, num_frames in pairs)
    return whole, broken


def _whole_poses(inputs: Inputs, out: Path) -> tuple[int, int]:
    from pose_format import Pose

    whole, broken = 0, 0
    for path in out.glob("*.pose"):
        try:
            is_whole = len(Pose.read(path.read_bytes()).body.data) == inputs.lengths[path.stem]
        except Exception:  # whatever a file that breaks off makes the library raise
            is_whole = False
        whole, broken = whole + is_whole, broken + (not is_whole)
    return whole, broken


def _whole_pickle(inputs: Inputs, out: Path) -> tuple[int, int]:
    """One file, written at the end; it ends with pickle's STOP, or is broken."""
    files = _pickles(out)
    if not files:
        return 0, 0
    with open(files[0], "rb") as file:
        file.seek(-1, os.SEEK_END) if files[0].stat().st_size else None
        return (len(inputs.lengths), 0) if file.read(1) == b"." else (0, 1)
