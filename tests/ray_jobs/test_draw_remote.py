"""`landmarks draw` over frames that lie on an object store."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_dataset import POINTS, real_landmarks

from extraction.clips import Clip, to_uri
from extraction.errors import JobError
from ray_jobs.cli import main
from ray_jobs.clip_frames import Background
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


def test_no_error_holds_credentials(remote, shared_clips, tmp_path, capsys):
    files = Store(remote)
    for file in sorted(files.names(CLIP))[10:]:
        files.delete(file)
    source = uri_of(location_of(remote))
    out = extracted(tmp_path / "out", source, uri_of(f"{source}/{CLIP}"), shared_clips)
    given = remote.replace("s3://", "s3://UNLIKELYKEY:UNLIKELYSECRET@")
    assert main(["draw", out, CLIP, "--frames", given, "--frame", "20", "--to", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert f"frame 20 is no longer in {location_of(remote)}: give --frames" in message
    assert "UNLIKELY" not in message
    assert "endpoint_override" not in message


def test_a_data_set_that_does_not_say_of_what_it_was_made(tmp_path):
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({"engine": "any"}, "0f", {})
    with pytest.raises(JobError, match=r"--frames s3://b/f: the data set does not say of what it was made"):
        Background(frames="s3://b/f").find(dataset, Clip("a", "/in/a", "frames"))


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
