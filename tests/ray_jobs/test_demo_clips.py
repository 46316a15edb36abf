import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extraction.errors import JobError
from ray_jobs import demo_clips
from ray_jobs.demo_clips import make_demo_clips


def read_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    began = time.monotonic()
    clips = make_demo_clips(str(folder))
    return folder, clips, time.monotonic() - began


def test_it_makes_two_clips_of_equal_frames(demo):
    folder, clips, _ = demo
    assert [os.path.relpath(clip, folder) for clip in clips] == ["train/zoom", "dev/pan"]
    for clip in clips:
        frames = [Image.open(path) for path in sorted(Path(clip).iterdir())]
        assert len(frames) == 60
        assert {(frame.size, frame.mode) for frame in frames} == {((360, 432), "RGB")}


def test_nobody_waits_for_it(demo):
    assert demo[2] < 10  # about 1 s on an idle core; the rest is for a busy one


def test_the_same_call_gives_the_same_bytes(demo, tmp_path):
    make_demo_clips(str(tmp_path))
    assert read_bytes(tmp_path) == read_bytes(demo[0])


def test_repeating_it_touches_no_file_and_mends_a_broken_one(tmp_path):
    make_demo_clips(str(tmp_path), num_frames=3)
    whole = read_bytes(tmp_path)
    broken, *others = sorted(tmp_path.rglob("*.jpg"))
    times = [os.stat(path).st_mtime_ns for path in others]
    broken.write_bytes(whole[str(broken.relative_to(tmp_path))][:100])
    make_demo_clips(str(tmp_path), num_frames=3)
    assert read_bytes(tmp_path) == whole
    assert [os.stat(path).st_mtime_ns for path in others] == times


@pytest.mark.parametrize("clip", [0, 1])
def test_the_camera_moves_a_little_in_every_frame(demo, clip):
    paths = sorted(Path(demo[1][clip]).iterdir())
    frames = np.stack([np.asarray(Image.open(path), np.int16) for path in paths])
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0
    assert steps.max() < 15  # of 255: two pixels of movement over a striped flag
    assert np.abs(frames[-1] - frames[0]).mean() > 20


def test_one_frame_is_a_clip(tmp_path):
    clips = make_demo_clips(str(tmp_path), num_frames=1)
    assert [os.listdir(clip) for clip in clips] == [["frame_0000.jpg"]] * 2


def test_no_frame_is_refused(tmp_path):
    with pytest.raises(JobError, match="num_frames=0"):
        make_demo_clips(str(tmp_path), num_frames=0)


def test_files_of_others_are_not_mixed_in(tmp_path):
    make_demo_clips(str(tmp_path), num_frames=3)
    with pytest.raises(JobError, match=r"frame_0002\.jpg"):
        make_demo_clips(str(tmp_path), num_frames=2)


@pytest.mark.parametrize("name", ["PORTRAIT", "package"])
def test_a_missing_portrait_says_what_to_install(name, tmp_path, monkeypatch):
    if name == "PORTRAIT":
        monkeypatch.setattr(demo_clips, "PORTRAIT", "mpl-data/gone.jpg")
    else:
        monkeypatch.setattr(demo_clips, "find_spec", lambda _: None)
    with pytest.raises(JobError, match="pip install matplotlib"):
        make_demo_clips(str(tmp_path))
