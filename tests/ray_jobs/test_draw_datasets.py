"""`landmarks draw --frames`: clips of each data set that is known by name are found where it lies now."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_datasets
from PIL import Image

from extraction.clips import Clip
from extraction.frames import FrameOptions, open_frames
from extraction.landmarks import ClipLandmarks
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import find_dataset
from ray_jobs.cli import main
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import shard_name, write_shard

POSITION = 3
NAMES = sorted(small_datasets.MAKERS)


def blank(clip: Clip) -> ClipLandmarks:
    """Rows of the frames as they are now, with nobody found in them."""
    stream = open_frames(clip, FrameOptions())
    frames = list(stream.frames)
    length = len(frames)
    sizes = [(0, 0) if f.image is None else (f.image.shape[1], f.image.shape[0]) for f in frames]
    return ClipLandmarks(
        first_frame=0,
        fps=stream.fps,
        timestamps_ms=np.array([f.timestamp_ms for f in frames]),
        frame_names=tuple(f.name for f in frames),
        frame_status=np.array([2 if f.image is None else 1 for f in frames], np.int8),
        frame_errors=tuple(f.error for f in frames),
        frame_sizes_px=np.array(sizes, np.int32),
        parts={"pose": np.full((length, 33, 3), np.nan, np.float32)},
        pose_visibility=np.full((length, 33), np.nan, np.float32),
    )


def extracted(out: Path, name: str, root: Path, more: dict[str, str] | None = None) -> list[Clip]:
    """A data set as `landmarks extract --dataset` lays it out; returns its clips."""
    clips = list(match(find_dataset(name, str(root))).clips)
    dataset = Dataset(str(out))
    dataset.create({"engine": "any", "dataset": name}, "x", {"source": str(root), **(more or {})})
    clips.sort(key=lambda clip: clip.split or "")
    shards = {split: number for number, split in enumerate(dict.fromkeys(clip.split for clip in clips))}
    dataset.write_plan(Plan(tuple(clips), tuple(shards[clip.split] for clip in clips)))
    made = Provenance("any", "1", "x", "cpu", 1, 1.0, 1.0, 1.0, "here", "f")
    for split, number in shards.items():
        rows = [[encode(clip, blank(clip), made)] for clip in clips if clip.split == split]
        write_shard(dataset.store, number, split, {"pose": 33}, rows)
        assert dataset.store.exists(shard_name(number, split))
    return clips


def assert_drawn(
    clip: Clip, out: Path, options: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture is the frame that was extracted, as far as nothing is written on it."""
    frames = [f for f in open_frames(clip, FrameOptions()).frames if f.index == POSITION]
    assert frames[0].image is not None
    size = max(frames[0].image.shape)
    whole = [*options, "--frame", POSITION, "--image-size", size, "--to", tmp_path, "--", out, clip.clip_id]
    assert main(["draw", *map(str, whole)]) == 0, capsys.readouterr().err
    shown = np.asarray(Image.open(capsys.readouterr().out.strip()).convert("RGB")).astype(int)
    assert shown.shape == frames[0].image.shape
    assert (np.abs(shown - frames[0].image).max(axis=2) == 0).mean() > 0.8


@pytest.mark.parametrize("name", [*NAMES, "how2sign, uncut", "wlasl, raw"])
def test_every_clip_is_found_where_the_data_set_lies_now(name, tmp_path, shared_clips, capsys):
    name, _, kind = name.partition(", ")
    options = {"uncut": {"uncut": True}, "raw": {"folder": "raw_videos_mp4"}}.get(kind, {})
    root = small_datasets.MAKERS[name](tmp_path / "old", shared_clips, **options)
    clips = extracted(tmp_path / "out", name, root)
    moved = tmp_path / "now"
    os.rename(root, moved)
    assert len(clips) > 1
    for clip in clips:
        now = dataclasses.replace(clip, uri=clip.uri.replace(str(root), str(moved)))
        assert now.uri != clip.uri
        if kind == "uncut" and clip.end_ms == 1200:
            continue  # ends behind its video: too short for the frame that is drawn
        assert_drawn(now, tmp_path / "out", ["--frames", moved], tmp_path, capsys)
    assert main(["draw", "--to", str(tmp_path), "--", str(tmp_path / "out"), clips[0].clip_id]) == 2
    assert "say where with --frames FRAMES" in capsys.readouterr().err


