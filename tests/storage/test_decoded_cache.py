"""The cache of decoded clips: the same bits as without it, never those of a data set that is no more."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from real_dataset import make_dataset
from small_disk import small_disk_at

from extraction.errors import JobError
from storage import decoded_cache
from storage.clip_index import PointReader, read_index
from storage.dataset import Dataset
from storage.decoded_cache import CachedReader
from storage.filling import fill_cache
from storage.layout import point_layout

ALL = ["pose", "pose_world", "left_hand", "right_hand", "face"]


def readers(location: str, cache: Path, points=ALL, splits=()):
    index = read_index(Dataset.open(location), splits, with_fingerprints=True)
    layout = point_layout(points, index.num_points)
    return index, PointReader(location, layout), CachedReader(location, layout, index, str(cache))


def npy_files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def expect_equal(location: str, cache: Path, points=ALL, splits=()) -> None:
    index, direct, cached = readers(location, cache, points, splits)
    for place in reversed(index.places):
        expected, found = direct.points(place), cached.points(place)
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
        found += 1  # it is the reader's own


@pytest.mark.parametrize("rows_of", [None, 40, 7, 1])
@pytest.mark.parametrize(
    "points", ["pose+hands", "face68+hands+pose", ALL, {"left_hand": ["wrist"], "face": [61, 0]}]
)
def test_the_same_bits_as_without_it(tmp_path, shared_clips, rows_of, points):
    location = make_dataset(tmp_path / "out", shared_clips, rows_of).store.location
    for _ in range(2):  # decoded, then as it stands
        expect_equal(location, tmp_path / "cache", points)


def test_files_are_plain_arrays_and_there_is_one_a_part_and_shard(real_dataset, tmp_path):
    location = real_dataset.store.location
    expect_equal(location, tmp_path / "cache", ["pose", "face"])
    files = npy_files(tmp_path / "cache")
    assert len(files) == 6
    shapes = sorted(np.load(path).shape for path in files)
    assert shapes == sorted((frames, points, 3) for frames in (183, 62, 65) for points in (33, 468))
    before = {path: path.stat().st_mtime_ns for path in files}
    expect_equal(location, tmp_path / "cache", "pose+hands")
    assert len(npy_files(tmp_path / "cache")) == 12
    assert {path: path.stat().st_mtime_ns for path in files} == before  # pose was decoded already


def test_of_a_split_nothing_else_is_decoded(real_dataset, tmp_path):
    expect_equal(real_dataset.store.location, tmp_path / "cache", ["pose"], ["test"])
    assert [np.load(path).shape for path in npy_files(tmp_path / "cache")] == [(65, 33, 3)]


def test_a_data_set_that_was_made_anew_is_read_anew(tmp_path, shared_clips):
    out, cache = tmp_path / "out", tmp_path / "cache"
    location = make_dataset(out, shared_clips).store.location
    index, _, cached = readers(location, cache)
    old = [cached.points(place) for place in index.places]
    shutil.rmtree(out)
    make_dataset(out, shared_clips, array="static")
    expect_equal(location, cache)
    # Whoever opened it before goes on with what it was.
    assert [cached.points(p).tobytes() for p in index.places] == [points.tobytes() for points in old]
    index, direct, _ = readers(location, cache)
    assert any(direct.points(p).tobytes() != o.tobytes() for p, o in zip(index.places, old, strict=True))


def test_one_shard_that_was_written_anew_is_decoded_anew_and_no_other(tmp_path, shared_clips):
    out, cache = tmp_path / "out", tmp_path / "cache"
    location = make_dataset(out, shared_clips).store.location
    expect_equal(location, cache)
    before = npy_files(cache)
    make_dataset(tmp_path / "other", shared_clips, array="static")
    shutil.copy(*(tmp_path / name / "clips/split=dev/shard-000001.parquet" for name in ("other", "out")))
    expect_equal(location, cache)
    new = set(npy_files(cache)) - set(before)
    assert {path.name.partition(".")[0] for path in new} == {"shard-000001"}
    assert len(new) == len(ALL)


def test_a_shard_that_is_replaced_after_it_was_opened_is_told(tmp_path, shared_clips):
    out = tmp_path / "out"
    location = make_dataset(out, shared_clips).store.location
    index, _, cached = readers(location, tmp_path / "cache")
    shard = out / index.places[2].shard
    os.utime(shard, (1, 1))
    with pytest.raises(JobError, match=r"shard-000001\.parquet was written anew since .*: open it again"):
        cached.points(index.places[2])
    shard.unlink()
    with pytest.raises(JobError, match="was written anew"):
        cached.points(index.places[2])
    assert npy_files(tmp_path / "cache") == []
    cached.points(index.places[0])


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:0], lambda data: b"x" * len(data)]
)
def test_a_damaged_file_is_made_anew(real_dataset, tmp_path, damage):
    expect_equal(real_dataset.store.location, tmp_path, ["pose"])
    for path in npy_files(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    expect_equal(real_dataset.store.location, tmp_path, ["pose"])


FILL = """
import sys
import numpy as np

