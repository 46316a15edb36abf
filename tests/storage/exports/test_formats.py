"""Each format read back as its consumer's loader does, against the Parquet it was made from."""

import csv
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from real_dataset import POINTS, make_dataset

from storage.dataset import Dataset
from storage.exports.kaggle import sequence_id
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named, formats
from storage.exports.wholebody import TABLE
from storage.exports.writing import export
from storage.stored import StoredClip, stored_clips

SIZE_PX = np.float32([210, 260])
CLIPS = {"train": ["train/bsl_demo", "train/wave"], "dev": ["dev/french_a1"], "test": ["test/squats"]}

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def stored(real_dataset: Dataset) -> dict[str, StoredClip]:
    clips = {clip.clip_id: clip for clip in stored_clips(real_dataset)}
    assert sorted(clips) == sorted(name for names in CLIPS.values() for name in names)
    hands = np.concatenate([clip.landmarks.present("left_hand") for clip in clips.values()])
    assert 0 < hands.mean() < 1, "the clips have frames with and without hands"
    assert all(clip.landmarks.frame_status[-2] == 2 for clip in clips.values())
    return clips


@pytest.fixture
def save(real_dataset: Dataset, tmp_path: Path) -> Save:
    def run(name: str, to: str = "out", **options: object) -> Path:
        known = format_named(name)
        options.setdefault("tensors", "numpy" if known.uses_tensors else "auto")
        export(real_dataset, known, str(tmp_path / to), ExportOptions(**options))
        return tmp_path / to

    return run


def zeros_for_nan(points: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(points), 0, points)


def check_wholebody(xy: np.ndarray, scores: np.ndarray, clip: StoredClip, scale: np.ndarray) -> None:
    """Point by point from the table, frame by frame from the Parquet."""
    marks = clip.landmarks
    assert xy.shape == (len(marks), 133, 2)
    assert scores.shape == (len(marks), 133)
    for number, row in enumerate(TABLE):
        if not row.part:
            assert not xy[:, number].any()
            assert not scores[:, number].any()
            continue
        expected = marks.parts[row.part][:, row.point, :2] * scale
        np.testing.assert_array_equal(xy[:, number], zeros_for_nan(expected))
        found = marks.present(row.part)
        score = marks.pose_visibility[:, row.point] if row.part == "pose" else np.ones(len(marks))
        np.testing.assert_array_equal(scores[:, number], np.where(found, score, 0))
    assert not xy[-2].any()
    assert not scores[-2].any()


def test_twostream(save: Save, stored: dict[str, StoredClip]) -> None:
    with open(save("twostream", "keypoints.pkl"), "rb") as file:
        loaded = pickle.load(file)
    assert sorted(loaded) == sorted(stored)
    for name, value in loaded.items():
        keypoints = value["keypoints"]
        assert keypoints.dtype == np.float32
        check_wholebody(keypoints[..., :2], keypoints[..., 2], stored[name], SIZE_PX)
        # As TwoStreamNetwork picks and joins them.
        picked = [keypoints[:, list(range(11))], keypoints[:, list(range(91, 133))]]
        assert np.concatenate(picked, axis=1).shape == (len(keypoints), 53, 3)


@pytest.mark.parametrize("split", CLIPS)
def test_mska(save: Save, stored: dict[str, StoredClip], split: str) -> None:
    base = save("mska", "Phoenix-2014T")
    with open(f"{base}.{split}", "rb") as file:
        loaded = pickle.load(file)
    assert sorted(loaded) == CLIPS[split]
    for name, sample in loaded.items():
        keypoint = sample.pop("keypoint")
        check_wholebody(keypoint[..., :2], keypoint[..., 2], stored[name], SIZE_PX)
        said = {key: stored[name].text_of(key) for key in ("gloss", "text")}
        assert sample == {"name": name, "num_frames": len(keypoint), **said}
        assert said["gloss"]


