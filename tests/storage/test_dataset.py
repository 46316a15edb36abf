import contextlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, FrameLandmarks, stack_frames
from storage import local
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, decode, encode
from storage.schema import SCHEMA_VERSION, num_points
from storage.shards import Failure, failures_name, write_shard

POINTS = {"pose": 33, "face": 4}
OPTIONS = {"engine": "holistic", "static": False, "fps": 25.0, "model": None}


@pytest.fixture
def dataset(tmp_path):
    found = Dataset(str(tmp_path / "out"))
    found.create(OPTIONS, "0f", {"source": "/in"})
    return found


def clip(name: str, split: str | None = "train") -> Clip:
    return Clip(name, f"/in/{name}", "frames", split, 3)


def row(owner: Clip, length: int = 3, first_frame: int = 0):
    parts, visibility = stack_frames([FrameLandmarks({})] * length, POINTS)
    landmarks = ClipLandmarks(
        first_frame=first_frame,
        fps=25.0,
        timestamps_ms=np.arange(length) * 40.0,
        frame_names=tuple(map(str, range(length))),
        frame_status=np.ones(length, np.int8),
        frame_errors=(None,) * length,
        frame_sizes_px=np.full((length, 2), 200, np.int32),
        parts=parts,
        pose_visibility=visibility,
    )
    return encode(owner, landmarks, Provenance("holistic", "0", "0f", "cpu", 1, 3.0, 1.0, 2.0, "host", ""))


def failed(owner: Clip) -> Failure:
    return Failure(owner.clip_id, owner.uri, owner.split, "decode", "broken", f"{owner.clip_id} is broken", 1)


def plan(dataset: Dataset, shards: dict[int, list[Clip]]) -> None:
    pairs = [(shard, member) for shard, members in shards.items() for member in members]
    dataset.write_plan(Plan(tuple(c for _, c in pairs), tuple(shard for shard, _ in pairs)))


def store(dataset: Dataset, shard: int, *outcomes: Clip | Failure) -> None:
    split = outcomes[0].split
    found = [o if isinstance(o, Failure) else [row(o)] for o in outcomes]
    write_shard(dataset.store, shard, split, POINTS, found)


def test_a_new_data_set_can_be_opened_and_is_empty(dataset):
    again = Dataset.open(dataset.store.location)
    assert again.config() == {
        "schema_version": SCHEMA_VERSION,
        "layout": "clips/split=<split>/shard-<number>.parquet, one row a clip",
        "options": OPTIONS,
        "options_hash": "0f",
        "source": "/in",
    }
    assert again.plan() == Plan()
    assert again.done() == {}
    assert again.failures().num_rows == 0
    assert again.clips().count_rows() == 0


def test_a_folder_without_a_data_set_is_named(tmp_path):
    with pytest.raises(JobError, match=rf"{tmp_path}: expected a landmark data set, found no dataset.json"):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "options": []}',
        b'{"schema_version": "new", "options": {}}',
    ],
)
def test_a_damaged_configuration_is_named(dataset, damaged):
    dataset.store.write("dataset.json", damaged)
    with pytest.raises(JobError, match=r"dataset.json: damaged: .*; extract into a new folder"):
        Dataset.open(dataset.store.location)


def test_a_newer_schema_asks_for_an_update(dataset):
    config = {**dataset.config(), "schema_version": SCHEMA_VERSION + 1}
    dataset.store.write("dataset.json", json.dumps(config).encode())
    with pytest.raises(
        JobError, match=rf"version {SCHEMA_VERSION + 1} is newer than {SCHEMA_VERSION}.*update"
    ):
        Dataset.open(dataset.store.location)


def test_other_options_are_named_and_no_others(dataset):
    dataset.check_options(dict(OPTIONS))
    now = {**OPTIONS, "static": True, "extra": 1}
    del now["model"]
    with pytest.raises(JobError) as caught:
        dataset.check_options(now)
    assert "(extra: there None, now 1; static: there False, now True)" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["notes.txt"], "found 'notes.txt': choose another OUT"),
        (["a", "b", "c"], "found 'a' and 2 more: choose another OUT"),
        (["clips/holiday.mp4"], "found 'clips': choose another OUT"),
        (["plan.parquet"], "found 'plan.parquet': choose another OUT"),
    ],
)
def test_a_new_data_set_does_not_lie_among_other_files(tmp_path, files, found):
    dataset = Dataset(str(tmp_path))
    for name in files:
        dataset.store.write(name, b"")
    with pytest.raises(JobError, match=found):
        dataset.expect_empty()


