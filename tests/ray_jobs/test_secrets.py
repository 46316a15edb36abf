"""Credentials in the URIs of FRAMES and OUT stand nowhere: not in the data set, logs, or what is printed."""

import os
import re
import tempfile
from pathlib import Path

import pytest
from pyarrow import fs

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from extraction.errors import JobError
from ray_jobs.submit import _runtime_env, entrypoint_of
from storage.files import Store

USER, PASSWORD = "AKIAUNLIKELYNAME", "unlikelypassword"
ENVIRONMENT_USER, ENVIRONMENT_PASSWORD = "AKIAOFENVIRONMENT", "environmentpassword"


@pytest.mark.serial
def test_nothing_of_a_job_holds_them(landmarks, portrait, moto):
    """Neither those of the URI nor of the environment: in OUT, in what is printed, in Ray's own logs."""
    host, port = moto
    mine = {"AWS_ACCESS_KEY_ID": ENVIRONMENT_USER, "AWS_SECRET_ACCESS_KEY": ENVIRONMENT_PASSWORD}
    query = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    uri = f"s3://{USER}:{PASSWORD}@bucket/secrets?{query}"
    frames = Store(f"s3://bucket/frames?{query}")
    for file in (portrait / "dev/pan").iterdir():
        frames.write(f"dev/pan/{file.name}", file.read_bytes())
    from_there = uri.replace("/secrets", "/frames")
    # Below /tmp: paths of Ray's sockets may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as ray:
        more = {**mine, "RAY_TMPDIR": ray}
        done = landmarks("extract", from_there, uri, "--workers", 1, "--native-log", "show", **more)
        assert done.returncode == 0, done.stderr
        files = [path for path in Path(ray).rglob("*") if path.is_file() and not path.is_symlink()]
        logs = {str(path): path.read_bytes() for path in files}
    assert any("raylet" in path for path in logs)
    again = landmarks("progress", uri, "--json")
    bucket = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1")
    files = bucket.get_file_info(fs.FileSelector("bucket/secrets", recursive=True))
    content = {file.path: bucket.open_input_file(file.path).read() for file in files if file.is_file}
    assert {"bucket/secrets/dataset.json", "bucket/secrets/plan.parquet"} <= content.keys()
    texts = [done.stdout, done.stderr, again.stdout, again.stderr, *map(str, content)]
    for secret in (USER, PASSWORD, "endpoint_override", ENVIRONMENT_USER, ENVIRONMENT_PASSWORD):
        assert [path for path, data in logs.items() if secret.encode() in data] == []
        assert [path for path, data in content.items() if secret.encode() in data] == []
        assert not any(secret in text for text in texts)


def test_nor_does_an_error(landmarks, portrait, moto):
    query = f"endpoint_override={moto[0]}:{moto[1]}&scheme=http&region=us-east-1"
    done = landmarks("extract", portrait, f"s3://{USER}:{PASSWORD}@no-such-bucket/secrets?{query}")
    assert done.returncode == 2
    assert "s3://no-such-bucket/secrets" in done.stderr
    assert not re.search(f"{USER}|{PASSWORD}", done.stdout + done.stderr)


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{USER}:{PASSWORD}@bucket/x",
        f"s3://bucket/x?secret_key={PASSWORD}",
        f"gs://bucket/x?access_token={PASSWORD}",
    ],
)
def test_submit_takes_none(uri):
    for arguments in (["/frames", uri], [uri, "/out"], [f"--manifest={uri}", "/out"]):
        with pytest.raises(JobError, match="holds credentials") as caught:
            entrypoint_of(arguments)
        assert PASSWORD not in str(caught.value)


def test_submit_takes_none_that_a_slash_cuts_in_two():
    with pytest.raises(JobError, match=r"^frames: .* write %2F for /") as caught:
        entrypoint_of([f"s3://{USER}:a/{PASSWORD}@bucket/x", "/out"])
    assert PASSWORD not in str(caught.value)
    assert USER not in str(caught.value)


def test_submit_makes_paths_absolute_and_keeps_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # extract's own; a job has its cluster
    here = os.getcwd()
    harmless = "s3://bucket/o?region=us-east-1"
    assert entrypoint_of(["in", harmless, "--splits", "in", "--no-smooth", "--include", "a *"]) == (
        f"python -m ray_jobs.extract '--include=a *' --splits=in --no-smooth -- {here}/in '{harmless}'"
    )
    assert entrypoint_of(["--manifest", "m.csv", "out"]) == (
        f"python -m ray_jobs.extract --manifest={here}/m.csv -- {here}/out"
    )


@pytest.mark.parametrize("arguments", [["in"], ["in", "out", "--address=auto"], ["in", "out", "--dashboard"]])
def test_submit_refuses(arguments):
    with pytest.raises(JobError):
        entrypoint_of(arguments)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "DB_PASSWORD"])
def test_submit_takes_no_secret_by_the_runtime_environment(name):
    with pytest.raises(JobError, match=f"--runtime-env: {name}: Ray shows") as caught:
        _runtime_env(f'{{"env_vars": {{"{name}": "{PASSWORD}"}}}}', "")
    assert PASSWORD not in str(caught.value)


def test_submit_takes_other_variables():
    variables = {
        "AWS_REGION": "eu-central-1",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json",
        "MONKEY": "1",
    }
    assert _runtime_env(str(variables).join(('{"env_vars": ', "}")), "") == {"env_vars": variables}
