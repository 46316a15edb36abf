"""The real ImageSegmenter, on both lines of MediaPipe."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rgb_segmenter import write_rgb_segmenter

import extraction.extract
from extraction import models
from extraction.clips import Clip
from extraction.detectors import DetectorOptions, create_detector
from extraction.detectors.segmenter import resolve
from extraction.draw import read_classes
from extraction.errors import JobError
from extraction.extract import ClipExtraction
from extraction.frames import FrameOptions
from extraction.landmarks import FrameLandmarks, FrameStatus
from extraction.supervisor import DetectorProcess
from ray_jobs.demo_clips import make_demo_clips

REPO = Path(__file__).resolve().parents[3]
LEGACY = importlib.util.find_spec("mediapipe.python") is not None
VERSION = "0.10.21"
EGL_VENDORS = [Path("/usr/share/glvnd/egl_vendor.d"), Path("/etc/glvnd/egl_vendor.d")]
BLACK = np.zeros((90, 61, 3), np.uint8)


@pytest.fixture(scope="module")
def options(request: pytest.FixtureRequest) -> DetectorOptions:
    if LEGACY:
        return DetectorOptions(engine="segmenter")
    model = request.getfixturevalue("shared_clips").parent / "models/selfie_segmentation.tflite"
    if not model.exists():
        pytest.skip(f"{model.name} is not beside the checkout, and the wheel of mediapipe 1.x has no model")
    return DetectorOptions(engine="segmenter", model=str(model))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames")
    make_demo_clips(str(root), num_frames=4)
    return root / "dev/pan"


@pytest.fixture(scope="module")
def frames(folder: Path) -> list[np.ndarray]:
    """A face and shoulders that fill most of the picture."""
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def clip(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A person, nobody, an unreadable frame, a person."""
    place = tmp_path_factory.mktemp("clip")
    sources = sorted(folder.iterdir())
    (place / "0.png").write_bytes(sources[0].read_bytes())
    cv2.imwrite(str(place / "1.png"), BLACK)
    (place / "2.png").write_bytes(b"not a picture")
    (place / "3.png").write_bytes(sources[3].read_bytes())
    return Clip("a", str(place), "frames")


@pytest.fixture(scope="module")
def by_classes(options):
    detector = create_detector(options)
    yield detector
    detector.close()


def found_in(options: DetectorOptions, *images: np.ndarray) -> list[FrameLandmarks]:
    detector = create_detector(options)
    detector.begin_clip("a")
    found = [detector.detect(image, 40.0 * number) for number, image in enumerate(images)]
    detector.close()
    return found


def pixels(found: FrameLandmarks) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(found.mask_png, np.uint8), cv2.IMREAD_UNCHANGED)


def in_child(code: str, *arguments: object, timeout_s: float = 100, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-3000:]}"
    return done.stdout


