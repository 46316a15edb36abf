import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from extraction import models, topology
from extraction.detectors import DetectorOptions, create_detector, resolve_engine
from extraction.detectors.registry import mediapipe_version
from extraction.detectors.tasks import resolve
from extraction.detectors.tasks_api import BUNDLE_FILES, Timestamps, release
from extraction.errors import JobError
from extraction.gl import worker_environment

NEW_LINE = release(mediapipe_version() or "0") >= (1, 0, 1)
needs_new_line = pytest.mark.skipif(not NEW_LINE, reason="needs mediapipe 1.0.1 or newer (Python 3.13)")
HANDS = ("left_hand_world", "right_hand_world")


@pytest.fixture(autouse=True)
def worker(monkeypatch, tmp_path):
    """The environment that a detector has in its worker, and no model in the cache."""
    for name, value in worker_environment("cpu").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "no models"))


def a_bundle(file: Path, entries: tuple[str, ...], compression: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(file, "w", compression) as bundle:
        for name in entries:
            bundle.writestr(name, b"a model" * 100)
    return str(file)


@pytest.fixture
def toy(tmp_path) -> str:
    return a_bundle(tmp_path / "toy.task", BUNDLE_FILES["holistic_landmarker"])


class TestResolve:
    @pytest.mark.parametrize("version", ["0.10.21", "0.10.35", "1.0.0"])
    def test_older_versions_are_refused_with_the_reason(self, version, toy):
        with pytest.raises(
            JobError, match=rf"1\.0\.1 or newer, found {version} .*ends the whole process.*3\.13"
        ):
            resolve(DetectorOptions("tasks", model=toy), version)

    def test_no_mediapipe(self, toy):
        with pytest.raises(JobError, match="found none"):
            resolve(DetectorOptions("tasks", model=toy), None)

    def test_the_model_and_its_digest_are_filled_in_and_stay(self, toy, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        once = resolve(DetectorOptions("tasks", model="toy.task"), "1.2.2")
        assert once == DetectorOptions("tasks", model=toy, model_sha256=models.digest(toy), refine_face=True)
        assert resolve(once, "1.2.2") == once

    def test_a_missing_model_says_how_to_get_it(self, tmp_path):
        with pytest.raises(JobError, match="landmarks models fetch holistic_landmarker") as failed:
            resolve(DetectorOptions("tasks"), "1.2.2")
        assert str(tmp_path / "no models" / "holistic_landmarker.task") in str(failed.value)

    def test_the_fetched_model_is_found(self, toy, monkeypatch, tmp_path):
        official = dataclasses.replace(models.MODELS["holistic_landmarker"], sha256=models.digest(toy))
        monkeypatch.setattr(models, "MODELS", {"holistic_landmarker": official})
        monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path))
        (tmp_path / "holistic_landmarker.task").write_bytes(Path(toy).read_bytes())
        resolved = resolve(DetectorOptions("tasks"), "1.2.2")
        assert resolved.model == str(tmp_path / "holistic_landmarker.task")
        # On another machine the same model may lie elsewhere.
        elsewhere = dataclasses.replace(resolved, model="/of/another/machine.task")
        assert resolve(elsewhere, "1.2.2") == resolved

    def test_another_model_than_expected(self, toy):
        options = DetectorOptions("tasks", model=toy, model_sha256="0" * 64)
        with pytest.raises(JobError, match=f"expected the model with SHA-256 {'0' * 64}, found") as failed:
            resolve(options, "1.2.2")
        assert models.digest(toy) in str(failed.value)
        assert toy in str(failed.value)

    @pytest.mark.parametrize(
        ("entries", "compression", "text"),
        [
            (BUNDLE_FILES["hand_landmarker"], zipfile.ZIP_STORED, "in it, found hand_detector.tflite"),
            ((), zipfile.ZIP_STORED, "an empty one"),
            (BUNDLE_FILES["holistic_landmarker"], zipfile.ZIP_DEFLATED, "is compressed"),
        ],
    )
    def test_another_bundle(self, entries, compression, text, tmp_path):
        file = a_bundle(tmp_path / "other.task", entries, compression)
        with pytest.raises(JobError, match=f"other.task: .*{text}"):
            resolve(DetectorOptions("tasks", model=file), "1.2.2")

    def test_no_bundle(self, tmp_path):
        (tmp_path / "text.task").write_text("no model at all")
        for file in (tmp_path / "text.task", tmp_path / "missing.task", tmp_path):
            with pytest.raises(JobError, match=f"{file}: expected a holistic_landmarker bundle"):
                resolve(DetectorOptions("tasks", model=str(file)), "1.2.2")

    @pytest.mark.parametrize("option", [{"model_complexity": 2}, {"smooth": False}, {"mask": "confidence"}])
    def test_options_without_a_meaning_are_refused(self, option, toy):
        with pytest.raises(JobError, match=f"does not know {next(iter(option))}"):
            resolve(DetectorOptions("tasks", model=toy, **option), "1.2.2")

    def test_nothing_is_smoothed_where_nothing_is_tracked(self, toy):
        assert not resolve(DetectorOptions("tasks", model=toy, static=True, smooth=False), "1.2.2").smooth


