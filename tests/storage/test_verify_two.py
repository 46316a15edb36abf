"""Two sources compared: equal is told only where something was compared, and every difference is found."""

import itertools
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_dataset import make_dataset

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.writing import export
from storage.imports.opening import open_source
from storage.schema import parquet_options
from storage.verify_two import Comparison, compare

SOURCES = ("out", "a.pkl", "b", "pose")
DEV = "clips/split=dev/shard-000001.parquet"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, real_dataset: Dataset) -> Path:
    """One data set in all formats."""
    pytest.importorskip("pose_format", reason="pose-format is an extra: the format pose needs it")
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(real_dataset.store.root, folder / "out")
    export(real_dataset, format_named("pickle"), str(folder / "a.pkl"))
    export(real_dataset, format_named("pickle-splits"), str(folder / "b"), ExportOptions(tensors="numpy"))
    export(real_dataset, format_named("pose"), str(folder / "pose"))
    return folder


def compared(a: Path, b: Path, **options: object) -> Comparison:
    return compare(open_source(str(a)), open_source(str(b)), **options)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(SOURCES, SOURCES)))
def test_one_data_set_is_equal_to_itself_in_every_format(place, a, b):
    result = compared(place / a, place / b)
    assert result.is_equal, result.counts
    assert (result.clips, result.frames) == (4, 310)
    exact = "pose" not in (a, b) or a == b
    for part in ("pose", "left_hand", "right_hand", "face"):
        found = result.parts[part]
        assert found.values > 10_000
        assert found.max == 0 if exact else found.max < 1e-7
    both_whole = {a, b} <= {"out", "pose"}
    assert result.parts["face"].points == (468 if both_whole else 68)
    assert ("pose_world" in result.parts) == both_whole == ("pose_visibility" in result.parts)
    whole_and_part = (a in ("out", "pose")) != (b in ("out", "pose"))
    assert any("400 of the points of face" in text for text in result.not_compared) == whole_and_part


def test_tolerance_is_a_bound(place):
    assert not compared(place / "out", place / "pose", tolerance=0.0).is_equal
    with pytest.raises(JobError, match="--tolerance"):
        compared(place / "out", place / "b", tolerance=-1.0)
    with pytest.raises(JobError, match="--tolerance"):
        compared(place / "out", place / "b", tolerance=float("nan"))


def test_splits(place):
    result = compared(place / "out", place / "b", splits=("train",))
    assert result.is_equal
    assert result.clips == 2
    result = compared(place / "out", place / "b.train")
    assert result.counts == {"only in A": 2}
    assert result.only_in_a == ["dev/french_a1", "test/squats"]
    result = compared(place / "b.dev", place / "out", splits=("dev",))
    assert result.is_equal


def test_comparing_nothing_is_never_success(place, tmp_path):
    for splits, text in ((("val",), "has no split val"), (("train", "no"), "has no split no")):
        with pytest.raises(JobError, match=text):
            compared(place / "out", place / "b", splits=splits)
    with pytest.raises(JobError, match="no clip is in both"):
        compared(place / "b.train", place / "b.dev")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match="found neither"):
        compared(place / "out", tmp_path / "empty")
    with pytest.raises(JobError, match="nothing is there"):
        compared(place / "out", tmp_path / "nowhere")
    sample = {"keypoint": np.zeros((58, 143, 3)), "name": "train/wave"}
    for name in ("x.train", "y.train"):
        (tmp_path / name).write_bytes(pickle.dumps({"train/wave": sample}))
    with pytest.raises(JobError, match="neither has found any"):
        compared(tmp_path / "x", tmp_path / "y")
    (tmp_path / "empty.train").write_bytes(pickle.dumps({}))
    with pytest.raises(JobError):
        compared(tmp_path / "empty", tmp_path / "x")


def changed(place: Path, tmp_path: Path, column: str, at: int, value: object) -> Path:
    """The data set with one value of the dev clip changed."""
    out = tmp_path / "changed"
    shutil.copytree(place / "out", out)
    table = pq.ParquetFile(out / DEV).read()
    lists = table[column].to_pylist()
    lists[0][at] = value
    index = table.schema.get_field_index(column)
    table = table.set_column(
        index, table.schema.field(column), pa.array(lists, table.schema.field(column).type)
    )
    with pq.ParquetWriter(out / DEV, table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)
    return out