@pytest.mark.parametrize("parts", [(), ("pose", "right_hand")])
@pytest.mark.parametrize("split", CLIPS)
def test_slt(save: Save, stored: dict[str, StoredClip], split: str, parts: tuple[str, ...]) -> None:
    base = save("slt", "phoenix14t", parts=parts)
    with gzip.open(f"{base}.{split}", "rb") as file:
        loaded = pickle.load(file)
    assert [sample["name"] for sample in loaded] == CLIPS[split]
    for sample in loaded:
        clip = stored[sample["name"]]
        assert {k: sample[k] for k in ("signer", "gloss", "text")} == {
            k: clip.text_of(k) for k in ("signer", "gloss", "text")
        }
        start = 0
        for part in parts or ("pose", "left_hand", "right_hand", "face"):
            width = POINTS[part] * 3
            points = sample["sign"][:, start : start + width].reshape(-1, POINTS[part], 3)
            np.testing.assert_array_equal(points, zeros_for_nan(clip.landmarks.parts[part]))
            start += width
        assert sample["sign"].shape == (len(clip.landmarks), start)
        assert sample["sign"].dtype == np.float32


def test_slt_and_mska_have_torchs_tensors_where_torch_is(save: Save, stored: dict[str, StoredClip]) -> None:
    torch = pytest.importorskip("torch")
    with gzip.open(f"{save('slt', 'slt', tensors='auto')}.dev", "rb") as file:
        (sample,) = pickle.load(file)
    # As neccam/slt takes them apart.
    frames = [frame.squeeze() for frame in torch.split(sample["sign"] + 1e-8, 1, dim=0)]
    assert torch.stack(frames).shape == (len(stored["dev/french_a1"].landmarks), 1629)
    with open(f"{save('mska', 'mska', tensors='torch')}.dev", "rb") as file:
        (sample,) = pickle.load(file).values()
    # As MSKA takes it: channels, frames, points.
    keypoint = sample["keypoint"].permute(2, 0, 1).to(torch.float32)
    check_wholebody(
        keypoint[:2].permute(1, 2, 0).numpy(), keypoint[2].numpy(), stored["dev/french_a1"], SIZE_PX
    )


def test_unisign(save: Save, stored: dict[str, StoredClip]) -> None:
    folder = save("unisign")
    for name, clip in stored.items():
        with open(folder / f"{name}.pkl", "rb") as file:
            loaded = pickle.load(file)
        assert list(loaded) == ["keypoints", "scores"]
        assert len(loaded["scores"]) == len(clip.landmarks)
        # As Uni-Sign takes the first person of each frame.
        xy = np.stack([frame[0] for frame in loaded["keypoints"]])
        check_wholebody(xy, np.stack([frame[0] for frame in loaded["scores"]]), clip, np.float32([1, 1]))
        assert loaded["keypoints"][0].shape == (1, 133, 2)


def test_openhands(save: Save, stored: dict[str, StoredClip]) -> None:
    folder = save("openhands")
    for name, clip in stored.items():
        with open(folder / f"{name}.pkl", "rb") as file:
            loaded = pickle.load(file)
        marks, points, scores = clip.landmarks, loaded["keypoints"], loaded["confidences"]
        assert points.dtype == scores.dtype == np.float64
        for part, where in {
            "pose": slice(33),
            "left_hand": slice(33, 54),
            "right_hand": slice(54, 75),
        }.items():
            np.testing.assert_array_equal(points[:, where], zeros_for_nan(marks.parts[part]))
            found = marks.present(part)[:, np.newaxis]
            score = marks.pose_visibility if part == "pose" else np.ones((len(marks), 21))
            np.testing.assert_array_equal(scores[:, where], np.where(found, score, 0))


