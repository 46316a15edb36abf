"""Real processes killed at random moments; the same command again finishes, nothing twice or missing."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from bare_loop import assert_same_bits, bare_landmarks

from storage import running
from storage.dataset import Dataset
from storage.files import Store
from storage.rows import decode

pytestmark = pytest.mark.serial

NUM_CLIPS = 24
# Slow enough that a kill hits work in progress, wherever it falls.
SLOW = {"SLOW_S": "0.05"}
OPTIONS = ["--engine", "faulty_engine:make", "--workers", "2"]


@pytest.fixture(scope="module")
def many(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for index in range(NUM_CLIPS):
        source = portrait / ("dev/pan" if index % 2 else "train/zoom")
        shutil.copytree(source, root / ("train" if index % 3 else "dev") / f"clip{index}")
    return root


def test_the_driver_killed_again_and_again(start, landmarks, many, portrait, tmp_path):
    out = tmp_path / "out"
    chance = random.Random(20261120)
    for _ in range(2):
        process = start("extract", many, out, *OPTIONS, **SLOW)
        wait_for(lambda: running.reports(Store(str(out))))
        time.sleep(chance.uniform(0, 3))
        family = descendants(process.pid)
        process.kill()
        process.wait()
        before = set(Dataset.open(str(out)).done())
        wait_for(lambda family=family: not running_of(family))  # no orphan stays
        assert before <= set(Dataset.open(str(out)).done())
    done = landmarks("extract", many, out, *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_complete(out, many, portrait)
    assert not [name for name in os.listdir(out) if name.startswith("_")]


def test_clips_that_were_done_when_the_driver_was_killed_are_not_done_again(
    start, landmarks, portrait, tmp_path
):
    for number in range(12):
        frames = tmp_path / f"in/train/clip{number:02d}"
        frames.mkdir(parents=True)
        for at in range(60):
            source = sorted((portrait / "dev/pan").iterdir())[at % 6]
            os.link(source, frames / f"{at:03d}{source.suffix}")
    out = tmp_path / "out"
    process = start("extract", tmp_path / "in", out, "--workers=2")
    wait_for(lambda: [path for path in out.glob("_partial/*.rows") if path.stat().st_size > 100_000])
    family = descendants(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: not running_of(family))
    stood = sum(pq.read_metadata(out / name).num_rows for name in Dataset.open(str(out)).done().values())
    workers = {path.name.rpartition("-")[2] for path in out.glob("logs/*.log")}
    done = landmarks("extract", tmp_path / "in", out, "--workers=2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["kept"] >= 1
    assert summary["clips"] + summary["kept"] + stood == 12
    assert f"; {summary['kept']} more clips were done before a kill" in done.stderr
    rows = Dataset.open(str(out)).clips().to_table(columns=["clip_id", "worker"]).to_pylist()
    assert len({row["clip_id"] for row in rows}) == len(rows) == 12
    earlier = sum(f"{row['worker'].rpartition('-')[2]}.log" in workers for row in rows)
    assert earlier == stood + summary["kept"]
    expected = bare_landmarks(tmp_path / "in/train/clip00")
    for row in rows:
        assert_same_bits(decode(Dataset.open(str(out)).read_clip(row["clip_id"])), expected)
    assert not [name for name in os.listdir(out) if name.startswith("_")]


def test_actors_and_children_killed_while_the_job_runs(start, many, portrait, tmp_path):
    out = tmp_path / "out"
    process = start("extract", many, out, *OPTIONS, "--max-attempts", "20", **SLOW)
    chance = random.Random(7)
    killed: Counter[str] = Counter()
    for kind in ("actor", "child", "actor", "child"):
        wait_for(lambda: running.reports(Store(str(out))))
        time.sleep(chance.uniform(0.3, 1.5))
        reports = running.reports(Store(str(out)))
        if process.poll() is not None or not reports:
            break
        victim = chance.choice(reports)
        pid = int(victim.worker.rpartition("-")[2]) if kind == "actor" else victim.child_pid
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed[kind] += 1
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert killed["actor"]
    assert killed["child"]
    assert_complete(out, many, portrait)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_seen_and_stopped_from_outside(sent, start, landmarks, many, tmp_path):
    out = tmp_path / "out"
    process = start("extract", many, out, *OPTIONS, SLOW_S="0.6")
    wait_for(lambda: running.reports(Store(str(out))))
    family = descendants(process.pid)
    if sent == signal.SIGTERM:
        assert_seen(process.pid, landmarks, many, out)
    asked = time.monotonic()
    process.send_signal(sent)
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - asked < 10
    assert process.returncode == 130, output
    assert "run the same command again to go on" in output
    assert "Traceback" not in output
    wait_for(lambda: not running_of(family))
    assert json.loads(landmarks("progress", out, "--json").stdout)["job"] is None


def assert_seen(pid: int, landmarks, many: Path, out: Path) -> None:
    second = landmarks("extract", many, out, *OPTIONS)
    assert second.returncode == 2
    assert f"(process {pid})" in second.stderr
    wait_for(lambda: len(running.reports(Store(str(out)))) == 2)
    shown = landmarks("progress", out)
    assert "a job runs on" in shown.stdout
    assert "2 workers" in shown.stdout
    names = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in descendants(pid)]
    assert sum("MapWorker" in name for name in names) == 2
    # What ray_jobs/lean_ray.py leaves out; a later Ray may need other names there.
    for helper in ("StatsActor", "AutoscalingCoordinator", "monitor.py"):
        assert not [name for name in names if helper in name]


def assert_complete(out: Path, many: Path, portrait: Path) -> None:
    dataset = Dataset.open(str(out))
    ids = Counter(i for f in dataset.done().values() for i in pq.read_table(out / f)["clip_id"].to_pylist())
    planned = [f"{split}/{name}" for split in ("train", "dev") for name in os.listdir(many / split)]
    assert ids == Counter(planned)
    assert dataset.failures().num_rows == 0
    expected = {name: bare_landmarks(portrait / name) for name in ("dev/pan", "train/zoom")}
    for clip_id in planned:
        source = "dev/pan" if int(clip_id.rpartition("clip")[2]) % 2 else "train/zoom"
        assert_same_bits(decode(dataset.read_clip(clip_id)), expected[source])
    temporary = [str(path) for path in out.rglob("*.tmp")]
    assert not temporary


def running_of(pids: list[int]) -> list[int]:
    """Those of some processes that still run.

    Ray's two agents are let off: after their raylet's death they first try for about a minute to tell a
    head process that is dead as well, idle, and then end.
    """
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            is_agent = b"Agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and not is_agent:
                found.append(pid)
    return found


def descendants(pid: int) -> list[int]:
    parents = {}
    for other in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(other)] = int(Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def wait_for(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
