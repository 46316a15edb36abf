"""``landmarks verify``: what it prints, its exit codes, and clips extracted again by the real engine."""

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from real_dataset import POINTS, real_landmarks
from small_datasets import link_frames, one_based, phoenix_2014_t

from extraction.detectors import DetectorOptions, resolve_engine
from extraction.supervisor import DetectorProcess
from ray_jobs.cli import main
from ray_jobs.config import JobConfig, installed
from ray_jobs.job import Inputs, discover, job, resolved
from storage.dataset import Dataset
from storage.files import Store
from storage.masks import read_mask
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
    "splits of one": (["{out}", "--splits", "dev"], "go with a second source"),
    "frames of two": (["{out}", "{out}", "--frames", "x"], "check one data set"),
    "a sample of nothing": (["{out}", "--sample", "3"], "--reextract"),
    "a negative sample": (["{out}", "--sample", "-3", "--reextract"], "expected 1 or more, found -3"),
    "frames that are not there": (["{out}", "--frames", "{out}/nowhere"], "nowhere"),
    "a bad tolerance": (["{out}", "{out}", "--tolerance", "-1"], "--tolerance: expected 0 or more"),
    "a tolerance of one": (["{out}", "--tolerance", "0.1"], "go with a second source"),
    "annotations of two": (["{out}", "{out}", "--annotations", "x"], "check one data set"),
    "annotations of no frames": (["{out}", "--annotations", "x"], "--annotations says how to read --frames"),
    "a seed of nothing": (["{out}", "--seed", "3"], "--sample, --seed, --model and --engine say"),
    "an engine of nothing": (
        ["{out}", "--engine", "holistic"],
        "--model and --engine say what --reextract does",
    ),
    "an engine of two": (["{out}", "{out}", "--engine", "holistic"], "check one data set"),
    "another engine": (["{out}", "--reextract", "--engine", "tasks"], "expected the engine that"),
    "a sample of none": (["{out}", "--sample", "0", "--reextract"], "expected 1 or more, found 0"),
    "a negative seed": (["{out}", "--seed", "-1", "--reextract"], "--seed: expected 0 or more"),
    "no number": (["{out}", "{out}", "--tolerance", "tiny"], "--tolerance"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_use_could_not_be_checked(run, copied, what):
    arguments, text = WRONG[what]
    assert text in run(2, *(argument.format(out=copied) for argument in arguments))


def test_no_data_set_of_another_version_is_extracted_again(run, copied):
    assert "was made with mediapipe None" in run(2, copied, "--reextract")


def test_code_that_a_data_set_names_is_run_only_if_the_user_names_it_too(run, copied, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    config = json.loads((copied / "dataset.json").read_text())
    config["options"] |= {"engine": "of_a_stranger:make", "mediapipe_version": installed("mediapipe")}
    (copied / "dataset.json").write_text(json.dumps(config))
    text = run(2, copied, "--reextract")
    assert (
        "'of_a_stranger:make', which is none of holistic, tasks, hands+pose+face, segmenter but code" in text
    )
    assert "name it with --engine" in text
    assert "expected the engine that" in run(2, copied, "--reextract", "--engine", "holistic")
    assert not marker.exists()
    assert "cannot be imported" in run(2, copied, "--reextract", "--engine", "of_a_stranger:make")
    assert marker.exists()


def test_infinity_is_null_in_json(run, copied, tmp_path):
    out = tmp_path / "other"
    shutil.copytree(copied, out)
    (name,) = (out / "clips/split=test").iterdir()
    table = pq.ParquetFile(name).read()
    lists = table["pose"].to_pylist()
    lists[0][7] = float("inf")
    index = table.schema.get_field_index("pose")
    table = table.set_column(
        index, table.schema.field("pose"), pa.array(lists, table.schema.field("pose").type)
    )
    with pq.ParquetWriter(name, table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    result = json.loads(run(1, copied, out, "--json"), parse_constant=refuse)
    assert (result["parts"]["pose"]["max"], result["parts"]["pose"]["beyond"]) == (None, 1)


# The input of a data set that is known by name, its annotations elsewhere.


def annotated(out: Path, inputs: Inputs, shared_clips: Path) -> Path:
    """A data set as a job plans it, and with landmarks of its clips' lengths."""
    config, inputs = JobConfig(str(out)), resolved(inputs)
    dataset, discovery = Dataset(str(out)), discover(inputs)
    array = np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"]
    with job(dataset, config, inputs, discovery) as prepared:
        for shard, clips in prepared.revision.plan.by_shard().items():
            rows = []
            for clip in clips:
                made = Provenance(
                    *(
                        "holistic",
                        "",
                        config.options_hash(),
                        "cpu",
                        1,
                        1.0,
                        1.0,
                        1.0,
                        "host",
                        clip.fingerprint,
                    )
                )
                rows.append([encode(clip, real_landmarks(array[: clip.num_frames]), made)])
            write_shard(dataset.store, shard, clips[0].split, POINTS, rows)
    return out


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory, shared_clips) -> Path:
    """PHOENIX in small, its annotations somewhere else, and a data set of it."""
    place = tmp_path_factory.mktemp("phoenix")
    phoenix_2014_t(place / "in", shared_clips)
    shutil.move(place / "in/PHOENIX-2014-T/annotations", place / "said")
    inputs = Inputs(frames=str(place / "in"), dataset="phoenix-2014-t", annotations=str(place / "said"))
    annotated(place / "out", inputs, shared_clips)
    return place


def test_annotations_elsewhere_are_found_where_they_lay(run, phoenix):
    config = json.loads((phoenix / "out/dataset.json").read_text())
    assert config["annotations"] == str(phoenix / "said")
    text = run(0, phoenix / "out", "--frames", phoenix / "in")
    assert "compared with the input: 4 clips" in text
    assert "1 clips of the input were never planned" in text


def test_frames_and_annotations_that_moved_are_both_said(run, phoenix, tmp_path):
    shutil.copytree(phoenix, tmp_path / "moved", symlinks=True)
    out, frames = tmp_path / "moved/out", tmp_path / "moved/in"
    shutil.move(tmp_path / "moved/said", tmp_path / "said")
    config = json.loads((out / "dataset.json").read_text())
    config["annotations"] = str(tmp_path / "moved/said")
    (out / "dataset.json").write_text(json.dumps(config))
    assert "say with --annotations where they lie now" in run(2, out, "--frames", frames)
    text = run(0, out, "--frames", frames, "--annotations", tmp_path / "said")
    assert "compared with the input: 4 clips" in text
    (frames / "PHOENIX-2014-T/features/fullFrame-210x260px/train/wave/images0003.png").unlink()
    text = run(1, out, "--frames", frames, "--annotations", tmp_path / "said")
    assert "input: train/wave: 8 frames, the input now has 7" in text


def test_a_data_set_made_before_it_said_where_its_annotations_lay(run, phoenix, tmp_path):
    shutil.copytree(phoenix / "out", tmp_path / "out")
    config = json.loads((tmp_path / "out/dataset.json").read_text())
    del config["annotations"]
    (tmp_path / "out/dataset.json").write_text(json.dumps(config))
    text = run(2, tmp_path / "out", "--frames", phoenix / "in")
    assert "name the folder of the annotations with --annotations" in text
    arguments = ("--frames", phoenix / "in", "--annotations", phoenix / "said")
    assert "compared with the input: 4 clips" in run(0, tmp_path / "out", *arguments)


@pytest.fixture
def tails(tmp_path, shared_clips) -> Path:
    """Clips deep in a tree, named by the ends of their paths in a table elsewhere, and a data set of them."""
    for clip in ("wave", "squats"):
        source = "train/wave" if clip == "wave" else "test/squats"
        link_frames(shared_clips, source, tmp_path / "in/deep" / clip, one_based, 8)
    (tmp_path / "said.csv").write_text("clip_id,gloss\nwave,HALLO\nsquats,SPORT\n")
    inputs = Inputs(frames=str(tmp_path / "in"), dataset="frames", annotations=str(tmp_path / "said.csv"))
    annotated(tmp_path / "out", inputs, shared_clips)
    return tmp_path


def test_a_table_whose_ids_are_tails(run, tails):
    out = tails / "out"
    assert Dataset.open(str(out)).plan().clips[0].clip_id in ("wave", "squats")
    assert "2 clips, their frames and fingerprints" in run(0, out, "--frames", tails / "in")
    (tails / "in").rename(tails / "moved")
    assert "2 clips, their frames" in run(0, out, "--frames", tails / "moved")
    (tails / "said.csv").rename(tails / "new.csv")
    assert "say with --annotations" in run(2, out, "--frames", tails / "moved")
    said = ("--annotations", tails / "new.csv")
    assert "2 clips, their frames" in run(0, out, "--frames", tails / "moved", *said)
    assert "2 clips, their frames" in run(0, out, "--frames", tails / "moved/deep", *said)
    shutil.rmtree(tails / "moved/deep/wave")
    text = run(1, out, "--frames", tails / "moved", *said)
    assert "input: wave: is no longer in the input\n" in text


def test_a_table_of_tails_that_an_older_data_set_does_not_speak_of(run, tails):
    config = json.loads((tails / "out/dataset.json").read_text())
    del config["annotations"]
    (tails / "out/dataset.json").write_text(json.dumps(config))
    assert "2 clips, their frames" in run(0, tails / "out", "--frames", tails / "in")
    (tails / "in").rename(tails / "moved")
    assert "2 clips, their frames" in run(0, tails / "out", "--frames", tails / "moved")
    (tails / "new").mkdir()
    (tails / "moved/deep").rename(tails / "new/elsewhere")
    text = run(2, tails / "out", "--frames", tails / "new")
    assert "none of the 2 clips" in text
    assert "say with --annotations where it lies" in text
    said = ("--annotations", tails / "said.csv")
    assert "2 clips, their frames" in run(0, tails / "out", "--frames", tails / "new", *said)


def test_annotations_of_a_data_set_that_has_none(run, copied, phoenix_root, phoenix):
    text = run(2, copied, "--frames", phoenix_root, "--annotations", phoenix / "said")
    assert "was made without --dataset NAME" in text
    assert "none of the 5 clips" in run(2, copied, "--frames", phoenix / "said/..")


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
    extract_here(out, frames, JobConfig(str(out)))
    return out


def extract_here(out: Path, frames: Path, config: JobConfig) -> None:
    dataset, inputs = Dataset(str(out)), Inputs(frames=str(frames))
    dataset.create({**config.result_options(), "split_from": "folder"}, config.options_hash(), {})
    revision = revise(dataset.plan(), discover(inputs).clips, ())
    dataset.write_plan(revision.plan)
    with DetectorProcess(config.detector, config.frames) as process:
        for shard, clips in revision.plan.by_shard().items():
            rows = []
            for clip in clips:
                done = process.extract(clip)
                made = Provenance(
                    *(config.detector.engine, "", config.options_hash(), "cpu", 1, 1.0, 1.0, 1.0, "host"),
                    done.fingerprint,
                )
                rows.append([encode(clip, piece, made) for piece in done.pieces])
            info = process.start()
            write_shard(dataset.store, shard, clips[0].split, info.num_points, rows, has_masks=info.has_masks)


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


@pytest.fixture(scope="module")
def segmented(request, tmp_path_factory, frames) -> tuple[Path, list[str]]:
    """A data set of masks, and what says where its model lies: the wheel of mediapipe 1.x has none."""
    model = ""
    if sys.version_info >= (3, 13):
        model = str(request.getfixturevalue("shared_models") / "selfie_segmentation.tflite")
    asked = DetectorOptions(engine="segmenter", mask=getattr(request, "param", "category"), model=model)
    out = tmp_path_factory.mktemp("segmented") / "out"
    extract_here(out, frames, JobConfig(str(out), detector=resolve_engine(asked)))
    return out, ["--model", model] if model else []


def mask_changed(out: Path, change) -> None:
    """One mask of the test clip changed and packed again."""
    (name,) = (out / "clips/split=test").iterdir()
    table = pq.ParquetFile(name).read()
    lists = table["mask_png"].to_pylist()
    mask = read_mask(lists[0][2], (210, 260)).copy()
    change(mask)
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG", compress_level=0)
    assert file.getvalue() != lists[0][2]
    lists[0][2] = file.getvalue()
    index = table.schema.get_field_index("mask_png")
    table = table.set_column(index, table.schema.field("mask_png"), pa.array(lists, pa.list_(pa.binary())))
    with pq.ParquetWriter(name, table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("segmented", ["category", "confidence"], indirect=True)
def test_the_same_masks_come_out_again(run, segmented, frames, tmp_path):
    made, model = segmented
    out = tmp_path / "out"
    shutil.copytree(made, out)
    again = ("--reextract", "--sample", "2", "--frames", frames, *model)
    text = run(0, out, *again)
    assert re.search(r"; (\d+) frames in 2 shards(?s:.*)decoded: the masks of \1 frames", text)
    assert "extracted again here: 2 clips, compared bit for bit" in text
    mask_changed(out, lambda _: None)
    assert "good" in run(0, out, *again), "the same pixels in another packing"

    def flip(mask: np.ndarray) -> None:
        mask[100:102, 50:55] ^= 1

    mask_changed(out, flip)
    assert "good" in run(0, out), "no check but this one can see it"
    assert (
        "reextracted: test/squats: extracted again here: masks differ in 1 of 6 frames, first in frame 2, in "
        "up to 10 pixels"
    ) in run(1, out, *again)
    text = run(1, made, out, "--tolerance", "0.001")
    assert "10 differ" in text
    assert "most of all test/squats, frame 2: 0.02% of its pixels" in text
    result = json.loads(run(1, made, out, "--json"))
    assert (result["masks"]["differ"], result["counts"]) == (10, {"mask pixels": 1})
    assert "overlap" in result["masks"]["classes"][0]


def test_a_copy_with_other_times_is_extracted_again(run, segmented, frames, tmp_path):
    out, model = segmented
    copied = tmp_path / "copied"
    shutil.copytree(frames, copied)
    names = sorted((copied / "test/squats").iterdir())
    os.utime(names[0], (1, 1))
    text = run(1, out, "--frames", copied, "--reextract", *model)
    assert "input: test/squats: names, sizes or times" in text
    assert "extracted again here: 2 clips, compared bit for bit" in text
    assert "not good: input 1" in text
    shutil.copy(copied / "train/wave" / names[3].name, names[1])
    text = run(1, out, "--frames", copied, "--reextract", *model)
    assert re.search("test/squats: extracted again here: masks differ.*; its input has changed since", text)


def test_an_input_on_an_object_store_is_fetched(run, segmented, frames, s3_uri):
    out, model = segmented
    store = Store(s3_uri)
    for path in frames.rglob("*.png"):
        store.write(str(path.relative_to(frames)), path.read_bytes())
    text = run(1, out, "--frames", s3_uri, "--reextract", *model)
    assert "extracted again here: 2 clips, compared bit for bit" in text
    assert "not good: input 2" in text, "their times are those of the upload"


def test_an_input_that_is_gone_hides_nothing_that_was_found(run, segmented, frames, tmp_path):
    _, model = segmented
    moved, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(frames, moved)
    detector = resolve_engine(DetectorOptions(engine="segmenter", model=model[-1] if model else ""))
    extract_here(out, moved, JobConfig(str(out), detector=detector))

    def flip(mask: np.ndarray) -> None:
        mask[100:102, 50:55] ^= 1

    mask_changed(out, flip)
    shutil.rmtree(moved / "train/wave")
    text = run(1, out, "--reextract", *model)
    assert "extracted again here: 1 clips" in text
    assert "reextracted: test/squats: extracted again here: masks differ" in text
    assert re.search(
        "reextracted: train/wave: could not be extracted again: .* say where with --frames", text
    )
    assert "not good: reextracted 2" in text
    shutil.rmtree(moved)
    text = run(2, out, "--reextract", *model)
    assert "say where with --frames (nor could any of 1 others be)" in text


def test_what_is_damaged_is_not_extracted_again(run, segmented, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(segmented[0], out)
    (name,) = (out / "clips/split=test").iterdir()
    name.write_bytes(name.read_bytes()[:-1])
    text = run(1, out, "--reextract")
    assert "damaged: clips/split=test" in text
    assert "was not tried: mend what is damaged first" in text


def test_another_model_is_refused(run, segmented, tmp_path):
    (tmp_path / "other.tflite").write_bytes(b"\0\0\0\0TFL3")
    text = run(2, segmented[0], "--reextract", "--model", tmp_path / "other.tflite")
    assert "not a whole .tflite file" in text or "name the same one with --model" in text


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
    text = run(1, out, "--frames", moved, "--reextract")
    assert "test/squats: is no longer in the input" in text, "what was found is told all the same"
    assert "reextracted: test/squats: could not be extracted again: is not in the input given by" in text
    assert "extracted again here: 1 clips" in text
