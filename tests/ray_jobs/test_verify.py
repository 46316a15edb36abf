"""``landmarks verify``: what it prints, its exit codes, and clips extracted again by the real engine."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_dataset import POINTS

from extraction.supervisor import DetectorProcess
from ray_jobs.cli import main
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, discover
from storage.dataset import Dataset
from storage.plan import revise
from storage.rows import Provenance, encode
from storage.schema import parquet_options
from storage.shards import Failure, write_shard

LEGACY = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="needs the legacy line of mediapipe (Python < 3.13)"
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(code: int, *arguments: object) -> str:
        assert main(["verify", *map(str, arguments)]) == code
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return output.err if code == 2 else output.out

    return call


@pytest.fixture
def copied(tmp_path, real_dataset) -> Path:
    shutil.copytree(real_dataset.store.root, tmp_path / "out")
    return tmp_path / "out"


def test_a_good_data_set(run, copied):
    text = run(0, copied)
    assert "5 clips planned: 4 done, 1 failed, 0 to do; 310 frames in 3 shards" in text
    assert "good: nothing is wrong" in text
    assert json.loads(run(0, copied, "--json"))["is_good"] is True


def test_a_data_set_that_is_not(run, copied):
    (copied / "failures/shard-000000.parquet").unlink()
    text = run(1, copied)
    assert "failures: failures/shard-000000.parquet: is gone" in text
    assert "not good: failures 1" in text
    result = json.loads(run(1, copied, "--json"))
    assert result["counts"] == {"failures": 1}
    assert result["problems"][0]["kind"] == "failures"


def test_two_that_are_equal_and_two_that_differ(run, copied, tmp_path, shared_clips):
    from real_dataset import make_dataset

    text = run(0, copied, copied)
    assert "in both: 4 clips, 310 frames compared" in text
    assert text.endswith("equal\n")
    make_dataset(tmp_path / "static", shared_clips, array="static")
    text = run(1, copied, tmp_path / "static", "--splits", "dev")
    assert "in both: 1 clips of dev" in text
    assert "clips that differ: dev/french_a1" in text
    assert text.endswith("different\n")
    result = json.loads(run(1, copied, tmp_path / "static", "--json"))
    assert result["is_equal"] is False
    assert result["parts"]["face"]["max"] > result["parts"]["face"]["mean"] > 0


WRONG = {
    "nothing there": (["{out}/nowhere"], "found no dataset.json"),
    "no such second": (["{out}", "{out}-2"], "nothing is there"),
    "a split that is not there": (["{out}", "{out}", "--splits", "val"], "has no split val"),
    "splits of one": (["{out}", "--splits", "dev"], "--splits goes with a second source"),
    "frames of two": (["{out}", "{out}", "--frames", "x"], "check one data set"),
    "a sample of nothing": (["{out}", "--sample", "3"], "--reextract"),
    "a negative sample": (["{out}", "--sample", "-3", "--reextract"], "N 1 or more"),
    "frames that are not there": (["{out}", "--frames", "{out}/nowhere"], "nowhere"),
    "a bad tolerance": (["{out}", "{out}", "--tolerance", "-1"], "--tolerance: expected 0 or more"),
    "no number": (["{out}", "{out}", "--tolerance", "tiny"], "--tolerance"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_use_could_not_be_checked(run, copied, what):
    arguments, text = WRONG[what]
    assert text in run(2, *(argument.format(out=copied) for argument in arguments))


def test_no_data_set_of_another_version_is_extracted_again(run, copied):
    assert "was made with mediapipe None" in run(2, copied, "--reextract")


# Extracted for real.


@pytest.fixture(scope="module")
def frames(tmp_path_factory, phoenix_root) -> Path:
    """Two short clips: the first frames of two real ones."""
    root = tmp_path_factory.mktemp("frames") / "in"
    for clip in ("train/wave", "test/squats"):
        (root / clip).mkdir(parents=True)
        for name in sorted(os.listdir(phoenix_root / clip))[:6]:
            shutil.copy(phoenix_root / clip / name, root / clip / name)
    return root


@pytest.fixture(scope="module")
def extracted(tmp_path_factory, frames) -> Path:
    """A data set of them, as a worker makes it, without Ray."""
    out = tmp_path_factory.mktemp("extracted") / "out"
    config, inputs = JobConfig(str(out)), Inputs(frames=str(frames))
    dataset = Dataset(str(out))
    dataset.create({**config.result_options(), "split_from": "folder"}, config.options_hash(), {})
    revision = revise(dataset.plan(), discover(inputs).clips, ())
    dataset.write_plan(revision.plan)
    with DetectorProcess(config.detector, config.frames) as process:
        for shard, clips in revision.plan.by_shard().items():
            rows = []
            for clip in clips:
                done = process.extract(clip)
                made = Provenance(
                    "holistic", "", config.options_hash(), "cpu", 1, 1.0, 1.0, 1.0, "host", done.fingerprint
                )
                rows.append([encode(clip, piece, made) for piece in done.pieces])
            write_shard(dataset.store, shard, clips[0].split, process.start().num_points, rows)
    return out


@LEGACY
def test_the_same_bits_come_out_again(run, extracted, frames):
    text = run(0, extracted, "--frames", frames, "--reextract", "--sample", "9")
    assert "compared with the input: 2 clips" in text
    assert "extracted again here: 2 clips, compared bit for bit" in text


@LEGACY
def test_a_clip_that_failed_is_not_chosen(run, extracted, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(extracted, out)
    dataset = Dataset(str(out))
    (lost,) = [clip for clip in dataset.plan().clips if clip.clip_id == "train/wave"]
    failure = Failure(lost.clip_id, lost.uri, "train", "decode", "broken", "it is broken", 1)
    write_shard(dataset.store, dataset.plan().shard_of()[lost.clip_id], "train", POINTS, [failure])
    assert "extracted again here: 1 clips" in run(0, out, "--reextract", "--sample", "9")


@LEGACY
def test_one_other_bit_is_found(run, extracted, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(extracted, out)
    (name,) = (out / "clips/split=test").iterdir()
    table = pq.ParquetFile(name).read()
    values = np.array(table["pose"][0].values)
    values[300] = np.nextafter(values[300], np.float32(9))
    lists = [values.tolist(), *table["pose"].to_pylist()[1:]]
    index = table.schema.get_field_index("pose")
    table = table.set_column(
        index, table.schema.field("pose"), pa.array(lists, table.schema.field("pose").type)
    )
    with pq.ParquetWriter(name, table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)
    assert "good: nothing is wrong" in run(0, out), "no check but this one can see it"
    text = run(1, out, "--reextract", "--sample", "2")
    assert (
        "reextracted: test/squats: extracted again here: pose differs in 1 of 6 frames, first in frame 3"
        in text
    )


@LEGACY
def test_input_that_moved_or_changed(run, extracted, frames, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(frames, moved)
    out = tmp_path / "out"
    shutil.copytree(extracted, out)
    assert "2 clips, compared bit for bit" in run(0, out, "--frames", moved, "--reextract")
    shutil.copy(moved / "train/wave/images0002.png", moved / "train/wave/images0003.png")
    (moved / "test/squats/images0006.png").unlink()
    text = run(1, out, "--frames", moved)
    assert "test/squats: 6 frames, the input now has 5" in text
    assert "train/wave: names, sizes or times of the input's files have changed" in text
    shutil.rmtree(moved / "test")
    assert "is no longer in the input" in run(1, out, "--frames", moved)
    assert "is not in the input given by --frames" in run(2, out, "--frames", moved, "--reextract")
