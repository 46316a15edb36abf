"""``.pose`` files, read back with pose-format; their headers against those its own tool makes."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from real_dataset import SIZE_PX

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.face_triangles import SIDES, TRIANGLES
from storage.exports.registry import format_named
from storage.exports.writing import export
from storage.imports.opening import open_source
from storage.stored import StoredClip, stored_clips

pose_format = pytest.importorskip("pose_format", reason="pose-format is an extra: the format needs it")
COMPONENTS = ["pose", "face", "left_hand", "right_hand", "pose_world"]


@pytest.fixture(scope="module")
def stored(real_dataset: Dataset) -> dict[str, StoredClip]:
    return {clip.clip_id: clip for clip in stored_clips(real_dataset)}


@pytest.fixture(scope="module")
def files(real_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pose") / "out"
    export(real_dataset, format_named("pose"), str(folder))
    return folder


def read(path: Path):
    return pose_format.Pose.read(path.read_bytes())


def test_pose_format_reads_every_point_and_mask(files, stored):
    assert sorted(p.relative_to(files).as_posix() for p in files.rglob("*.pose")) == sorted(
        f"{name}.pose" for name in stored
    )
    for name, clip in stored.items():
        pose, marks = read(files / f"{name}.pose"), clip.landmarks
        assert (pose.header.dimensions.width, pose.header.dimensions.height) == SIZE_PX
        assert pose.body.fps == 25.0
        assert pose.body.data.shape == (len(marks), 1, 576, 3)
        first = 0
        for part in COMPONENTS:
            points = marks.parts[part]
            rows = slice(first, first + points.shape[1])
            first = rows.stop
            scale = 1 if part == "pose_world" else np.array([*SIZE_PX, 1])
            expected = np.where(np.isnan(points), 0, points * scale).astype(np.float32)
            np.testing.assert_array_equal(pose.body.data.data[:, 0, rows], expected)
            confidence = pose.body.confidence[:, 0, rows]
            found = marks.present(part)
            if part.startswith("pose"):
                expected = np.where(found[:, np.newaxis], marks.pose_visibility, 0)
            else:
                expected = np.repeat(found[:, np.newaxis], points.shape[1], axis=1)
            np.testing.assert_array_equal(confidence, expected)
            assert found.any() or part == "left_hand"


def test_the_header_is_that_of_its_own_tool(files):
    if sys.version_info >= (3, 13):
        pytest.skip("pose-format asks the legacy line of mediapipe for its tables")
    holistic = importlib.import_module("pose_format.utils.holistic")
    ours = read(files / "train/wave.pose").header.components
    theirs = holistic.holistic_components()
    assert [c.name for c in ours] == [c.name for c in theirs]
    for mine, own in zip(ours, theirs, strict=True):
        assert list(mine.points) == list(own.points)
        assert mine.format == own.format
        assert set(map(tuple, mine.limbs)) == set(map(tuple, own.limbs)), mine.name
        assert len(mine.limbs) == len(own.limbs)
        np.testing.assert_array_equal(np.array(mine.colors), np.array(own.colors))


def test_the_triangles_are_those_of_the_mesh():
    assert len(TRIANGLES) == 852
    assert len(set(SIDES)) == len(SIDES) == 2556
    assert {corner for corners in TRIANGLES for corner in corners} == set(range(468))


def test_its_readers_and_its_visualizer_take_it(files, stored):
    generic = importlib.import_module("pose_format.utils.generic")
    pose = read(files / "train/wave.pose")
    assert generic.detect_known_pose_format(pose) == "holistic"
    hands = pose.get_components(["RIGHT_HAND_LANDMARKS"])
    right = stored["train/wave"].landmarks.present("right_hand")
    np.testing.assert_array_equal(hands.body.confidence[:, 0].all(axis=1), right)
    visualizer = importlib.import_module("pose_format.pose_visualizer").PoseVisualizer(pose)
    picture = next(iter(visualizer.draw(max_frames=1)))
    assert picture.shape == (SIZE_PX[1], SIZE_PX[0], 3)
    assert (picture != 255).any(), "something is drawn"


def test_reading_is_the_inverse_of_writing_but_for_the_last_bit(files, stored):
    source = open_source(str(files))
    clips = source.clips()
    assert [clip.clip_id for clip in clips] == sorted(stored)
    for clip in clips:
        marks, original = source.read(clip).landmarks, stored[clip.clip_id].landmarks
        assert (clip.split, clip.num_frames) == (clip.clip_id.split("/")[0], len(original))
        for part, points in original.parts.items():
            np.testing.assert_array_equal(marks.present(part), original.present(part))
            np.testing.assert_array_max_ulp(np.nan_to_num(marks.parts[part]), np.nan_to_num(points), maxulp=1)
            np.testing.assert_array_equal(marks.parts[part][:, :, 2], points[:, :, 2])
        np.testing.assert_array_equal(marks.parts["pose_world"], original.parts["pose_world"])
        np.testing.assert_array_equal(marks.pose_visibility, original.pose_visibility)
        np.testing.assert_array_equal(marks.timestamps_ms, original.timestamps_ms)


def test_one_file_is_a_source_too(files, stored):
    source = open_source(str(files / "train/wave.pose"))
    (clip,) = source.clips()
    assert clip.clip_id == "wave"
    assert len(source.read(clip).landmarks) == len(stored["train/wave"].landmarks)


def test_damaged_and_foreign_files_are_refused_in_a_sentence(files, tmp_path):
    whole = (files / "train/wave.pose").read_bytes()
    header = importlib.import_module("pose_format.pose_header")
    other = header.PoseHeaderComponent("BODY_25", ["NOSE"], [], [(0, 0, 0)], "XYZC")
    foreign = pose_format.Pose(
        header.PoseHeader(0.2, header.PoseHeaderDimensions(10, 10, 0), [other]),
        importlib.import_module("pose_format.numpy").NumPyPoseBody(
            25.0, np.ones((2, 1, 1, 3)), np.ones((2, 1, 1))
        ),
    )
    path = tmp_path / "x.pose"
    with path.open("wb") as file:
        foreign.write(file)
    with pytest.raises(JobError, match="components of MediaPipe Holistic"):
        open_source(str(path))
    for data in (b"", b"\0" * 40, whole[:100], whole[: len(whole) // 2], b"\xff" * 4000):
        path.write_bytes(data)
        with pytest.raises(JobError, match=r"x\.pose: expected"):
            read_all(path)


def read_all(path: Path) -> None:
    source = open_source(str(path))
    for clip in source.clips():
        source.read(clip)