@pytest.mark.parametrize("other", SOURCES)
def test_one_changed_number_is_found_with_its_place(place, tmp_path, other):
    was = pq.ParquetFile(place / "out" / DEV).read(["pose"])["pose"][0].as_py()
    out = changed(place, tmp_path, "pose", 33 * 3 * 7 + 5, was[33 * 3 * 7 + 5] + 0.25)
    for a, b in ((out, place / other), (place / other, out)):
        result = compared(a, b)
        assert not result.is_equal
        assert result.counts == {"points": 1}
        assert result.parts["pose"].beyond == 1
        assert result.parts["pose"].max == pytest.approx(0.25, abs=1e-6)
        assert result.parts["pose"].max_clip == "dev/french_a1, frame 7"
        assert result.parts["pose"].mean == pytest.approx(0.25 / result.parts["pose"].values, rel=1e-2)
        assert result.differing == ["dev/french_a1"]
        assert result.parts["face"].beyond == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_a_difference(place, tmp_path, value):
    out = changed(place, tmp_path, "pose", 4, value)
    for other in SOURCES:
        result = compared(out, place / other, tolerance=1e9)
        assert result.counts == {"points": 1}, other
        assert result.parts["pose"].max == float("inf")


def test_other_visibility_and_status_are_differences(place, tmp_path):
    out = changed(place, tmp_path, "pose_visibility", 3, 0.123)
    assert compared(out, place / "out").parts["pose_visibility"].beyond == 1
    assert compared(out, place / "a.pkl").is_equal, "what one of them does not know is not compared"
    shutil.rmtree(out)
    out = changed(place, tmp_path, "frame_status", 60, 1)
    assert compared(out, place / "out").counts == {"frame status": 1}


def test_masks_that_differ(place, tmp_path):
    tree = pickle.loads((place / "a.pkl").read_bytes())
    frames = tree["test"]["keypoints"]
    with_hand = next(row for row, frame in enumerate(frames) if frame["left_hand"] is not None)
    frames[with_hand]["left_hand"] = None
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree))
    result = compared(place / "out", tmp_path / "a.pkl")
    assert result.counts == {"masks": 1}
    assert (result.parts["left_hand"].only_in_a, result.parts["left_hand"].only_in_b) == (1, 0)
    assert result.differing == ["test/squats"]


def test_frames_that_were_dropped(place, tmp_path, real_dataset):
    export(
        real_dataset, format_named("pickle"), str(tmp_path / "a.pkl"), ExportOptions(drop_empty_frames=True)
    )
    result = compared(place / "out", tmp_path / "a.pkl")
    assert result.counts["frame counts"] == 4
    assert ("dev/french_a1", 62, 61) in result.frame_counts
    assert result.frames == 0
    assert not result.is_equal


def test_other_landmarks_in_shards_of_another_order(place, tmp_path, shared_clips):
    other = make_dataset(tmp_path / "static", shared_clips, rows_of=17, array="static")
    result = compared(place / "out", Path(other.store.root))
    assert not result.is_equal
    assert result.counts["points"] > 0
    again = make_dataset(tmp_path / "pieces", shared_clips, rows_of=17)
    result = compared(place / "out", Path(again.store.root))
    assert result.is_equal, "rows of a clip are one clip"


def test_names_without_splits_meet_names_with_splits(place, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (place / "pose").rglob("*.pose"):
        shutil.copy(path, flat / path.name)
    result = compared(place / "out", flat)
    assert result.is_equal
    assert result.clips == 4
    with pytest.raises(JobError, match="no splits at all"):
        compared(place / "out", flat, splits=("train",))


def test_a_damaged_shard_could_not_be_compared(place, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(place / "out", out)
    data = bytearray((out / DEV).read_bytes())
    data[len(data) // 3] ^= 4
    (out / DEV).write_bytes(bytes(data))
    with pytest.raises(
        JobError, match=r"shard-000001\.parquet: expected a shard of this data set, cannot read"
    ):
        compared(out, place / "out")


@pytest.mark.parametrize("damage", ["ids", "frames"])
def test_a_shard_that_does_not_say_what_is_in_it_is_named(place, tmp_path, damage):
    out = tmp_path / "out"
    shutil.copytree(place / "out", out)
    if damage == "ids":
        data = bytearray((out / DEV).read_bytes())
        column = pq.ParquetFile(out / DEV).metadata.row_group(0).column(0)
        assert column.path_in_schema == "clip_id"
        data[(column.dictionary_page_offset or column.data_page_offset) + 30] ^= 255
        (out / DEV).write_bytes(bytes(data))
    else:
        table = pq.ParquetFile(out / DEV).read()
        index = table.schema.get_field_index("num_frames")
        nothing = pa.nulls(table.num_rows, pa.int32())
        pq.write_table(table.set_column(index, pa.field("num_frames", pa.int32()), nothing), out / DEV)
    with pytest.raises(
        JobError, match=r"shard-000001\.parquet: expected a shard of this data set, cannot read"
    ):
        compared(out, place / "out")
