"""Landmarks of other formats become a data set that verifies, says what is not known, and goes on."""

import json
import os
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.writing import export
from storage.imports.importing import Imported, import_source
from storage.imports.opening import open_source
from storage.plan import Plan
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
    shutil.copy2(place / "pose/train/wave.pose", broken)
    done, _ = imported(tmp_path / "pose", tmp_path / "out")
    assert (done.new, done.failed) == (1, 0)
    assert verify(dataset).is_good
    os.utime(tmp_path / "pose/dev/french_a1.pose", (1, 1))
    with pytest.raises(JobError, match=r"has changed since 1 clips .* 'dev/french_a1' among them"):
        imported(tmp_path / "pose", tmp_path / "out")


def pickled(layout: str, tmp_path: Path, values: dict[str, float | None]) -> Path:
    """A pickle of clips with one value each; that of None has too few points."""
    path = tmp_path / "x.pkl"
    if layout == "B":
        samples = {
            name: {"keypoint": np.full((3, 140 if v is None else 143, 3), v or 0.0)}
            for name, v in values.items()
        }
        path.write_bytes(pickle.dumps({f"train/{name}": sample for name, sample in samples.items()}))
        return path
    frames = [
        {"pose": np.full((30 if v is None else 33, 3), v or 0.0), "image_shape": (4, 5)}
        for v in values.values()
    ]
    lists = {"keypoints": frames, "image_paths": ["0.png"] * len(frames), "video_ids": [*values]}
    path.write_bytes(pickle.dumps({"train": lists}))
    return path


@pytest.mark.parametrize("layout", ["A", "B"])
def test_a_pickle_that_was_mended_or_made_anew(layout, tmp_path):
    out = tmp_path / "out"
    done, dataset = imported(pickled(layout, tmp_path, {"a": 0.1, "b": None}), out)
    assert (done.new, done.failed) == (1, 1)
    first = {name: (out / name).read_bytes() for name in dataset.done().values()}
    done, _ = imported(pickled(layout, tmp_path, {"b": 0.2, "a": 0.1, "c": 0.3}), out)
    assert (done.clips, done.new, done.failed) == (3, 2, 0)
    assert {name: (out / name).read_bytes() for name in first} == first
    found = {clip.clip_id: clip.landmarks.parts["pose"][0, 0, 0] for clip in stored_clips(dataset)}
    assert found == {f"train/{name}": np.float32(v) for name, v in {"a": 0.1, "b": 0.2, "c": 0.3}.items()}
    assert verify(dataset).is_good
    plan = dataset.plan()
    with pytest.raises(JobError, match=r"x\.pkl: has changed since 2 clips of it .* another OUT"):
        imported(pickled(layout, tmp_path, {"a": 0.7, "b": None, "c": 0.3, "d": 0.4}), out)
    assert dataset.plan() == plan
    assert imported(pickled(layout, tmp_path, {"a": 0.1, "b": 0.2, "c": 0.3}), out)[0].new == 0


def test_a_gloss_that_changed_is_a_change(tmp_path):
    for gloss in ("A", "B"):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": GOOD | {"gloss": gloss}}))
        if gloss == "A":
            imported(tmp_path / "x.pkl", tmp_path / "out")
    with pytest.raises(JobError, match="has changed since 1 clips of it were imported"):
        imported(tmp_path / "x.pkl", tmp_path / "out")


def test_imports_of_earlier_versions_do_not_say_what_they_were_made_from(tmp_path):
    _, dataset = imported(pickled("B", tmp_path, {"a": 0.1, "b": None}), tmp_path / "out")
    unknown = [replace(clip, fingerprint="") for clip in dataset.plan().clips]
    dataset.write_plan(Plan(unknown, dataset.plan().shards))
    done, _ = imported(pickled("B", tmp_path, {"a": 0.9, "b": 0.2}), tmp_path / "out")
    assert (done.clips, done.new, done.failed) == (2, 1, 0)
    (a, b) = sorted(stored_clips(dataset), key=lambda clip: clip.clip_id)
    assert [clip.landmarks.parts["pose"][0, 0, 0] for clip in (a, b)] == [np.float32(0.1), np.float32(0.2)]


