"""Inputs and data sets from strangers: nothing in them is run, and no name in them leads astray."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.frames import FrameOptions, open_frames
from extraction.sources import clips_from_rows, discover_tree, read_csv_manifest
from storage.dataset import Dataset
from storage.plan import Plan, revise
from storage.schema import FAILURE_SCHEMA, PLAN_SCHEMA, clip_schema
from storage.shards import Failure, failures_name, shard_name, write_shard

pytestmark = pytest.mark.once

REPO = Path(__file__).resolve().parents[1]

# Pickles.

# From the socket to a child of the same job, and from an unnamed file that only its process can open.
MAY_UNPICKLE = {"extraction/child.py", "extraction/detector_child.py", "extraction/pieces.py"}
MAY_UNPICKLE |= {"storage/exports/pickling.py"}  # it writes pickles and reads none
# These answer every name themselves, import and call nothing:
MAY_UNPICKLE |= {"extraction/untrusted_pickle.py", "storage/restricted_pickle.py"}
MAY_UNPICKLE |= {"extraction/sources/datasets/csl_daily.py"}  # these go through them, or only say so:
MAY_UNPICKLE |= {"storage/exports/seed.py", "storage/imports/opening.py", "storage/imports/seed_pickles.py"}
MAY_UNPICKLE |= {"ray_jobs/import_.py", "ray_jobs/verify.py"}
UNPICKLES = re.compile(r"pickle|Pickler|\.recv\(\)|marshal|shelve|joblib|np\.load|allow_pickle|torch\.load")


def test_only_messages_between_processes_of_a_job_are_unpickled():
    places = {
        path.relative_to(REPO).as_posix()
        for package in ("extraction", "storage", "ray_jobs")
        for path in (REPO / package).rglob("*.py")
        if UNPICKLES.search(path.read_text(encoding="utf-8"))
    }
    assert places == MAY_UNPICKLE


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def with_trap(schema: pa.Schema, name: str, rows: int, trap: Path) -> pa.Table:
    """A table of nulls in which one column is of the type that Ray Data unpickles when it is looked at."""
    storage = pa.array([pickle.dumps(Trap(trap))] * rows, pa.large_binary())
    columns, fields = [], []
    for field in schema:
        is_trap = field.name == name
        columns.append(storage if is_trap else pa.nulls(rows, field.type))
        extension = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": ""}
        fields.append(pa.field(name, pa.large_binary(), metadata=extension) if is_trap else field)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


READ_ALL = """
import sys
import ray.data  # knows the type, as in a worker
from extraction.errors import JobError
from storage.dataset import Dataset
dataset = Dataset.open(sys.argv[1])
for question in (
    dataset.plan, lambda: dataset.planned_clips(0), dataset.failures,
    lambda: dataset.read_clip("a"), lambda: dataset.clips().to_table().to_pylist(),
):
    try:
        question()
        print("read")
    except JobError as error:
        print("extension type" in str(error))
