"""What holds for every format: whole or absent, checksums, going on, refusals, memory."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from real_dataset import POINTS, make_dataset, real_landmarks

from extraction.clips import Clip
from extraction.errors import JobError
from storage.annotations import annotate
from storage.dataset import Dataset
from storage.exports.inventory import file_name
from storage.exports.protocol import ExportOptions, Format
from storage.exports.registry import format_named, formats
from storage.exports.writing import export
from storage.files import is_temporary
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard

REPO = Path(__file__).resolve().parents[3]
NAMES = tuple(formats())
FOLDERS = tuple(name for name, known in formats().items() if known.is_folder)


def available(name: str):
    known = format_named(name)
    if known.package:
        pytest.importorskip(known.package)
    return known


def place(folder: Path, name: str) -> tuple[Path, Path]:
    """PATH of an export and its manifest."""
    if format_named(name).is_folder:
        return folder / "e", folder / "e/manifest.json"
    base = f"x{format_named(name).ending}"
    return folder / "e" / base, folder / f"e/{base}.manifest.json"


def alike(known: Format) -> ExportOptions:
    """Options with which two runs give the same bytes: a pickle of torch's tensors holds memory addresses."""
    return ExportOptions(tensors="numpy" if known.uses_tensors else "auto")


def files_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_says_what_lies_there(real_dataset, tmp_path, name):
    known, (to, manifest_path) = available(name), place(tmp_path, name)
    done = export(real_dataset, known, str(to))
    manifest = json.loads(manifest_path.read_text())
    assert manifest["complete"] is True
    for text in ("layout", "units", "missing", "structure", "consumer", "differs"):
        assert manifest[text] == getattr(known, text)
    assert manifest["source"]["data_set"] == real_dataset.store.location
    assert manifest["source"]["options_hash"] == "0f"
    assert (manifest["clips"], manifest["splits"]["train"]) == (4, {"clips": 2, "frames": 183})
    assert "1 of 5 planned clips are not in it" in manifest["notes"][0]
    there = files_below(manifest_path.parent)
    assert there.pop(manifest_path.name)
    assert there == {file["name"]: file["sha256"] for file in manifest["files"]}
    for file in manifest["files"]:
        assert (manifest_path.parent / file["name"]).stat().st_size == file["bytes"]
    assert sum(file["clips"] for file in manifest["files"]) == done.clips == 4
    assert sum(file["frames"] for file in manifest["files"]) == done.frames == 310
    assert done.written == done.files == sum(file["clips"] > 0 for file in manifest["files"])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_clips_give_the_same_bytes_and_a_second_run_writes_none(real_dataset, tmp_path, name):
    known = available(name)
    for folder in ("one", "other"):
        export(real_dataset, known, str(place(tmp_path / folder, name)[0]), alike(known))
    one, other = files_below(tmp_path / "one"), files_below(tmp_path / "other")
    assert one == other
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*") if path.is_file()}
    again = export(real_dataset, known, str(place(tmp_path / "one", name)[0]), alike(known))
    assert (again.written, again.clips) == (0, 4)
    assert files_below(tmp_path / "one") == one
    with_clips = {file["name"] for file in read_manifest(tmp_path / "one", name)["files"] if file["clips"]}
    manifest_folder = place(tmp_path / "one", name)[1].parent
    assert all((manifest_folder / n).stat().st_mtime_ns == times[manifest_folder / n] for n in with_clips)


def read_manifest(folder: Path, name: str) -> dict:
    return json.loads(place(folder, name)[1].read_text())


@pytest.mark.parametrize("name", ["npz", "mska", "aslfr"])
def test_only_what_is_missing_or_cut_short_is_written_again(real_dataset, tmp_path, name):
    known, (to, manifest_path) = format_named(name), place(tmp_path, name)
    export(real_dataset, known, str(to), alike(known))
    before = files_below(tmp_path)
    names = [file["name"] for file in read_manifest(tmp_path, name)["files"] if file["clips"]]
    (manifest_path.parent / names[0]).unlink()
    cut = manifest_path.parent / names[1]
    cut.write_bytes(cut.read_bytes()[:-1])
    assert export(real_dataset, known, str(to), alike(known)).written == 2
    assert files_below(tmp_path) == before


