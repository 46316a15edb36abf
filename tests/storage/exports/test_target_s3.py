"""Exports to an object store, against a real server over HTTP."""

import hashlib
import json

import pytest

from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.writing import export


@pytest.fixture(scope="module")
def bucket(moto):
    """The client of a bucket, and what a URI of it needs behind its question mark."""
    import boto3

    host, port = moto
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    return client, f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"


@pytest.mark.parametrize(
    ("name", "to", "manifest"),
    [
        ("npz", "npz", "npz/manifest.json"),
        ("slt", "sub/phoenix", "sub/phoenix.manifest.json"),
        ("twostream", "keypoints.pkl", "keypoints.pkl.manifest.json"),
    ],
)
def test_the_same_files_and_the_same_second_run(real_dataset, tmp_path, bucket, name, to, manifest):
    client, query = bucket

    def read(key: str) -> bytes:
        return client.get_object(Bucket="bucket", Key=key)["Body"].read()

    # A pickle of torch's tensors would hold memory addresses.
    options = ExportOptions(tensors="numpy" if format_named(name).uses_tensors else "auto")
    done = export(real_dataset, format_named(name), f"s3://bucket/{to}?{query}", options)
    assert done.location == f"s3://bucket/{to}"
    export(real_dataset, format_named(name), str(tmp_path / to), options)
    folder = manifest.rpartition("/")[0]
    local = (tmp_path / manifest).parent
    for file in json.loads(read(manifest))["files"]:
        data = read(f"{folder}/{file['name']}".removeprefix("/"))
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        assert data == (local / file["name"]).read_bytes()
    again = export(real_dataset, format_named(name), f"s3://bucket/{to}?{query}", options)
    assert (again.written, again.files) == (0, done.files)
