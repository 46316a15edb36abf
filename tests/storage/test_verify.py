"""A data set is tampered with in every way we could think of; each must be found, and named."""

import dataclasses
import json
import random
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from real_dataset import FAILED, make_dataset

from extraction.clips import Clip
from extraction.errors import JobError
from storage.dataset import Dataset
from storage.plan import Plan
from storage.schema import parquet_options
from storage.verify import Verified, verify
from storage.verify_clips import OF_CLIP, Accounts
from storage.verify_input import InputClips

TRAIN = "clips/split=train/shard-000000.parquet"
DEV = "clips/split=dev/shard-000001.parquet"
TEST = "clips/split=test/shard-000002.parquet"


@pytest.fixture
def dataset(tmp_path: Path, real_dataset: Dataset) -> Dataset:
    shutil.copytree(real_dataset.store.root, tmp_path / "out")
    return Dataset.open(str(tmp_path / "out"))


def path(dataset: Dataset, name: str) -> Path:
    return Path(dataset.store.root) / name


def rewritten(dataset: Dataset, name: str, change: Callable[[pa.Table], pa.Table], to: str = "") -> None:
    """A shard written again with something changed, everything else as a writer would do it."""
    metadata = pq.read_metadata(path(dataset, name)).metadata or {}
    table = change(pq.ParquetFile(path(dataset, name)).read())
    with pq.ParquetWriter(path(dataset, to or name), table.schema, **parquet_options(table.schema)) as writer:
        for row in range(table.num_rows):
            writer.write_table(table.slice(row, 1))
        writer.add_key_value_metadata({k: v for k, v in metadata.items() if k == b"ray_landmarks.failed"})


def with_values(name: str, row: int, change: Callable[[np.ndarray], None]) -> Callable[[pa.Table], pa.Table]:
    """Changes the numbers of a column's row."""

    def apply(table: pa.Table) -> pa.Table:
        lists = table[name].to_pylist()
        values = np.array(lists[row], dtype=object if None in lists[row] else None)
        change(values)
        lists[row] = values.tolist()
        column = pa.array(lists, table.schema.field(name).type)
        return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)

    return apply


def with_column(name: str, change: Callable[[list], list]) -> Callable[[pa.Table], pa.Table]:
    def apply(table: pa.Table) -> pa.Table:
        column = pa.array(change(table[name].to_pylist()), table.schema.field(name).type)
        return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)

    return apply


def replan(dataset: Dataset, change: Callable[[list], list]) -> None:
    plan = dataset.plan()
    pairs = change(list(zip(plan.clips, plan.shards, strict=True)))
    dataset.write_plan(Plan(tuple(clip for clip, _ in pairs), tuple(shard for _, shard in pairs)))


def found(result: Verified, kind: str, *names: str) -> bool:
    return any(
        p.kind == kind and all(name in f"{p.where}: {p.text}" for name in names) for p in result.problems
    )


def test_a_good_data_set_is_good(dataset):
    result = verify(dataset)
    assert result.is_good, result.problems
    assert (result.planned, result.done, result.failed, result.to_do) == (5, 4, 1, 0)
    assert (result.frames, result.shards, result.without_checksums) == (310, 3, 0)


def test_a_clip_of_several_rows_is_good_and_a_missing_row_is_found(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of=20)
    assert verify(dataset).is_good
    rewritten(dataset, DEV, lambda table: pa.concat_tables([table.slice(0, 1), table.slice(2)]))
    assert found(verify(dataset), "length", "dev/french_a1", "begins at frame 40, expected 20")
    dataset = make_dataset(tmp_path / "b", shared_clips, rows_of=20)
    rewritten(dataset, DEV, lambda table: table.slice(0, table.num_rows - 1))
    assert found(verify(dataset), "length", "dev/french_a1", "60 frames, it was planned with 62")


def invert(position: int) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[position] = not values[position]

    return change


def put(position: int, value: object) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[position] = value

    return change


