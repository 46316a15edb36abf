"""The older scripts' two pickles, read back with pickle itself by a reader written from their structure."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from real_dataset import SIZE_PX, make_dataset

from extraction.errors import JobError
from extraction.topology import FACE_OVAL_EDGES
from storage.dataset import Dataset
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.seed import COUNTS, FACE_INDICES, FACE_POINTS
from storage.exports.writing import export
from storage.imports.opening import open_source
from storage.stored import StoredClip, stored_clips

# As the scripts' own list has them, written down a second time.
OLD_LIST = """
10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 107 55 65 52 53 336 296 334 293 300
19 1 2 5 4 6 98 97 94 33 7 163 144 145 153 362 382 381 380 374 373
61 146 91 181 84 17 314 405 320 307 375 321 78 95 88 178 87 14 317 402
"""


@pytest.fixture(scope="module")
def stored(real_dataset: Dataset) -> dict[str, StoredClip]:
    return {clip.clip_id: clip for clip in stored_clips(real_dataset)}


def saved(dataset: Dataset, name: str, path: Path, **options: object) -> dict:
    export(dataset, format_named(name), str(path), ExportOptions(**options))
    return json.loads(Path(f"{path}.manifest.json").read_text())


def expected_part(clip: StoredClip, part: str) -> np.ndarray:
    points = clip.landmarks.parts[part]
    return points[:, [int(index) for index in OLD_LIST.split()]] if part == "face" else points


def test_the_68_face_points_are_the_scripts_own():
    assert list(FACE_INDICES) == [int(index) for index in OLD_LIST.split()]
    assert len(set(FACE_INDICES)) == 68
    oval = [FACE_OVAL_EDGES[0][0], *(b for _, b in FACE_OVAL_EDGES)]
    assert list(FACE_POINTS["outline"]) == oval[:17], "the defect that is kept: one half of the face's oval"


def test_layout_a_has_every_frame_of_every_clip(real_dataset, stored, tmp_path):
    manifest = saved(real_dataset, "pickle", tmp_path / "a.pkl")
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert list(loaded) == ["dev", "test", "train", "stats", "keypoint_info", "dataset_info"]
    for split in ("dev", "test", "train"):
        clips = [clip for clip in stored.values() if clip.split == split]
        lists = loaded[split]
        assert sorted(lists) == ["image_paths", "keypoints", "video_ids"]
        assert lists["video_ids"] == [c.clip_id.split("/")[1] for c in clips for _ in range(len(c.landmarks))]
        assert lists["image_paths"] == [
            f"/in/{c.clip_id}/{n}" for c in clips for n in c.landmarks.frame_names
        ]
        frames = iter(lists["keypoints"])
        for clip in clips:
            for row in range(len(clip.landmarks)):
                frame = next(frames)
                assert sorted(frame) == ["face", "image_shape", "left_hand", "pose", "right_hand"]
                readable = clip.landmarks.frame_status[row] != 2
                assert frame["image_shape"] == ((SIZE_PX[1], SIZE_PX[0]) if readable else (0, 0))
                for part, count in COUNTS.items():
                    points = expected_part(clip, part)[row]
                    if np.isnan(points).all():
                        assert frame[part] is None
                    else:
                        assert frame[part].dtype == np.float32
                        assert frame[part].shape == (count, 3)
                        np.testing.assert_array_equal(frame[part], points)
        assert next(frames, None) is None
        found = sum(any(frame[part] is not None for part in COUNTS) for frame in lists["keypoints"])
        total = len(lists["keypoints"])
        assert 0 < found < total
        assert loaded["stats"][split] == {"total": total, "success": found, "failed": total - found}
    info = loaded["keypoint_info"]
    assert {part: info[part]["num_points"] for part in COUNTS} == COUNTS
    assert info["total_points"] == 143
    assert all(info[part]["description"] for part in COUNTS)
    about = loaded["dataset_info"]
    assert (about["source_path"], about["splits"]) == ("/in", ["dev", "test", "train"])
    assert about["processing_info"]["distributed"] is False
    assert about["processing_info"]["hosts"] == ["host"]
    assert "one side" in manifest["differs"] or "half of the face" in manifest["differs"]


def test_dropping_empty_frames_is_the_scripts_habit_and_is_said(real_dataset, stored, tmp_path):
    manifest = saved(real_dataset, "pickle", tmp_path / "a.pkl", drop_empty_frames=True)
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    for split in ("dev", "test", "train"):
        clips = [clip for clip in stored.values() if clip.split == split]
        names = [
            f"/in/{clip.clip_id}/{name}"
            for clip in clips
            for name, status in zip(clip.landmarks.frame_names, clip.landmarks.frame_status, strict=True)
            if status == 0
        ]
        assert loaded[split]["image_paths"] == names
        assert len(loaded[split]["keypoints"]) == len(names) == len(loaded[split]["video_ids"])
        counts = loaded["stats"][split]
        assert counts["success"] == len(names)
        assert counts["total"] == sum(len(clip.landmarks) for clip in clips)
    assert loaded["dataset_info"]["processing_info"]["empty_frames_dropped"] is True
    assert manifest["export_options"]["drop_empty_frames"] is True


def check_b(path: Path, stored: dict[str, StoredClip], values) -> None:
    for split in ("train", "dev", "test"):
        loaded = pickle.loads(Path(f"{path}.{split}").read_bytes())
        assert sorted(loaded) == sorted(name for name, clip in stored.items() if clip.split == split)
        for name, sample in loaded.items():
            clip = stored[name]
            assert sorted(sample) == ["gloss", "keypoint", "name", "num_frames", "text"]
            keypoint = values(sample["keypoint"])
            assert keypoint.dtype == np.float64
            assert keypoint.shape == (len(clip.landmarks), 143, 3)
            points = np.concatenate(
                [expected_part(clip, p) for p in ("face", "left_hand", "right_hand", "pose")], 1
            )
            np.testing.assert_array_equal(keypoint, np.where(np.isnan(points), 0, points))
            assert sample["name"] == name
            assert sample["num_frames"] == len(clip.landmarks)
            assert (sample["gloss"], sample["text"]) == (clip.text_of("gloss"), clip.text_of("text"))
            assert sample["gloss"]


def test_layout_b_as_numpy_says_so(real_dataset, stored, tmp_path):
    manifest = saved(real_dataset, "pickle-splits", tmp_path / "b", tensors="numpy")
    check_b(tmp_path / "b", stored, lambda value: value)
    assert manifest["export_options"]["tensors"] == "numpy"
    assert any("NumPy arrays" in note for note in manifest["notes"])


def test_layout_b_as_torch(real_dataset, stored, tmp_path):
    torch = pytest.importorskip(
        "torch", reason="torch is an extra: without it the export writes NumPy arrays"
    )
    saved(real_dataset, "pickle-splits", tmp_path / "b", tensors="torch")

    def values(tensor):
        assert tensor.dtype == torch.float64
        return tensor.numpy()

    check_b(tmp_path / "b", stored, values)
    source = open_source(str(tmp_path / "b"))
    for clip in source.clips():
        points = stored[clip.clip_id].landmarks.parts["pose"]
        np.testing.assert_array_equal(source.read(clip).landmarks.parts["pose"], points)


@pytest.mark.parametrize("name", ["pickle", "pickle-splits"])
def test_reading_is_the_inverse_of_writing(real_dataset, stored, tmp_path, name):
    saved(real_dataset, name, tmp_path / "x", **({"tensors": "numpy"} if name == "pickle-splits" else {}))
    source = open_source(str(tmp_path / "x"))
    clips = source.clips()
    assert sorted(clip.clip_id for clip in clips) == sorted(stored)
    for clip in clips:
        read, original = source.read(clip), stored[clip.clip_id]
        assert (clip.split, clip.num_frames) == (original.split, len(original.landmarks))
        for part, rows in source.about.points.items():
            points = read.landmarks.parts[part]
            np.testing.assert_array_equal(points[:, rows], original.landmarks.parts[part][:, rows])
            np.testing.assert_array_equal(read.landmarks.present(part), original.landmarks.present(part))
        others = np.delete(read.landmarks.parts["face"], FACE_INDICES, axis=1)
        assert np.isnan(others).all()
        if name == "pickle":
            assert read.landmarks.frame_names == original.landmarks.frame_names
            np.testing.assert_array_equal(read.landmarks.frame_sizes_px, original.landmarks.frame_sizes_px)
        else:
            assert read.text_of("gloss") == original.text_of("gloss")


def test_a_split_named_like_another_key_is_refused(tmp_path, shared_clips, monkeypatch):
    import real_dataset

    monkeypatch.setattr(real_dataset, "SPLITS", {"wave": "train", "bsl_demo": "stats"})
    dataset = make_dataset(tmp_path / "out", shared_clips)
    with pytest.raises(JobError, match="'stats', which is another key"):
        saved(dataset, "pickle", tmp_path / "a.pkl")
    assert not (tmp_path / "a.pkl").exists()


BROKEN = {
    "lists of other lengths": {"train": {"keypoints": [{}], "image_paths": [], "video_ids": ["a"]}},
    "a list is missing": {"train": {"keypoints": [], "video_ids": []}},
    "a frame is no dict": {"train": {"keypoints": [1], "image_paths": ["a"], "video_ids": ["a"]}},
    "points of another shape": {
        "train": {"keypoints": [{"pose": np.zeros((17, 3))}], "image_paths": ["a"], "video_ids": ["a"]}
    },
    "a clip of another shape": {"train/a": {"keypoint": np.zeros((2, 133, 3))}},
    "a clip is no array": {"train/a": {"keypoint": [1, 2]}},
    "something else": {"weights": 1},
    "an empty dict": {},
    "a list": [1],
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_no_script_wrote_is_refused_in_a_sentence(tmp_path, what):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(BROKEN[what]))
    with pytest.raises(JobError, match=r"x\.pkl.*(expected|cannot)"):
        read_all(path)


def read_all(path: Path) -> None:
    source = open_source(str(path))
    for clip in source.clips():
        source.read(clip)


def test_clips_of_no_split_and_of_odd_splits_come_back_from_layout_b(tmp_path, shared_clips):
    from real_dataset import make_dataset

    from storage.exports.registry import format_named
    from storage.exports.writing import export
    from storage.imports.opening import open_source

    dataset = make_dataset(tmp_path / "out", shared_clips)
    for split, new in (("dev", "none"), ("test", "fold1")):
        folder = tmp_path / "out/clips" / f"split={split}"
        folder.rename(folder.with_name(f"split={new}"))
    export(dataset, format_named("pickle-splits"), str(tmp_path / "base"))
    found = open_source(str(tmp_path / "base")).clips()
    assert {(clip.clip_id, clip.split) for clip in found} == {
        ("train/bsl_demo", "train"),
        ("train/wave", "train"),
        ("dev/french_a1", None),
        ("fold1/test/squats", "fold1"),
    }