# Dies in the middle: SIGKILL, as the machine would do it.
KILLED = """
import os, signal, sys
from storage.dataset import Dataset
from storage.exports import target
from storage.exports.protocol import ExportOptions, Format
from storage.exports.registry import format_named
from storage.exports.writing import export
target._SAVED_EVERY_S = 0.0
left = int(sys.argv[4])
def on_clip():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
options = ExportOptions(tensors=sys.argv[5])
export(Dataset.open(sys.argv[1]), format_named(sys.argv[2]), sys.argv[3], options, on_clip=on_clip)
"""


@pytest.mark.parametrize(
    ("name", "clips"), [*((name, 3) for name in NAMES), ("npz", 0), ("slt", 0), ("twostream", 0)]
)
def test_a_kill_leaves_nothing_half_and_the_next_run_goes_on(real_dataset, tmp_path, name, clips):
    known = available(name)
    export(real_dataset, known, str(place(tmp_path / "whole", name)[0]), alike(known))
    whole = files_below(tmp_path / "whole")
    to, manifest_path = place(tmp_path / "killed", name)
    command = [sys.executable, "-c", KILLED, real_dataset.store.location, name, str(to), str(clips)]
    command.append(alike(known).tensors)
    died = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    left = {
        name: digest for name, digest in files_below(tmp_path / "killed").items() if not is_temporary(name)
    }
    manifest_name = manifest_path.relative_to(tmp_path / "killed").as_posix()
    assert json.loads(manifest_path.read_text())["complete"] is False
    assert left.pop(manifest_name)
    assert left.items() <= whole.items()
    if clips == 0 or known.is_file_a_clip:
        assert len(left) == clips
    done = export(real_dataset, known, str(to), alike(known))
    assert done.written == done.files - len(left)
    assert files_below(tmp_path / "killed") == whole


def test_after_ctrl_c_every_whole_file_is_listed(real_dataset, tmp_path):
    left = iter([None, None, KeyboardInterrupt()])

    def on_clip():
        if stop := next(left):
            raise stop

    with pytest.raises(KeyboardInterrupt):
        export(real_dataset, format_named("npz"), str(tmp_path / "e"), on_clip=on_clip)
    manifest = read_manifest(tmp_path, "npz")
    assert (manifest["complete"], len(manifest["files"])) == (False, 2)
    assert export(real_dataset, format_named("npz"), str(tmp_path / "e")).written == 2


@pytest.mark.parametrize("name", ["npz", "twostream"])
def test_what_was_extracted_anew_is_exported_anew(tmp_path, shared_clips, name):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    to, _ = place(tmp_path, name)
    export(dataset, format_named(name), str(to))
    (shard,) = (tmp_path / "out/clips/split=dev").iterdir()
    other = make_dataset(tmp_path / "other", shared_clips, array="static")
    shard.write_bytes((tmp_path / "other/clips/split=dev" / shard.name).read_bytes())
    # The other extraction took another time; the fixture's are all as long.
    assert changed_time(shard)
    assert export(dataset, format_named(name), str(to)).written == 1
    fresh = tmp_path / "fresh"
    export(dataset, format_named(name), str(place(fresh, name)[0]))
    same = files_below(place(fresh, name)[1].parent)
    assert files_below(place(tmp_path, name)[1].parent) == same
    assert other.exists()