if __name__ == "__main__":
    from storage.clip_index import read_index
    from storage.dataset import Dataset
    from storage.decoded_cache import CachedReader
    from storage.layout import point_layout
    location, cache = sys.argv[1:]
    index = read_index(Dataset.open(location), with_fingerprints=True)
    reader = CachedReader(location, point_layout(["face", "pose"]), index, cache)
    sys.stdin.readline()
    print(*(float(np.nansum(reader.points(place))) for place in index.places))
"""


def test_processes_and_threads_that_fill_at_once(real_dataset, tmp_path):
    location, cache = real_dataset.store.location, tmp_path / "cache"
    command = [sys.executable, "-c", FILL, location, str(cache)]
    root = Path(__file__).parents[2]
    fillers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(3)
    ]
    printed = {process.communicate("go\n", timeout=120)[0] for process in fillers}
    assert [process.returncode for process in fillers] == [0] * 3
    assert len(printed) == 1
    index, direct, cached = readers(location, tmp_path / "threads", ["face", "pose"])
    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(cached.points, index.places * 4))
    for place, points in zip(index.places * 4, came, strict=True):
        assert points.tobytes() == direct.points(place).tobytes()
    for folder in (cache, tmp_path / "threads"):
        assert [path.suffix for path in npy_files(folder)] == [".npy"] * 6  # no lock, nothing half done
    (line,) = printed
    assert [float(text) for text in line.split()] == [
        float(np.nansum(direct.points(p))) for p in index.places
    ]


KILLED = """
import os, signal, sys
from storage import local
from storage.filling import fill_cache

