"""`landmarks draw` over frames that lie on an object store."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_dataset import POINTS, real_landmarks

from extraction.clips import Clip, to_uri
from ray_jobs.cli import main
from storage.dataset import Dataset
from storage.files import Store
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard
from storage.stores import location_of, uri_of

CLIP = "train/a b%"


@pytest.fixture
def remote(s3_uri, phoenix_root):
    """URI of FRAMES with a clip of a name that has to be written in another way in a URI."""
    store = Store(s3_uri)
    for file in (phoenix_root / "train/wave").glob("*.png"):
        store.write(f"{CLIP}/{file.name}", file.read_bytes())
    return s3_uri


def extracted(out: Path, source: str, uri: str, shared_clips: Path) -> str:
    landmarks = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    clip = Clip(CLIP, uri, "frames", "train", len(landmarks))
    dataset = Dataset(str(out))
    dataset.create({"engine": "any", "fps": 25.0}, "0f", {"source": source})
    dataset.write_plan(Plan((clip,), (0,)))
    made = Provenance("any", "1", "x", "cpu", 1, 9.0, 1.0, 7.0, "host", "f")
    write_shard(dataset.store, 0, "train", POINTS, [[encode(clip, landmarks, made)]])
    return str(out)


def test_frames_that_were_extracted_from_there(remote, phoenix_root, shared_clips, tmp_path, capsys):
    source = uri_of(location_of(remote))
    out = extracted(tmp_path / "out", source, uri_of(f"{location_of(remote)}/{CLIP}"), shared_clips)
    options = ["--frame", "20", "--image-size", "260", "--to", str(tmp_path)]
    assert main(["draw", out, CLIP, "--frames", remote, *options]) == 0, capsys.readouterr().err
    shown = np.asarray(Image.open(capsys.readouterr().out.strip()).convert("RGB")).astype(int)
    frame = np.asarray(Image.open(sorted((phoenix_root / "train/wave").glob("*.png"))[20]).convert("RGB"))
    assert (np.abs(shown - frame).max(axis=2) == 0).mean() > 0.7


def test_frames_that_were_taken_there(remote, shared_clips, tmp_path, capsys):
    out = extracted(tmp_path / "out", "/data/in", to_uri(f"/data/in/{CLIP}"), shared_clips)
    options = ["--video", "webp", "--every", "20", "--image-size", "64", "--to", str(tmp_path)]
    assert main(["draw", out, CLIP, "--frames", remote, *options]) == 0, capsys.readouterr().err
    with Image.open(capsys.readouterr().out.strip()) as image:
        assert image.n_frames == 3


@pytest.mark.parametrize(
    ("source", "place", "said"),
    [
        ("/data/in", "/data/in/train/gone", "no such folder"),
        ("/data/other", "/data/in/train/wave", "which is not below it"),
    ],
)
def test_what_is_not_there(source, place, said, remote, shared_clips, tmp_path, capsys):
    out = extracted(tmp_path / "out", source, place, shared_clips)
    assert main(["draw", out, CLIP, "--frames", remote, "--to", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "--on black" in message