class TestMasks:
    def test_a_person_is_1_and_the_background_0(self, by_classes, frames):
        found = by_classes.detect(frames[0], 0)
        mask = pixels(found)
        assert (mask.dtype, mask.shape) == (np.uint8, frames[0].shape[:2])
        assert np.unique(mask).tolist() == [0, 1]
        height, width = mask.shape
        assert (mask[height // 2 - 20 : height // 2 + 20, width // 2 - 20 : width // 2 + 20] == 1).all()
        assert (mask[:20, :20] == 0).all()
        assert (found.parts, found.pose_visibility, found.status) == ({}, None, FrameStatus.OK)

    def test_a_confidence_of_a_half_is_where_the_class_changes(self, options, by_classes, frames):
        (found,) = found_in(dataclasses.replace(options, mask="confidence"), frames[0])
        confidences = pixels(found)
        assert (confidences.dtype, confidences.shape) == (np.uint8, frames[0].shape[:2])
        assert len(np.unique(confidences)) > 100
        person = pixels(by_classes.detect(frames[0], 0)) == 1
        assert ((confidences >= 128) == person).mean() > 0.995
        assert np.array_equal(read_classes(found.mask_png, "confidence") == 1, confidences >= 128)
        assert found.status == FrameStatus.OK

    @pytest.mark.parametrize("mask", ["category", "confidence"])
    def test_nobody_in_it(self, options, mask):
        (found,) = found_in(dataclasses.replace(options, mask=mask), BLACK)
        assert pixels(found).shape == BLACK.shape[:2]
        assert read_classes(found.mask_png, mask).max() == 0
        assert found.status == FrameStatus.NOBODY

    @pytest.mark.parametrize("width", [61, 62, 63, 64, 65])
    def test_rows_of_any_length(self, options, by_classes, frames, width):
        image = np.ascontiguousarray(cv2.resize(frames[0], (width, 72)))
        (found,) = found_in(dataclasses.replace(options, mask="confidence"), image)
        person = pixels(by_classes.detect(image, 0)) == 1
        assert person.shape == (72, width)
        assert ((pixels(found) >= 128) == person).mean() > 0.98

    def test_a_side_of_one_pixel(self, options):
        code = """if True:
            import sys
            import numpy as np
            from extraction.detectors import DetectorOptions, create_detector
            from extraction.draw import read_classes
            detector = create_detector(DetectorOptions(engine="segmenter", model=sys.argv[1]))
            for shape in ((1, 1), (300, 1), (1, 300), (2, 2)):
                found = detector.detect(np.full((*shape, 3), 90, np.uint8), 0)
                assert read_classes(found.mask_png, "category").shape == shape, shape
            print("done")
        """
        assert in_child(code, options.model) == "done\n"

    def test_any_memory_layout(self, by_classes, frames):
        mirrored = frames[0][:, ::-1]
        expected = by_classes.detect(np.ascontiguousarray(mirrored), 0)
        assert by_classes.detect(mirrored, 0).mask_png == expected.mask_png

    def test_masks_are_those_of_a_fresh_detector_whatever_came_before(self, options, by_classes, frames):
        expected = [found.mask_png for found in found_in(options, *frames)]
        by_classes.begin_clip("another")
        for image in (BLACK, frames[3], BLACK):
            by_classes.detect(image, 0)
        by_classes.begin_clip("a")
        assert [by_classes.detect(image, 0).mask_png for image in frames[::-1]] == expected[::-1]
        assert len(set(expected)) > 1

    def test_static_changes_nothing(self, options, frames):
        static = found_in(dataclasses.replace(options, static=True), *frames[:2])
        assert static == found_in(options, *frames[:2])


class TestClassesOfAnotherModel:
    """Background is red here; see rgb_segmenter."""

    @pytest.mark.parametrize("channel", [0, 1, 2])
    def test_classes_keep_their_numbers_and_confidence_is_that_of_any(self, tmp_path, channel):
        model = str(write_rgb_segmenter(tmp_path / "rgb.tflite"))
        image = np.zeros((40, 50, 3), np.uint8)
        image[:, :, channel] = 255
        (classes,) = found_in(DetectorOptions(engine="segmenter", model=model), image)
        assert (pixels(classes) == channel).all()
        assert classes.status == (FrameStatus.OK if channel else FrameStatus.NOBODY)
        (confidence,) = found_in(DetectorOptions(engine="segmenter", model=model, mask="confidence"), image)
        red = np.exp(image[0, 0, 0] / 255) / np.exp(image[0, 0] / 255).sum()
        assert (pixels(confidence) == round((1 - red) * 255)).all()
        assert confidence.status == classes.status


class TestResolve:
    @pytest.mark.skipif(not LEGACY, reason="the wheels of mediapipe 1.x carry no model")
    def test_the_wheels_model_is_found_without_importing_mediapipe(self):
        code = """if True:
            import sys
            from extraction.detectors import DetectorOptions
            from extraction.detectors.segmenter import resolve
            options = resolve(DetectorOptions(engine="segmenter"), "0.10.21")
            assert not {"mediapipe", "cv2"} & set(sys.modules)
            print(options.model, options.model_sha256)
        """
        model, sha256 = in_child(code).split()
        assert model.endswith("mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite")
        assert sha256 == models.digest(model)

    def test_it_is_settled_after_one_time(self, options):
        resolved = resolve(options, VERSION)
        assert resolved.model_sha256 == models.digest(resolved.model)
        assert resolve(resolved, VERSION) == resolved

    def test_a_machine_with_its_model_in_another_place_uses_that(self, options):
        resolved = resolve(options, VERSION)
        elsewhere = dataclasses.replace(resolved, model="/nowhere/selfie.tflite")
        if LEGACY:
            assert resolve(elsewhere, VERSION) == resolved
        other = dataclasses.replace(elsewhere, model_sha256="0" * 64)
        with pytest.raises(JobError, match=r"expected the (segmenter's model|model with SHA-256 0{64})"):
            resolve(other, VERSION)

    def test_a_relative_path_holds_in_every_process(self, options, monkeypatch):
        path = Path(resolve(options, VERSION).model)
        monkeypatch.chdir(path.parent)
        found = Path(resolve(dataclasses.replace(options, model=path.name), VERSION).model)
        assert found.is_absolute()
        assert found.samefile(path)

    @pytest.fixture
    def without_model(self, monkeypatch, tmp_path):
        """A mediapipe whose wheel has none, and an empty cache."""
        (tmp_path / "mediapipe").mkdir()
        (tmp_path / "mediapipe" / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
        monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "cache"))
        return tmp_path / "cache"

    @pytest.mark.usefixtures("without_model")
    def test_no_model(self):
        with pytest.raises(JobError, match=r"landmarks models fetch selfie_segmenter.*--model"):
            resolve(DetectorOptions(engine="segmenter"), "1.2.2")

    def test_the_fetched_model(self, without_model, monkeypatch, tmp_path):
        content = write_rgb_segmenter(tmp_path / "other.tflite").read_bytes()
        without_model.mkdir()
        (without_model / "selfie_segmenter.tflite").write_bytes(content)
        with pytest.raises(JobError, match="landmarks models fetch"):  # not the file that it should be
            resolve(DetectorOptions(engine="segmenter"), "1.2.2")
        known = dataclasses.replace(
            models.MODELS["selfie_segmenter"], sha256=models.digest(tmp_path / "other.tflite")
        )
        monkeypatch.setattr(models, "MODELS", {"selfie_segmenter": known})
        found = resolve(DetectorOptions(engine="segmenter"), "1.2.2")
        assert found.model == str(without_model / "selfie_segmenter.tflite")
        assert found.model_sha256 == known.sha256

    def test_no_mediapipe(self, options):
        with pytest.raises(JobError, match="needs mediapipe, found none"):
            resolve(options, None)

    def test_another_model_than_the_options_say(self, options):
        wrong = dataclasses.replace(options, model_sha256="0" * 64)
        with pytest.raises(JobError, match=r"expected the model with SHA-256 0{64}, found [0-9a-f]{64}"):
            resolve(wrong, VERSION)

    @pytest.mark.parametrize(("content", "text"), [(None, "No such file"), (b"PK\3\4 a bundle", "found b")])
    def test_a_file_that_is_no_model(self, options, tmp_path, content, text):
        path = tmp_path / "x.task"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(JobError, match=rf"x\.task: expected the segmenter's model.*{text}"):
            resolve(dataclasses.replace(options, model=str(path)), VERSION)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("extra_parts", ("face_blendshapes",)),
            ("model_complexity", 2),
            ("refine_face", True),
            ("smooth", False),
            ("min_detection_confidence", 0.1),
            ("min_tracking_confidence", 0.1),
        ],
    )
    def test_options_of_landmarks_are_refused(self, options, name, value):
        with pytest.raises(JobError, match=f"'segmenter' does not know {name}"):
            resolve(dataclasses.replace(options, **{name: value}), VERSION)