local._put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
fill_cache(sys.argv[1], sys.argv[2], ["pose"], threads=1)
"""


def test_who_is_killed_leaves_nothing_that_is_read_and_nobody_waiting(real_dataset, tmp_path):
    location = real_dataset.store.location
    command = [sys.executable, "-c", KILLED, location, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.suffix for path in npy_files(tmp_path)) == [".lock", ".tmp"]
    expect_equal(location, tmp_path, ["pose"])
    assert fill_cache(location, tmp_path, ["pose"]).deleted == 1
    assert [path.suffix for path in npy_files(tmp_path)] == [".npy"] * 3


def test_a_reader_that_was_sent_elsewhere_reads_on(real_dataset, tmp_path):
    index, direct, cached = readers(real_dataset.store.location, tmp_path)
    cached.points(index.places[0])
    sent = pickle.loads(pickle.dumps(cached))
    assert len(pickle.dumps(cached)) < 10_000
    assert sent.points(index.places[1]).tobytes() == direct.points(index.places[1]).tobytes()


def test_more_files_than_a_process_may_map(real_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_cache, "_OPEN_MAPS", 2)
    expect_equal(real_dataset.store.location, tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    with small_disk_at(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_is_told_at_once_and_what_was_written_is_whole(real_dataset, small_disk):
    index, direct, cached = readers(real_dataset.store.location, small_disk)
    told = (
        r"No space left on device: .* take 0\.00214 GB decoded, [\d.e-]+ GB are free: make room, read fewer"
    )
    cached.points(index.places[2])
    before = {path: path.read_bytes() for path in npy_files(small_disk)}
    assert len(before) == len(ALL)
    with pytest.raises(JobError, match=told):
        cached.points(index.places[0])
    assert {path: path.read_bytes() for path in npy_files(small_disk)} == before
    with pytest.raises(JobError, match=told):
        fill_cache(real_dataset.store.location, small_disk, ALL)
    assert {path: path.read_bytes() for path in npy_files(small_disk)} == before
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    for place in index.places:
        assert cached.points(place).tobytes() == direct.points(place).tobytes()


def test_where_there_can_be_no_cache(real_dataset, tmp_path):
    location = real_dataset.store.location
    (tmp_path / "file").touch()
    for cache, why in (
        ("s3://bucket/cache", "expected a folder on a local disk, found a URI"),
        (f"{location}/cache", "expected a folder outside of the data set"),
        (location, "expected a folder outside of the data set"),
        (str(tmp_path / "file"), "the cache cannot be written: .*: expected a folder on a local disk"),
    ):
        with pytest.raises(JobError, match=why):
            fill_cache(location, cache)


def test_filling_before_the_first_epoch(tmp_path, shared_clips):
    location = make_dataset(tmp_path / "out", shared_clips).store.location
    cache = tmp_path / "cache"
    told = []
    done = fill_cache(location, cache, ALL, (), 2, told.append, lambda: told.append("shard"))
    assert told == [3, "shard", "shard", "shard"]
    assert (done.shards, done.frames, done.deleted) == (3, 310, 0)
    assert done.num_bytes == done.new_bytes == sum(p.stat().st_size for p in npy_files(cache))
    assert done.bytes_a_frame == round(done.num_bytes / 310, 1) == round(576 * 12 + 15 * 128 / 310, 1)
    before = npy_files(cache)
    again = fill_cache(location, cache, ALL)
    assert (again.new_bytes, npy_files(cache)) == (0, before)
    expect_equal(location, cache)
    assert npy_files(cache) == before


def test_filling_clears_what_is_outdated_and_nothing_else(tmp_path, shared_clips):
    out, cache = tmp_path / "out", tmp_path / "cache"
    location = make_dataset(out, shared_clips).store.location
    folder = Path(fill_cache(location, cache, ["pose"]).folder)
    others = make_dataset(tmp_path / "other", shared_clips).store.location
    fill_cache(others, cache, ["pose"])
    host, dead = os.uname().nodename, subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / f".shard-000001.ab.pose.npy.{host}-{dead.pid}-0123abcd.tmp").touch()
    (folder / f".shard-000001.ab.pose.npy.{host}-{os.getpid()}-0123abcd.tmp").touch()
    (folder / "shard-000001.ab.lock").touch()
    (folder / "notes.txt").touch()
    (folder / "mine.npy").touch()
    os.utime(out / "clips/split=dev/shard-000001.parquet", (1, 1))
    done = fill_cache(location, cache, ["pose"], splits=["test"])
    assert (done.deleted, done.shards, done.new_bytes) == (3, 1, 0)
    kept = {path.name for path in folder.iterdir() if path.suffix != ".tmp"}
    assert {name.partition(".")[0] for name in kept} == {"shard-000000", "shard-000002", "notes", "mine"}
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == [
        f".shard-000001.ab.pose.npy.{host}-{os.getpid()}-0123abcd.tmp"
    ]
    assert fill_cache(others, cache, ["pose"]).new_bytes == 0
