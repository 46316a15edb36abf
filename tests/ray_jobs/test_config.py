import json

import pytest

from extraction.errors import JobError
from ray_jobs import config as module
from ray_jobs.config import JobConfig, usable_cores, usable_workers
from storage.dataset import Dataset


def test_a_data_set_from_before_there_were_precisions_goes_on(tmp_path):
    config = JobConfig("out")
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create(config.result_options(), config.options_hash(), {})
    assert "precision" not in json.loads((tmp_path / "out/dataset.json").read_text())["options"]
    dataset.check_options(JobConfig("out", precision="float32").result_options())
    rounded = JobConfig("out", precision="float16")
    assert rounded.options_hash() != config.options_hash()
    with pytest.raises(JobError, match="precision: there 'float32', now 'float16'"):
        dataset.check_options(rounded.result_options())


def test_a_data_set_of_rounded_values_stays_one(tmp_path):
    config = JobConfig("out", precision="float16")
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create(config.result_options(), config.options_hash(), {})
    dataset.check_options(config.result_options())
    with pytest.raises(JobError, match="precision: there 'float16', now 'float32'"):
        dataset.check_options(JobConfig("out").result_options())


def test_a_precision_that_does_not_exist():
    with pytest.raises(JobError, match="--precision must be float32 or float16, found 'double'"):
        JobConfig("out", precision="double")


def test_workers_of_a_machine_by_its_cores_and_its_memory(monkeypatch):
    monkeypatch.setattr(module, "MEMORY_PER_ACTOR_MB", 1)
    assert usable_workers() == usable_cores()
    monkeypatch.setattr(module, "MEMORY_PER_ACTOR_MB", 1 << 30)  # more than a machine has
    assert usable_workers() == 1
