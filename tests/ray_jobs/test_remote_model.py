"""A model by its URI: fetched to a machine once, and again only where it has changed."""

import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from flaky_s3 import Fault, FlakyS3

from extraction.detectors import DetectorOptions
from extraction.errors import JobError
from ray_jobs.config import JobConfig
from ray_jobs.remote_model import local_model, with_local_model, with_model_here
from ray_jobs.same_code import SameCode, code_version, expect_same_code
from storage.files import Store


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_model_is_fetched_once(moto, cache):
    with FlakyS3(moto) as s3:
        uri = f"s3://bucket/models/a.task?{s3.query}"
        store = Store(uri.replace("/a.task", ""))
        store.write("a.task", b"one")
        s3.heal()
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(local_model(uri))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert len([request for request in s3.requests if request.method == "GET"]) == 1
        file = Path(found[0])
        assert (file.name, file.read_bytes()) == ("a.task", b"one")
        assert file.is_relative_to(cache)
        store.write("a.task", b"other")
        assert Path(local_model(uri)).read_bytes() == b"other"


def test_a_folder_of_models(s3_uri):
    for name in ("hand.task", "face.task"):
        Store(s3_uri).write(name, name.encode())
    folder = Path(local_model(s3_uri))
    assert sorted(file.name for file in folder.iterdir()) == ["face.task", "hand.task"]


def test_a_model_that_is_not_there(s3_uri):
    with pytest.raises(JobError, match=r"^--model s3://bucket/\w+/none: there is no such file or folder"):
        local_model(s3_uri.replace("?", "/none?"))


def test_a_model_on_this_machine_stays_there(tmp_path):
    detector = DetectorOptions(engine="segmenter", model=str(tmp_path))
    assert with_local_model(detector, "") is detector
    assert with_local_model(detector, f"file://{tmp_path}/a%20b").model == f"{tmp_path}/a b"


def test_every_machine_holds_the_digest(s3_uri, shared_models, tmp_path):
    """A worker that finds another model than the driver did stops; one that finds the same goes on."""
    pytest.importorskip("mediapipe")
    from extraction.detectors import create_detector

    model = shared_models / "selfie_segmentation.tflite"
    Store(s3_uri).write("selfie.tflite", model.read_bytes())
    uri = s3_uri.replace("?", "/selfie.tflite?")
    config = JobConfig(str(tmp_path / "out"), DetectorOptions(engine="segmenter", model=uri))
    here = with_model_here(config)
    assert (here.model_uri, len(here.detector.model_sha256)) == (uri, 64)
    by_path = with_model_here(replace(config, detector=replace(config.detector, model=str(model))))
    assert here.options_hash() == by_path.options_hash()
    create_detector(with_local_model(here.detector, uri)).close()
    Store(s3_uri).write("selfie.tflite", model.read_bytes() + b"\0")
    with pytest.raises(JobError, match="expected the model with SHA-256"):
        create_detector(with_local_model(here.detector, uri))


def test_a_worker_that_cannot_have_it_says_so(s3_uri, tmp_path, monkeypatch):
    """In place of a receipt; raised by an actor while it is made, Ray would tell it by a trace."""
    import ray

    uri = s3_uri.replace("?", "/gone.task?")
    config = JobConfig(str(tmp_path / "out"), DetectorOptions(engine="holistic", model=uri), model_uri=uri)
    monkeypatch.setattr(ray, "get", lambda arguments: arguments)
    worker = SameCode(code_version(), "head", [{"config": config, "job_id": "job"}])
    (receipt,) = worker(pa.table({"shard": [0]})).column("receipt").to_pylist()
    with pytest.raises(
        JobError, match=r"^--model s3://bucket/\w+/gone.task: there is no such file or folder"
    ):
        expect_same_code(receipt)


def test_workers_are_patient_with_its_store(moto, monkeypatch):
    """A store that is away for a while keeps a person waiting for seconds, and a worker for minutes."""
    with FlakyS3(moto) as s3:
        uri = f"s3://bucket/patience/a.task?{s3.query}"
        Store(f"s3://bucket/patience?{s3.query}").write("a.task", b"one")
        monkeypatch.setattr("storage.files._FIRST_ANSWER_S", 0.1)
        s3.add(Fault("error", times=2))
        with pytest.raises(JobError, match="wait until it answers well again"):
            with_model_here(JobConfig("out", DetectorOptions(engine="os:getcwd", model=uri)))
        s3.heal()
        away = s3.add(Fault("error", times=2))
        assert Path(local_model(uri)).read_bytes() == b"one"
        assert away.hits == 2
