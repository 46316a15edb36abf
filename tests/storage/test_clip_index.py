"""Where clips stand, and what is read of a file to get one."""

import itertools
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from real_dataset import SPLITS, make_dataset, real_landmarks

from extraction.errors import JobError
from storage.clip_index import PointReader, read_index
from storage.dataset import Dataset
from storage.layout import point_layout
from storage.stored import stored_clips

ALL = ["pose", "pose_world", "left_hand", "right_hand", "face"]


@pytest.fixture(scope="module")
def expected(shared_clips):
    def load(clip_id: str) -> dict[str, np.ndarray]:
        path = shared_clips / f"phoenix_like/expected/{clip_id.split('/')[1]}.npz"
        return dict(real_landmarks(np.load(path)["tracking"]).parts)

    return load


def test_each_clip_has_its_place(real_dataset):
    index = read_index(real_dataset)
    assert [place.clip_id for place in index.places] == [f"{split}/{n}" for n, split in SPLITS.items()]
    assert [place.num_frames for place in index.places] == [125, 58, 62, 65]
    assert [place.split for place in index.places] == list(SPLITS.values())
    assert index.places[2].about["gloss"] == 'SAMSTAG "WIND" WEHEN'
    assert index.places[2].about["fps"] == 25.0
    assert index.num_points["face"] == 468
    assert [list(unit) for unit in index.by_row_group()] == [[0, 1], [2], [3]]
    assert [place.clip_id for place in read_index(real_dataset, ["test"]).places] == ["test/squats"]


@pytest.mark.parametrize("rows_of", [None, 40, 7, 1])
def test_points_are_those_that_stand_there(tmp_path, shared_clips, expected, rows_of):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of)
    index, layout = read_index(dataset), point_layout(ALL)
    units = index.by_row_group()
    assert [position for unit in units for position in unit] == [0, 1, 2, 3]
    reader = PointReader(str(tmp_path / "out"), layout)
    for place in reversed(index.places):
        points = reader.points(place)
        assert points.dtype == np.float32
        for part, array in expected(place.clip_id).items():
            assert points[:, layout.slice_of(part)].tobytes() == array.tobytes()


def test_only_the_chosen_columns_of_one_row_group_are_read(tmp_path, shared_clips):
    """Everything else of the shard but its ids is destroyed, and the clip comes all the same."""
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of=2)
    layout = point_layout({"left_hand": ["wrist"]})
    place = next(place for place in read_index(dataset).places if place.clip_id == "train/bsl_demo")
    whole = PointReader(str(tmp_path / "out"), layout).points(place)
    path = tmp_path / "out" / place.shard
    metadata = pq.read_metadata(path)
    first = type(place)(place.clip_id, place.split, place.shard, place.rows[4:8], 8, place.about)
    assert first.groups == (1,)
    kept = []
    for group, column in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
        chunk = metadata.row_group(group).column(column)
        if chunk.path_in_schema == "clip_id" or (group, chunk.path_in_schema) == (
            1,
            "left_hand.list.element",
        ):
            begin = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            kept.append(slice(begin, begin + chunk.total_compressed_size))
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    broken = bytearray(b"\xff" * footer + data[footer:])
    for part in kept:
        broken[part] = data[part]
    path.write_bytes(broken)
    np.testing.assert_array_equal(PointReader(str(tmp_path / "out"), layout).points(first), whole[8:16])
    with pytest.raises(JobError, match=r"shard-000000\.parquet: expected a shard"):
        PointReader(str(tmp_path / "out"), layout).points(place)


def test_a_reader_that_was_sent_elsewhere_reads_on(real_dataset):
    reader = PointReader(real_dataset.store.location, point_layout())
    place = read_index(real_dataset).places[0]
    points = reader.points(place)
    copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(copy.points(place), points)