def test_what_a_job_that_died_at_its_start_left_is_no_hindrance(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.expect_empty()
    for name in ("_running/job.json", ".dataset.json.host-12-0123abcd.tmp"):
        dataset.store.write(name, b"")
    dataset.expect_empty()


def test_a_file_cannot_be_the_folder(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(JobError, match="expected a folder for the data set, found a file"):
        Dataset(str(tmp_path / "out")).expect_empty()


def test_delete_leaves_the_files_of_others(dataset):
    plan(dataset, {0: [clip("a"), clip("b")], 1: [clip("c", "dev")]})
    store(dataset, 0, clip("a"), failed(clip("b")))
    store(dataset, 1, clip("c", "dev"))
    theirs = ["README", "clips/notes.txt", "clips/split=train/shard-1.parquet", "models/m.task"]
    for name in theirs:
        dataset.store.write(name, b"")
    dataset.delete()
    assert sorted(dataset.store.names("")) == theirs
    assert not dataset.exists()


def test_delete_leaves_an_empty_folder(dataset):
    plan(dataset, {0: [clip("a")]})
    store(dataset, 0, clip("a"))
    dataset.delete()
    assert dataset.store.entries() == []
    dataset.delete()


def test_a_plan_comes_back_whole_and_by_shard(dataset):
    plan(dataset, {0: [clip("a"), clip("b")], 3: [clip("c", None)]})
    assert dataset.plan().by_shard() == {0: [clip("a"), clip("b")], 3: [clip("c", None)]}
    assert dataset.planned_clips(0) == [clip("a"), clip("b")]
    assert dataset.planned_clips(3) == [clip("c", None)]
    assert dataset.planned_clips(1) == []


def test_only_whole_shards_are_done(dataset):
    store(dataset, 0, clip("a"))
    store(dataset, 1_000_000, clip("b", None))
    for name in (
        "clips/split=train/.shard-000002.parquet.host-1-0123abcd.tmp",
        "clips/split=train/shard-000003.parquet.bak",
        "clips/shard-000004.parquet",
        "clips/split=train/old/shard-000005.parquet",
    ):
        dataset.store.write(name, b"")
    assert dataset.done() == {
        0: "clips/split=train/shard-000000.parquet",
        1_000_000: "clips/split=none/shard-1000000.parquet",
    }
    assert dataset.clips().count_rows() == 2


def test_failures_of_finished_shards_are_listed(dataset):
    plan(dataset, {0: [clip("a"), clip("b")], 1: [clip("c")]})
    store(dataset, 0, failed(clip("a")), clip("b"))
    store(dataset, 1, failed(clip("c")))
    assert dataset.failures()["clip_id"].to_pylist() == ["a", "c"]


def test_failures_of_an_attempt_that_was_killed_are_not(dataset):
    plan(dataset, {0: [clip("a")]})
    store(dataset, 0, failed(clip("a")))
    dataset.store.delete("clips/split=train/shard-000000.parquet")
    assert dataset.store.is_file(failures_name(0))
    assert dataset.failures().num_rows == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("late_is_killed", [False, True])
@pytest.mark.parametrize("late", ["a b", "a", "b", ""])
@pytest.mark.parametrize("early", ["a b", "b", ""])
@pytest.mark.parametrize("early_ends", ["before", "with failures", "with clips"])
def test_two_attempts_at_one_shard(dataset, early_ends, early, late, late_is_killed, monkeypatch):
    """A machine was only thought dead: its attempt ends while another makes its files visible, or dies."""
    plan(dataset, {0: [clip("a"), clip("b")]})
    put = local._put_in_place

    def attempt(failing: str) -> None:
        store(dataset, 0, *(failed(clip(c)) if c in failing else clip(c) for c in ("a", "b")))

    def disturbed(temporary, path, *rest):
        if early_ends != "before" and f"/{early_ends.split()[1]}/" in path:
            monkeypatch.setattr(local, "_put_in_place", put)
            attempt(early)
            monkeypatch.setattr(local, "_put_in_place", disturbed if early_ends == "with failures" else put)
        if late_is_killed and "/clips/" in path:
            raise Killed
        put(temporary, path, *rest)

    if early_ends == "before":
        attempt(early)
    monkeypatch.setattr(local, "_put_in_place", disturbed)
    with contextlib.suppress(Killed):
        attempt(late)
    there = dataset.clips().to_table(columns=["clip_id"])["clip_id"].to_pylist()
    there += dataset.failures()["clip_id"].to_pylist()
    assert sorted(there) == (["a", "b"] if dataset.done() else [])


def test_failures_of_data_sets_whose_shards_do_not_name_them_are_listed(dataset):
    plan(dataset, {0: [clip("a"), clip("b")]})
    store(dataset, 0, failed(clip("a")), clip("b"))
    (name,) = dataset.done().values()
    table = pq.read_table(dataset.store.open(name))
    with dataset.store.create(name) as file:
        pq.write_table(table.replace_schema_metadata(None), file)
    assert dataset.failures()["clip_id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    "said", [b"{", b"7", b"[7]", b"[{}]", b'[{"clip_id": "a", "time": "noon"}]', b"\xff"]
)
def test_a_shard_that_says_nonsense_of_its_failures_is_damaged(dataset, said):
    plan(dataset, {0: [clip("a"), clip("b")]})
    store(dataset, 0, failed(clip("a")), clip("b"))
    (name,) = dataset.done().values()
    table = pq.read_table(dataset.store.open(name))
    with dataset.store.create(name) as file:
        pq.write_table(table.replace_schema_metadata({"ray_landmarks.failed": said}), file)
    with pytest.raises(JobError, match="shard-000000"):
        dataset.failures()


def test_failures_that_were_tried_again_are_not(dataset):
    plan(dataset, {0: [clip("a"), clip("b")]})
    store(dataset, 0, failed(clip("a")), failed(clip("b")))
    plan(dataset, {0: [clip("b")], 1: [clip("a")]})
    assert dataset.failures()["clip_id"].to_pylist() == ["b"]
    with pytest.raises(JobError, match="'a': not done yet"):
        dataset.read_clip("a")
    store(dataset, 1, failed(clip("a")))
    assert dataset.failures()["clip_id"].to_pylist() == ["b", "a"]
    store(dataset, 1, clip("a"))
    assert dataset.failures()["clip_id"].to_pylist() == ["b"]
    assert dataset.read_clip("a").num_rows == 1


@pytest.fixture
def three_splits(dataset):
    for shard, split in enumerate(["train", "dev-1.x", None]):
        store(dataset, shard, clip(f"a{shard}", split), clip(f"b{shard}", split))
    return dataset


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ((), {"a0": "train", "b0": "train", "a1": "dev-1.x", "b1": "dev-1.x", "a2": "none", "b2": "none"}),
        (("train",), {"a0": "train", "b0": "train"}),
        (("none", "dev-1.x"), {"a1": "dev-1.x", "b1": "dev-1.x", "a2": "none", "b2": "none"}),
    ],
)
def test_clips_have_the_split_of_their_folder(three_splits, splits, expected):
    clips = three_splits.clips(splits)
    assert num_points(clips.schema) == POINTS
    table = clips.to_table(columns=["clip_id", "split"])
    assert dict(zip(*table.to_pydict().values(), strict=True)) == expected


def test_a_split_that_is_not_there_is_named(three_splits):
    with pytest.raises(JobError, match=r"no clip of split test, val: it has dev-1.x, none, train"):
        three_splits.clips(["train", "val", "test"])


def test_one_clip_is_read_with_all_its_rows_in_order(dataset):
    name = 'it\'s "a"\nclip'
    plan(dataset, {0: [clip("x"), clip(name)]})
    pieces = [row(clip(name), 2, 4), row(clip(name), 4, 0), row(clip(name), 1, 6)]
    write_shard(dataset.store, 0, "train", POINTS, [[row(clip("x"))], pieces])
    table = dataset.read_clip(name)
    assert table["first_frame"].to_pylist() == [0, 4, 6]
    assert [len(decode(table, index)) for index in range(3)] == [4, 2, 1]


def test_why_a_clip_cannot_be_read(dataset):
    plan(dataset, {0: [clip("a"), clip("lost")], 1: [clip("b")]})
    with pytest.raises(JobError, match="'a': not done yet; run the same extract command again"):
        dataset.read_clip("a")
    store(dataset, 0, failed(clip("a")))
    for name, why in [
        ("a", "'a': failed: a is broken"),
        ("lost", "its shard has no row for it"),
        ("b", "not done yet"),
        ("c", "'c': no such clip was planned in"),
    ]:
        with pytest.raises(JobError, match=why):
            dataset.read_clip(name)


def test_one_clip_is_found_without_reading_the_others(dataset):
    owners = [clip(f"{number:02}") for number in range(40)]
    plan(dataset, {0: owners})
    store(dataset, 0, *owners)
    column = pq.read_metadata(dataset.store.full(dataset.done()[0])).row_group(1).column(0)
    assert (column.statistics.min, column.statistics.max) == ("04", "07")
    assert dataset.read_clip("20")["clip_id"].to_pylist() == ["20"]


def test_a_lost_plan_is_told_and_not_made_anew_beside_the_shards(dataset):
    clips = [clip("a"), clip("b")]
    plan(dataset, {0: clips})
    store(dataset, 0, *clips)
    dataset.store.delete("plan.parquet")
    with pytest.raises(JobError, match=r"plan\.parquet: missing, although shards stand"):
        dataset.plan()
    dataset.delete()  # what --overwrite does still works


def test_a_damaged_plan_is_told(dataset):
    dataset.store.write("plan.parquet", b"PAR1 or not")
    with pytest.raises(JobError, match=r"plan\.parquet: expected a Parquet file"):
        dataset.plan()