@pytest.mark.parametrize(
    "name", ["../../x/a", "train/../../a", "/etc/a", "train/a\0b", "train/" + "x" * 5000, " "]
)
def test_names_from_a_pickle_never_lead_astray(tmp_path, name):
    sample = {"keypoint": np.ones((2, 143, 3)), "name": "x"}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({name: sample}))
    with pytest.raises(JobError, match="cannot be the name of"):
        imported(tmp_path / "x.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_that_cannot_bear_its_name_is_a_failure_and_the_rest_is_there(tmp_path):
    bad = ["train/../y", "train/a\0b", "/etc/a", "train/" + "x" * 5000]
    fine = ["train/good", "train/b\udcff", "train/b\ud800"]  # a file's name that is not UTF-8, and no file's
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(dict.fromkeys(bad + fine, GOOD)))
    done, dataset = imported(tmp_path / "x.pkl", tmp_path / "out")
    assert (done.clips, done.new, done.failed) == (7, 3, 4)
    assert {clip.clip_id for clip in stored_clips(dataset)} == {
        "train/good",
        r"train/b\xff",
        r"train/b\ud800",
    }
    whys = [row["error"] for row in dataset.failures().to_pylist()]
    for name in bad:
        (why,) = [why for why in whys if repr(name[:80]) in why]
        assert "give it another name where the file was made" in why
    assert verify(dataset).is_good
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(dict.fromkeys(fine, GOOD)))
    assert imported(tmp_path / "x.pkl", tmp_path / "out")[0].failed == 0  # of what the source has now


ODD = {
    "not UTF-8": ("/b/\udcff.png", r"\xff.png"),
    "no file's": ("\ud800", r"\ud800"),
    "a number": (7, "7"),
    "thousands of digits": (10**5000, None),
    "none": (None, None),
    "nested": ((("x",),), None),
}