class TestLife:
    def test_what_it_says_of_itself(self, by_classes):
        info = by_classes.info
        assert (info.engine, info.delegate, info.num_points, info.has_masks) == ("segmenter", "cpu", {}, True)
        assert info.closes_after_error == LEGACY

    def test_closing_twice_does_no_harm(self, options):
        detector = create_detector(options)
        detector.close()
        detector.close()

    def test_closing_after_an_error_ends(self, options):
        code = """if True:
            import gc, sys
            import mediapipe, numpy
            from extraction.detectors import DetectorOptions, create_detector
            detector = create_detector(DetectorOptions(engine="segmenter", model=sys.argv[1]))
            detector.detect(numpy.zeros((9, 9, 3), numpy.uint8), 0)
            grey = numpy.zeros((9, 9), numpy.uint8)
            try:
                detector._segment(mediapipe.Image(mediapipe.ImageFormat.GRAY8, grey))
            except ValueError as error:
                assert "CalculatorGraph::Run() failed" in str(error)
            try:
                detector.detect(numpy.zeros((9, 9, 3), numpy.uint8), 0)
            except ValueError as error:
                assert "Graph has errors" in str(error)
                print("poisoned")
            detector.close()
            del detector
            gc.collect()
            print("closed")
        """
        assert in_child(code, options.model, timeout_s=60) == "poisoned\nclosed\n"


