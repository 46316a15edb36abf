"""`landmarks draw` and `view` on a data set made without Ray."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from extraction.detectors import DetectorOptions, create_detector
from extraction.extract import ClipExtraction
from extraction.frames import FrameOptions
from extraction.sources import discover_tree
from ray_jobs.cli import main
from storage.dataset import Dataset
from storage.plan import revise
from storage.rows import Provenance, encode
from storage.shards import write_shard


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    return Path(shutil.copytree(portrait, tmp_path_factory.mktemp("input") / "frames"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Path:
    folder = tmp_path_factory.mktemp("data") / "out"
    dataset = Dataset(str(folder))
    options = {"engine": "holistic", "static": False, "mediapipe_version": "0.10.21"}
    dataset.create(options, "x", {})
    revision = revise(dataset.plan(), discover_tree(str(frames)).clips, ())
    dataset.write_plan(revision.plan)
    detector = create_detector(DetectorOptions())
    how = Provenance("holistic", "0.10.21", "x", "cpu", 1, 1.0, 1.0, 1.0, "here", "f")
    for shard, clips in revision.plan.by_shard().items():
        outcomes = [
            [
                encode(clip, piece, how)
                for piece in ClipExtraction(clip, detector, FrameOptions(), max_frames=4)
            ]
            for clip in clips
        ]
        write_shard(dataset.store, shard, clips[0].split, detector.info.num_points, outcomes)
    return folder


def test_the_picture_holds_frame_and_landmarks(out, frames, tmp_path, capsys):
    assert (
        main(["draw", str(out), "dev/pan", "--frame", "5", "--frame", "0", "--to", str(tmp_path / "pics")])
        == 0
    )
    paths = capsys.readouterr().out.split()
    assert [Path(p).name for p in paths] == ["dev_pan-000000.png", "dev_pan-000005.png"]
    drawn = cv2.imread(paths[1])
    frame = cv2.imread(str(sorted((frames / "dev/pan").iterdir())[5]))
    height, width = drawn.shape[:2]
    same_size = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    changed = np.abs(drawn.astype(int) - same_size).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.5  # lines over a picture that is otherwise the frame


def test_frames_that_moved(out, frames, tmp_path, capsys):
    moved = tmp_path / "moved"
    frames.rename(moved)
    try:
        assert main(["draw", str(out), "dev/pan", "--to", str(tmp_path)]) == 2
        assert "--frames FRAMES" in capsys.readouterr().err
        assert main(["draw", str(out), "dev/pan", "--to", str(tmp_path), "--frames", str(moved)]) == 0
        assert main(["draw", str(out), "dev/pan", "--to", str(tmp_path), "--frames", str(tmp_path)]) == 2
        assert "dev/pan" in capsys.readouterr().err
    finally:
        moved.rename(frames)


def test_frames_that_are_not_those_extracted(out, frames, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(frames, other)
    names = sorted(path.name for path in (other / "dev/pan").iterdir())
    (other / "dev/pan" / names[0]).unlink()
    for position, text in (("0", f"was '{names[0]}' when it was extracted"), ("5", "no longer in")):
        assert main(["draw", str(out), "dev/pan", "--frames", str(other), "--frame", position]) == 2
        assert text in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["draw", str(out), "dev/pan", "--to", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["dev/pan", "--frame", "6"], "it has frames 0 to 5"), (["dev/nobody"], "no such clip was planned")],
)
def test_wrong_use(arguments, text, out, capsys):
    assert main(["draw", str(out), *arguments]) == 2
    assert text in capsys.readouterr().err


def test_view_of_a_clip_in_several_rows(out, capsys):
    assert main(["view", str(out), "dev/pan"]) == 0
    shown = capsys.readouterr().out
    assert "6 frames, 360x432 px, 25 fps" in shown
    assert "left_hand missing in frames 0-5\n" in shown  # one run, over both rows
    assert main(["view", str(out), "--detailed"]) == 0
    shown = capsys.readouterr().out
    assert "dev/pan" in shown
    assert "100.0%" in shown
