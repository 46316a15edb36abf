"""Extractions as jobs of a real job server, with token authentication: as users type them."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")
if importlib.util.find_spec("aiohttp_cors") is None:
    pytest.skip("the job server needs ray[default]", allow_module_level=True)

from ray.job_submission import JobDetails
from ray_head import Head, ray_head, scrape

from ray_jobs.metrics import COUNTERS
from ray_jobs.submit import exit_code_of
from storage.dataset import Dataset

pytestmark = [pytest.mark.serial, pytest.mark.timeout(240)]

REPO = Path(__file__).resolve().parents[2]
SUPPORT = REPO / "tests/support"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head(PYTHONPATH=str(SUPPORT)) as running:
        yield running


def submit(head: Head, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(submitting(head, *arguments), **as_user(head))


def submitting(head: Head, *arguments: object) -> list[str]:
    words = ["-m", "ray_jobs.cli", "submit", "--address", head.job_server, *arguments]
    return [sys.executable, *map(str, words)]


def as_user(head: Head) -> dict:
    return {"env": head.environment, "capture_output": True, "text": True, "timeout": 200, "check": False}


def ray_job(head: Head, verb: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = ["-m", "ray.scripts.scripts", "job", verb, "--address", head.job_server, *arguments]
    return subprocess.run([sys.executable, *map(str, words)], **as_user(head))


def faults(**variables: str) -> list[str]:
    return ["--runtime-env", json.dumps({"env_vars": variables}), "--engine", "faulty_engine:make"]


def wait_for(what: Callable[[], object], seconds: float = 90) -> object:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


def test_left_stopped_and_gone_on_with(head, portrait, tmp_path):
    """Ctrl-C leaves it, `ray job stop` stops it cleanly, and submitted again it is followed to its end."""
    out = tmp_path / "out"
    runtime, *engine = faults(SLOW_S="1")[1:]
    words = [*engine, portrait, out, "--workers=1", "--no-smooth", "--include=*"]
    with subprocess.Popen(
        submitting(head, "--name", "slow", "--runtime-env", runtime, *words),
        env=head.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        try:
            assert job.stdout.readline().startswith("job slow: python -m ray_jobs.extract")
            time.sleep(1)
            job.send_signal(signal.SIGINT)
            text = job.communicate(timeout=30)[0]
        finally:
            job.kill()
    assert job.returncode == 130
    assert f"ray job stop --address {head.job_server} slow" in text

    wait_for(lambda: list((out / "clips").rglob("*.parquet")))
    stop = ray_job(head, "stop", "slow")
    assert stop.returncode == 0, stop.stdout + stop.stderr
    assert "was stopped" in ray_job(head, "status", "slow").stdout
    assert "stopped: 1 of 2 shards of this run are whole" in ray_job(head, "logs", "slow").stdout
    (first,) = (out / "clips").rglob("*.parquet")
    made = first.stat().st_mtime_ns

    done = submit(head, "--json", "--runtime-env", runtime, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    about = json.loads(done.stdout)
    assert (about["status"], about["exit_code"]) == ("SUCCEEDED", 0)
    command = shlex.split(about["entrypoint"])
    assert {*command[3:-3]} == {"--include=*", "--no-smooth", "--engine=faulty_engine:make", "--workers=1"}
    assert command[-3:] == ["--", str(portrait), str(out)]
    assert "to do: 1 clips" in done.stderr
    assert "2 clips done" in done.stderr
    assert first.stat().st_mtime_ns == made
    assert len(Dataset.open(str(out)).done()) == 2


def test_failed_clips_and_what_prometheus_sees(head, portrait, tmp_path):
    slow = faults(FAULTS='{"dev/pan": "raise"}', SLOW_S="1.5")
    with subprocess.Popen(
        submitting(head, *slow, portrait, tmp_path / "out", "--workers=1", "--max-attempts=1"),
        env=head.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        try:
            seen = wait_for(lambda: (t := scrape(head.metrics)).count("ray_landmarks_failures_total{") and t)
            log = job.communicate(timeout=120)[0]
        finally:
            job.kill()
    assert job.returncode == 1, log
    assert "ended with exit code 1" in log
    samples = re.findall(r"^ray_(landmarks_\w+)_total\{(.*)\} ([\d.]+)$", seen, re.MULTILINE)
    assert {name for name, _, _ in samples} <= COUNTERS.keys()
    of_failures = [(labels, value) for name, labels, value in samples if name == "landmarks_failures"]
    assert [float(value) for _, value in of_failures] == [1.0]
    assert 'host="' in of_failures[0][0]
    assert 'reason="' in of_failures[0][0]
    assert any(name == "landmarks_detector_events" for name, _, _ in samples)


@pytest.mark.parametrize(
    ("status", "ended_with", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", 130, 130),
        ("FAILED", -9, 2),
        ("FAILED", None, 2),
        ("STOPPED", None, 130),
    ],
)
def test_exit_code_of_a_job_that_ended(status, ended_with, code):
    """Ray keeps what the driver ended with; others here end so for real."""
    details = JobDetails(type="SUBMISSION", status=status, entrypoint="", driver_exit_code=ended_with)
    assert exit_code_of(details) == code


def test_what_is_wrong_there_is_2(head, tmp_path):
    done = submit(head, "/no/such/folder", tmp_path / "out")
    assert done.returncode == 2
    assert "/no/such/folder" in done.stdout
    assert "ended with exit code 2" in done.stdout


def test_working_dir_goes_along_and_out_does_not(head, portrait, tmp_path):
    copy = tmp_path / "copy"
    for package in ("extraction", "ray_jobs", "storage"):
        shutil.copytree(REPO / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "ray_jobs/extract.py").open("a") as file:
        file.write("\nprint('this is the copy')\n")
    command = ["--working-dir", copy, "--", sys.executable, "-m", "ray_jobs.extract", portrait]
    done = ray_job(head, "submit", *command, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this is the copy" in done.stdout
    assert "2 clips done" in done.stdout
    lost = "; ".join(f"python -m ray_jobs.extract {portrait} {out} && exit 9" for out in ("out", "$PWD/out"))
    refused = ray_job(head, "submit", *command[:-4], "sh", "-c", f"{lost}; exit 7")
    assert refused.returncode == 1  # Ray's own command says 1 of every failure
    assert "exit code 7" in refused.stdout
    assert "expected an absolute path" in refused.stdout
    assert "expected a path" in refused.stdout


@pytest.mark.parametrize(("token", "code"), [(None, "401"), ("another", "403")])
def test_the_token_is_asked_for(head, portrait, tmp_path, token, code):
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(tmp_path)}
    if token:
        env["RAY_AUTH_TOKEN"] = token
    done = subprocess.run(submitting(head, portrait, tmp_path / "out"), **{**as_user(head), "env": env})
    assert done.returncode == 2
    assert f"({code})" in done.stderr
    assert "~/.ray/auth_token" in done.stderr
    assert not (tmp_path / ".ray").exists()
