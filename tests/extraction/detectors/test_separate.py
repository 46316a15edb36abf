import dataclasses
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from bare_separate import bare_legacy, bare_tasks

from extraction import models, topology
from extraction.detectors import DetectorOptions, create_detector, resolve_engine
from extraction.detectors.hands import Hand, one_of_each_side
from extraction.detectors.registry import mediapipe_version
from extraction.detectors.separate import resolve
from extraction.detectors.tasks_api import BUNDLE_FILES, release
from extraction.errors import JobError
from extraction.gl import worker_environment

ENGINE = "hands+pose+face"
LEGACY = release(mediapipe_version() or "0") < (0, 10, 30)
needs_legacy = pytest.mark.skipif(not LEGACY, reason="needs the legacy line of mediapipe (Python < 3.13)")
needs_new_line = pytest.mark.skipif(LEGACY, reason="needs mediapipe 1.0.1 or newer (Python 3.13)")
HANDS = ("left_hand_world", "right_hand_world")


@pytest.fixture(autouse=True)
def worker(monkeypatch, tmp_path):
    """The environment that a detector has in its worker, and no model in the cache."""
    for name, value in worker_environment("cpu").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "no models"))


@pytest.fixture(scope="session")
def bundles(shared_models, tmp_path_factory) -> Path:
    """The three bundles, from the models of mediapipe 0.10.21, and blendshapes that are always 0."""
    folder = tmp_path_factory.mktemp("bundles")
    tool = shared_models.parent / "tools" / "split_bundle.py"
    subprocess.run([sys.executable, str(tool), str(folder)], check=True)
    shutil.copyfile(shared_models / "face_landmarker.task", folder / "face_landmarker.task")
    with (
        zipfile.ZipFile(shared_models / "holistic_landmarker.task") as holistic,
        zipfile.ZipFile(folder / "face_landmarker.task", "a") as face,
    ):
        face.writestr("face_blendshapes.tflite", holistic.read("face_blendshapes.tflite"))
    return folder


@pytest.fixture
def toys(tmp_path) -> Path:
    """Bundles that look right from the outside."""
    for kind in ("hand_landmarker", "pose_landmarker", "face_landmarker"):
        with zipfile.ZipFile(tmp_path / f"{kind}.task", "w") as bundle:
            for name in BUNDLE_FILES[kind]:
                bundle.writestr(name, kind)
    return tmp_path


class TestSides:
    def hand(self, side: str, score: float, place: float = 0) -> Hand:
        points = np.full((21, 3), place, np.float32)
        return Hand(side, score, points, points)

    @pytest.mark.parametrize("order", [1, -1])
    def test_of_two_hands_of_one_side_the_surer_is_kept_in_any_order(self, order):
        hands = [self.hand("left", 0.6), self.hand("left", 0.9)][::order]
        kept = one_of_each_side(hands)
        assert {side: hand.score for side, hand in kept.items()} == {"left": 0.9}

    @pytest.mark.parametrize("order", [1, -1])
    def test_each_hand_keeps_its_side_in_any_order(self, order):
        hands = [self.hand("left", 0.9), self.hand("right", 0.6)][::order]
        assert {side: hand.side for side, hand in one_of_each_side(hands).items()} == {
            "left": "left",
            "right": "right",
        }

    def test_no_hand(self):
        assert one_of_each_side([]) == {}


