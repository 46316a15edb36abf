"""Annotations change, landmarks do not; whatever moment the writer dies in."""

import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.clips import ANNOTATIONS
from extraction.errors import JobError
from storage.annotations import (
    ANNOTATION_SCHEMA,
    About,
    annotate,
    read_about,
    read_annotations,
    summed_up,
    write_annotations,
)
from storage.dataset import Dataset
from storage.plan import Plan
from storage.schema import LATER_COLUMNS, PLAN_SCHEMA

SAID = {
    clip: {"signer": "S", "gloss": f"NEU {clip}", "text": "null ", "label": "41"}
    for clip in ("train/bsl_demo", "train/wave", "dev/french_a1", "train/lost")
}


@pytest.fixture
def dataset(real_dataset: Dataset, tmp_path: Path) -> Dataset:
    """A copy of the real one that may be written to."""
    shutil.copytree(real_dataset.store.root, tmp_path / "out")
    return Dataset(str(tmp_path / "out"))


def tables(dataset: Dataset) -> dict[str, pa.Table]:
    return {
        name: pq.read_table(dataset.store.full(name), partitioning=None) for name in dataset.done().values()
    }


def raw_bytes(column: pa.ChunkedArray) -> list[bytes | None]:
    """What stands in memory, so that one NaN is not another."""
    whole = column.combine_chunks()
    buffers = [None if buffer is None else buffer.to_pybytes() for buffer in whole.buffers()]
    return [*buffers, str(len(whole)).encode()]


def assert_only_annotations_differ(before: dict[str, pa.Table], after: dict[str, pa.Table]) -> None:
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        for field in old.schema:
            if field.name not in ANNOTATIONS:
                assert new.schema.field(field.name).equals(field, check_metadata=True)
                assert raw_bytes(new.column(field.name)) == raw_bytes(old.column(field.name)), field.name


def said_in(dataset: Dataset) -> dict[str, dict[str, object]]:
    rows = [row for t in tables(dataset).values() for row in t.select(["clip_id", *ANNOTATIONS]).to_pylist()]
    return {row.pop("clip_id"): row for row in rows}


def test_columns_change_and_no_landmark_does(dataset):
    before, was = tables(dataset), said_in(dataset)
    metadata = {n: pq.read_metadata(dataset.store.full(n)).metadata for n in dataset.done().values()}
    untouched = Path(dataset.store.full(dataset.done()[2])).read_bytes()
    failures = dataset.failures().to_pylist()
    changes = annotate(dataset, SAID)
    assert (changes.clips, changes.shards, changes.planned) == (3, 2, 4)
    assert_only_annotations_differ(before, tables(dataset))
    assert said_in(dataset) == {**was, **{clip: SAID[clip] for clip in SAID if clip != "train/lost"}}
    assert Path(dataset.store.full(dataset.done()[2])).read_bytes() == untouched  # test/squats is not in it
    assert dataset.failures().to_pylist() == failures
    for name, old in metadata.items():
        new = pq.read_metadata(dataset.store.full(name)).metadata
        assert {k: v for k, v in new.items() if k != b"ARROW:schema"} == {
            k: v for k, v in old.items() if k != b"ARROW:schema"
        }
    assert {c.clip_id: c.gloss for c in dataset.plan().clips if c.clip_id in SAID} == {
        clip: said["gloss"] for clip, said in SAID.items()
    }
    assert next(dataset.store.sweep() for _ in "x") == 0


def test_it_is_compressed_as_before(dataset):
    def layout(name: str) -> list[tuple[object, ...]]:
        footer = pq.read_metadata(dataset.store.full(name))
        columns = [
            footer.row_group(g).column(c)
            for g in range(footer.num_row_groups)
            for c in range(footer.num_columns)
        ]
        return [
            (c.path_in_schema, c.compression, "BYTE_STREAM_SPLIT" in c.encodings, c.num_values)
            for c in columns
        ]

    before = {name: layout(name) for name in dataset.done().values()}
    annotate(dataset, SAID)
    assert {name: layout(name) for name in dataset.done().values()} == before


def test_the_same_again_writes_nothing(dataset):
    annotate(dataset, SAID)
    seen = {p: p.stat().st_mtime_ns for p in Path(dataset.store.root).rglob("*") if p.is_file()}
    changes = annotate(dataset, SAID)
    assert (changes.clips, changes.shards, changes.planned) == (0, 0, 0)
    assert {p: p.stat().st_mtime_ns for p in Path(dataset.store.root).rglob("*") if p.is_file()} == seen