def test_annotations_that_lie_elsewhere(tmp_path, shared_clips, capsys):
    root = small_datasets.wlasl(tmp_path / "old", shared_clips, "raw_videos_mp4")
    clips = extracted(tmp_path / "out", "wlasl", root)
    clip = next(clip for clip in clips if clip.is_part)
    table = tmp_path / "elsewhere" / "WLASL_v0.3.json"
    table.parent.mkdir()
    os.rename(root / "WLASL_v0.3.json", table)
    options = ["--frames", str(root)]
    shared = ["draw", str(tmp_path / "out"), clip.clip_id, *options]
    assert main([*shared, "--frame", "1", "--to", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "WLASL_v0.3.json" in message
    assert "--annotations" in message
    given = [*options, "--annotations", table.parent]
    assert_drawn(clip, tmp_path / "out", given, tmp_path, capsys)

    # As dataset.json keeps it.
    extracted_again = tmp_path / "again"
    os.rename(table, root / "WLASL_v0.3.json")
    extracted(extracted_again, "wlasl", root, {"annotations": str(table.parent)})
    os.rename(root / "WLASL_v0.3.json", table)
    assert_drawn(clip, extracted_again, options, tmp_path, capsys)


@pytest.mark.once
class TestWithoutAnnotations:
    """Which part of a file a clip is, only they know; better no picture than one of other frames."""

    @pytest.fixture
    def fails(self, tmp_path, capsys):
        def call(clip: str, frames: Path) -> str:
            command = ["draw", "--frames", str(frames), "--frame", "3", "--to", str(tmp_path)]
            assert main([*command, "--", str(tmp_path / "out"), clip]) == 2
            return capsys.readouterr().err

        return call

    def test_a_part_may_be_a_file_of_its_own_now(self, tmp_path, shared_clips, fails, capsys):
        root = small_datasets.how2sign(tmp_path / "uncut", shared_clips, uncut=True)
        clip = next(
            c for c in extracted(tmp_path / "out", "how2sign", root) if c.clip_id.endswith("_10-5-rgb_front")
        )
        cut = small_datasets.how2sign(tmp_path / "cut", shared_clips)
        bare = tmp_path / f"bare/{clip.clip_id}.mp4"
        small_datasets.link_video(shared_clips, "gabguerin_a1.mp4", bare)
        message = fails(clip.clip_id, bare.parent)
        assert "it was extracted as a part of a longer input, and no annotation says" in message
        assert "--annotations DIR, or draw without the frames: --on black" in message
        # With an annotation that says nothing else, the file is the whole clip.
        for table in cut.rglob("*.csv"):
            table.write_text(table.read_text().replace('He said "hi', ""))
        now = match(find_dataset("how2sign", str(cut))).clips[0]
        assert (now.clip_id, now.text, now.is_part) == (clip.clip_id, None, False)
        assert_drawn(now, tmp_path / "out", ["--frames", cut], tmp_path, capsys)

    def test_a_whole_file_may_be_another_one_now(self, tmp_path, shared_clips, fails):
        root = small_datasets.wlasl(tmp_path / "old", shared_clips)
        extracted(tmp_path / "out", "wlasl", root)
        (root / "WLASL_v0.3.json").unlink()
        small_datasets.link_video(shared_clips, "wave_pose_testvideo.mp4", root / "now/00004.mp4")
        assert "it was extracted of an input of 65 frames" in fails("00004", root / "now")

    def test_one_that_others_annotations_do_not_name(self, tmp_path, shared_clips, fails):
        root = small_datasets.wlasl(tmp_path / "old", shared_clips)
        extracted(tmp_path / "out", "wlasl", root)
        table = root / "WLASL_v0.3.json"
        table.write_text(table.read_text().replace("00003", "00009"))
        video = root / "videos/00003.mp4"
        video.unlink()
        shutil.copy(shared_clips / "videos/gabguerin_a1.mp4", video)
        os.utime(video, (1, 1))
        assert "WLASL_v0.3.json in" in (message := fails("00003", root))
        assert "does not name it" in message

    def test_the_same_file_is_known(self, tmp_path, shared_clips, capsys):
        """By its name, size and time; and one that was whole by its length."""
        root = small_datasets.wlasl(tmp_path / "old", shared_clips)
        clips = extracted(tmp_path / "out", "wlasl", root)
        (root / "WLASL_v0.3.json").unlink()
        assert sum(clip.is_part for clip in clips) == 1
        for clip in clips:
            assert_drawn(clip, tmp_path / "out", ["--frames", root / "videos"], tmp_path, capsys)
        os.utime(root / "videos/69241.mp4", (1, 1), follow_symlinks=False)
        assert_drawn(clips[0], tmp_path / "out", ["--frames", f"file://{root}/videos"], tmp_path, capsys)


def test_ids_that_look_like_options(tmp_path, shared_clips, capsys):
    root = small_datasets.how2sign(tmp_path / "in", shared_clips)
    clips = extracted(tmp_path / "out", "how2sign", root)
    assert clips[0].clip_id.startswith("--")
    assert main(["draw", str(tmp_path / "out"), clips[0].clip_id]) == 2
    assert "behind a lone --" in capsys.readouterr().err


def test_samples_of_a_data_set_that_moved(tmp_path, shared_clips, capsys):
    root = small_datasets.autsl(tmp_path / "old", shared_clips)
    extracted(tmp_path / "out", "autsl", root)
    os.rename(root, tmp_path / "now")
    options = ["--num-samples", "2", "--no-individual", "--image-size", "64", "--to", str(tmp_path)]
    assert main(["draw", str(tmp_path / "out"), "--frames", str(tmp_path / "now"), *options]) == 0
    assert len(capsys.readouterr().out.split()) == 3


def test_annotations_are_for_data_sets_known_by_name(real_dataset, phoenix_root, tmp_path, capsys):
    shared = ["draw", real_dataset.store.location, "train/wave"]
    assert main([*shared, "--frames", str(phoenix_root), "--annotations", str(tmp_path)]) == 2
    assert "was not made with --dataset NAME" in capsys.readouterr().err
    assert main([*shared, "--annotations", str(tmp_path)]) == 2
    assert "--annotations goes with --frames ROOT" in capsys.readouterr().err
    remote = "s3://KEY:SECRET@bucket/frames"
    assert main([*shared, "--frames", remote, "--annotations", str(tmp_path)]) == 2
    assert "found --frames s3://bucket/frames: below a URI each clip lies" in capsys.readouterr().err
    assert main([*shared, "--frames", "s3://KEY:unlik/ely@bucket/frames"]) == 2
    assert "unlik" not in capsys.readouterr().err
