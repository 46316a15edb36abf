import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_disk import small_disk_at

from ray_jobs.cli import main
from ray_jobs.demo_clips import make_demo_clips

SUPPORT = Path(__file__).resolve().parents[1] / "support"
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SUPPORT), "COLUMNS": "200", **more}


@pytest.fixture(scope="session")
def landmarks() -> Run:
    """Runs the command line in a process of its own, as a user does."""

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            timeout=240,
            env=environment(**more),
            check=False,
        )

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line and leaves it running; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(**more),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of six frames of a real person."""
    folder = tmp_path_factory.mktemp("portrait")
    make_demo_clips(str(folder), num_frames=6)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 kB, and what is mounted anew with more."""
    with small_disk_at(tmp_path / "disk", "40k") as folder:
        yield folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that ends with a code; gives what it says: of code 2 its error."""

    def call(code: int, *arguments: object) -> str:
        assert main([*map(str, arguments)]) == code
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return output.err if code == 2 else output.out

    return call