def test_times_are_whole_start_above_zero_and_increase():
    times = Timestamps()
    assert [times.next(t) for t in (0.0, 0.2, 33.4, 33.3, 66.7, 1000.0)] == [1, 2, 34, 35, 68, 1001]


@pytest.fixture
def bundle(shared_models) -> str:
    return str(shared_models / "holistic_landmarker.task")


@pytest.fixture(scope="module")
def clips(phoenix_root) -> dict[str, list[np.ndarray]]:
    return {clip: load(phoenix_root / clip) for clip in ("train/bsl_demo", "dev/french_a1")}


def load(folder: Path) -> list[np.ndarray]:
    files = sorted(folder.glob("*.png"))[:5]
    return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]


def bare_loop(model: str, images: list[np.ndarray], static: bool = False) -> list[object]:
    """The plainest way to results: a fresh detector a clip, or an image; nothing of this project."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.HolisticLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.IMAGE if static else vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    results, landmarker = [], None
    for index, image in enumerate(images):
        if landmarker is None:
            landmarker = vision.HolisticLandmarker.create_from_options(options)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        if static:
            results.append(landmarker.detect(image))
            landmarker.close()
            landmarker = None
        else:
            results.append(landmarker.detect_for_video(image, 1 + 40 * index))
    if landmarker:
        landmarker.close()
    return results


def detect_clip(detector, images):
    detector.begin_clip("a clip")
    return [detector.detect(image, 40.0 * index) for index, image in enumerate(images)]


def assert_same(found, results) -> int:
    """That the engine gave what MediaPipe gave, bit for bit; returns how many parts that were."""
    parts = 0
    for ours, theirs in zip(found, results, strict=True):
        for part in ("pose", "pose_world", "left_hand", "right_hand", "face", *HANDS):
            expected = [(p.x, p.y, p.z) for p in getattr(theirs, f"{part}_landmarks")]
            assert (part in ours.parts) == bool(expected)
            if expected:
                assert ours.parts[part].dtype == np.float32
                assert ours.parts[part].tolist() == np.float32(expected).tolist()
                parts += 1
        visibility = [p.visibility for p in theirs.pose_landmarks]
        assert ours.pose_visibility.tolist() == np.float32(visibility).tolist()
        assert ours.parts["face_blendshapes"].shape == (52, 1)
        names = tuple(category.category_name for category in theirs.face_blendshapes)
        assert names == topology.FACE_BLENDSHAPES
    return parts


@needs_new_line
class TestDetector:
    @pytest.mark.parametrize("static", [False, True])
    def test_landmarks_equal_a_fresh_detector_whatever_came_before(self, static, bundle, clips):
        options = DetectorOptions(
            "tasks", model=bundle, static=static, extra_parts=(*HANDS, "face_blendshapes")
        )
        detector = create_detector(options)
        assert dict(detector.info.num_points) == topology.num_points(True, topology.EXTRA_PARTS)
        for clip in ("dev/french_a1", "train/bsl_demo", "dev/french_a1"):
            images = clips[clip][: 2 if static else 5]
            parts = assert_same(detect_clip(detector, images), bare_loop(bundle, images, static))
            assert parts >= 3 * len(images)
        detector.close()

    def test_tracking_makes_a_difference(self, bundle, clips):
        images = clips["train/bsl_demo"]
        last = {}
        for static in (False, True):
            detector = create_detector(DetectorOptions("tasks", model=bundle, static=static))
            last[static] = detect_clip(detector, images)[-1].parts["pose"]
            detector.close()
        assert not np.array_equal(last[False], last[True])

    def test_nobody(self, bundle, clips):
        detector = create_detector(DetectorOptions("tasks", model=bundle, extra_parts=("face_blendshapes",)))
        found = detect_clip(detector, [np.zeros_like(clips["dev/french_a1"][0])])[0]
        detector.close()
        assert found.parts == {}
        assert found.pose_visibility is None

    @pytest.mark.parametrize(
        ("option", "lost"),
        [("min_detection_confidence", {"pose", "left_hand", "face"}), ("min_tracking_confidence", {"pose"})],
    )
    def test_thresholds_reach_their_places(self, option, lost, bundle, clips):
        # 1.2.2 mixes them up on their way. Nothing passes a threshold of 1.
        detector = create_detector(DetectorOptions("tasks", model=bundle, **{option: 1.0}))
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert not lost & parts.keys()

    def test_a_threshold_of_the_hands_leaves_the_pose_alone(self, bundle, clips, monkeypatch):
        from extraction.detectors import tasks

        options = DetectorOptions("tasks", model=bundle)
        names = list(tasks._thresholds(options))
        hand = tasks._thresholds(dataclasses.replace(options, min_tracking_confidence=0.25))
        # By place: detection, suppression and landmarks of the face, landmarks of the hands, then the pose's.
        assert list(hand.values()) == [0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 0.25]
        fourth = dict.fromkeys(names, 0.5) | {names[3]: 1.0}
        monkeypatch.setattr(tasks, "_thresholds", lambda _: fourth)
        detector = create_detector(options)
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert parts.keys() == {"pose", "pose_world", "face"}

    def test_a_closed_detector_does_not_say_that_it_found_nothing(self, bundle, clips):
        detector = create_detector(DetectorOptions("tasks", model=bundle))
        detector.close()
        detector.close()
        with pytest.raises(RuntimeError, match="closed"):
            detect_clip(detector, clips["train/bsl_demo"][:1])

    @pytest.mark.parametrize("end", ["detector.close()", "del detector; gc.collect()", "pass"])
    def test_after_a_graph_error_nothing_hangs(self, end, bundle):
        # A bare HolisticLandmarker that is dropped here waits for ever in its __del__.
        code = f"""
