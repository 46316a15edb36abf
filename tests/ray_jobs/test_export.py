"""``landmarks export`` as a user gives it."""

import gzip
import json
import pickle
import subprocess
import sys

import pytest

from ray_jobs.cli import main


@pytest.fixture
def out(real_dataset):
    return real_dataset.store.location


def test_one_command_gives_a_file_a_split(out, tmp_path, capsys):
    base = tmp_path / "new/phoenix14t"
    arguments = [
        "export",
        out,
        "--format",
        "slt",
        "--to",
        str(base),
        "--splits",
        "train, dev",
        "--tensors",
        "numpy",
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "train: clips 2, frames 183\n" in printed.out
    assert "files 2, of which 2 written now; " in printed.out
    assert f"{base}.manifest.json" in printed.out
    assert "note: 1 of 4 planned clips are not in it" in printed.out
    with gzip.open(f"{base}.train", "rb") as file:
        assert [sample["name"] for sample in pickle.load(file)] == ["train/bsl_demo", "train/wave"]
    assert main(arguments) == 0
    assert "of which 0 written now and 2 stood already" in capsys.readouterr().out


def test_json(out, tmp_path, capsys):
    assert main(["export", out, "--format", "npz", "--to", str(tmp_path / "e"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["format"], done["clips"], done["files"], done["written"]) == ("npz", 4, 4, 4)
    assert done["splits"]["train"] == {"clips": 2, "frames": 183}
    with open(done["manifest"], encoding="utf-8") as file:
        assert json.load(file)["complete"] is True


def test_list(capsys):
    assert main(["export", "--list"]) == 0
    text = capsys.readouterr().out
    assert main(["export", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {
        "slt",
        "twostream",
        "mska",
        "unisign",
        "openhands",
        "pyskl",
        "asl-signs",
        "aslfr",
        "npz",
        "csv",
    } <= {row["name"] for row in rows}
    for row in rows:
        assert f"{row['name']}  {row['consumer']}\n  {row['structure']}\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected OUT, --format F, --to PATH: landmarks export OUT"),
        (["OUT", "--format", "slt"], "expected --to PATH"),
        (["OUT", "--to", "x"], "expected --format F"),
        (["OUT", "--format", "slr", "--to", "x"], "--format: expected one of slt, twostream, mska"),
        (["OUT", "--format", "slt", "--to", "x", "--splits", "trian"], "no clip of split trian"),
        (["/nowhere", "--format", "slt", "--to", "x"], "expected a landmark data set"),
        (["OUT", "--format", "slt", "--to", "folder/"], "expected the name of a file"),
        (["OUT", "--format", "npz", "--to", "x", "--drop-empty-frames"], "keeps every frame"),
        (["OUT", "--format", "slt", "--to", "s3://"], "expected the name of a file"),
    ],
)
def test_wrong_use(out, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *[out if a == "OUT" else a for a in arguments]]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_needs_neither_ray_nor_a_detector(out, tmp_path):
    code = (
        "import sys; from ray_jobs.cli import main; "
        f"assert main(['export', {out!r}, '--format', 'npz', '--to', {str(tmp_path / 'e')!r}]) == 0; "
        "print({'ray', 'mediapipe', 'cv2', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n")
