"""Real MediaPipe on the GPU delegate, on Mesa's software GL, with EGL going wrong in every way we know.

Each fault ends as the policy says, and the masks of every finished clip are those of an undisturbed run with
the same delegate.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import eglfaults
import pytest

from extraction.clips import Clip
from extraction.detectors import DetectorOptions
from extraction.detectors.registry import mediapipe_version
from extraction.errors import JobError
from extraction.policy import Policy, remedies
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess, Extraction
from ray_jobs.demo_clips import make_demo_clips

LEGACY = mediapipe_version().startswith("0.")
RENDERER = "" if LEGACY else "NVIDIA Test"  # mediapipe 1.x refuses software GL by its name
CONTEXT, NO_EGL = "context-lost", "no-usable-egl"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    folder = tmp_path_factory.mktemp("clips")
    make_demo_clips(str(folder), num_frames=3)
    return discover_tree(str(folder)).clips[0]


@pytest.fixture(scope="module")
def options(request) -> DetectorOptions:
    model = "" if LEGACY else str(request.getfixturevalue("shared_models") / "selfie_segmentation.tflite")
    return DetectorOptions(engine="segmenter", delegate="gpu", mask="confidence", model=model)


@pytest.fixture
def gl(monkeypatch, tmp_path_factory):
    """Sets the environment of the children."""

    def set_fault(fault: str = "", **more) -> None:
        for name, value in eglfaults.environment(tmp_path_factory, fault, renderer=RENDERER, **more).items():
            monkeypatch.setenv(name, value)

    return set_fault


@pytest.fixture
def worker(request):
    """Makes a worker; those of a test share what they find out about the host, with nobody else."""

    def make(options: DetectorOptions, job: str = "", **more: Any) -> DetectorProcess:
        return DetectorProcess(options, job=f"{os.getpid()} {request.node.nodeid} {job}", **more)

    return make


def masks(extraction: Extraction) -> list[bytes]:
    return [mask for piece in extraction.pieces for mask in piece.masks_png]


@pytest.fixture(scope="module")
def expected(clip, options, tmp_path_factory) -> dict[str, list[bytes]]:
    """The masks of undisturbed runs by delegate."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in eglfaults.environment(tmp_path_factory, renderer=RENDERER).items():
            patch.setenv(name, value)
        for delegate in ("cpu", "gpu"):
            job = f"{os.getpid()} undisturbed"
            with DetectorProcess(replace(options, delegate=delegate), job=job) as detector:
                extraction = detector.extract(clip)
                assert (extraction.info.delegate, extraction.retry_reasons) == (delegate, ())
                found[delegate] = masks(extraction)
    # On the same pictures the two differ a little, so that a test can tell which one it got.
    assert found["cpu"] != found["gpu"]
    return found


def test_undisturbed_runs_agree(gl, worker, clip, options, expected):
    gl()
    with worker(options) as detector:
        assert masks(detector.extract(clip)) == expected["gpu"]
        assert masks(detector.extract(clip)) == expected["gpu"]


@pytest.mark.parametrize("code", ["0x3008", "0x300e"])
def test_a_context_that_never_comes_ends_on_the_cpu(code, gl, worker, clip, options, expected):
    gl(f"eglMakeCurrent:code={code}")
    with worker(options, policy=Policy(remedies=remedies(gl_retries=1))) as detector:
        extraction = detector.extract(clip)
        again = detector.extract(clip)
    assert extraction.info.delegate == "cpu"
    assert extraction.retry_reasons == (f"start:{CONTEXT}",) * 3
    assert masks(extraction) == masks(again) == expected["cpu"]
    assert again.retry_reasons == ()
    assert code in detector.notice
    assert "for 60 minutes" in detector.notice


def test_without_fallback_it_stops_the_job(gl, worker, clip, options):
    gl(eglfaults.NEVER_BINDS)
    policy = Policy(remedies=remedies(gl_retries=0), gl_fallback="fail")
    with worker(options, policy=policy) as detector, pytest.raises(JobError, match="0x3008"):
        detector.extract(clip)


def test_a_context_that_comes_back_after_more_tries_than_mediapipe_makes_itself(
    gl, worker, clip, options, expected, tmp_path
):
    gl(eglfaults.BINDS_AFTER_8, record=tmp_path / "record")
    with worker(options) as detector:
        extraction = detector.extract(clip)
    assert len(eglfaults.recorded(tmp_path / "record")) == 8
    assert {pid for pid, _, _ in eglfaults.recorded(tmp_path / "record")} == {detector_pid(tmp_path)}
    assert extraction.info.delegate == "gpu"
    assert set(extraction.retry_reasons) == {f"start:{CONTEXT}"}
    assert masks(extraction) == expected["gpu"]


