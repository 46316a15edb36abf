import subprocess
import sys


def test_without_torch_one_is_told_so(tmp_path):
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from extraction.errors import JobError
from storage import torch
for attempt in (lambda: torch.LandmarkDataset(sys.argv[1]), lambda: torch.LandmarkIterableDataset):
    try:
        attempt()
    except JobError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert "needs PyTorch, which is not installed here: pip install torch" in first