class TestClips:
    EXPECTED = (FrameStatus.OK, FrameStatus.NOBODY, FrameStatus.UNREADABLE, FrameStatus.OK)

    def test_each_frame_has_its_mask(self, by_classes, clip):
        (found,) = ClipExtraction(clip, by_classes, FrameOptions())
        assert tuple(found.frame_status) == self.EXPECTED
        assert [mask is None for mask in found.masks_png] == [False, False, True, False]
        sizes = [read_classes(mask, "category").shape[::-1] for mask in found.masks_png if mask]
        assert sizes == [tuple(size) for size in found.frame_sizes_px.tolist() if size[0]]
        assert dict(found.parts) == {}

    def test_a_piece_ends_where_its_masks_are_large(self, by_classes, clip, monkeypatch):
        (whole,) = ClipExtraction(clip, by_classes, FrameOptions())
        monkeypatch.setattr(extraction.extract, "_MASK_BYTES", len(whole.masks_png[0]) + 1)
        pieces = list(ClipExtraction(clip, by_classes, FrameOptions()))
        assert [(piece.first_frame, len(piece)) for piece in pieces] == [(0, 2), (2, 2)]
        assert sum((piece.masks_png for piece in pieces), ()) == whole.masks_png

    def test_the_supervised_child_gives_the_same(self, by_classes, clip, options):
        (expected,) = ClipExtraction(clip, by_classes, FrameOptions())
        with DetectorProcess(options) as detector:
            done = detector.extract(clip)
        (found,) = done.pieces
        assert found.masks_png == expected.masks_png
        assert tuple(found.frame_status) == self.EXPECTED
        assert done.info.has_masks


ON_GPU = """if True:
    import json, sys
    import cv2
    from extraction.detectors import DetectorOptions, create_detector
    detector = create_detector(DetectorOptions(engine="segmenter", model=sys.argv[1], delegate="gpu"))
    assert detector.info.delegate == "gpu"
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in sys.argv[2:]]
    print(json.dumps([detector.detect(image, 0).mask_png.hex() for image in images]))
    detector.close()
"""


def test_on_the_gpu_two_runs_are_equal_and_like_the_cpus(options, folder, frames, by_classes):
    if not any(place.is_dir() and any(place.glob("*.json")) for place in EGL_VENDORS):
        pytest.skip("no EGL vendor on this machine: the GPU delegate needs one, Mesa's will do")
    arguments = [ON_GPU, options.model, *sorted(folder.iterdir())]
    try:
        runs = [in_child(*arguments, EGL_PLATFORM="surfaceless") for _ in range(2)]
    except AssertionError as error:
        if "GPU emulation detected" in str(error):
            pytest.skip("mediapipe 1.x refuses a GL that is software; there is no GPU here")
        raise
    assert runs[0] == runs[1]
    for mask, image in zip(json.loads(runs[0]), frames, strict=True):
        gpu, cpu = (
            read_classes(png, "category") == 1
            for png in (bytes.fromhex(mask), by_classes.detect(image, 0).mask_png)
        )
        assert (gpu & cpu).sum() > 0.97 * (gpu | cpu).sum()
