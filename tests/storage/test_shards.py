from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import storage.shards
from extraction.clips import Clip
from extraction.errors import ClipError, JobError
from extraction.landmarks import ClipLandmarks, FrameLandmarks, stack_frames
from storage.files import Store
from storage.rows import Provenance, encode
from storage.schema import FAILURE_SCHEMA, clip_schema
from storage.shards import Failure, failures_name, shard_name, write_shard

POINTS = {"pose": 33}
SHARD, FAILURES = shard_name(7, "train"), failures_name(7)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def row(name: str, length: int = 3, first_frame: int = 0, mask: bytes | None = None):
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
        masks_png=None if mask is None else (mask,) * length,
    )
    provenance = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 3.0, 1.0, 2.0, "host", "f1")
    return encode(Clip(name, f"/{name}", "frames", "train"), landmarks, provenance)


def failure(name: str) -> Failure:
    return Failure(name, f"/{name}", "train", "decode", "no-readable-frame", "it\nis 'broken' é", 2)


def table(store: Store, name: str):
    return pq.read_table(store.open(name))


def write(store: Store, *outcomes, **options):
    return write_shard(store, 7, "train", POINTS, outcomes, **options)


@pytest.mark.parametrize(
    ("shard", "split", "name"),
    [
        (7, "train", "clips/split=train/shard-000007.parquet"),
        (1_234_567, None, "clips/split=none/shard-1234567.parquet"),
    ],
)
def test_names(shard, split, name):
    assert shard_name(shard, split) == name


def test_clips_and_failures_go_to_their_files(store):
    (returned,) = write(store, [row("a")], failure("b"), [row("c", 4), row("c", 2, 4)])
    assert sorted(store.names("")) == [SHARD, FAILURES]
    assert table(store, SHARD)["clip_id"].to_pylist() == ["a", "c", "c"]
    assert table(store, SHARD)["first_frame"].to_pylist() == [0, 0, 4]
    assert table(store, FAILURES).schema.equals(FAILURE_SCHEMA)
    (stored,) = table(store, FAILURES).to_pylist()
    in_ms = returned.time.replace(microsecond=returned.time.microsecond // 1000 * 1000)
    assert Failure(**stored) == replace(returned, time=in_ms)
    assert replace(failure("b"), time=returned.time) == returned


def test_without_failures_there_is_no_file_of_them_and_an_old_one_is_emptied(store):
    assert write(store, [row("a")]) == []
    assert list(store.names("")) == [SHARD]
    store.write(FAILURES, b"of an attempt that was killed before its shard stood")
    assert write(store, [row("a")]) == []
    assert table(store, FAILURES).num_rows == 0


def test_a_shard_all_of_whose_clips_failed_stands_without_rows(store):
    write(store, failure("a"), failure("b"))
    assert table(store, SHARD).num_rows == 0
    assert table(store, SHARD).schema.equals(clip_schema(POINTS), check_metadata=False)
    assert table(store, FAILURES)["clip_id"].to_pylist() == ["a", "b"]


def test_a_shard_without_rows_has_the_columns_of_its_neighbours(store):
    write(store, failure("a"), has_masks=True)
    assert table(store, SHARD).schema.equals(clip_schema(POINTS, has_masks=True), check_metadata=False)


def test_the_gate_is_asked_when_all_is_written_and_nothing_visible(store):
    seen = []
    write(store, [row("a")], failure("b"), before_commit=lambda: seen.append(list(store.names(""))))
    ((temporary,),) = seen
    assert temporary.startswith("clips/split=train/.shard-000007.parquet.")


def test_a_closed_gate_leaves_nothing(store):
    def closed():
        raise JobError("another job took over")

    with pytest.raises(JobError, match="another job took over"):
        write(store, [row("a")], failure("b"), before_commit=closed)
    assert list(store.names("")) == []


@pytest.mark.parametrize("error", [JobError("stop"), ClipError("decode", "x", "late"), KeyboardInterrupt()])
def test_an_exception_between_clips_or_between_rows_leaves_nothing(store, error):
    def breaking(value):
        yield value
        raise error

    with pytest.raises(type(error)):
        write_shard(store, 7, "train", POINTS, breaking([row("a")]))
    with pytest.raises(type(error)):
        write(store, failure("b"), breaking(row("a")))
    assert list(store.names("")) == []


def test_clips_are_taken_one_by_one(store):
    """A shard of long clips must not be held in memory before it is written."""
    alive = []

    def outcomes():
        for number in range(40):
            alive.append(number)
            yield rows_of(number)

    def rows_of(number):
        assert alive[-1] == number
        yield row(str(number))

    write_shard(store, 7, "train", POINTS, outcomes())
    assert table(store, SHARD).num_rows == 40


def test_row_groups_end_by_clips_or_by_frames(store):
    lengths = [3] * 17 + [12_000, 12_000, 25_000, 5]
    write(store, *([row(str(number), length)] for number, length in enumerate(lengths)))
    metadata = pq.read_metadata(store.full(SHARD))
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [4, 4, 4, 4, 3, 1, 1]


def test_row_groups_end_where_masks_are_large(store, monkeypatch):
    small = row("a", mask=b"").nbytes
    monkeypatch.setattr(storage.shards, "BYTES_PER_GROUP", 2 * small + 5000)
    sizes = [0, 0, 2000, 3000, 0, 0]
    write(store, *([row(str(n), mask=bytes(size))] for n, size in enumerate(sizes)), has_masks=True)
    metadata = pq.read_metadata(store.full(SHARD))
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [3, 1, 2]
