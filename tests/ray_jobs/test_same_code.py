"""Workers that would run other code than the job say so, and nothing of it gets into the data set."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ray_jobs.same_code import code_version, expect_same_code

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("extraction", "ray_jobs", "storage")


def copied(to: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(REPO / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def version_in(folder: Path) -> str:
    code = "from ray_jobs.same_code import code_version; print(code_version())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_copy_is_the_same_code_until_a_byte_of_it_changes(tmp_path):
    copy = copied(tmp_path / "copy")
    assert version_in(copy) == code_version() == version_in(REPO)
    (copy / "storage/__pycache__").mkdir(exist_ok=True)
    (copy / "storage/__pycache__/x.pyc").write_bytes(b"x")
    assert version_in(copy) == code_version()
    with (copy / "extraction/detectors/holistic.py").open("a") as file:
        file.write("#")
    assert version_in(copy) != code_version()


def test_receipts_pass():
    assert expect_same_code('{"shard": 1}') == '{"shard": 1}'


@pytest.mark.serial
def test_a_node_with_other_code_says_so(portrait, tmp_path):
    """Code so different that what the job sends could not even be read there."""
    pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe")
    from ray_head import ray_head

    copy = copied(tmp_path / "copy")
    config = copy / "ray_jobs/config.py"
    text = config.read_text()
    assert "class FailureLimit" in text
    config.write_text(text.replace("FailureLimit", "Limit"))
    with ray_head(job_server=False, PYTHONPATH=str(copy)) as head:
        # Elsewhere than in the checkout: Ray has workers look first where the driver was started.
        words = ["extract", portrait, tmp_path / "out", "--address", head.address]
        done = subprocess.run(
            [sys.executable, "-m", "ray_jobs.cli", *map(str, words)],
            cwd=tmp_path,
            env={name: value for name, value in head.environment.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 2, done.stdout + done.stderr
    (said,) = re.findall(r"node (\S+) runs other code than the job: (.+?) there; (.+?) here on", done.stderr)
    assert said == (socket.gethostname(), version_in(copy), code_version())
    assert not list((tmp_path / "out/clips").rglob("*.parquet"))
    assert "Traceback" not in done.stderr
