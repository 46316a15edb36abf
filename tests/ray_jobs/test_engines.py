"""Every engine through the command line, as a user runs it."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from extraction.detectors.registry import mediapipe_version
from storage.dataset import Dataset
from storage.rows import decode

pytestmark = [pytest.mark.serial, pytest.mark.timeout(240)]

LEGACY = mediapipe_version().startswith("0.")


@pytest.fixture(scope="module")
def models(tmp_path_factory, shared_models) -> Path:
    """A folder of bundles, as `landmarks models fetch` leaves one."""
    spec = importlib.util.spec_from_file_location(
        "split_bundle", shared_models.parent / "tools" / "split_bundle.py"
    )
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["split_bundle.py", str(folder)])
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    shutil.copy(shared_models / "face_landmarker.task", folder)
    return folder


def extracted(landmarks, portrait: Path, out: Path, *options: object) -> dict[str, object]:
    """Clip id to its landmarks, of a job that ended well."""
    done = landmarks("extract", portrait, out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    viewed = landmarks("view", out)
    assert viewed.returncode == 0, viewed.stderr
    table = Dataset.open(str(out)).clips().to_table()
    assert set(table["delegate"].to_pylist()) == {"cpu"}
    assert set(table["attempts"].to_pylist()) == {1}
    assert table["retry_reasons"].to_pylist() == [[], []]
    return {clip_id: decode(table, row) for row, clip_id in enumerate(table["clip_id"].to_pylist())}


def test_segmenter(landmarks, portrait, tmp_path, request):
    model = []
    if not LEGACY:
        model = ["--model", request.getfixturevalue("shared_models") / "selfie_segmentation.tflite"]
    clips = extracted(landmarks, portrait, tmp_path / "out", "--engine", "segmenter", *model)
    assert [len(clip.masks_png) for clip in clips.values()] == [6, 6]
    drawn = landmarks("draw", tmp_path / "out", "dev/pan", "--to", tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert Path(drawn.stdout.strip()).stat().st_size > 10_000


def test_hands_pose_and_face(landmarks, portrait, tmp_path, request):
    model = [] if LEGACY else ["--model", request.getfixturevalue("models")]
    clips = extracted(landmarks, portrait, tmp_path / "out", "--engine", "hands+pose+face", *model)
    for clip in clips.values():
        assert clip.present("pose").all()
        assert clip.present("face").all()
        assert clip.parts["face"].shape == (6, 468 if LEGACY else 478, 3)


@pytest.mark.skipif(LEGACY, reason="needs mediapipe 1.0.1 or newer (Python 3.13)")
def test_tasks(landmarks, portrait, tmp_path, shared_models):
    """The same whatever the workers; another model is another data set, the same in another place is not."""
    bundle = shared_models / "holistic_landmarker.task"
    extra = ["--extra-parts", "left_hand_world,face_blendshapes"]
    one, two = (
        extracted(landmarks, portrait, tmp_path / f"{n}", "--model", bundle, *extra, "--workers", n)
        for n in (1, 2)
    )
    for clip_id, clip in one.items():
        assert clip.present("pose").all()
        assert clip.parts["face_blendshapes"].shape == (6, 52, 1)
        for part, points in clip.parts.items():
            np.testing.assert_array_equal(points, two[clip_id].parts[part])
    moved = shutil.copy(bundle, tmp_path / "moved.task")
    again = landmarks("extract", portrait, tmp_path / "2", "--model", moved, *extra)
    assert again.returncode == 0, again.stderr
    assert "to do: 0 clips" in again.stdout
    with open(moved, "ab") as file:
        file.write(b"x")
    other = landmarks("extract", portrait, tmp_path / "2", "--model", moved, *extra)
    assert other.returncode == 2
    assert "model_sha256" in other.stderr