def changed_time(shard: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(shard)
    where = table.schema.get_field_index("extract_ms")
    table = table.set_column(where, table.schema.field(where), pa.array([901.0] * table.num_rows))
    pq.write_table(table, shard)
    return True


@pytest.mark.parametrize("name", ["npz", "slt"])
def test_nothing_is_mixed(real_dataset, tmp_path, shared_clips, name):
    known, (to, manifest_path) = format_named(name), place(tmp_path, name)
    export(real_dataset, known, str(to), ExportOptions(splits=("dev",)))
    before = files_below(tmp_path)
    with pytest.raises(
        JobError, match=r'holds another export \(export_options: there \{"splits": \["dev"\]\}'
    ):
        export(real_dataset, known, str(to))
    with pytest.raises(JobError, match=r"holds another export \(export_options.*parts"):
        export(real_dataset, known, str(to), ExportOptions(splits=("dev",), parts=("pose",)))
    other = make_dataset(tmp_path.parent / f"{name}-other", shared_clips)
    with pytest.raises(JobError, match=r"holds another export \(source: there .*choose another --to"):
        export(other, known, str(to), ExportOptions(splits=("dev",)))
    assert files_below(tmp_path) == before
    manifest_path.write_text("{")
    with pytest.raises(JobError, match="expected the manifest of an export, cannot read it"):
        export(real_dataset, known, str(to), ExportOptions(splits=("dev",)))


def test_a_folder_of_another_format_is_refused(real_dataset, tmp_path):
    export(real_dataset, format_named("npz"), str(tmp_path / "e"))
    with pytest.raises(JobError, match=r'holds another export \(format: there "npz", now "openhands"\)'):
        export(real_dataset, format_named("openhands"), str(tmp_path / "e"))


def test_files_of_others_are_never_touched(real_dataset, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(JobError, match=r"holds thesis\.tex, which no export wrote"):
        export(real_dataset, format_named("npz"), str(tmp_path))
    with pytest.raises(JobError, match=r"holds thesis\.tex, which no export wrote"):
        export(real_dataset, format_named("twostream"), str(tmp_path / "thesis.tex"))
    export(real_dataset, format_named("twostream"), str(tmp_path / "beside.pkl"))
    with pytest.raises(JobError, match="expected a folder for the files of --format npz, found a file"):
        export(real_dataset, format_named("npz"), str(tmp_path / "thesis.tex"))
    with pytest.raises(JobError, match="expected the name of a file for --format slt, found a folder"):
        export(real_dataset, format_named("slt"), str(tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["npz", "slt"])
def test_not_into_the_data_set_itself(real_dataset, name):
    inside = f"{real_dataset.store.location}/e/x"
    with pytest.raises(JobError, match="lies inside the data set"):
        export(real_dataset, format_named(name), inside)
    assert not Path(inside).parent.exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("npz", {"splits": ("val",)}, "no clip of split val: it has dev, test, train"),
        ("npz", {"drop_empty_frames": True}, "--drop-empty-frames: --format npz keeps every frame"),
        ("npz", {"tensors": "torch"}, "no tensor stands in --format npz"),
        (
            "mska",
            {"tensors": "tensorflow"},
            "--tensors: expected one of auto, torch, numpy, found 'tensorflow'",
        ),
        ("pyskl", {}, r"wants a name that ends in \.pkl: give --to .*/x\.pkl"),
        ("mska", {"parts": ("pose",)}, "--parts: --format mska has a fixed layout"),
        ("csv", {"parts": ("pose", "leg")}, "--parts: no leg, found only pose, pose_world, left_hand"),
    ],
)
def test_what_a_format_cannot_do_is_refused(real_dataset, tmp_path, name, options, message):
    with pytest.raises(JobError, match=message):
        export(real_dataset, format_named(name), str(tmp_path / "x"), ExportOptions(**options))
    assert list(tmp_path.iterdir()) == []


def test_parts_that_were_not_extracted(tmp_path):
    dataset = small_dataset(tmp_path / "out", 1, {"pose": 33})
    with pytest.raises(JobError, match="it needs face, left_hand, right_hand, found only pose"):
        export(dataset, format_named("twostream"), str(tmp_path / "x.pkl"))
    assert export(dataset, format_named("npz"), str(tmp_path / "npz")).clips == 1


def test_nothing_done_yet(tmp_path):
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    dataset.write_plan(Plan((Clip("a", "/in/a", "frames"),), (0,)))
    with pytest.raises(JobError, match="no clip is done yet"):
        export(dataset, format_named("npz"), str(tmp_path / "e"))


def test_formats_are_named_when_one_is_unknown():
    with pytest.raises(JobError, match=r"expected one of slt, twostream, mska, .*npz.*, found 'slr'"):
        format_named("slr")


@pytest.mark.parametrize(
    ("clip_id", "name"),
    [
        ("train/a b", "train/a b.pkl"),
        ("../../etc/x", "__/__/etc/x.pkl"),
        ("/abs//x/./y", "abs/x/y.pkl"),
        ("a\\b\n", "a_b_.pkl"),
        ("...", "....pkl"),
        ("/", "_.pkl"),
    ],
)
def test_no_name_leads_out_of_the_folder(clip_id, name):
    assert file_name(clip_id, ".pkl") == name


def test_names_too_long_for_a_file_are_cut_and_differ(tmp_path):
    names = tuple("a" * 30 + "/" + "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 120 + end for end in "xy")
    cut = [file_name(name, ".npz") for name in names]
    assert cut[0] != cut[1]
    assert all(len(name.rpartition("/")[2].encode()) <= 154 for name in cut)
    dataset = small_dataset(tmp_path / "out", 2, {"pose": 33}, names=names)
    export(dataset, format_named("npz"), str(tmp_path / "e"))
    assert {path.relative_to(tmp_path / "e").as_posix() for path in (tmp_path / "e").rglob("*.npz")} == set(
        cut
    )


def test_two_clips_that_would_be_one_file_are_refused(tmp_path):
    dataset = small_dataset(tmp_path / "out", 2, {"pose": 33}, names=("a//b", "a/b"))
    with pytest.raises(JobError, match="two clips would be this one file: 'a//b' and 'a/b'"):
        export(dataset, format_named("npz"), str(tmp_path / "e"))
    assert not (tmp_path / "e").exists()


def test_clips_of_no_split(tmp_path):
    dataset = small_dataset(tmp_path / "out", 3, POINTS)
    for name in NAMES:
        to, _ = place(tmp_path / name, name)
        assert export(dataset, available(name), str(to)).splits == {"none": {"clips": 3, "frames": 189}}
    with open(tmp_path / "mska/e/x.none", "rb") as file:
        assert sorted(pickle.load(file)) == ["clip 0000", "clip 0001", "clip 0002"]


def test_a_face_with_irises_gives_the_plain_face(tmp_path):
    dataset = small_dataset(tmp_path / "out", 1, {**POINTS, "face": 478})
    for name in ("twostream", "asl-signs", "aslfr"):
        export(dataset, format_named(name), str(place(tmp_path / name, name)[0]))
    import pandas as pd

    (path,) = (tmp_path / "aslfr/e/none_landmarks").iterdir()
    assert pd.read_parquet(path).shape == (63, 1 + 3 * 543)


def small_dataset(
    out: Path, clips: int, points: dict[str, int], names: tuple[str, ...] = (), frames: int = 63
) -> Dataset:
    """So many clips of no split, all with the points of one frame moved a little."""
    dataset = Dataset(str(out))
    dataset.create({"engine": "holistic"}, "0f", {})
    names = names or tuple(f"clip {n:04d}" for n in range(clips))
    planned = tuple(Clip(name, f"/in/{name}", "frames", None, frames, "f") for name in names)
    dataset.write_plan(Plan(planned, (0,) * len(planned)))
    rng = np.random.default_rng(0)
    base = real_landmarks(rng.random((frames, 543, 3), np.float32))
    parts = {part: rng.random((frames, n, 3), np.float32) for part, n in points.items()}
    made = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 900.0, 100.0, 700.0, "host", "f")
    rows = ([encode(clip, replace(base, parts=parts), made)] for clip in planned)
    write_shard(dataset.store, 0, None, points, rows)
    return dataset


def python_peak(dataset: Dataset, name: str, to: Path) -> int:
    tracemalloc.start()
    try:
        export(dataset, format_named(name), f"{to}{format_named(name).ending}")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("aslfr", "csv")])
def test_memory_does_not_grow_with_the_number_of_clips(tmp_path, name):
    """Names of clips, and in one old format of frames, are kept; landmarks are not."""
    available(name)
    few = python_peak(small_dataset(tmp_path / "few", 32, POINTS, frames=20), name, tmp_path / "e1")
    many = python_peak(small_dataset(tmp_path / "many", 96, POINTS, frames=20), name, tmp_path / "e2")
    more_points = (96 - 32) * 20 * 576 * 12
    assert many - few < more_points / 20


def test_files_of_other_classes_are_not_added_to(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    to = str(tmp_path / "train.pkl")
    export(dataset, format_named("pyskl"), to, ExportOptions(splits=("train",)))
    told = {"signer": None, "gloss": "A NEW ONE", "text": None, "label": None}
    annotate(dataset, {"test/squats": told})
    with pytest.raises(JobError, match="holds another export"):
        export(dataset, format_named("pyskl"), to, ExportOptions(splits=("train",)))
