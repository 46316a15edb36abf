"""`landmarks holes`: what is not as it should be, of a data set extracted with annotations."""

import json
from collections import Counter

import pytest
import small_datasets

from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import find_dataset
from ray_jobs.cli import main
from ray_jobs.datasets import store_annotations
from storage.annotations import read_about
from storage.dataset import Dataset


@pytest.fixture
def with_holes(tmp_path, shared_clips):
    root = small_datasets.phoenix_2014_t(tmp_path / "in", shared_clips)
    found = match(find_dataset("phoenix-2014-t", str(root)))
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({"dataset": "phoenix-2014-t"}, "0f", {"source": str(root)})
    store_annotations(dataset, found)
    return dataset, found.annotated.holes


def test_every_hole_is_listed_under_its_kind(with_holes, capsys):
    dataset, holes = with_holes
    assert main(["holes", dataset.store.location, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert Counter((one["kind"], one["clip_id"]) for one in listed) == Counter(
        (hole.kind, hole.clip_id) for hole in holes
    )
    assert ("missing", "test/gone") in {(one["kind"], one["clip_id"]) for one in listed}
    about = read_about(dataset.store)
    assert Counter(one["kind"] for one in listed) == about.holes

    assert main(["holes", dataset.store.location]) == 0
    shown = capsys.readouterr().out
    assert "missing 1: annotated, but no frames or video of it are on the disk" in shown
    assert all(f"  {hole.clip_id}" in shown for hole in holes)
    assert shown.splitlines()[-1] == f"{len(holes)} holes in phoenix-2014-t"


def test_one_kind_alone(with_holes, capsys):
    dataset, _ = with_holes
    assert main(["holes", dataset.store.location, "--kind", "missing"]) == 0
    shown = capsys.readouterr().out
    assert "test/gone" in shown
    assert "train/stray" not in shown
    assert main(["holes", dataset.store.location, "--kind", "no-label", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_wrong_use(with_holes, real_dataset, tmp_path, capsys):
    dataset, _ = with_holes
    assert main(["holes", dataset.store.location, "--kind", "gone"]) == 2
    assert "--kind must be missing, unannotated" in capsys.readouterr().err
    assert main(["holes", real_dataset.store.location]) == 2
    assert "it has no annotations" in capsys.readouterr().err
    assert main(["holes", str(tmp_path)]) == 2
    assert "no dataset.json" in capsys.readouterr().err
    (tmp_path / "out/annotations.parquet").write_bytes(b"PAR1")
    assert main(["holes", dataset.store.location]) == 2
    assert "annotations.parquet: damaged" in capsys.readouterr().err