def detector_pid(tmp_path: Path) -> int:
    return eglfaults.recorded(tmp_path / "record")[0][0]


def test_a_living_detector_does_not_notice_and_the_next_one_gets_a_new_process(
    gl, worker, clip, options, expected
):
    gl(eglfaults.BINDS_ONCE)
    policy = Policy(refresh_clips=2, remedies=remedies(gl_retries=1))
    with worker(options, policy=policy) as detector:
        first, second = detector.extract(clip), detector.extract(clip)
        pid = detector.child_pid
        third = detector.extract(clip)
        assert detector.child_pid != pid
    assert (first.retry_reasons, second.retry_reasons) == ((), ())
    assert third.retry_reasons == (f"start:{CONTEXT}",) * 2
    assert third.info.delegate == "gpu"
    assert masks(first) == masks(second) == masks(third) == expected["gpu"]


def test_native_code_that_hangs_is_killed_and_done_without(gl, worker, clip, options, expected):
    gl(eglfaults.HANGS)
    policy = Policy(remedies=remedies(max_attempts=1), start_timeout_s=10, frame_timeout_s=4, max_starts=1)
    with worker(options, policy=policy) as detector:
        extraction = detector.extract(clip)
    assert extraction.info.delegate == "cpu"
    assert extraction.retry_reasons[0].removeprefix("start:") == "timeout"
    assert masks(extraction) == expected["cpu"]


def test_an_abort_costs_a_process(gl, worker, clip, options, expected, tmp_path):
    gl(eglfaults.ABORTS, once=tmp_path / "once")
    with worker(options) as detector:
        extraction = detector.extract(clip)
    assert extraction.retry_reasons == ("start:signal",)
    assert extraction.info.delegate == "gpu"
    assert masks(extraction) == expected["gpu"]


def test_an_error_in_the_middle_of_inference(gl, worker, clip, options, expected, tmp_path):
    gl(eglfaults.INFERENCE_ERROR, once=tmp_path / "once", record=tmp_path / "record")
    with worker(options) as detector:
        extraction = detector.extract(clip)
    assert len(eglfaults.recorded(tmp_path / "record")) == 1
    assert extraction.retry_reasons == (CONTEXT,)
    assert extraction.attempts == 2
    assert extraction.info.delegate == "gpu"
    assert masks(extraction) == expected["gpu"]


class TestNoEgl:
    """A host with no driver at all."""

    @pytest.fixture(autouse=True)
    def no_vendor(self, gl, monkeypatch):
        gl()
        monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")

    def test_falls_back_with_one_clear_message(self, worker, clip, options, expected):
        with worker(options) as detector:
            extraction = detector.extract(clip)
            again = detector.extract(clip)
        assert extraction.info.delegate == "cpu"
        assert extraction.retry_reasons == (f"start:{NO_EGL}",) * 2
        assert again.retry_reasons == ()
        assert masks(extraction) == expected["cpu"]
        assert "clips run on the CPU from now on" in detector.notice
        assert "\n" not in detector.notice

    def test_the_second_worker_of_a_host_does_not_try(self, worker, clip, options):
        with worker(options, job="same") as first:
            first.extract(clip)
        with worker(options, job="same") as second:
            assert second.extract(clip).retry_reasons == ()
        assert second.notice == first.notice
        with worker(options, job="other") as third:
            assert third.extract(clip).retry_reasons != ()

    def test_or_stops_the_job(self, worker, clip, options):
        with (
            worker(options, policy=Policy(gl_fallback="fail")) as detector,
            pytest.raises(JobError, match="--gl-fallback"),
        ):
            detector.extract(clip)

    def test_auto_takes_the_cpu_without_a_word(self, worker, clip, options, expected):
        with worker(replace(options, delegate="auto")) as detector:
            extraction = detector.extract(clip)
        assert (extraction.info.delegate, extraction.retry_reasons) == ("cpu", ())
        assert detector.notice == ""
        assert masks(extraction) == expected["cpu"]


def test_auto_does_not_take_software_gl_for_a_gpu(gl, worker, clip, options):
    if RENDERER:
        pytest.skip("the renderer of this test calls itself something else")
    gl()
    with worker(replace(options, delegate="auto")) as detector:
        assert detector.extract(clip).info.delegate == "cpu"
