"""Every block of code of docs/reading.md runs, and finds what is there."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from real_dataset import SPLITS, real_landmarks

from storage.precision import rounded

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reading.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
IDS = sorted(f"{split}/{name}" for name, split in SPLITS.items())


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return found


@pytest.fixture
def here(real_dataset, tmp_path, monkeypatch):
    """A folder in which the page's data set lies."""
    (tmp_path / "demo-out").mkdir()
    (tmp_path / "demo-out/landmarks").symlink_to(real_dataset.store.root)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(shared_clips):
    def load(clip_id: str):
        path = shared_clips / f"phoenix_like/expected/{clip_id.split('/')[1]}.npz"
        return real_landmarks(np.load(path)["tracking"])

    return load


def run(text: str) -> dict:
    names: dict = {}
    exec(compile(text, "docs/reading.md", "exec"), names)
    return names


def test_no_block_is_forgotten():
    tested = Path(__file__).read_text(encoding="utf-8")
    words = re.findall(r"block\(\"(.+?)\"\)", tested)
    assert sorted(map(block, words)) == sorted(BLOCKS)


@pytest.mark.usefixtures("here")
def test_pyarrow(expected):
    names = run(block("import pyarrow.dataset"))
    assert names["rows"]["clip_id"].to_pylist() == ["train/bsl_demo", "train/wave"]
    np.testing.assert_array_equal(names["pose"], expected("train/bsl_demo").parts["pose"])


@pytest.mark.usefixtures("here")
def test_polars(expected):
    names = run(block("import polars"))
    rates = {row["clip_id"]: row for row in names["rates"].to_dicts()}
    assert sorted(rates) == IDS
    assert rates["dev/french_a1"]["split"] == "dev"
    for clip_id in IDS:
        share = expected(clip_id).present("right_hand").mean()
        assert rates[clip_id]["right_hand"] == pytest.approx(share)
    assert any(
        np.array_equal(names["pose"], expected(clip_id).parts["pose"], equal_nan=True) for clip_id in IDS
    )


@pytest.mark.usefixtures("here")
def test_pandas(expected):
    table = run(block("import pandas"))["table"].set_index("clip_id")
    assert sorted(table.index) == IDS
    for clip_id in IDS:
        np.testing.assert_array_equal(table.loc[clip_id, "left_hand"], expected(clip_id).parts["left_hand"])


@pytest.mark.usefixtures("here")
def test_duckdb(expected, real_dataset):
    rates = run(block("import duckdb"))["rates"]
    signers = {}
    for clip_id in IDS:
        signers.setdefault(real_dataset.read_clip(clip_id)["signer"][0].as_py(), []).append(expected(clip_id))
    assert [row[0] for row in rates] == sorted(signers)
    for signer, clips, frames, left, right in rates:
        own = signers[signer]
        assert (clips, frames) == (len(own), sum(map(len, own)))
        readable = sum((clip.frame_status != 2).sum() for clip in own)
        assert left == pytest.approx(sum(clip.present("left_hand").sum() for clip in own) / readable)
        assert right == pytest.approx(sum(clip.present("right_hand").sum() for clip in own) / readable)


@pytest.mark.usefixtures("here")
def test_hugging_face(expected):
    names = run(block("from datasets import"))
    found = {str(clip["clip_id"]): clip["pose"] for clip in names["clips"]}
    assert sorted(found) == IDS
    for clip_id in IDS:
        np.testing.assert_array_equal(found[clip_id].reshape(-1, 33, 3), expected(clip_id).parts["pose"])


def in_a_process(text: str, here: Path) -> str:
    (here / "recipe.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "recipe.py"], cwd=here, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestWithTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        from torch_here import require_torch

        require_torch()

    def test_one_clip(self, here):
        text = block("clip = clips[0]")
        assert in_a_process(text, here).startswith("train/bsl_demo ")
        names = run(text)
        assert names["clip"]["points"].shape == (125, 75, 3)

    @pytest.mark.usefixtures("here")
    def test_batches(self):
        names = run(block("LengthBatchSampler("))
        assert names["points"].shape[2:] == (75, 3)
        assert not names["points"].isnan().any()
        assert names["mask"].any()
        assert names["num_frames"].max() == names["points"].shape[1]

    @pytest.mark.usefixtures("here")
    def test_a_stream(self):
        assert run(block("LandmarkIterableDataset("))["seen"] == [IDS, IDS]

    def test_decoded_once(self, here, expected):
        names = run(block("fill_cache("))
        assert (names["filled"].frames, names["filled"].new_bytes) == (310, 310 * 900 + 9 * 128)
        assert len(list((here / "landmark-cache").rglob("*.npy"))) == 9
        points = names["clips"]["train/wave"]["points"].numpy()
        np.testing.assert_array_equal(points[:, :33], expected("train/wave").parts["pose"])

    @pytest.mark.serial
    def test_ray_data(self, here):
        start = "import ray; ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
        end = "\nprint('shapes', sorted(shapes))\n"
        printed = in_a_process(start + textwrap.dedent(block("import ray")) + end, here)
        assert "shapes [(2, 64, 33, 3), (2, 64, 33, 3)]" in printed


def test_the_error_of_float16_is_what_the_page_says(shared_clips):
    errors = []
    for name in SPLITS:
        with np.load(shared_clips / f"phoenix_like/expected/{name}.npz") as arrays:
            for mode in ("tracking", "static"):
                parts = real_landmarks(arrays[mode]).parts
                points = np.concatenate(
                    [parts[p] for p in ("pose", "left_hand", "right_hand", "face")], axis=1
                )
                error = np.abs(rounded(points, "float16") - points)[..., :2].reshape(-1, 2)
                errors.append(error[~np.isnan(error).any(axis=1)])
    error = np.concatenate(errors)
    assert f"{len(error):,} points" in PAGE
    for width, height in ((210, 260), (1920, 1080)):
        px = np.hypot(error[:, 0] * width, error[:, 1] * height)
        row = (
            f"| {width}x{height} | {px.mean():.2f} px | {np.quantile(px, 0.99):.2f} px | {px.max():.2f} px |"
        )
        assert row in PAGE