"""


@pytest.mark.parametrize("target", ["plan", "failures", "shard"])
def test_a_data_set_with_a_pickle_in_it_runs_nothing(tmp_path, target):
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    clip = Clip("a", "/in/a", "frames", "train", 3)
    dataset.write_plan(Plan((clip,), (0,)))
    failure = Failure("a", "/in/a", "train", "decode", "broken", "it is broken", 1)
    write_shard(dataset.store, 0, "train", {}, [failure])
    name, schema, column = {
        "plan": ("plan.parquet", PLAN_SCHEMA, "signer"),
        "failures": (failures_name(0), FAILURE_SCHEMA, "error"),
        "shard": (shard_name(0, "train"), clip_schema({}), "text"),
    }[target]
    pq.write_table(with_trap(schema, column, 1, tmp_path / "sprung"), dataset.store.full(name))
    command = [sys.executable, "-c", READ_ALL, dataset.store.root]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = done.stdout.split()
    assert "True" in answers
    assert "False" not in answers
    assert not (tmp_path / "sprung").exists()


def test_the_trap_of_this_test_is_one(tmp_path):
    pq.write_table(with_trap(PLAN_SCHEMA, "signer", 1, tmp_path / "sprung"), tmp_path / "plan.parquet")
    code = "import sys, ray.data, pyarrow.parquet as pq; pq.read_table(sys.argv[1]).to_pylist()"
    command = [sys.executable, "-c", code, str(tmp_path / "plan.parquet")]
    subprocess.run(command, capture_output=True, check=True)
    assert (tmp_path / "sprung").is_dir()


# Names.

ODD = [
    b"new\nline",
    b"quote'\"`$(id)",
    b"back\\slash",
    b"a..",
    b"-rf",
    b"tab\there",
    b"\x1b[31mred",
    b"caf\xe9",
    b"\xff\xfe",
    "手話".encode(),
    b"e\xcc\x81",
    b"\xe2\x80\xaegnp",
    b"=1+1",
    b"a" * 255,
    b" ",
]


@pytest.fixture
def odd_tree(tmp_path: Path) -> Path:
    """A clip of each name that a folder can have, and in each a frame of that name."""
    root = tmp_path / "in"
    root.mkdir()
    for name in ODD:
        folder = os.path.join(os.fsencode(root), name)
        os.mkdir(folder)
        frame = name[:251] + b".png"
        with open(os.path.join(folder, frame), "wb") as file:
            file.write(b"x")
    return root


def test_odd_names_are_carried_from_the_disk_to_the_data_set_and_back(odd_tree, tmp_path):
    clips = discover_tree(str(odd_tree)).clips
    assert len(clips) == len(ODD)
    dataset = Dataset(str(tmp_path / "out"))
    dataset.write_plan(revise(Plan(), clips, ()).plan)
    again = {clip.clip_id: clip for clip in dataset.plan().clips}
    for clip in clips:
        assert again[clip.clip_id] == clip
        (name,) = os.listdir(os.fsencode(clip.path))
        stream = open_frames(again[clip.clip_id], FrameOptions())
        (frame,) = stream.frames
        assert frame.error == "not an image (PNG, JPEG, WebP, TIFF, BMP): starts with 'x'"
        assert frame.name.encode() == name.decode("utf-8", "backslashreplace").encode()
    failures = [Failure(c.clip_id, c.uri, c.split, "decode", "broken", c.uri, 1) for c in clips]
    (shard,) = set(dataset.plan().shards)
    write_shard(dataset.store, shard, None, {}, failures)
    assert dataset.failures()["clip_id"].to_pylist() == [clip.clip_id for clip in clips]
    written = [os.path.relpath(path, tmp_path / "out") for path, _, _ in os.walk(tmp_path / "out")]
    assert sorted(written) == [".", "clips", "clips/split=none", "failures"]


def test_a_path_that_is_too_long_is_told_and_not_passed_over(tmp_path):
    root = tmp_path / "in"
    (root / "good").mkdir(parents=True)
    (root / "good/1.png").write_bytes(b"x")
    here = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 255, dir_fd=here)
        below = os.open("d" * 255, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = discover_tree(str(root))
    assert [clip.clip_id for clip in found.clips] == ["good"]
    ((path, reason),) = found.unreadable
    assert (len(path) > 3800, reason) == (True, "File name too long")


# Manifests.


def manifest(folder: Path, *rows: tuple[str, str], allow_outside: bool = False) -> tuple[Clip, ...]:
    folder.mkdir(exist_ok=True)
    path = folder / "clips.csv"
    quoted = ["clip_id,uri"] + [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text("\n".join(quoted) + "\n", newline="")
    found = clips_from_rows(
        read_csv_manifest(str(path)), base=str(folder), source=str(path), allow_outside=allow_outside
    )
    return found.clips


@pytest.mark.parametrize(
    "uri",
    [
        "..",
        "../secret",
        "a/../../secret",
        "./../secret",
        "a/./b/../../../secret",
        "../in/../secret",
        "..//secret",
    ],
)
def test_a_relative_path_does_not_leave_the_manifests_folder(tmp_path, uri):
    (tmp_path / "secret").mkdir()
    with pytest.raises(JobError, match="leaves the manifest's folder"):
        manifest(tmp_path / "in", ("a", uri))
    (clip,) = manifest(tmp_path / "in", ("a", uri), allow_outside=True)
    assert clip.path == os.path.abspath(tmp_path / "in" / uri)


@pytest.mark.parametrize(
    "uri", ["a/../b", "...", "..a", "a..", "~/x", "$HOME/x", "%2e%2e/x", "a\\..\\..\\b", "\n..\n"]
)
def test_what_only_looks_as_if_it_left_is_a_name(tmp_path, uri):
    (clip,) = manifest(tmp_path / "in", ("a", uri))
    assert os.path.commonpath([clip.path, tmp_path / "in"]) == str(tmp_path / "in")


def test_links_in_the_manifests_folder_are_followed_as_in_a_folder_of_clips(tmp_path):
    """Who can put a link there can put the file there; data sets of links are common."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.png").write_bytes(b"x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("../elsewhere")
    (clip,) = manifest(tmp_path / "in", ("a", "link"))
    assert (clip.num_frames, clip.path) == (1, str(tmp_path / "in/link"))
    (found,) = discover_tree(str(tmp_path / "in")).clips
    assert (found.num_frames, found.path) == (1, clip.path)


def test_odd_ids_of_a_manifest_are_carried_or_refused(tmp_path):
    ids = ["new\nline", "quote'\"", "手話", "a\\..\\b", "x" * 4096, " a ", "=cmd()", "\x1b[31m"]
    clips = manifest(tmp_path / "in", *((clip_id, f"v{n}") for n, clip_id in enumerate(ids)))
    assert {clip.clip_id for clip in clips} == set(ids)
    for refused in ("..", "a/../b", "/etc/passwd", "a\0b", "x" * 4097, " "):
        with pytest.raises(JobError):
            manifest(tmp_path / "in", (refused, "v"))
