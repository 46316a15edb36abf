"""Landmarks of other formats become a data set that verifies, says what is not known, and goes on."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.writing import export
from storage.imports.importing import Imported, import_source
from storage.imports.opening import open_source
from storage.stored import stored_clips
from storage.summary import detections
from storage.verify import verify
from storage.verify_two import compare

FORMATS = {"pickle": "a.pkl", "pickle-splits": "b", "pose": "pose"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, real_dataset: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    for name, to in FORMATS.items():
        if name == "pose":
            pytest.importorskip("pose_format", reason="pose-format is an extra: the format pose needs it")
        known = format_named(name)
        options = ExportOptions(tensors="numpy" if known.uses_tensors else "auto")
        export(real_dataset, known, str(folder / to), options)
    return folder


def imported(source: Path, out: Path, fps: float = 25.0) -> tuple[Imported, Dataset]:
    dataset = Dataset(str(out))
    return import_source(open_source(str(source), fps), dataset, fps), dataset


@pytest.mark.parametrize("name", FORMATS)
def test_an_import_verifies_and_is_equal_to_its_source_and_to_the_original(
    name, place, tmp_path, real_dataset
):
    done, dataset = imported(place / FORMATS[name], tmp_path / "out")
    assert (done.clips, done.new, done.failed, done.frames) == (4, 4, 0, 310)
    result = verify(dataset)
    assert result.is_good, result.problems
    assert (result.planned, result.done) == (4, 4)
    there = open_source(str(tmp_path / "out"))
    assert compare(there, open_source(str(place / FORMATS[name])), tolerance=0.0).is_equal
    assert compare(there, open_source(real_dataset.store.root)).is_equal
    config = dataset.config()
    assert config["imported"]["unknown"] == list(done.unknown)
    assert done.unknown
    assert config["options"]["engine"] == "imported"
    for clip in stored_clips(dataset):
        assert clip.columns["engine"] == "imported"
        assert clip.columns["attempts"] == 0
        assert clip.columns["mediapipe_version"] == "unknown"
    counts = {group.name: (group.clips, group.frames) for group in detections(dataset)}
    assert counts == {"train": (2, 183), "dev": (1, 62), "test": (1, 65)}


def test_annotations_come_along(place, tmp_path, real_dataset):
    _, dataset = imported(place / "b", tmp_path / "out")
    original = {clip.clip_id: clip for clip in stored_clips(real_dataset)}
    for clip in stored_clips(dataset):
        assert clip.text_of("gloss") == original[clip.clip_id].text_of("gloss") != ""
        assert clip.text_of("text") == original[clip.clip_id].text_of("text")


def test_what_was_imported_exports_to_the_same_pickle(place, tmp_path):
    _, dataset = imported(place / "b", tmp_path / "out")
    export(dataset, format_named("pickle-splits"), str(tmp_path / "c"), ExportOptions(tensors="numpy"))
    for split in ("train", "dev", "test"):
        before, after = (
            pickle.loads(Path(f"{p}.{split}").read_bytes()) for p in (place / "b", tmp_path / "c")
        )
        np.testing.assert_equal(after, before)


def test_fps_is_what_the_user_says(place, tmp_path):
    _, dataset = imported(place / "b", tmp_path / "out", fps=50.0)
    clip = next(stored_clips(dataset))
    assert clip.landmarks.fps == 50.0
    assert clip.landmarks.timestamps_ms[2] == 40.0


def test_the_same_again_writes_what_is_missing_and_nothing_else(place, tmp_path):
    _, dataset = imported(place / "a.pkl", tmp_path / "out")
    shards = {name: (tmp_path / "out" / name).read_bytes() for name in dataset.done().values()}
    gone = sorted(shards)[0]
    (tmp_path / "out" / gone).unlink()
    done, _ = imported(place / "a.pkl", tmp_path / "out")
    assert 1 <= done.new < 4
    assert done.clips == 4
    assert {name: (tmp_path / "out" / name).read_bytes() for name in shards if name != gone} == {
        name: data for name, data in shards.items() if name != gone
    }
    assert verify(dataset).is_good
    done, _ = imported(place / "a.pkl", tmp_path / "out")
    assert done.new == 0


def test_another_import_or_data_set_or_folder_is_refused(place, tmp_path, real_dataset):
    imported(place / "a.pkl", tmp_path / "out")
    for source, fps in ((place / "b", 25.0), (place / "a.pkl", 30.0)):
        with pytest.raises(JobError, match="holds something else than this import"):
            imported(source, tmp_path / "out", fps)
    shutil.copytree(real_dataset.store.root, tmp_path / "real")
    with pytest.raises(JobError, match="holds something else"):
        imported(place / "a.pkl", tmp_path / "real")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    with pytest.raises(JobError, match=r"thesis\.tex"):
        imported(place / "a.pkl", tmp_path / "full")


def test_a_file_that_cannot_be_read_is_a_failed_clip(place, tmp_path):
    shutil.copytree(place / "pose", tmp_path / "pose")
    broken = tmp_path / "pose/train/wave.pose"
    broken.write_bytes(broken.read_bytes()[:200_000])
    done, dataset = imported(tmp_path / "pose", tmp_path / "out")
    assert (done.new, done.failed) == (3, 1)
    (failure,) = dataset.failures().to_pylist()
    assert failure["clip_id"] == "train/wave"
    assert "wave.pose: expected a .pose file" in failure["error"]
    assert verify(dataset).is_good


@pytest.mark.parametrize(
    "name", ["../../x/a", "train/../../a", "/etc/a", "train/a\0b", "train/" + "x" * 5000, " "]
)
def test_names_from_a_pickle_never_lead_astray(tmp_path, name):
    sample = {"keypoint": np.ones((2, 143, 3)), "name": "x"}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({name: sample}))
    with pytest.raises(JobError, match="cannot be the name of"):
        imported(tmp_path / "x.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["..", "a/b", "a=b", "", "x\ny"])
def test_splits_from_a_pickle_never_lead_astray(tmp_path, split):
    frame = {"pose": np.ones((33, 3), np.float32), "image_shape": (2, 2)}
    tree = {split: {"keypoints": [frame], "image_paths": ["a"], "video_ids": ["a"]}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(JobError, match="cannot be the name of"):
        imported(tmp_path / "x.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_frames_of_one_video_that_do_not_stand_together(tmp_path):
    """Workers of the older scripts put their results behind one another as they came."""
    frames = [{"pose": np.full((33, 3), n, np.float32), "image_shape": (260, 210)} for n in range(4)]
    lists = {
        "keypoints": frames,
        "image_paths": [f"/d/{v}/images000{n}.png" for n, v in enumerate("abab")],
        "video_ids": [*"abab"],
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": lists, "stats": {}, "dataset_info": {}}))
    _, dataset = imported(tmp_path / "x.pkl", tmp_path / "out")
    clips = {clip.clip_id: clip.landmarks for clip in stored_clips(dataset)}
    assert sorted(clips) == ["train/a", "train/b"]
    np.testing.assert_array_equal(clips["train/b"].parts["pose"][:, 0, 0], [1, 3])
    assert clips["train/b"].frame_names == ("images0001.png", "images0003.png")
    assert clips["train/b"].frame_sizes_px.tolist() == [[210, 260]] * 2
    assert json.loads((tmp_path / "out/dataset.json").read_text())["source"] == str(tmp_path / "x.pkl")


def test_clips_without_a_split(tmp_path):
    sample = {"keypoint": np.ones((2, 143, 3)), "name": "x"}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"alone": sample}))
    _, dataset = imported(tmp_path / "x.pkl", tmp_path / "out")
    (clip,) = stored_clips(dataset)
    assert (clip.clip_id, clip.split) == ("alone", None)
    assert verify(dataset).is_good