def test_pyskl(save: Save, stored: dict[str, StoredClip]) -> None:
    with open(save("pyskl", "all.pkl"), "rb") as file:
        loaded = pickle.load(file)
    assert loaded["split"] == CLIPS
    glosses = sorted({clip.text_of("gloss") for clip in stored.values()})
    assert loaded["label_names"] == glosses
    assert sorted(item["frame_dir"] for item in loaded["annotations"]) == sorted(stored)
    for item in loaded["annotations"]:
        clip = stored[item["frame_dir"]]
        assert item["total_frames"] == len(clip.landmarks)
        assert item["img_shape"] == item["original_shape"] == (260, 210)
        assert glosses[item["label"]] == clip.text_of("gloss")
        (xy,), (scores,) = item["keypoint"], item["keypoint_score"]
        check_wholebody(xy, scores, clip, SIZE_PX)


def test_labels_are_the_same_whatever_the_splits(save: Save) -> None:
    labels = {}
    for splits in ((), ("dev",), ("test", "train")):
        with open(save("pyskl", f"{len(splits)}.pkl", splits=splits), "rb") as file:
            loaded = pickle.load(file)
        assert set(loaded["split"]) == set(splits or CLIPS)
        for item in loaded["annotations"]:
            assert labels.setdefault(item["frame_dir"], item["label"]) == item["label"]
    assert len(set(labels.values())) == len(labels)


KAGGLE = {"face": 468, "left_hand": 21, "pose": 33, "right_hand": 21}


