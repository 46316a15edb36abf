"""What the README says is true."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from extraction.clips import Clip
from extraction.landmarks import ClipLandmarks
from extraction.topology import num_points
from storage.files import Store
from storage.rows import Provenance, encode
from storage.schema import clip_schema
from storage.shards import write_shard

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_column_table():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (.+) \|$", README, re.MULTILINE)
    expected = [
        (
            field.name,
            str(field.type).replace("item: ", "").replace("element: ", ""),
            field.metadata[b"description"].decode(),
        )
        for field in clip_schema(num_points(refine_face=False))
    ]
    assert rows == expected


def test_reading_in_five_lines(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 5
    frames = 3
    parts = {
        part: np.full((frames, n, 3), np.nan, np.float32) for part, n in num_points(refine_face=False).items()
    }
    parts["pose"][1] = 0.5
    landmarks = ClipLandmarks(
        first_frame=0,
        fps=25.0,
        timestamps_ms=np.arange(frames) * 40.0,
        frame_names=("a", "b", "c"),
        frame_status=np.array([1, 0, 1], np.int8),
        frame_errors=(None, None, None),
        frame_sizes_px=np.full((frames, 2), 100, np.int32),
        parts=parts,
        pose_visibility=np.full((frames, 33), np.nan, np.float32),
    )
    how = Provenance("holistic", "0.10.21", "x", "cpu", 1, 1.0, 1.0, 1.0, "here", "f")
    row = encode(Clip("train/a", "a", "frames", "train"), landmarks, how)
    points = {part: array.shape[1] for part, array in parts.items()}
    write_shard(Store(str(tmp_path / "demo-out/landmarks")), 0, "train", points, [[row]])
    code += (
        "assert pose.shape == (3, 33, 3) and rows['split'][0].as_py() == 'train'; print(pose[1, 0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[0.5, 0.5, 0.5]"


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
