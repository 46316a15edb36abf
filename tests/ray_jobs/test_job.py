"""A job's inputs and plan, without Ray."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_datasets

from extraction.errors import JobError
from extraction.policy import Policy, remedies
from ray_jobs.cli import main
from ray_jobs.config import JobConfig
from ray_jobs.datasets import told, with_known
from ray_jobs.job import Inputs, discover, job
from storage.dataset import Dataset
from storage.plan import Plan, tabulated
from storage.running import running_job
from storage.shards import Failure, write_shard


def test_a_parquet_manifest(portrait, tmp_path):
    path = tmp_path / "clips.parquet"
    rows = {"clip_id": ["one", "two"], "uri": [f"{portrait}/dev/pan", "gone"], "fps": [50.0, None]}
    pq.write_table(pa.table({**rows, "split": ["train", None], "text": ["null", ""]}), path)
    one, two = discover(Inputs(manifest=str(path))).clips
    assert (one.clip_id, one.split, one.fps, one.num_frames, one.text) == ("one", "train", 50.0, 6, "null")
    assert (two.clip_id, two.split, two.fps, two.num_frames) == ("two", None, None, 0)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"clip_id": ["a"]}, "uri"),
        ({"clip_id": ["a", "a"], "uri": ["x", "y"]}, "row 2"),
        ({"clip_id": ["a"], "uri": ["../x"]}, "leaves the manifest's folder"),
    ],
)
def test_a_bad_parquet_manifest(table, text, tmp_path):
    path = tmp_path / "clips.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(JobError, match=text):
        discover(Inputs(manifest=str(path)))


def test_a_manifest_that_is_no_parquet(tmp_path):
    (tmp_path / "clips.parquet").write_text("clip_id,uri\n")
    with pytest.raises(JobError, match="expected a Parquet manifest"):
        discover(Inputs(manifest=str(tmp_path / "clips.parquet")))


def test_a_job_takes_its_mark_plans_and_lets_go(portrait, tmp_path):
    config, inputs = JobConfig(str(tmp_path / "out")), Inputs(str(portrait))
    dataset = Dataset(config.out)
    with job(dataset, config, inputs, discover(inputs)) as prepared:
        assert running_job(dataset.store)["pid"]
        assert sorted(clip.clip_id for clip in dataset.plan().clips) == ["dev/pan", "train/zoom"]
        assert set(prepared.revision.to_do) == set(dataset.plan().shards)
        assert (prepared.num_found, prepared.discovery.clips) == (2, ())
    assert running_job(dataset.store) is None
    assert sorted(dataset.store.entries()) == ["dataset.json", "plan.parquet"]


def test_clips_that_vanished_are_not_forgotten(portrait, tmp_path):
    config, inputs = JobConfig(str(tmp_path / "out")), Inputs(str(portrait))
    dataset = Dataset(config.out)
    with job(dataset, config, inputs, discover(inputs)):
        pass  # killed before any shard stood
    only_dev = Inputs(str(portrait / "dev"))
    with job(dataset, config, only_dev, discover(only_dev)) as prepared:
        planned = {clip.clip_id for clip in prepared.revision.plan.clips}
        assert prepared.revision.clips_to_do == 3
    assert planned == {"dev/pan", "train/zoom", "pan"}


def glosses(dataset):
    return {clip.clip_id: clip.gloss for clip in dataset.plan().clips}


def test_what_annotate_wrote_of_clips_that_wait_stays(portrait, tmp_path):
    config, inputs = JobConfig(str(tmp_path / "out")), Inputs(str(portrait))
    dataset = Dataset(config.out)
    with job(dataset, config, inputs, discover(inputs)):
        pass  # killed before any shard stood
    table = tmp_path / "said.csv"
    table.write_text("clip_id,gloss,label\ndev/pan,PAN,1\ntrain/zoom,ZOOM,2\n")
    assert main(["annotate", config.out, "--dataset", "frames", "--annotations", str(table)]) == 0
    with job(dataset, config, inputs, discover(inputs)) as prepared:
        assert (prepared.revision.clips_to_do, prepared.notes) == (2, ())
    assert glosses(dataset) == {"dev/pan": "PAN", "train/zoom": "ZOOM"}

    # One that fails, and is tried again, goes to another shard.
    shard = dataset.plan().shard_of()["dev/pan"]
    failure = Failure("dev/pan", str(portrait / "dev/pan"), "dev", "decode", "gone", "gone", 1)
    write_shard(dataset.store, shard, "dev", {"pose": 33}, [failure])
    again = replace(config, retry_failed=True)
    with job(dataset, again, inputs, discover(inputs)) as prepared:
        assert prepared.revision.clips_to_do == 2
    assert dataset.plan().shard_of()["dev/pan"] != shard
    assert glosses(dataset) == {"dev/pan": "PAN", "train/zoom": "ZOOM"}

    # A manifest speaks of the columns that it fills, and of new clips.
    rows = "clip_id,uri,split,gloss,label\ndev/pan,{0}/dev/pan,dev,NEW,\nnew,{0}/dev/pan,,,\n"
    (tmp_path / "clips.csv").write_text(rows.format(portrait))
    inputs = Inputs(manifest=str(tmp_path / "clips.csv"))
    with job(dataset, config, inputs, discover(inputs)):
        pass
    assert glosses(dataset) == {"dev/pan": "NEW", "train/zoom": "ZOOM", "new": None}
    assert {c.clip_id: c.label for c in dataset.plan().clips} == {
        "dev/pan": "1", "train/zoom": "2", "new": None,
    }  # fmt: skip


def test_a_table_of_ones_own_speaks_of_its_clips_and_columns_alone(portrait, tmp_path):
    table = tmp_path / "said.csv"
    table.write_text("clip_id,gloss,text\ndev/pan,NEW,\n")
    inputs = Inputs(str(portrait), dataset="frames", annotations=str(table))
    found = discover(inputs)
    known = Plan([replace(clip, gloss="G", text="T") for clip in found.clips], [0, 1])
    clips = tabulated(found.clips)
    kept = with_known(found.annotated, clips, clips, known)
    assert {row["clip_id"]: (row["gloss"], row["text"]) for row in kept.to_pylist()} == {
        "dev/pan": ("NEW", "T"), "train/zoom": ("G", "T"),
    }  # fmt: skip
    assert [line for line in told(found.annotated, clips, known, [0, 1]) if "changed" in line] == [
        "the annotations of 1 finished clips have changed since (dev/pan): `landmarks annotate OUT ROOT "
        "--dataset NAME` brings them up to date without extracting anything"
    ]


def test_a_data_set_by_name_speaks_of_all_that_it_names(shared_clips, tmp_path):
    root = small_datasets.how2sign(tmp_path, shared_clips)
    found = discover(Inputs(str(root), dataset="how2sign", unannotated=True))
    named = {annotation.clip_id for annotation in found.annotated.annotations}
    assert 0 < sum(clip.clip_id in named for clip in found.clips) < len(found.clips)
    clips = tabulated(found.clips)
    known = Plan([replace(clip, gloss="G", text="T") for clip in found.clips], [0] * len(found.clips))
    kept = with_known(found.annotated, clips, clips, known).to_pylist()
    assert [(row["gloss"], row["text"]) for row in kept] == [
        (None, clip.text) if clip.clip_id in named else ("G", "T") for clip in found.clips
    ]


def test_a_policy_out_of_range():
    with pytest.raises(JobError, match="--max-attempts must be 1 or more, found 0"):
        JobConfig("out", policy=Policy(remedies=remedies(max_attempts=0)))


@pytest.mark.parametrize(
    "given",
    [
        {"frames": "s3://bucket/in", "dataset": "auto"},
        {"frames": "here", "dataset": "auto", "annotations": "gs://bucket/tables"},
    ],
)
def test_data_sets_by_name_are_files_of_this_machine(given):
    with pytest.raises(JobError, match=r"found ..://bucket/\w+: mount the bucket .* or leave --dataset out"):
        Inputs(**given)


def test_a_file_uri_is_a_path(portrait):
    by_uri, by_path = Inputs(f"file://{portrait}"), Inputs(str(portrait))
    assert by_uri == by_path
    assert discover(by_uri) == discover(by_path)