import gc, sys
import numpy as np
import mediapipe
from extraction.detectors import DetectorOptions, create_detector

detector = create_detector(DetectorOptions("tasks", model={bundle!r}))
assert not detector.info.closes_after_error
grey = mediapipe.Image(image_format=mediapipe.ImageFormat.GRAY8, data=np.zeros((64, 64), np.uint8))
def fail():
    detector.begin_clip("a")
    detector._landmarker.detect(grey, 1)
try:
    fail()
except ValueError as error:
    print("failed:", str(error).split(":")[0])
{end}
gc.collect()
fresh = create_detector(DetectorOptions("tasks", model={bundle!r}))
fresh.begin_clip("b")
fresh.detect(np.zeros((64, 64, 3), np.uint8), 0)
fresh.close()
print("alive")
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.splitlines() == ["failed: CalculatorGraph", "alive"]

    def test_the_installed_mediapipe_is_new_enough(self, bundle):
        assert resolve_engine(DetectorOptions("tasks", model=bundle)).model == bundle


@pytest.mark.skipif(NEW_LINE, reason="needs the legacy line of mediapipe (Python < 3.13)")
def test_the_installed_mediapipe_is_too_old(toy):
    with pytest.raises(JobError, match=r"needs mediapipe 1.0.1 or newer"):
        resolve_engine(DetectorOptions("tasks", model=toy))
