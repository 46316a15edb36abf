"""`landmarks draw` and `view` on data sets made without Ray."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from extraction.detectors import DetectorOptions, create_detector
from extraction.extract import ClipExtraction
from extraction.frames import FrameOptions
from extraction.landmarks import ClipLandmarks, FrameStatus
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
    pytest.importorskip(
        "mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)"
    )
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


SIDES = (40, 60, 200, 0, 60)  # of the square that each frame's mask shows; frame 3 is unreadable


def masks(kind: str) -> list[bytes | None]:
    made: list[bytes | None] = []
    for side in SIDES:
        mask = np.full((432, 360), 0 if kind == "category" else 127, np.uint8)
        mask[:side, :side] = 1 if kind == "category" else 128
        made.append(cv2.imencode(".png", mask)[1].tobytes() if side else None)
    return made


def data_set(folder: Path, frames: Path, parts: dict[str, np.ndarray], pngs=None, **options) -> str:
    """Of the first five frames of dev/pan, in two rows."""
    dataset = Dataset(str(folder / "out"))
    dataset.create({"engine": "any", "static": False, "mediapipe_version": "1", **options}, "x", {})
    (clip,) = (clip for clip in discover_tree(str(frames)).clips if clip.clip_id == "dev/pan")
    dataset.write_plan(revise(dataset.plan(), [clip], ()).plan)
    names = sorted(path.name for path in (frames / "dev/pan").iterdir())
    how = Provenance(
        *("any", "1", "x", "cpu", 2, 1.0, 1.0, 1.0, "here", "f"),
        retry_reasons=("context-lost: 0x3008 [GL_OUT_OF_MEMORY]",),
    )
    readable = np.array([bool(side) for side in SIDES])
    rows = [
        encode(
            clip,
            ClipLandmarks(
                first_frame=part.start,
                fps=25.0,
                timestamps_ms=np.arange(5)[part] * 40.0,
                frame_names=tuple(names[part]),
                frame_status=np.where(readable, FrameStatus.OK, FrameStatus.UNREADABLE)[part].astype(np.int8),
                frame_errors=(None,) * (part.stop - part.start),
                frame_sizes_px=(np.full((5, 2), (360, 432)) * readable[:, None])[part].astype(np.int32),
                parts={name: points[part] for name, points in parts.items()},
                pose_visibility=np.full((part.stop - part.start, 33), np.nan, np.float32),
                masks_png=None if pngs is None else tuple(pngs[part]),
            ),
            how,
        )
        for part in (slice(0, 2), slice(2, 5))
    ]
    points = {name: array.shape[1] for name, array in parts.items()}
    write_shard(dataset.store, 0, clip.split, points, [rows], has_masks=pngs is not None)
    return dataset.store.location


class TestMasks:
    @pytest.mark.parametrize("kind", ["category", "confidence"])
    def test_the_frame_with_the_largest_mask_is_drawn(self, kind, frames, tmp_path, capsys):
        made = data_set(tmp_path, frames, {}, masks(kind), mask=kind)
        assert main(["draw", made, "dev/pan", "--to", str(tmp_path)]) == 0
        (path,) = capsys.readouterr().out.split()
        assert Path(path).name == "dev_pan-000002.png"
        drawn = cv2.imread(path).astype(int)
        frame = cv2.imread(str(sorted((frames / "dev/pan").iterdir())[2]))
        enlarged = cv2.resize(frame, drawn.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(int)
        factor = drawn.shape[1] // 360
        changed = np.abs(drawn - enlarged).max(axis=2) > 8
        assert changed[5 : 190 * factor, 5 : 190 * factor].mean() > 0.9
        assert changed[220 * factor : 380 * factor].mean() < 0.01

    def test_another_frame_can_be_asked_for(self, frames, tmp_path, capsys):
        made = data_set(tmp_path, frames, {}, masks("category"), mask="category")
        assert main(["draw", made, "dev/pan", "--frame", "4", "--to", str(tmp_path)]) == 0
        assert Path(capsys.readouterr().out.strip()).name == "dev_pan-000004.png"

    def test_view(self, frames, tmp_path, capsys):
        made = data_set(tmp_path, frames, {}, masks("confidence"), mask="confidence")
        assert main(["view", made, "--detailed"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].endswith("engine any, mediapipe 1, schema 2")
        assert lines[1] == "masks: mask_png (confidence)"
        header = ["clips", "frames", "ok", "nobody", "unreadable", "foreground"]
        assert [line.split()[1:] for line in lines[2:]] == [header, ["1", "5", "4", "0", "1", "100.0%"]] * 2
        assert main(["view", made, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["parts"], found["mask"], found["splits"][0]["ok_rate"]) == ({}, "confidence", 1.0)

    def test_view_of_a_clip_says_why_it_was_tried_again(self, frames, tmp_path, capsys):
        made = data_set(tmp_path, frames, {}, masks("category"), mask="category")
        assert main(["view", made, "dev/pan"]) == 0
        shown = capsys.readouterr().out
        assert "4 masks (category)  foreground in 100.0% of readable frames" in shown
        assert "retry_reasons" not in shown
        assert main(["view", made, "dev/pan", "--detailed"]) == 0
        assert "  retry_reasons: context-lost: 0x3008 [GL_OUT_OF_MEMORY]\n" in capsys.readouterr().out


def test_view_shows_extra_parts(frames, tmp_path, capsys):
    parts = {
        "left_hand": np.full((5, 21, 3), 0.5, np.float32),
        "left_hand_world": np.full((5, 21, 3), 0.5, np.float32),
        "face_blendshapes": np.full((5, 52, 1), 0.5, np.float32),
    }
    for points in parts.values():
        points[3] = np.nan  # unreadable
    parts["face_blendshapes"][4] = np.nan
    made = data_set(tmp_path, frames, parts)
    assert main(["view", made]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "parts (T, N, 3): left_hand 21, left_hand_world 21"
    assert lines[2] == "scores (T, N, 1): face_blendshapes 52"
    assert lines[3].split()[-2:] == ["left_hand", "face_blendshapes"]
    assert main(["view", made, "dev/pan"]) == 0
    shown = capsys.readouterr().out
    assert "left_hand_world    (5, 21, 3)  found in 100.0% of readable frames" in shown
    assert "face_blendshapes   (5, 52, 1)  found in 75.0% of readable frames" in shown
    assert "masks" not in shown
    assert main(["draw", made, "dev/pan", "--to", str(tmp_path)]) == 0