def test_no_clip_of_the_plan_becomes_an_object(dataset, monkeypatch):
    """A million take 10 s, and were made three times."""
    with monkeypatch.context() as patched:
        patched.setattr(Plan, "clips", property(lambda _: pytest.fail("made")))
        assert annotate(dataset, SAID).planned == 4
    assert {clip.label for clip in dataset.plan().clips} == {"41", None}


def test_annotations_can_be_taken_back(dataset):
    nothing = dict.fromkeys(ANNOTATIONS)
    annotate(dataset, {"train/wave": nothing})
    assert said_in(dataset)["train/wave"] == nothing


def test_clips_in_several_rows(shared_clips, tmp_path):
    from real_dataset import make_dataset

    other = make_dataset(tmp_path / "rows", shared_clips, rows_of=20)
    before = tables(other)
    assert annotate(other, SAID).clips == 3
    assert_only_annotations_differ(before, tables(other))
    rows = pa.concat_tables(tables(other).values()).to_pylist()
    assert {row["gloss"] for row in rows if row["clip_id"] == "train/wave"} == {"NEU train/wave"}


def as_before_labels(dataset: Dataset) -> None:
    """Makes a data set of before there were labels and ranges."""
    for name in dataset.done().values():
        path = dataset.store.full(name)
        kept = pq.ParquetFile(path)
        table = kept.read().drop_columns(list(LATER_COLUMNS))
        with pq.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(
                {b"ray_landmarks.failed": kept.metadata.metadata[b"ray_landmarks.failed"]}
            )
    path = dataset.store.full("plan.parquet")
    pq.write_table(pq.read_table(path).drop_columns(list(LATER_COLUMNS)), path)


def test_a_data_set_of_before_there_were_labels(dataset):
    as_before_labels(dataset)
    before, plan, failures = tables(dataset), dataset.plan(), dataset.failures()
    assert "label" not in next(iter(before.values())).column_names
    assert {clip.label for clip in plan.clips} == {None}
    assert set(dataset.clips().to_table()["label"].to_pylist()) == {None}
    annotate(dataset, SAID)
    assert_only_annotations_differ(before, tables(dataset))
    assert dataset.failures().equals(failures)
    labels = dataset.clips().to_table(columns=["clip_id", "label"]).to_pylist()
    assert {row["clip_id"]: row["label"] for row in labels} == {
        "train/bsl_demo": "41", "train/wave": "41", "dev/french_a1": "41", "test/squats": None,
    }  # fmt: skip
    assert dataset.read_clip("train/wave")["label"].to_pylist() == ["41"]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[4])