class TestResolveTasks:
    def test_folder_and_digest_are_filled_in_and_stay(self, toys, monkeypatch):
        monkeypatch.chdir(toys)
        once = resolve(DetectorOptions(ENGINE, model="."), "1.2.2")
        assert once.model == str(toys)
        assert once.refine_face
        assert len(once.model_sha256) == 64
        assert resolve(once, "1.2.2") == once

    @pytest.mark.parametrize("kind", ["hand_landmarker", "pose_landmarker", "face_landmarker"])
    def test_any_other_model_changes_the_digest(self, kind, toys):
        before = resolve(DetectorOptions(ENGINE, model=str(toys)), "1.2.2")
        with zipfile.ZipFile(toys / f"{kind}.task", "a") as bundle:
            bundle.writestr("more", "more")
        with pytest.raises(JobError, match=before.model_sha256) as failed:
            resolve(before, "1.2.2")
        assert str(toys) in str(failed.value)

    @pytest.mark.parametrize("kind", ["hand_landmarker", "pose_landmarker", "face_landmarker"])
    def test_a_missing_model_is_named(self, kind, toys):
        (toys / f"{kind}.task").unlink()
        with pytest.raises(JobError, match=f"{toys}: .*{kind}.*missing"):
            resolve(DetectorOptions(ENGINE, model=str(toys)), "1.2.2")

    def test_another_bundle_is_named(self, toys):
        shutil.copyfile(toys / "pose_landmarker.task", toys / "hand_landmarker.task")
        with pytest.raises(JobError, match=r"hand_landmarker.task: .*hand_detector.tflite in it, found pose"):
            resolve(DetectorOptions(ENGINE, model=str(toys)), "1.2.2")

    def test_the_size_of_the_pose_model_is_its_name(self, toys):
        heavy = DetectorOptions(ENGINE, model=str(toys), model_complexity=2)
        with pytest.raises(JobError, match=r"pose_landmarker_heavy.task missing"):
            resolve(heavy, "1.2.2")
        shutil.copyfile(toys / "pose_landmarker.task", toys / "pose_landmarker_heavy.task")
        assert resolve(heavy, "1.2.2").model_complexity == 2

    def test_blendshapes_need_their_model(self, toys):
        options = DetectorOptions(ENGINE, model=str(toys), extra_parts=("face_blendshapes",))
        with pytest.raises(JobError, match=r"face_landmarker.task: .*face_blendshapes.tflite"):
            resolve(options, "1.2.2")

    @pytest.mark.parametrize("option", [{"smooth": False}, {"mask": "confidence"}])
    def test_options_without_a_meaning_are_refused(self, option, toys):
        with pytest.raises(JobError, match=f"does not know {next(iter(option))}"):
            resolve(DetectorOptions(ENGINE, model=str(toys), **option), "1.2.2")

    @needs_new_line
    def test_missing_models_say_how_to_get_them(self, tmp_path):
        with pytest.raises(JobError, match="needs 3 models, 3 of them missing") as failed:
            resolve_engine(DetectorOptions(ENGINE))
        for name in ("hand_landmarker", "pose_landmarker_full", "face_landmarker"):
            assert f"landmarks models fetch {name}" in str(failed.value)
            assert str(tmp_path / "no models" / f"{name}.task") in str(failed.value)

    @needs_new_line
    def test_fetched_models_are_found(self, toys, monkeypatch):
        (toys / "pose_landmarker.task").rename(toys / "pose_landmarker_full.task")
        names = ("hand_landmarker", "pose_landmarker_full", "face_landmarker")
        digests = {name: models.digest(toys / f"{name}.task") for name in names}
        official = {n: dataclasses.replace(models.MODELS[n], sha256=digest) for n, digest in digests.items()}
        monkeypatch.setattr(models, "MODELS", official)
        monkeypatch.setenv("LANDMARKS_MODELS", str(toys))
        resolved = resolve_engine(DetectorOptions(ENGINE))
        assert resolved.model == str(toys)
        elsewhere = dataclasses.replace(resolved, model="/of/another/machine")
        assert resolve_engine(elsewhere) == resolved

    @needs_new_line
    def test_versions_between_the_lines_are_refused(self, toys):
        with pytest.raises(JobError, match=r"0\.10\.21, or 1\.0\.1 or newer, found 0\.10\.35"):
            resolve(DetectorOptions(ENGINE, model=str(toys)), "0.10.35")

    def test_no_mediapipe(self):
        with pytest.raises(JobError, match="found none"):
            resolve(DetectorOptions(ENGINE), None)


@needs_legacy
class TestResolveLegacy:
    def test_auto_is_the_cpu(self):
        options = DetectorOptions(ENGINE, delegate="auto")
        assert resolve_engine(options) == dataclasses.replace(options, delegate="cpu")

    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ({"delegate": "gpu"}, "CPU only.*--model"),
            ({"extra_parts": ("face_blendshapes",)}, "no face_blendshapes.*--model"),
            ({"model_complexity": 2}, "pose_landmark_heavy.tflite"),
        ],
    )
    def test_what_the_legacy_solutions_cannot(self, option, text):
        with pytest.raises(JobError, match=text):
            resolve_engine(DetectorOptions(ENGINE, **option))