def number(value: float) -> Callable[[np.ndarray], None]:
    """Puts something in the place of a number that is there."""

    def change(values: np.ndarray) -> None:
        values[np.flatnonzero(~np.isnan(values))[4]] = value

    return change


def absent(value: float) -> Callable[[np.ndarray], None]:
    """Puts something where nothing was found."""

    def change(values: np.ndarray) -> None:
        values[np.flatnonzero(np.isnan(values))[0]] = value

    return change


_v, _c = with_values, with_column
IN_A_ROW = {
    "presence flipped where found": ("mask", "pose", _v("pose_present", 0, invert(0))),
    "presence flipped where not": ("mask", "left_hand", _v("left_hand_present", 1, invert(0))),
    "NaN in a part that is there": ("mask", "face", _v("face", 0, number(np.nan))),
    "a number in a part that is not": ("mask", "right_hand", _v("right_hand", 1, absent(0.5))),
    "infinite": ("finite", "pose_world", _v("pose_world", 0, number(np.inf))),
    "not plausible": ("plausible", "pose", _v("pose", 0, number(-1e20))),
    "visibility of nobody": ("mask", "pose_visibility", _v("pose_visibility", 0, absent(0.5))),
    "visibility above 1": ("plausible", "pose_visibility", _v("pose_visibility", 0, number(1.5))),
    "status": ("mask", "frame_status", _v("frame_status", 0, put(0, 1))),
    "status of no kind": ("mask", "frame_status", _v("frame_status", 0, put(0, 7))),
    "an error that is none": ("mask", "frame_errors", _v("frame_errors", 0, put(0, "broken"))),
    "a size of 0": ("mask", "size of frame 3", _v("frame_widths", 0, put(3, 0))),
    "another width": ("mask", "width and height", _c("width", lambda w: [w[0] + 1, *w[1:]])),
    "times that fall": ("plausible", "timestamps_ms", _v("timestamps_ms", 0, put(5, 0.0))),
    "no fps": ("plausible", "fps", _c("fps", lambda values: [0.0, *values[1:]])),
    "num_frames": ("length", "expected", _c("num_frames", lambda n: [n[0] - 1, *n[1:]])),
    "a frame's name gone": ("length", "frame_names", _c("frame_names", lambda n: [n[0][:-1], *n[1:]])),
    "a point gone": ("length", "face has", _c("face", lambda n: [n[0][:-3], *n[1:]])),
    "other options": ("options", "'1e'", _c("options_hash", lambda n: ["1e", *n[1:]])),
    "another input": ("plan", "input_fingerprint", _c("input_fingerprint", lambda n: ["ab", *n[1:]])),
    "another path": ("plan", "uri", _c("uri", lambda n: ["/else", *n[1:]])),
    "a range": ("plan", "start_frame", _c("start_frame", lambda n: [3, *n[1:]])),
    "another gloss": ("plan", "gloss is 'ANDERS'", _c("gloss", lambda n: ["ANDERS", *n[1:]])),
    "no engine": ("options", "without engine: nothing says", _c("engine", lambda n: [None, *n[1:]])),
    "no translation": ("plan", "text is None", _c("text", lambda n: [None, *n[1:]])),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_A_ROW)
def test_what_is_wrong_in_a_row_is_named(dataset, what):
    kind, text, change = IN_A_ROW[what]
    rewritten(dataset, TRAIN, change)
    result = verify(dataset)
    assert found(result, kind, "train/", text), result.problems
    rewritten(dataset, TRAIN, lambda table: table)
    assert not verify(dataset).is_good, "the change stood in the file"


def test_rewriting_a_shard_unchanged_changes_nothing(dataset):
    rewritten(dataset, TRAIN, lambda table: table)
    assert verify(dataset).is_good


