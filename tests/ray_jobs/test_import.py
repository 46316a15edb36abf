"""``landmarks import``: what it prints, its exit codes, and the other commands on what it made."""

import json
import pickle
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def old(run, real_dataset, tmp_path) -> Path:
    run(0, "export", real_dataset.store.root, "--format", "pickle", "--to", tmp_path / "old.pkl")
    return tmp_path / "old.pkl"


def test_a_pickle_becomes_a_data_set_that_other_commands_read(run, old, tmp_path, real_dataset):
    text = run(0, "import", old, tmp_path / "out")
    assert "4 clips, of which 4 written now, 310 frames" in text
    assert "left and right hand may be exchanged" in text
    assert "good: nothing is wrong" in run(0, "verify", tmp_path / "out")
    assert run(0, "verify", real_dataset.store.root, tmp_path / "out").endswith("equal\n")
    assert "engine imported" in run(0, "view", tmp_path / "out")
    assert "58 frames" in run(0, "view", tmp_path / "out", "train/wave")
    assert "complete" in run(0, "progress", tmp_path / "out")
    run(
        0,
        "draw",
        tmp_path / "out",
        "train/wave",
        "--on",
        "black",
        "--to",
        tmp_path / "wave.png",
        "--frame",
        "20",
    )
    again = json.loads(run(0, "import", old, tmp_path / "out", "--json"))
    assert (again["clips"], again["new"], again["exit_code"]) == (4, 0, 0)


def test_no_import_is_extracted_again(run, old, tmp_path):
    run(0, "import", old, tmp_path / "out")
    assert "was imported" in run(2, "verify", tmp_path / "out", "--reextract")


def test_files_that_cannot_be_read_are_failures(run, real_dataset, tmp_path):
    pytest.importorskip("pose_format", reason="pose-format is an extra: the format pose needs it")
    run(0, "export", real_dataset.store.root, "--format", "pose", "--to", tmp_path / "pose")
    (tmp_path / "pose/dev/french_a1.pose").write_bytes(b"PK")
    text = run(1, "import", tmp_path / "pose", tmp_path / "out")
    assert "1 clips could not be read" in text
    assert "french_a1.pose: expected a .pose file" in run(0, "failures", tmp_path / "out", "--json")


def test_wrong_use(run, old, tmp_path, real_dataset):
    out = tmp_path / "out"
    assert "nothing is there" in run(2, "import", tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    assert "found neither" in run(2, "import", tmp_path / "empty", out)
    assert "is a data set already" in run(2, "import", real_dataset.store.root, out)
    assert "--fps" in run(2, "import", old, out, "--fps", "0")
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    assert "found a dict with the keys 'weights'" in run(2, "import", tmp_path / "weights.pkl", out)
    shutil.copy(__file__, tmp_path / "text.pkl")
    assert "expected a pickle" in run(2, "import", tmp_path / "text.pkl", out)
    assert not out.exists()
