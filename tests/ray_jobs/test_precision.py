"""A data set of `--precision float16`: all commands that read it go on, and those that describe it say so."""

import json

import numpy as np
import pytest
from real_dataset import POINTS, real_landmarks

from extraction.clips import Clip
from ray_jobs.cli import main
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard


@pytest.fixture(scope="module")
def datasets(tmp_path_factory, shared_clips):
    """The same clip in both precisions."""
    folder = tmp_path_factory.mktemp("precision")
    landmarks = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    clip = Clip("train/wave", "/in/wave", "frames", "train", len(landmarks), "f")
    made = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 9.0, 1.0, 7.0, "host", "f")
    for precision in ("float32", "float16"):
        dataset = Dataset(str(folder / precision))
        options = {"engine": "holistic", "static": False, "mediapipe_version": "0.10.21", "fps": 25.0}
        more = {} if precision == "float32" else {"precision": precision}
        dataset.create({**options, **more}, "0f", {"source": "/in"})
        dataset.write_plan(Plan((clip,), (0,)))
        write_shard(dataset.store, 0, "train", POINTS, [[encode(clip, landmarks, made, precision)]])
    return folder


def test_who_describes_it_says_so(datasets, tmp_path, capsys):
    for precision, told in (("float16", True), ("float32", False)):
        out = str(datasets / precision)
        assert main(["view", out]) == 0
        assert ("precision float16" in capsys.readouterr().out) == told
        page = tmp_path / f"{precision}.html"
        assert main(["report", out, "--to", str(page)]) == 0
        assert ("rounded to float16, in columns of float32" in page.read_text()) == told
        assert main(["report", out, "--json"]) == 0
        assert json.loads(capsys.readouterr().out.partition("\n")[2])["config"]["options"].get(
            "precision"
        ) == ("float16" if told else None)
        assert main(["export", out, "--format", "npz", "--to", str(tmp_path / precision)]) == 0
        manifest = (tmp_path / precision / "manifest.json").read_text()
        assert ('"precision": "float16"' in manifest) == told
        capsys.readouterr()


def test_who_reads_it_goes_on(datasets, tmp_path, capsys):
    out, exact = str(datasets / "float16"), str(datasets / "float32")
    assert main(["verify", out]) == 0
    assert main(["view", out, "train/wave", "--detailed"]) == 0
    assert main(["verify", out, exact]) == 1
    assert main(["verify", out, exact, "--tolerance", "0.001"]) == 0
    capsys.readouterr()
    options = ["--on", "black", "--frame", "21", "--against", exact, "--to", str(tmp_path), "--json"]
    assert main(["draw", out, "train/wave", *options]) == 0
    (drawn,) = json.loads(capsys.readouterr().out)
    assert 0 < max(drawn["difference"].values()) < 0.3  # px of 210x260
