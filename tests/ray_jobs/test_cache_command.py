"""``landmarks cache``: what it prints and refuses, and that training reads what it made."""

import json
import os


def test_a_data_set_is_decoded_once(run, real_dataset, tmp_path):
    out, cache = real_dataset.store.root, tmp_path / "cache"
    text = run(0, "cache", out, cache, "--points", "pose,face", "--splits", "dev,test")
    size = 127 * 501 * 12 + 4 * 128
    assert f"127 frames in 2 shards: {size:,} bytes, {size / 127:,.1f} a frame, {size:,} decoded now" in text
    again = json.loads(run(0, "cache", out, cache, "--points", "pose,face", "--json", "--threads", 1))
    assert (again["shards"], again["frames"], again["deleted"]) == (3, 310, 0)
    assert again["new_bytes"] == 183 * 501 * 12 + 2 * 128
    files = [name for _, _, names in os.walk(cache) for name in names]
    assert len(files) == 6
    assert sum(os.path.getsize(f"{again['folder']}/{name}") for name in files) == again["num_bytes"]


def test_what_is_outdated_is_deleted_and_told(run, real_dataset, tmp_path):
    folder = json.loads(run(0, "cache", real_dataset.store.root, tmp_path, "--json"))["folder"]
    open(f"{folder}/shard-000000.00ff.pose.npy", "wb").close()
    text = run(0, "cache", real_dataset.store.root, tmp_path)
    assert "0 decoded now" in text
    assert "deleted 1 files of what" in text


def test_wrong_use_is_told(run, real_dataset, tmp_path):
    out, cache = real_dataset.store.root, tmp_path / "cache"
    for arguments, why in (
        ([tmp_path, cache], "expected a landmark data set"),
        ([out, cache, "--points", "pose,elbow"], "part 'elbow': the data set has pose"),
        ([out, cache, "--splits", "val"], "no clip of split val: it has dev, test, train"),
        ([out, cache, "--threads", -1], "--threads: expected 0 or more, found -1"),
        ([out, f"{out}/cache"], "expected a folder outside of the data set"),
        ([out, "s3://bucket/cache"], "expected a folder on a local disk, found a URI"),
        ([out], "Missing argument 'DIR'"),
    ):
        assert why in run(2, "cache", *arguments)
    assert not cache.exists()