def test_a_data_set_without_clips(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    for shard in list(dataset.done().values()):
        dataset.store.delete(shard)
    with pytest.raises(JobError, match="expected clips that are done, found none yet"):
        read_index(dataset)


def test_a_damaged_shard_is_named(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (shard,) = (tmp_path / "out/clips/split=dev").iterdir()
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(JobError, match=r"shard-000001\.parquet: expected a shard of this data set"):
        read_index(dataset)


def test_a_shard_whose_clips_have_no_length_is_named(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (shard,) = (tmp_path / "out/clips/split=dev").iterdir()
    table = pq.ParquetFile(shard).read()
    column = table.schema.get_field_index("num_frames")
    for wrong in (None, -1):
        lengths = pa.array([wrong] * len(table), pa.int32())
        pq.write_table(table.set_column(column, "num_frames", lengths), shard)
        with pytest.raises(
            JobError, match=rf"shard-000001\.parquet: expected a shard .*'dev/french_a1' is {wrong}"
        ):
            read_index(dataset)


def in_reverse(table: pa.Table) -> pa.Table:
    return table.take(list(range(len(table)))[::-1])


ANEW = {
    "clips in another order": lambda table: in_reverse(table),
    "only the last clip left": lambda table: table.slice(len(table) - 1),
    "a clip of fewer frames": lambda table: table.filter(pc.field("first_frame") == 0),
    "without a part": lambda table: table.drop_columns(["left_hand", "left_hand_present"]),
}


@pytest.mark.parametrize("what", ANEW)
def test_a_shard_that_was_written_anew_never_gives_another_clip(tmp_path, shared_clips, what):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of=40)
    places = read_index(dataset).places[:2]
    assert {place.shard for place in places} == {places[0].shard}
    shard = tmp_path / "out" / places[0].shard
    reader = PointReader(str(tmp_path / "out"), point_layout())
    table = ANEW[what](pq.ParquetFile(shard).read())
    shard.unlink()
    pq.write_table(table, shard, row_group_size=4)
    with pytest.raises(JobError, match=r"shard-000000\.parquet was written anew since .*: open it again"):
        reader.points(places[0])


def test_a_shard_that_was_indexed_is_known_by_its_fingerprint(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    index = read_index(dataset, with_fingerprints=True)
    place, where = index.places[0], str(tmp_path / "out")
    reader = PointReader(where, point_layout(), fingerprints=index.fingerprints)
    expected = PointReader(where, point_layout()).points(place)
    np.testing.assert_array_equal(reader.points(place), expected)
    sent = pickle.loads(pickle.dumps(reader))
    shard = tmp_path / "out" / place.shard
    table = pq.ParquetFile(shard).read()
    shard.unlink()
    other = table.set_column(table.column_names.index("gloss"), "gloss", pa.array(["X"] * len(table)))
    pq.write_table(other, shard, row_group_size=4)
    np.testing.assert_array_equal(reader.points(place), expected)  # of the file that it holds
    with pytest.raises(JobError, match=r"was written anew since .*: open it again"):
        sent.points(place)  # the same ids and lengths: nothing else would tell
    PointReader(where, point_layout()).points(place)


def test_a_shard_with_other_points_of_a_part(tmp_path, shared_clips):
    make_dataset(tmp_path / "out", shared_clips)
    place = read_index(Dataset(str(tmp_path / "out"))).places[0]
    for chosen in ({"face": None}, {"face": [477]}):
        reader = PointReader(str(tmp_path / "out"), point_layout(chosen, {"face": 478}))
        with pytest.raises(JobError, match=r"was written anew"):
            reader.points(place)


def test_a_shard_that_is_gone_or_written_anew_while_it_is_read(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    places = read_index(dataset).places
    reader = PointReader(str(tmp_path / "out"), point_layout())
    points = reader.points(places[2])
    for place in places[1:3]:
        (tmp_path / "out" / place.shard).unlink()
    np.testing.assert_array_equal(reader.points(places[2]), points)  # it still holds the file
    with pytest.raises(JobError, match=r"shard-000000\.parquet was written anew since .*: open it again"):
        reader.points(places[0])


def as_written_before(path) -> None:
    """The same shard as older versions laid it out: values that may be null, all in zstd, no checksums."""
    table = pq.read_table(path, partitioning=None)
    fields = [
        pa.field(f.name, pa.list_(pa.float32()), metadata=f.metadata)
        if "float not null" in str(f.type)
        else f
        for f in table.schema
    ]
    schema = pa.schema(fields, table.schema.metadata)
    assert schema != table.schema
    columns = [
        pa.ListArray.from_arrays(column.offsets, column.values, type=field.type)
        if field.type == pa.list_(pa.float32())
        else column
        for field, column in zip(schema, table.combine_chunks().itercolumns(), strict=True)
        for column in [column.combine_chunks()]
    ]
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


@pytest.mark.parametrize("old", ["train", "dev", "test"])
def test_shards_of_older_versions_are_read_beside_new_ones(tmp_path, shared_clips, expected, old):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (shard,) = (tmp_path / f"out/clips/split={old}").iterdir()
    as_written_before(shard)
    index, layout = read_index(dataset), point_layout(ALL)
    reader = PointReader(str(tmp_path / "out"), layout)
    whole = {clip.clip_id: clip.landmarks for clip in stored_clips(dataset)}
    table = dataset.clips().to_table()
    for place in index.places:
        points = reader.points(place)
        row = table.filter(pc.field("clip_id") == place.clip_id)
        for part, array in expected(place.clip_id).items():
            assert points[:, layout.slice_of(part)].tobytes() == array.tobytes()
            assert whole[place.clip_id].parts[part].tobytes() == array.tobytes()
            assert row[part][0].values.to_numpy().tobytes() == array.tobytes()
