"""A job's inputs and plan, without Ray."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.errors import JobError
from extraction.policy import Policy, remedies
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, discover, job
from storage.dataset import Dataset
from storage.running import running_job


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
