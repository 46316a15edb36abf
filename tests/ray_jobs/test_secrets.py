"""Credentials in the URI of OUT stand nowhere: not in the data set, its logs, or what is printed."""

import os
import re

import pytest
from pyarrow import fs

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from extraction.errors import JobError
from ray_jobs.submit import entrypoint_of

USER, PASSWORD = "AKIAUNLIKELYNAME", "unlikelypassword"


@pytest.mark.serial
def test_nothing_of_a_job_holds_them(landmarks, portrait, moto):
    host, port = moto
    query = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    uri = f"s3://{USER}:{PASSWORD}@bucket/secrets?{query}"
    done = landmarks("extract", portrait, uri, "--workers", 1, "--native-log", "show")
    assert done.returncode == 0, done.stderr
    again = landmarks("progress", uri, "--json")
    bucket = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1")
    files = bucket.get_file_info(fs.FileSelector("bucket/secrets", recursive=True))
    content = {file.path: bucket.open_input_file(file.path).read() for file in files if file.is_file}
    assert {"bucket/secrets/dataset.json", "bucket/secrets/plan.parquet"} <= content.keys()
    texts = [done.stdout, done.stderr, again.stdout, again.stderr, *map(str, content)]
    for secret in (USER, PASSWORD, "endpoint_override"):
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