@pytest.fixture(scope="module")
def clips(phoenix_root) -> dict[str, list[np.ndarray]]:
    return {clip: load(phoenix_root / clip) for clip in ("train/bsl_demo", "dev/french_a1")}


def load(folder: Path, num_frames: int = 5) -> list[np.ndarray]:
    files = sorted(folder.glob("*.png"))[:num_frames]
    return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]


def detect_clip(detector, images):
    detector.begin_clip("a clip")
    return [detector.detect(image, 40.0 * index) for index, image in enumerate(images)]


def assert_same(found, expected) -> int:
    """That the engine gave what MediaPipe gave, bit for bit; returns how many hands that were."""
    num_hands = 0
    for ours, theirs in zip(found, expected, strict=True):
        theirs = {part: points for part, points in theirs.items() if points}
        assert ours.parts.keys() == theirs.keys()
        for part, points in theirs.items():
            assert ours.parts[part].dtype == np.float32
            assert ours.parts[part].tolist() == np.float32([(p.x, p.y, p.z) for p in points]).tolist()
        assert ours.pose_visibility.tolist() == np.float32([p.visibility for p in theirs["pose"]]).tolist()
        num_hands += ("left_hand" in theirs) + ("right_hand" in theirs)
    return num_hands


@pytest.mark.parametrize("static", [False, True])
class TestLandmarksEqualFreshDetectorsWhateverCameBefore:
    CLIPS = ("train/bsl_demo", "dev/french_a1", "train/bsl_demo")

    @needs_legacy
    def test_legacy(self, static, clips):
        detector = create_detector(DetectorOptions(ENGINE, static=static, extra_parts=HANDS))
        assert dict(detector.info.num_points) == topology.num_points(False, HANDS)
        hands = sum(
            assert_same(detect_clip(detector, clips[clip]), bare_legacy(clips[clip], static))
            for clip in self.CLIPS
        )
        detector.close()
        assert hands >= 10

    def test_tasks(self, static, clips, bundles):
        options = DetectorOptions(ENGINE, model=str(bundles), static=static, extra_parts=HANDS)
        detector = create_detector(options)
        assert dict(detector.info.num_points) == topology.num_points(True, HANDS)
        hands = sum(
            assert_same(detect_clip(detector, clips[clip]), bare_tasks(bundles, clips[clip], static))
            for clip in self.CLIPS
        )
        detector.close()
        assert hands >= 10


@pytest.fixture(params=["legacy", "tasks"])
def options(request) -> DetectorOptions:
    if request.param == "tasks":
        return DetectorOptions(ENGINE, model=str(request.getfixturevalue("bundles")))
    if not LEGACY:
        pytest.skip("needs the legacy line of mediapipe (Python < 3.13)")
    return DetectorOptions(ENGINE)


class TestHandedness:
    def test_sides_are_the_persons_own(self, options, phoenix_root):
        """By the wrists of the pose, which knows the person's left and right from the body."""
        detector = create_detector(options)
        right = wrong = 0
        for frame in detect_clip(detector, load(phoenix_root / "train/bsl_demo", 20)):
            wrists = {"left": frame.parts["pose"][15, :2], "right": frame.parts["pose"][16, :2]}
            for side in wrists.keys() & {part.removesuffix("_hand") for part in frame.parts}:
                wrist = frame.parts[f"{side}_hand"][0, :2]
                nearest = min(wrists, key=lambda s: float(np.linalg.norm(wrists[s] - wrist)))
                right, wrong = right + (nearest == side), wrong + (nearest != side)
        detector.close()
        assert right >= 30
        assert wrong <= 1

    def test_a_mirrored_person_has_the_other_hands(self, options, clips):
        detector = create_detector(dataclasses.replace(options, static=True))
        image = clips["train/bsl_demo"][0]
        plain = detect_clip(detector, [image])[0].parts
        mirrored = detect_clip(detector, [np.ascontiguousarray(image[:, ::-1])])[0].parts
        detector.close()
        for side, other in (("left", "right"), ("right", "left")):
            turned = plain[f"{side}_hand"][:, :2] * [-1, 1] + [1, 0]
            assert np.abs(turned - mirrored[f"{other}_hand"][:, :2]).max() < 0.05