def test_two_clips_with_each_others_ids(dataset):
    rewritten(dataset, TRAIN, with_column("clip_id", lambda names: names[::-1]))
    result = verify(dataset)
    for name in ("train/bsl_demo", "train/wave"):
        assert found(result, "plan", name, "uri")
        assert found(result, "plan", name, "input_fingerprint")


def test_a_row_that_is_gone(dataset):
    rewritten(dataset, TRAIN, lambda table: table.slice(0, 1))
    assert found(verify(dataset), "lost", "train/wave", "neither done nor failed")


def test_a_clip_in_two_shards_and_twice_in_one(dataset):
    wave = pq.read_table(path(dataset, TRAIN)).slice(1, 1)
    rewritten(dataset, DEV, lambda table: pa.concat_tables([table, wave.cast(table.schema)]))
    result = verify(dataset)
    assert found(result, "duplicate", "train/wave", TRAIN, DEV)
    rewritten(dataset, TEST, lambda table: pa.concat_tables([table, table]))
    assert found(verify(dataset), "duplicate", "test/squats", TEST)


def test_a_plan_that_was_shortened(dataset):
    replan(dataset, lambda pairs: [pair for pair in pairs if pair[0].clip_id != "train/wave"])
    assert found(verify(dataset), "unplanned", "train/wave", "the plan has no such clip")


def test_a_plan_without_the_clip_that_failed(dataset):
    replan(dataset, lambda pairs: [pair for pair in pairs if pair[0].clip_id != FAILED])
    assert found(verify(dataset), "unplanned", FAILED, "failed in")


def test_a_plan_that_is_gone_or_broken(dataset):
    path(dataset, "plan.parquet").write_bytes(b"PAR1")
    assert found(verify(dataset), "plan", "plan.parquet", "cannot read it")
    path(dataset, "plan.parquet").unlink()
    assert found(verify(dataset), "plan", "plan.parquet", "missing")


def test_a_clip_planned_for_another_shard(dataset):
    replan(
        dataset,
        lambda pairs: sorted(
            ((c, 1 if c.clip_id == "train/wave" else s) for c, s in pairs), key=lambda p: p[1]
        ),
    )
    assert found(verify(dataset), "unplanned", "train/wave", "was planned for shard 1")


def test_failures_that_are_gone(dataset):
    path(dataset, "failures/shard-000000.parquet").unlink()
    assert found(verify(dataset), "failures", "failures/shard-000000.parquet", FAILED)


def test_failures_that_are_broken(dataset):
    path(dataset, "failures/shard-000000.parquet").write_bytes(b"no")
    assert found(verify(dataset), "damaged", "failures/shard-000000.parquet")


