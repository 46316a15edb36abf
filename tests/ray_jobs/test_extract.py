"""The whole job as a user runs it: real Ray, real MediaPipe, real images."""

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

import av
from bare_loop import assert_same_bits, bare_landmarks
from PIL import Image

from extraction.landmarks import ClipLandmarks, FrameStatus
from storage.dataset import Dataset
from storage.rows import decode

pytestmark = pytest.mark.serial

PHOENIX = ["train/bsl_demo", "train/wave", "dev/french_a1", "test/squats"]


def read(out: Path, clip_id: str) -> ClipLandmarks:
    table = Dataset.open(str(out)).read_clip(clip_id)
    assert table.num_rows == 1
    return decode(table)


@pytest.fixture(scope="module")
def beginnings(phoenix_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 20 frames of each clip."""
    folder = tmp_path_factory.mktemp("beginnings")
    for clip_id in PHOENIX:
        (folder / clip_id).mkdir(parents=True)
        for image in sorted((phoenix_root / clip_id).glob("*.png"))[:20]:
            (folder / clip_id / image.name).symlink_to(image)
    return folder


def assert_right(out: Path, root: Path, expected: Path, mode: str) -> None:
    for clip_id in PHOENIX:
        found = read(out, clip_id)
        assert_same_bits(found, bare_landmarks(root / clip_id, mode == "static"))
        assert_agrees(found, np.load(expected / f"{Path(clip_id).name}.npz")[mode][: len(found)])


@pytest.mark.parametrize(("mode", "workers"), [("tracking", 1), ("static", 2)])
def test_beginnings_are_bit_equal_to_a_bare_loop(
    mode, workers, landmarks, beginnings, phoenix_expected, tmp_path
):
    out = tmp_path / "out"
    options = ["--workers", workers, *(["--static"] if mode == "static" else [])]
    done = landmarks("extract", beginnings, out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_right(out, beginnings, phoenix_expected, mode)


def test_phoenix_is_bit_equal_to_a_bare_loop(landmarks, phoenix_root, phoenix_expected, tmp_path):
    out = tmp_path / "out"
    options = ["--workers", 2]
    done = landmarks("extract", phoenix_root, out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "4 clips done (dev 1, test 1, train 2), 0 failed, 0 to do" in done.stdout
    assert_right(out, phoenix_root, phoenix_expected, "tracking")
    made = Dataset.open(str(out)).clips().to_table(columns=["worker", "write_ms"])
    assert 1 <= len(set(made["worker"].to_pylist()) - {None}) <= 2
    assert made["worker"].null_count == made["write_ms"].null_count == 0
    assert sum(made["write_ms"].to_pylist()) > 0  # one of two workers at least made two of four clips

    again = landmarks("extract", phoenix_root, out, *options)
    assert again.returncode == 0
    assert "to do: 0 clips in 0 shards" in again.stdout
    other = landmarks("extract", phoenix_root, out, "--min-tracking-confidence", "0.7", *options)
    assert other.returncode == 2
    assert "min_tracking_confidence: there 0.5, now 0.7" in other.stderr


def assert_agrees(found: ClipLandmarks, reference: np.ndarray) -> None:
    """With arrays made on another processor."""
    ours = np.concatenate([found.parts[p] for p in ("pose", "face", "left_hand", "right_hand")], axis=1)
    absent, absent_there = np.isnan(ours[..., 0]), np.isnan(reference[..., 0])
    assert (absent == absent_there).all(axis=1).mean() >= 0.98
    both = ~absent & ~absent_there
    assert both.any()
    assert np.abs(ours - reference)[..., :2][both].max() <= 1e-3


def test_every_kind_of_input_in_one_job(landmarks, portrait, hostile_images, tmp_path):
    """Hostile files as frames, a size that changes, odd names, videos, a clip without a readable frame."""
    root, out = tmp_path / "in", tmp_path / "out"
    good = sorted((portrait / "dev/pan").iterdir())
    hostile = sorted(hostile_images.iterdir())
    mixed = root / "train" / "hostile"
    mixed.mkdir(parents=True)
    shutil.copy(good[0], mixed / "a000.jpg")
    for index, file in enumerate(hostile):
        # An animated GIF has no image's name; it is a frame here all the same.
        suffix = ".png" if file.suffix == ".gif" else file.suffix
        shutil.copy(file, mixed / f"b{index:03d}{suffix}")
    shutil.copy(good[1], mixed / "c000.jpg")
    odd = root / "train" / 'ünï cödé "quo\'tes"\nline'
    shutil.copytree(portrait / "dev/pan", odd / "1")
    (root / "test" / "nothing").mkdir(parents=True)
    (root / "test" / "nothing" / "1.png").write_bytes(b"<html>")
    shutil.copytree(portrait / "dev/pan", root / "loose")
    shutil.copy(good[0], root / "lying about.jpg")
    make_video(root / "dev" / "vfr.mp4", good, times_ms=[0, 33, 133, 173, 1000, 1040])

    done = landmarks("extract", root, out, "--max-frames-per-row", "4", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert (summary["clips"], summary["failed"], summary["exit_code"]) == (5, 1, 1)
    dataset = Dataset.open(str(out))

    pieces = [decode(rows, i) for rows in [dataset.read_clip("train/hostile")] for i in range(rows.num_rows)]
    status = np.concatenate([p.frame_status for p in pieces])
    errors = [error for p in pieces for error in p.frame_errors]
    assert len(status) == len(hostile) + 2
    assert [p.first_frame for p in pieces] == list(range(0, len(status), 4))
    assert status[0] == status[-1] == FrameStatus.OK
    unreadable = {f.name for f, s in zip(hostile, status[1:-1], strict=True) if s == FrameStatus.UNREADABLE}
    assert {"zero.png", "text.png", "huge_dims_header.png", "bomb_20000x20000_1bit.png"} <= unreadable
    assert not {"rgb16.png", "gray.png", "cmyk.jpg", "one_px.png", "noise.png"} & unreadable
    assert all(
        (error is not None) == (s == FrameStatus.UNREADABLE) for error, s in zip(errors, status, strict=True)
    )

    assert_rows_equal(dataset, 'train/ünï cödé "quo\'tes"\nline', "loose")
    assert dataset.read_clip("in").num_rows == 1  # the image beside the clip folders
    video = dataset.read_clip("dev/vfr")
    assert np.concatenate(video["timestamps_ms"].to_numpy()).tolist() == pytest.approx(
        [0, 33, 133, 173, 1000, 1040]
    )
    assert video["first_frame"].to_pylist() == [0, 4]

    (failure,) = dataset.failures().to_pylist()
    assert (failure["clip_id"], failure["stage"], failure["reason"]) == (
        "test/nothing",
        "decode",
        "no-readable-frame",
    )
    listed = landmarks("failures", out)
    assert "test/nothing" in listed.stdout
    assert "1.png: not an image" in listed.stdout
    assert json.loads(landmarks("progress", out, "--json").stdout)["splits"][2]["failed"] == 1
    viewed = landmarks("view", out, "train/hostile", "--detailed")
    assert re.search(rf"ok \d+, nobody \d+, unreadable {len(unreadable)}\b", viewed.stdout), viewed.stdout


def make_video(path: Path, images: list[Path], times_ms: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 360, 432, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for image, time_ms in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_image(Image.open(image).convert("RGB"))
            frame.pts, frame.time_base = time_ms, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def assert_rows_equal(dataset: Dataset, one: str, other: str) -> None:
    """The same frames under two names: the same landmarks."""
    a, b = dataset.read_clip(one), dataset.read_clip(other)
    for name in ("pose", "face", "left_hand", "right_hand", "pose_visibility", "frame_status"):
        left, right = (np.concatenate(t[name].to_numpy()) for t in (a, b))
        np.testing.assert_array_equal(left, right, err_msg=name)


def test_faulty_clips_fail_alone_and_are_done_when_tried_again(landmarks, portrait, tmp_path):
    """Named by a manifest, which brings annotations."""
    manifest, out = tmp_path / "clips.csv", tmp_path / "out"
    clip = str(portrait / "dev/pan")
    faults = {"train/segv": "segv", "dev/exit": "exit", "dev/raise": "raise"}
    rows = [f"{name},{clip},{name[: name.index('/')]},,,," for name in ("train/b", "dev/c", *faults)]
    rows.append(f'train/a,{clip},train,S1,"HALLO ""WIND"" null",null,50')
    head = "clip_id,uri,split,signer,gloss,text,fps"
    manifest.write_text("\n".join([head, *rows, "gone,gone,,,,,"]))
    options = ["--manifest", manifest, out, "--engine", "faulty_engine:make"]
    done = landmarks("extract", *options, FAULTS=json.dumps(faults))
    assert done.returncode == 1, done.stdout + done.stderr
    dataset = Dataset.open(str(out))
    failed = {f["clip_id"]: f for f in dataset.failures().to_pylist()}
    reasons = {clip_id: failure["reason"] for clip_id, failure in failed.items()}
    assert reasons.pop("gone") == "missing"
    assert reasons == {"train/segv": "signal", "dev/exit": "exit", "dev/raise": "graph-poisoned"}
    assert all(failed[name]["attempts"] == 2 for name in faults)
    assert "SIGSEGV" in failed["train/segv"]["error"]
    expected = bare_landmarks(portrait / "dev/pan")
    for name in ("train/a", "train/b", "dev/c"):
        assert_same_bits(read(out, name), expected)
    row = dataset.read_clip("train/a").to_pylist()[0]
    assert (row["signer"], row["gloss"], row["text"], row["fps"]) == ("S1", 'HALLO "WIND" null', "null", 50)
    assert row["timestamps_ms"][:3] == [0, 20, 40]

    same = landmarks("extract", *options)
    assert (same.returncode, "to do: 0 clips" in same.stdout) == (1, True)
    manifest.write_text("\n".join([head, *rows, f"gone,{clip},,,,,"]))
    retried = landmarks("extract", *options, "--retry-failed")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert "7 clips done (dev 3, none 1, train 3), 0 failed, 0 to do" in retried.stdout
    for name in (*faults, "gone"):
        assert_same_bits(read(out, name), expected)
    ids = [i for f in dataset.done().values() for i in pq.read_table(out / f)["clip_id"].to_pylist()]
    assert sorted(ids) == sorted({*ids})