class TestDetector:
    def test_nobody(self, options, clips):
        detector = create_detector(options)
        found = detect_clip(detector, [np.zeros_like(clips["dev/french_a1"][0])])[0]
        detector.close()
        assert found.parts == {}
        assert found.pose_visibility is None

    @pytest.mark.parametrize("threshold", ["min_detection_confidence", "min_tracking_confidence"])
    def test_thresholds_reach_the_graphs(self, threshold, options, clips):
        detector = create_detector(dataclasses.replace(options, **{threshold: 1.0}))
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert not parts.keys() & {"pose", "left_hand", "right_hand"}

    def test_extra_parts_only_where_asked_for(self, options, clips):
        detector = create_detector(options)
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert parts.keys() == {"pose", "pose_world", "left_hand", "right_hand", "face"}

    def test_blendshapes(self, bundles, clips):
        detector = create_detector(
            DetectorOptions(ENGINE, model=str(bundles), extra_parts=("face_blendshapes",))
        )
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert parts["face_blendshapes"].shape == (topology.EXTRA_PARTS["face_blendshapes"].num_points, 1)
        assert parts["face_blendshapes"].dtype == np.float32

    @needs_legacy
    def test_refined_face(self, clips):
        detector = create_detector(DetectorOptions(ENGINE, refine_face=True))
        parts = detect_clip(detector, clips["train/bsl_demo"][:1])[0].parts
        detector.close()
        assert parts["face"].shape == (478, 3)
        assert detector.info.num_points["face"] == 478

    def test_a_closed_detector_does_not_say_that_it_found_nothing(self, options, clips):
        detector = create_detector(options)
        detector.close()
        detector.close()
        with pytest.raises(RuntimeError, match="closed"):
            detect_clip(detector, clips["train/bsl_demo"][:1])

    @needs_legacy
    def test_a_poisoned_legacy_graph_is_closed_without_raising(self, clips):
        detector = create_detector(DetectorOptions(ENGINE))
        detect_clip(detector, clips["train/bsl_demo"][:1])
        detector._graphs[1]._simulated_timestamp -= 33333  # the same time again
        with pytest.raises((RuntimeError, ValueError)):
            detector.detect(clips["train/bsl_demo"][0], 0)
        detector.close()

    @pytest.mark.parametrize("end", ["detector.close()", "del detector", "pass"])
    def test_after_a_graph_error_of_one_of_three_nothing_hangs(self, end, bundles):
        assert run_to_its_end(f"""
options = DetectorOptions("{ENGINE}", model={str(bundles)!r})
detector = create_detector(options)
assert detector.info.closes_after_error is {LEGACY}
grey = mediapipe.Image(image_format=mediapipe.ImageFormat.GRAY8, data=np.zeros((64, 64), np.uint8))
black = np.zeros((64, 64, 3), np.uint8)
def fail():
    detector.begin_clip("a")
    detector.detect(black, 0)
    detector._landmarkers[1].detect(grey, 41)
try:
    fail()
except ValueError as error:
    print("failed:", str(error).split(":")[0])
{end}
gc.collect()
fresh = create_detector(options)
fresh.begin_clip("b")
fresh.detect(black, 0)
fresh.close()
""") == ["failed: CalculatorGraph", "alive"]

    def test_where_one_of_three_cannot_be_made_nothing_hangs(self, bundles, tmp_path):
        folder = tmp_path / "bundles"
        shutil.copytree(bundles, folder)
        with zipfile.ZipFile(folder / "pose_landmarker.task", "w") as bundle:
            for name in BUNDLE_FILES["pose_landmarker"]:
                bundle.writestr(name, "not a model")
        assert run_to_its_end(f"""
try:
    create_detector(DetectorOptions("{ENGINE}", model={str(folder)!r}))
except ValueError as error:
    print(error)
gc.collect()
""") == ["The model is not a valid Flatbuffer buffer", "alive"]


def run_to_its_end(code: str) -> list[str]:
    """Runs code in a process that has 60 s; the lines it printed."""
    head = (
        "import gc\nimport mediapipe\nimport numpy as np\n"
        "from extraction.detectors import DetectorOptions, create_detector\n"
    )
    whole = f"{head}{code}print('alive')\n"
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()