@pytest.mark.parametrize("what", ODD)
def test_names_of_frames_and_videos_that_are_no_text(what, tmp_path):
    odd, name = ODD[what]
    frames = [{"pose": np.full((33, 3), 0.5), "image_shape": (4, 5)}] * 3
    lists = {"keypoints": frames, "image_paths": ["1.png", odd, "3.png"], "video_ids": ["a", "b", odd]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": lists}))
    done, dataset = imported(tmp_path / "x.pkl", tmp_path / "out")
    names = {clip.clip_id: clip.landmarks.frame_names for clip in stored_clips(dataset)}
    assert names["train/a"] == ("1.png",)
    assert names.get("train/b") == (name and (name,))
    whys = " ".join(row["error"] for row in dataset.failures().to_pylist())
    assert (done.new, done.failed) == ((3, 0) if name else (1, 2))
    assert ("expected texts in image_paths, found" in whys) == (name is None)
    assert ("expected a text as its video_id, found" in whys) == (name is None)
    assert verify(dataset).is_good


@pytest.mark.parametrize("split", ["..", "a/b", "a=b", "", "x\ny", "x\udcff"])
def test_splits_from_a_pickle_never_lead_astray(tmp_path, split):
    frame = {"pose": np.ones((33, 3), np.float32), "image_shape": (2, 2)}
    tree = {split: {"keypoints": [frame], "image_paths": ["a"], "video_ids": ["a"]}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(JobError, match="cannot be the name of"):
        imported(tmp_path / "x.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def holding(value: float, dtype: str = "f8", points: int = 143) -> dict[str, object]:
    array = np.ones((3, points, 3), dtype)
    array[1, 100] = value
    return {"keypoint": array}


GOOD = {"keypoint": np.full((2, 143, 3), 0.5), "gloss": ["A", "B-1"], "text": ("ein", "Satz")}
MALFORMED = {
    "points": (holding(1, points=133), r"expected \(T, 143, 3\) numbers, found \(3, 133, 3\)"),
    "flat": ({"keypoint": np.ones((3, 429))}, r"found \(3, 429\)"),
    "texts": ({"keypoint": np.full((3, 143, 3), "0.5")}, "found an array of <U3"),
    "complex": (holding(1, "c16"), "found an array of the type 'c16'"),
    "ragged": ({"keypoint": np.array([np.ones((143, 3)), np.ones((140, 3))], object)}, "of the type 'O8'"),
    "list": ({"keypoint": [np.ones((143, 3)), np.ones((140, 3))]}, "numbers, found list"),
    "nan": (
        holding(np.nan),
        "right_hand: expected points that are all finite, .* found NaN or infinite .* in frame 1",
    ),
    "inf": (holding(-np.inf), "right_hand: expected points that are all finite"),
    "huge": (holding(1e300), "expected points that are all finite"),
    "empty": ({"keypoint": np.ones((0, 143, 3))}, "has no frame"),
    "none": ({"keypoint": None}, "numbers, found NoneType"),
    "no-keypoint": ({"name": "x"}, "expected a dict with 'keypoint', found dict"),
    "no-dict": ([1], "expected a dict with 'keypoint', found list"),
    "gloss": (GOOD | {"gloss": {"A": 1}}, "gloss: expected a text or a list of texts, found dict"),
    "words": (GOOD | {"text": ["A", ["B"]]}, "text: expected a text or a list of texts, found list"),
    "surrogate": (GOOD | {"gloss": "\ud800"}, "gloss: expected a text"),
    "digits": (GOOD | {"gloss": 10**5000}, "gloss: expected a text or a list of texts, found int"),
    "object-words": (
        GOOD | {"gloss": np.array(["A", 1], object)},
        "gloss: expected a text, found an array of",
    ),
}


def test_malformed_clips_of_layout_b_are_failures_with_their_reasons_and_the_rest_is_there(tmp_path):
    tree = {name: sample for name, (sample, _) in MALFORMED.items()} | {
        7: GOOD,
        b"x/../y": GOOD,
        b"y": GOOD,
        "good": GOOD,
    }
    (tmp_path / "x.train").write_bytes(pickle.dumps(tree))
    done, dataset = imported(tmp_path / "x", tmp_path / "out")
    assert (done.clips, done.new, done.failed) == (len(tree), 1, len(tree) - 1)
    (clip,) = stored_clips(dataset)
    assert (clip.clip_id, clip.text_of("gloss"), clip.text_of("text")) == ("train/good", "A B-1", "ein Satz")
    assert (clip.landmarks.parts["pose"] == 0.5).all()
    why = {row["clip_id"]: row["error"] for row in dataset.failures().to_pylist()}
    for name, (_, reason) in MALFORMED.items():
        assert re.search(reason, why[f"train/{name}"]), why[f"train/{name}"]
        assert name in why[f"train/{name}"]
    assert "expected a text as its name, found int 7" in why[f"train/entry {len(MALFORMED)} (int 7)"]
    assert "expected a text as its name, found bytes" in why[f"train/entry {len(MALFORMED) + 1} (bytes)"]
    assert verify(dataset).is_good
    again, _ = imported(tmp_path / "x", tmp_path / "out")
    assert (again.new, again.failed) == (0, len(tree) - 1)


@pytest.mark.parametrize(
    ("gloss", "text"),
    [
        ("A  B", "A  B"),
        (["A", "B"], "A B"),
        (np.array(["A", "Ä"]), "A Ä"),
        (["A", None, 3, float("nan")], "A 3"),
        (float("nan"), ""),
        (None, ""),
        ([], ""),
        ("", ""),
    ],
)
def test_a_gloss_in_any_form_that_people_have(gloss, text, tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": GOOD | {"gloss": gloss}}))
    _, dataset = imported(tmp_path / "x.pkl", tmp_path / "out")
    (clip,) = stored_clips(dataset)
    assert clip.text_of("gloss") == text


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_clip_of_any_kind_ends_as_a_row_or_a_failure(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    shapes = st.lists(st.sampled_from([0, 1, 2, 3, 143]), max_size=4).map(tuple)
    arrays = st.builds(np.full, shapes, st.sampled_from([0.0, 0.5, np.nan, np.inf, 1e39]))
    anything = st.one_of(
        arrays,
        st.builds(np.full, st.just((2, 143, 3)), st.floats(width=64)),
        st.lists(arrays, max_size=2),
        *(st.none(), st.text(), st.binary(), st.integers(), st.floats()),
    )
    samples = st.one_of(
        st.fixed_dictionaries({"keypoint": anything}, optional={"gloss": anything, "text": anything}),
        anything,
    )
    keys = st.sampled_from(["a", "train/a", "b", 7, None, 1.5, b"x", (1, "a/../b")])
    tree = {"good": GOOD, **data.draw(st.dictionaries(keys, samples, max_size=4))}
    (folder / "x.pkl").write_bytes(pickle.dumps(tree))
    done, dataset = imported(folder / "x.pkl", folder / "out")
    assert done.clips == done.new + done.failed == len(tree)
    assert "good" in {clip.clip_id for clip in stored_clips(dataset)}
    kinds = {problem.kind for problem in verify(dataset).problems}
    assert kinds <= {"plausible"}  # coordinates far outside of the frame are imported as they are


def test_a_pickle_whose_every_clip_is_malformed_is_refused_with_a_reason(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": holding(np.nan), "b": {"keypoint": 1}}))
    with pytest.raises(JobError, match=r"none of its clips can be read; the last one: .*'b': expected"):
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