def test_asl_signs(save: Save, stored: dict[str, StoredClip]) -> None:
    folder = save("asl-signs")
    signs = json.loads((folder / "sign_to_prediction_index_map.json").read_text(encoding="utf-8"))
    seen = []
    for split in CLIPS:
        for row in pd.read_csv(folder / f"{split}.csv", na_filter=False).itertuples():
            clip = stored[row.clip_id]
            seen.append(row.clip_id)
            assert row.path == f"{split}_landmark_files/{row.participant_id}/{row.sequence_id}.parquet"
            assert (row.participant_id, row.sign) == (clip.text_of("signer"), clip.text_of("gloss"))
            assert list(signs)[signs[row.sign]] == row.sign
            # As the competition's own example reads it.
            data = pd.read_parquet(folder / row.path, columns=["x", "y", "z"])
            points = data.values.reshape(len(data) // 543, 543, 3).astype(np.float32)
            marks = clip.landmarks
            np.testing.assert_array_equal(points, np.concatenate([marks.parts[p] for p in KAGGLE], axis=1))
            table = pd.read_parquet(folder / row.path)
            assert list(table) == ["frame", "row_id", "type", "landmark_index", "x", "y", "z"]
            assert list(table["frame"]) == list(np.repeat(np.arange(len(marks)), 543))
            third = table[table["frame"] == 3]
            assert list(third["row_id"])[:2] == ["3-face-0", "3-face-1"]
            assert third.groupby("type", sort=False).size().to_dict() == KAGGLE
            assert list(third[third["type"] == "pose"]["landmark_index"]) == list(range(33))
    assert sorted(seen) == sorted(stored)


def test_aslfr(save: Save, stored: dict[str, StoredClip]) -> None:
    folder = save("aslfr")
    seen = []
    for split in CLIPS:
        for row in pd.read_csv(folder / f"{split}.csv", na_filter=False).itertuples():
            clip = stored[row.clip_id]
            seen.append(row.clip_id)
            assert (row.path, row.phrase) == (
                f"{split}_landmarks/{row.file_id}.parquet",
                clip.text_of("text"),
            )
            table = pd.read_parquet(folder / row.path)
            assert table.index.name == "sequence_id"
            assert list(table)[:2] == ["frame", "x_face_0"]
            assert list(table)[-1] == "z_right_hand_20"
            assert table.shape[1] == 1 + 3 * 543
            sequence = table.loc[row.sequence_id]
            assert list(sequence["frame"]) == list(range(len(clip.landmarks)))
            for part, count in KAGGLE.items():
                for axis, name in enumerate("xyz"):
                    values = sequence[[f"{name}_{part}_{n}" for n in range(count)]].to_numpy()
                    assert values.dtype == np.float32
                    np.testing.assert_array_equal(values, clip.landmarks.parts[part][..., axis])
            # As code of the competition picks one sequence and some columns.
            picked = pq.read_table(
                folder / row.path, filters=[("sequence_id", "==", row.sequence_id)], columns=["x_pose_0"]
            )
            assert picked.num_rows == len(sequence)
    assert sorted(seen) == sorted(stored)


def test_the_numbers_of_clips_are_exact_in_every_float() -> None:
    numbers = {sequence_id(f"train/clip {n}") for n in range(2000)}
    assert len(numbers) == 2000
    assert all(int(float(number)) == number < 2**53 for number in numbers)


def test_npz(save: Save, stored: dict[str, StoredClip]) -> None:
    folder = save("npz")
    for name, clip in stored.items():
        marks = clip.landmarks
        with np.load(folder / f"{name}.npz", allow_pickle=False) as loaded:
            for part in POINTS:
                np.testing.assert_array_equal(loaded[part], marks.parts[part])
                np.testing.assert_array_equal(loaded[f"{part}_present"], marks.present(part))
            for array in ("pose_visibility", "frame_status", "frame_sizes_px", "timestamps_ms"):
                np.testing.assert_array_equal(loaded[array], getattr(marks, array))
                assert loaded[array].dtype == getattr(marks, array).dtype
            assert tuple(loaded["frame_names"]) == marks.frame_names
            assert loaded["frame_errors"][-2] == "truncated PNG"
            assert loaded["fps"] == 25.0
            for text in ("signer", "gloss", "text", "label"):
                assert str(loaded[text]) == clip.text_of(text)
            assert (str(loaded["clip_id"]), str(loaded["split"])) == (name, clip.split)


@pytest.mark.parametrize("name", ["points.csv", "points.csv.gz"])
def test_csv(save: Save, stored: dict[str, StoredClip], name: str) -> None:
    path = save("csv", name)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    table = pd.read_csv(path)
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header == [
        *("clip_id", "split", "frame", "frame_status", "timestamp_ms", "part", "point"),
        *("x", "y", "z", "visibility"),
    ]
    per_frame = sum(POINTS.values())
    for clip_id, clip in stored.items():
        marks, lines = clip.landmarks, table[table["clip_id"] == clip_id]
        assert len(lines) == len(marks) * per_frame
        assert set(lines["split"]) == {clip.split}
        assert list(lines["frame"]) == list(np.repeat(np.arange(len(marks)), per_frame))
        np.testing.assert_array_equal(lines["frame_status"], np.repeat(marks.frame_status, per_frame))
        np.testing.assert_array_equal(lines["timestamp_ms"], np.repeat(marks.timestamps_ms, per_frame))
        for part, count in POINTS.items():
            of_part = lines[lines["part"] == part]
            assert list(of_part["point"]) == list(range(count)) * len(marks)
            xyz = of_part[["x", "y", "z"]].to_numpy().astype(np.float32).reshape(-1, count, 3)
            np.testing.assert_array_equal(xyz, marks.parts[part])
        visibility = lines[lines["part"] == "pose"]["visibility"].to_numpy().astype(np.float32)
        np.testing.assert_array_equal(visibility.reshape(-1, 33), marks.pose_visibility)
        assert lines[lines["part"] != "pose"]["visibility"].isna().all()


def test_clips_of_several_rows_are_the_same_as_of_one(
    tmp_path: Path, shared_clips: Path, real_dataset
) -> None:
    pieces = make_dataset(tmp_path / "pieces", shared_clips, rows_of=17)
    for name in ("twostream", "csv", "pyskl"):
        one, other = (tmp_path / f"{name}{n}.pkl" for n in range(2))
        export(real_dataset, format_named(name), str(one))
        export(pieces, format_named(name), str(other))
        assert one.read_bytes() == other.read_bytes()


def test_every_format_says_what_it_is() -> None:
    assert formats()
    for name, known in formats().items():
        assert name == known.name
        for text in (known.consumer, known.structure, known.layout, known.units, known.missing):
            assert text