from storage.annotations import annotate
from storage.dataset import Dataset
import storage.local
from test_annotations_said import SAID
calls = 0
def now():
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        if sys.argv[3] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyboardInterrupt
annotate(Dataset(sys.argv[1]), SAID, before_commit=now)
"""


@pytest.mark.parametrize(("moment", "how"), list(itertools.product([1, 2, 3], ["kill", "interrupt"])))
def test_whatever_moment_it_dies_in(dataset, tmp_path, moment, how):
    before, was, failures = tables(dataset), said_in(dataset), dataset.failures().to_pylist()
    (tmp_path / "test_annotations_said.py").write_text(f"SAID = {SAID!r}\n")
    command = [sys.executable, "-c", KILLED, dataset.store.root, str(moment), how, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode in (-signal.SIGKILL, 1, -signal.SIGINT, 130), done.stderr
    assert_only_annotations_differ(before, tables(dataset))
    assert dataset.failures().to_pylist() == failures
    for clip, said in said_in(dataset).items():
        assert said in (was[clip], SAID.get(clip))
    annotated = sum(said_in(dataset)[clip] == SAID[clip] for clip in SAID if clip != "train/lost")
    assert annotated == {1: 0, 2: 2, 3: 3}[moment]
    annotate(dataset, SAID)
    dataset.store.sweep()
    assert_only_annotations_differ(before, tables(dataset))
    assert said_in(dataset)["train/wave"] == SAID["train/wave"]
    assert annotate(dataset, SAID).clips == 0


def test_a_shard_that_cannot_be_read(dataset):
    name = dataset.done()[1]
    path = Path(dataset.store.full(name))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(JobError, match="expected a shard of this data set, cannot read it"):
        annotate(dataset, SAID)
    assert path.read_bytes()[:4] == b"PAR1"
    assert len(path.read_bytes()) == 1000


def test_a_shard_that_is_damaged_further_on_is_told_so_and_stays(shared_clips, tmp_path):
    """Its first row group can be read: the new file is begun, and what fails then is still the old one."""
    from real_dataset import make_dataset

    other = make_dataset(tmp_path / "out", shared_clips)
    path = Path(other.store.full(other.done()[0]))
    groups = pq.ParquetFile(path)
    column = groups.metadata.row_group(groups.num_row_groups - 1).column(
        groups.schema_arrow.names.index("face")
    )
    data = bytearray(path.read_bytes())
    first = column.data_page_offset
    data[first : first + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    with pytest.raises(JobError, match="expected a shard of this data set, cannot read it"):
        annotate(other, SAID)
    assert path.read_bytes() == data
    assert next(other.store.sweep() for _ in "x") == 0


def test_what_cannot_be_written_is_not_told_as_damaged(dataset):
    before = {path: path.read_bytes() for path in Path(dataset.store.root).rglob("*.parquet")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(JobError) as caught:
            annotate(dataset, SAID)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written: File too large" in str(caught.value)
    assert "cannot read" not in str(caught.value)
    assert {path: path.read_bytes() for path in Path(dataset.store.root).rglob("*.parquet")} == before


def row(clip_id: str, uri: str | None, *holes: str) -> dict[str, object]:
    return {"clip_id": clip_id, "uri": uri, "gloss": "A", "holes": list(holes), "details": list(holes)}


def test_the_table_and_what_it_says_in_short(tmp_path):
    store = Dataset(str(tmp_path / "out")).store
    assert read_about(store) is None
    assert read_annotations(store).num_rows == 0
    rows = [row("a", "/in/a"), row("b", None, "missing", "length"), row("c", "/in/c", "unannotated")]
    rows += [row(f"d{n}", None, "missing", "missing") for n in range(40)]
    about = summed_up(About("phoenix-2014-t", "because", absent=["x"], left_out=1), rows)
    assert (about.annotated, about.found) == (42, 1)
    assert about.holes == {"length": 1, "missing": 41, "unannotated": 1}
    assert about.examples["missing"] == ["b", *(f"d{n}" for n in range(19))]
    assert write_annotations(store, rows, about)
    assert read_about(store) == about
    table = read_annotations(store)
    assert table.schema.equals(ANNOTATION_SCHEMA)
    assert table["clip_id"].to_pylist()[:3] == ["a", "b", "c"]
    assert not write_annotations(store, rows, about)
    assert write_annotations(store, rows[:2], summed_up(about, rows[:2]))
    assert read_annotations(store).num_rows == 2


def test_a_table_of_before_there_was_the_own_id(tmp_path):
    store = Dataset(str(tmp_path / "out")).store
    rows = [{**row("a", "/in/a"), "dataset_id": "a"}, row("c", "/in/c", "unannotated")]
    write_annotations(store, rows, summed_up(About("x", "y"), rows))
    path = store.full("annotations.parquet")
    metadata = pq.read_schema(path).metadata
    old = pq.read_table(path).drop_columns(["dataset_id"]).replace_schema_metadata(metadata)
    pq.write_table(old, path)
    assert "dataset_id" not in pq.read_schema(path).names
    assert read_annotations(store)["dataset_id"].to_pylist() == ["a", None]
    assert read_about(store).annotated == 1
    assert write_annotations(store, rows, read_about(store)), "it is written anew"
    assert pq.read_schema(path).names == ANNOTATION_SCHEMA.names
    assert not write_annotations(store, rows, read_about(store))


def test_a_table_that_is_damaged_is_told_and_can_be_written_anew(tmp_path):
    store = Dataset(str(tmp_path / "out")).store
    store.write("annotations.parquet", b"PAR1 no")
    for reader in (read_about, read_annotations):
        with pytest.raises(JobError, match=r"annotations\.parquet: damaged: .*landmarks annotate"):
            reader(store)
    pq.write_table(pa.table({"clip_id": ["a"]}), store.full("annotations.parquet"))
    with pytest.raises(JobError, match="damaged"):
        read_about(store)
    assert write_annotations(store, [row("a", None)], summed_up(About("x", "y"), [row("a", None)]))
    assert read_about(store).annotated == 1


def test_it_goes_with_its_data_set(dataset):
    write_annotations(dataset.store, [row("a", None)], About("x", "y"))
    dataset.delete()
    assert os.listdir(dataset.store.root) == []


def test_a_plan_keeps_ranges_and_labels(tmp_path):
    from extraction.clips import Clip

    clips = (
        Clip("a", "/in/v", "video", "train", label="41", start_frame=3, end_frame=9),
        Clip("b", "/in/v", "video", "train", start_ms=0.25, end_ms=1e6),
        Clip("c", "/in/w", "video", "train"),
    )
    dataset = Dataset(str(tmp_path / "out"))
    dataset.write_plan(Plan(clips, (0, 0, 1)))
    assert dataset.plan().clips == clips
    assert set(LATER_COLUMNS) <= set(PLAN_SCHEMA.names)