def test_a_failure_that_the_shard_forgot(dataset):
    table = pq.ParquetFile(path(dataset, TRAIN)).read()
    with pq.ParquetWriter(path(dataset, TRAIN), table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ray_landmarks.failed": "[]"})
    assert found(verify(dataset), "lost", FAILED)


def test_a_shard_that_is_gone(dataset):
    path(dataset, DEV).unlink()
    result = verify(dataset)
    assert found(result, "to-do", "shard 1", "1 clips wait")
    assert result.to_do == 1


def test_a_shard_of_another_data_set(dataset, tmp_path, shared_clips):
    other = make_dataset(tmp_path / "other", shared_clips, array="static")
    rewritten(other, TRAIN, with_column("options_hash", lambda n: ["1e"] * len(n)))
    shutil.copy(path(other, TRAIN), path(dataset, TRAIN))
    assert found(verify(dataset), "options", "train/wave")
    shutil.copy(path(dataset, DEV), path(dataset, "clips/split=dev/shard-000009.parquet"))
    result = verify(dataset)
    assert found(result, "unplanned", "dev/french_a1", "was planned for shard 1") or found(
        result, "duplicate", "dev/french_a1", "shard-000009"
    )


def test_a_split_folder_of_another_name(dataset):
    path(dataset, "clips/split=dev").rename(path(dataset, "clips/split=val"))
    assert found(verify(dataset), "split", "dev/french_a1", "its split is dev")
    path(dataset, "clips/split=val").rename(path(dataset, "clips/dev"))
    result = verify(dataset)
    assert found(result, "stray-file", "clips/dev/shard-000001.parquet")
    assert found(result, "to-do", "shard 1")


def test_one_shard_number_in_two_splits(dataset):
    shutil.copy(path(dataset, DEV), path(dataset, "clips/split=train/shard-000001.parquet"))
    result = verify(dataset)
    assert found(result, "duplicate", "has the number of")
    assert found(result, "duplicate", "dev/french_a1")


def test_a_shard_that_is_cut_short(dataset):
    whole = path(dataset, TRAIN).read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path(dataset, TRAIN).write_bytes(whole[:length])
        result = verify(dataset)
        assert found(result, "damaged", TRAIN), length
        assert result.counts == {"damaged": 1}, "its clips are not told one by one"


def test_another_schema(dataset):
    rewritten(dataset, TRAIN, lambda table: table.drop_columns(["pose_world_present"]))
    assert found(verify(dataset), "damaged", TRAIN, "pose_world_present")


def test_parts_of_another_size(dataset):
    def fewer(table: pa.Table) -> pa.Table:
        field = table.schema.field("left_hand")
        changed = field.with_metadata({**field.metadata, b"num_points": b"20"})
        index = table.schema.get_field_index("left_hand")
        lists = [values[: 20 * 3 * len(values) // 63] for values in table["left_hand"].to_pylist()]
        return table.set_column(index, changed, pa.array(lists, field.type))

    rewritten(dataset, TEST, fewer)
    assert found(verify(dataset), "schema", TEST, "left_hand 20")


def test_shards_without_checksums_are_counted(dataset):
    table = pq.ParquetFile(path(dataset, DEV)).read()
    options = {**parquet_options(table.schema), "write_page_checksum": False}
    with pq.ParquetWriter(path(dataset, DEV), table.schema, **options) as writer:
        writer.write_table(table)
    result = verify(dataset)
    assert result.is_good
    assert result.without_checksums == 1


def test_any_flipped_bit_is_found_or_changes_nothing_that_is_read(dataset):
    name = path(dataset, DEV)
    whole = name.read_bytes()
    original = pq.ParquetFile(name).read()
    chance = random.Random(7)
    places = [chance.randrange(len(whole)) for _ in range(150)]
    places += [len(whole) - chance.randrange(1, 20_000) for _ in range(60)]  # headers, footer
    detected = 0
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        name.write_bytes(bytes(data))
        if verify(dataset).is_good:
            again = pq.ParquetFile(name).read()
            assert same_bits(again, original), place
        else:
            detected += 1
    assert detected > len(places) * 0.7


def test_a_footer_that_contradicts_itself_about_types(dataset):
    """Asked for the statistics of such a column, pyarrow ends the process."""
    name = path(dataset, DEV)
    whole = name.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    # ColumnChunk.meta_data in Thrift's compact protocol: field 3, a struct, and its field 1, the type.
    places = [match.end() for match in re.finditer(b"\x1c\x15(?=[\x00-\x0c]\x19)", whole[footer:])]
    assert len(places) == len(pq.ParquetFile(name).schema)
    for place in places[::8]:
        data = bytearray(whole)
        data[footer + place] ^= 1 << 4
        name.write_bytes(bytes(data))
        result = verify(dataset)
        assert found(result, "damaged", DEV), (place, result.problems)


def same_bits(a: pa.Table, b: pa.Table) -> bool:
    """Equality in which NaN is equal to itself."""
    if a.column_names != b.column_names:
        return False
    for name in a.column_names:
        for x, y in zip(a[name], b[name], strict=True):
            if pa.types.is_list(a.schema.field(name).type) and pa.types.is_float32(x.type.value_type):
                x, y = (np.asarray(v.values).view(np.uint32) for v in (x, y))
                if not np.array_equal(x, y):
                    return False
            elif x != y:
                return False
    return True


def test_bounds_in_the_footer_that_hide_a_clip(dataset):
    name = path(dataset, DEV)
    data = name.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    hidden = re.sub(b"(?<!/in/)dev/french_a1", b"dev/zrench_a1", data[footer:])
    name.write_bytes(data[:footer] + hidden)
    assert pq.read_table(name, filters=pc.field("clip_id") == "dev/french_a1").num_rows == 0
    assert pq.ParquetFile(name).read(["clip_id"])["clip_id"].to_pylist() == ["dev/french_a1"]
    assert found(verify(dataset), "damaged", DEV, "the bounds of clip_id")


# Against the input.


def inputs(dataset: Dataset) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in dataset.plan().clips}


def verified(dataset: Dataset, now: dict[str, Clip], then: str = "/in", root: str = "/in") -> Verified:
    return verify(dataset, InputClips(now.values(), then, root))


def test_the_input_as_it_was(dataset):
    result = verified(dataset, inputs(dataset))
    assert result.is_good
    assert (result.inputs, result.new_inputs) == (4, 0)


def test_the_input_as_it_was_not(dataset):
    now = inputs(dataset)
    del now["dev/french_a1"]
    was = now["train/wave"]
    now["train/wave"] = Clip("train/wave", was.uri, "frames", "train", was.num_frames + 1, "other")
    was = now["test/squats"]
    now["test/squats"] = Clip("test/squats", was.uri, "frames", "test", was.num_frames, "other")
    now["train/new"] = Clip("train/new", "/in/new", "frames", "train", 3, "f")
    result = verified(dataset, now)
    assert found(result, "input", "dev/french_a1", "no longer")
    assert found(result, "input", "train/wave", "58 frames, the input now has 59")
    assert found(result, "input", "test/squats", "fingerprint")
    assert result.new_inputs == 1
    assert result.counts == {"input": 3}


def moved(clip: Clip, uri: str, **other: object) -> Clip:
    return dataclasses.replace(clip, uri=uri, **other)


def test_an_input_that_moved_is_known_by_its_place_whatever_it_is_called_now(dataset):
    now = {
        f"other/{clip_id}": moved(clip, f"/new/{clip_id}", clip_id=f"other/{clip_id}")
        for clip_id, clip in inputs(dataset).items()
    }
    result = verified(dataset, now, root="/new/")
    assert result.is_good, result.problems
    assert (result.inputs, result.new_inputs) == (4, 0)
    # A manifest's clips lie below its own folder.
    result = verified(dataset, now, then="/in/clips.csv", root="/new/moved.parquet")
    assert result.is_good, result.problems


def test_another_clip_of_its_name_is_not_taken_for_a_clip(dataset):
    now = inputs(dataset)
    was = now["train/wave"]
    # What lay at in/train/wave is another one's now, and somebody else bears its name.
    now["train/wave"] = moved(was, "/new/elsewhere", num_frames=3, fingerprint="other")
    now["renamed"] = moved(was, "/new/train/wave", clip_id="renamed")
    others = {name: moved(clip, f"/new/{name}") for name, clip in now.items() if name.count("/") == 1}
    result = verified(
        dataset, {**others, "train/wave": now["train/wave"], "renamed": now["renamed"]}, root="/new"
    )
    assert result.is_good, result.problems
    assert (result.inputs, result.new_inputs) == (4, 1)


@pytest.mark.parametrize("root", ["/in", "/new"])
def test_clips_of_the_same_place_are_known_by_their_ids(root):
    """Two translations of one video."""
    now = [Clip(name, f"{root}/v.mp4", "video", num_frames=9, fingerprint="x") for name in ("a", "b")]
    found = InputClips([*now, Clip("c", f"{root}/w.mp4", "video")], "/in", root)
    for clip in now:
        assert found.find(clip.clip_id, "/in/v.mp4", clip.span) is clip
        assert found.find("renamed", "/in/v.mp4", clip.span) in now
        assert found.find("c", "/in/v.mp4", clip.span) in now


def test_memory_for_a_clip_is_little():
    count = 2000
    clips = [
        Clip(f"train/clip-{n:07}", f"file:///data/train/clip-{n:07}", "frames", "train", 100, f"{n:032x}")
        for n in range(count)
    ]
    accounts = Accounts(Plan(clips, [n // 64 for n in range(count)]), Verified("here"))
    absent = dict.fromkeys(OF_CLIP)

    def row(n: int) -> dict[str, object]:  # strings of its own, as Arrow gives them
        clip_id, of = f"train/clip-{n:07}", {"num_frames": 100, "first_frame": 0, "text": f"a sentence {n}"}
        return {
            **absent,
            **of,
            "clip_id": clip_id,
            "uri": f"file:///data/{clip_id}",
            "input_fingerprint": f"{n:032x}",
        }

    tracemalloc.start()
    try:
        for n in range(count):
            accounts.add_row(f"shard-{n // 64}", "train", n // 64, row(n))
        taken = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert taken < 300, "of a million clips, 300 MB; each row as it was would be 1 GB"


def test_an_input_that_moved_below_its_root_is_known_by_its_id(dataset):
    now = {name: moved(clip, f"/new/deep/{name}") for name, clip in inputs(dataset).items()}
    result = verified(dataset, now, root="/new")
    assert result.is_good, result.problems
    assert result.inputs == 4


def test_another_range_of_the_same_input_is_told(dataset):
    now = inputs(dataset)
    now["train/wave"] = moved(now["train/wave"], "/in/train/wave", start_frame=3, end_frame=9)
    result = verified(dataset, now)
    assert result.counts == {"input": 1}
    assert found(result, "input", "train/wave", "is all of its input, now it would be frames 3 to 9")


def test_an_input_that_is_another_one_altogether_could_not_be_compared(dataset):
    other = Clip("other/x", "/else/other/x", "frames", None, 3, "f")
    now = InputClips([other], "/in", "/else", "; HINT")
    with pytest.raises(
        JobError, match=r"/else: none of the 5 clips .*'dev/french_a1'|'train/bsl_demo'"
    ) as error:
        verify(dataset, now)
    assert "among the 1 there, such as 'other/x'" in str(error.value)
    assert str(error.value).endswith("; HINT")


def test_annotations_that_are_damaged(dataset):
    path(dataset, "annotations.parquet").write_bytes(b"PAR1")
    assert found(verify(dataset), "damaged", "annotations.parquet", "write it anew with `landmarks annotate`")


# Nothing is never success.


def test_nothing_to_verify_is_an_error(tmp_path, dataset):
    empty = Dataset(str(tmp_path / "empty"))
    empty.create({}, "0f", {})
    with pytest.raises(JobError, match="nothing to verify"):
        verify(empty)
    for name in (DEV, TEST):
        path(dataset, name).unlink()
    keep = {FAILED}
    replan(dataset, lambda pairs: [pair for pair in pairs if pair[0].clip_id in keep])
    rewritten(dataset, TRAIN, lambda table: table.slice(0, 0))
    with pytest.raises(JobError, match="1 clips failed and none is done"):
        verify(dataset)


def test_a_newer_data_set_is_refused(dataset):
    config = json.loads(path(dataset, "dataset.json").read_text())
    path(dataset, "dataset.json").write_text(json.dumps({**config, "schema_version": 99}))
    with pytest.raises(JobError, match="newer"):
        verify(dataset)


def test_only_the_first_problems_are_kept_all_are_counted(dataset):
    replan(
        dataset,
        lambda pairs: pairs + [(Clip(f"x/{n}", f"/x/{n}", "frames", "x", 1), n + 10) for n in range(1500)],
    )
    result = verify(dataset)
    assert result.counts["to-do"] == 1500
    assert len(result.problems) == 1000
