"""Clips on an object store, and a node on which every detector dies: it is found bad by another's clip."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from extraction.detectors import DetectorOptions
from extraction.policy import Policy, remedies
from ray_jobs import circuit, stages
from ray_jobs.circuit import BadNodeError
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, discover, job
from storage.dataset import Dataset
from storage.files import Store

pytestmark = pytest.mark.serial


def test_its_clip_is_fetched_to_be_tried_here(portrait, s3_uri, tmp_path, monkeypatch):
    names = ["dev/done", "train/lost"]
    for name in names:
        for number, file in enumerate(sorted(Path(portrait, "dev/pan").iterdir())[:4]):
            Store(s3_uri).write(f"{name}/{number}{file.suffix}", file.read_bytes())
    inputs = Inputs(s3_uri)
    config = JobConfig(
        str(tmp_path / "out"),
        DetectorOptions(engine="faulty_engine:make"),
        policy=Policy(remedies(max_attempts=1)),
        inputs_uri=inputs.uri,
    )
    monkeypatch.setattr(circuit, "_LOST_IN_A_ROW", 1)
    monkeypatch.setattr(stages, "has_other_nodes", lambda: True)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1] / "support"))
    with job(Dataset(config.out), config, inputs, discover(inputs)) as prepared:
        dataset = Dataset(config.out)
        shards = {dataset.planned_clips(shard)[0].split: shard for shard in prepared.revision.to_do}
        assert sorted(shards) == ["dev", "train"]
        monkeypatch.setenv("LANDMARKS_HOST", "good")
        good = stages.ShardWorker(config, prepared.job_id)
        good(pa.table({"shard": [shards["dev"]]}))
        good._detector.close()
        monkeypatch.setenv("LANDMARKS_HOST", "bad")
        monkeypatch.setenv("FAULTS", json.dumps(dict.fromkeys(names, "segv")))
        bad = stages.ShardWorker(config, prepared.job_id)
        try:
            with pytest.raises(BadNodeError, match=r"1 clips in a row .* and so did dev/done, which another"):
                bad._make(shards["train"])
        finally:
            bad._detector.close()
