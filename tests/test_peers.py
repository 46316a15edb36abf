"""The comparison with peers measures what it says: its clips, its watch, its verdicts."""

import importlib
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from ray_jobs.demo_clips import make_demo_clips

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

pytestmark = pytest.mark.once


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return module


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_clips_are_the_same_in_both_forms(load, monkeypatch, tmp_path):
    import av

    make_demo_clips(str(tmp_path / "in"), num_frames=12)
    monkeypatch.setattr(load("peers_inputs"), "_KINDS", 5)
    inputs = load("peers_inputs").cut(tmp_path / "a", tmp_path / "in", 8, 10, seed=1)
    assert len(inputs.lengths) == 8
    assert len(set(inputs.lengths.values())) > 2
    for name, length in inputs.lengths.items():
        images = sorted((inputs.frames / name).iterdir())
        with av.open(str(inputs.videos / f"{name}.mp4")) as video:
            shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(images) == len(shown) == length
        with av.open(str(images[-1])) as last:
            image = next(last.decode(video=0)).to_ndarray(format="rgb24")
        assert abs(image.astype(int) - shown[-1].astype(int)).mean() < 3
    again = load("peers_inputs").cut(tmp_path / "b", tmp_path / "in", 8, 10, seed=1)
    assert again.lengths == inputs.lengths


def test_a_command_is_watched_with_all_that_comes_from_it(load, tmp_path):
    burn = "import time; x = bytearray(150_000_000); x[::4096] = b'1' * len(x[::4096])\n"
    burn += "while time.process_time() < 2: pass"
    code = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {burn!r}]) or 3)"
    seen = load("peers_watch").watched(python(code), {}, tmp_path, workers=1)
    assert seen.code == 3
    assert 1.4 < seen.cpu_s < 3
    assert 150 < seen.peak_mb < 250
    assert seen.wall_s > 2


def test_what_outlives_a_killed_command_is_counted_and_ended(load, tmp_path):
    code = "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True)\n"
    found = load("peers_watch").killed(python(f"{code}time.sleep(60)"), {}, tmp_path, 1.0, patience_s=0.5)
    assert found.orphans == ["sleep 60 "]
    assert 1 <= found.after_s < 10
    pid = (tmp_path / "stdout").read_text().strip()
    state, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_above_1_is_better_for_us(load):
    fast = {"frames_per_s": 30.0, "wall_s": 110.0, "fixed_s": 10.0, "cpu_s": 1.0, "peak_mb": 100.0}
    slow = {"frames_per_s": 20.0, "wall_s": 160.0, "fixed_s": 10.0, "cpu_s": 2.0, "peak_mb": 300.0}
    rest = {"tail_s": 1.0, "first_result_s": None, "whole": 9, "load_before": 0.5}
    found = {"clips": 100, "frames": 3000, "source": "x", "workers": 2, "machine": "m", "kills": {}}
    rounds = [{"ours": {**fast, **rest}, "pool": {**slow, **rest}}]
    text = load("peers_report").markdown({**found, "rounds": rounds}, {"ours": "we", "pool": "they"})
    assert "| we / they | steady state | 1.5 | 1.25 | yes |" in text
    assert "| we / they | whole run | 1.45 | 1.25 | yes |" in text
    assert "| we / they | 1000 clips, reckoned | 1.5 | 1.25 | yes |" in text  # 1510 s to 1010 s
    assert "| we / they | memory | 3 | 1.0 | yes |" in text
