"""The library of faults does to EGL what it says, and MediaPipe answers as the policy's tests expect."""

import os
import subprocess
import sys

import eglfaults
import pytest

# Binds a context as often as it is told; says "ok" or the error of each time.
BINDS = """
import ctypes, os, sys
egl = ctypes.CDLL("libEGL.so.1")
gles = ctypes.CDLL("libGLESv2.so.2")
first_found = ctypes.CDLL(None)
pointer, none = ctypes.c_void_p, ctypes.c_void_p()
for library, name in (egl, "eglGetDisplay"), (first_found, "eglCreateContext"):
    getattr(library, name).restype = pointer
display = pointer(egl.eglGetDisplay(none))
first_found.eglInitialize(display, none, none)
config, count = pointer(), ctypes.c_int()
egl.eglChooseConfig(display, (ctypes.c_int * 1)(0x3038), ctypes.byref(config), 1, ctypes.byref(count))
egl.eglBindAPI(0x30A0)
context = pointer(first_found.eglCreateContext(display, config, none, (ctypes.c_int * 3)(0x3098, 3, 0x3038)))

def say(done):
    print("ok" if done else hex(first_found.eglGetError()), end=" ", flush=True)

def bind(times):
    for _ in range(times):
        say(first_found.eglMakeCurrent(display, none, none, context))
        assert first_found.eglMakeCurrent(display, none, none, none)

"""

# One ImageSegmenter; says of each step "ok" or what was raised.
SEGMENTER = """
import sys, numpy as np, mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
gpu = BaseOptions(model_asset_path=sys.argv[1], delegate=BaseOptions.Delegate.GPU)
options = vision.ImageSegmenterOptions(base_options=gpu, running_mode=vision.RunningMode.VIDEO)
image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.full((64, 64, 3), 90, np.uint8))

def say(step, call):
    try:
        result = call()
        print(step, "ok", flush=True)
        return result
    except Exception as error:
        print(step, type(error).__name__, " ".join(str(error).split()), flush=True)

for number in range(int(sys.argv[2])):
    segmenter = say("create", lambda: vision.ImageSegmenter.create_from_options(options))
    if segmenter:
        for frame in range(3):
            say("frame", lambda: segmenter.segment_for_video(image, 1 + 40 * frame))
        say("close", segmenter.close)
"""


def run(code: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment, "https_proxy": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


@pytest.fixture
def gl(tmp_path_factory):
    def variables(*arguments, **more) -> dict[str, str]:
        return eglfaults.environment(tmp_path_factory, *arguments, **more)

    return variables


def outcomes(fault: str, gl, calls: str = "bind(5)", **more) -> list[str]:
    done = run(BINDS + calls, gl(fault, **more))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


class TestLibrary:
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ("", "ok ok ok ok ok"),
            (eglfaults.NEVER_BINDS, "0x3008 0x3008 0x3008 0x3008 0x3008"),
            (eglfaults.BINDS_ONCE, "ok 0x3008 0x3008 0x3008 0x3008"),
            ("eglMakeCurrent:from=2,count=2,code=0x300E", "ok 0x300e 0x300e ok ok"),
            ("eglMakeCurrent:count=1", "0x3008 ok ok ok ok"),
            ("eglInitialize:from=2", "ok ok ok ok ok"),
        ],
    )
    def test_which_calls_fail(self, fault, expected, gl):
        assert outcomes(fault, gl) == expected.split()

    @pytest.mark.parametrize(
        ("fault", "call", "code"),
        [
            ("eglInitialize:from=2,code=0x3001", "eglInitialize(display, none, none)", "0x3001"),
            (
                "eglCreateContext:from=2,code=0x3003",
                "eglCreateContext(display, config, none, none)",
                "0x3003",
            ),
        ],
    )
    def test_other_calls_of_egl(self, fault, call, code, gl):
        assert outcomes(fault, gl, f"say(first_found.{call})") == [code]
        assert outcomes("", gl, f"say(first_found.{call})") == ["ok"]

    def test_gl_errors(self, gl):
        calls = "bind(1); first_found.eglMakeCurrent(display, none, none, context)\n"
        calls += "for _ in range(4): print(hex(first_found.glGetError()))"
        assert outcomes("glGetError:from=2,count=2,code=0x505", gl, calls) == [
            "ok",
            "0x0",
            "0x505",
            "0x505",
            "0x0",
        ]

    def test_a_program_that_cannot_be_made(self, gl):
        calls = "first_found.eglMakeCurrent(display, none, none, context)\n"
        calls += "for _ in range(3): print(first_found.glCreateProgram() > 0)"
        assert outcomes("glCreateProgram:from=2,count=1", gl, calls) == ["True", "False", "True"]

    def test_the_name_of_the_renderer(self, gl):
        calls = "first_found.eglMakeCurrent(display, none, none, context)\n"
        calls += "first_found.glGetString.restype = ctypes.c_char_p\n"
        calls += "print(first_found.glGetString(0x1F01).decode(), first_found.glGetString(0x1F00).decode())"
        assert outcomes("", gl, calls, renderer="Card")[0] == "Card"
        assert "Mesa" in outcomes("", gl, calls, renderer="Card")[1]

    def test_calls_before_it_is_armed_do_not_count(self, gl):
        calls = "bind(2); first_found.eglfault_arm(); bind(3)"
        assert outcomes("eglMakeCurrent:armed=0,from=2,count=1", gl, calls) == [
            "ok",
            "ok",
            "ok",
            "0x3008",
            "ok",
        ]

    def test_abort(self, gl):
        done = run(BINDS + "bind(3)", gl("eglMakeCurrent:from=3,abort=1"))
        assert done.returncode == -6
        assert done.stdout == "ok ok "

    def test_hang(self, gl):
        with pytest.raises(subprocess.TimeoutExpired) as late:
            subprocess.run(
                [sys.executable, "-c", BINDS + "bind(3)"],
                stdout=subprocess.PIPE,
                env={**os.environ, **gl("eglMakeCurrent:from=2,hang=1")},
                timeout=1.5,
            )
        assert late.value.output == b"ok "

    def test_once_strikes_one_process_only(self, gl, tmp_path):
        more = {"once": tmp_path / "once", "record": tmp_path / "record"}
        assert outcomes(eglfaults.BINDS_ONCE, gl, "bind(1)", **more) == ["ok"]
        assert not more["once"].exists()
        assert outcomes(eglfaults.BINDS_ONCE, gl, "bind(3)", **more) == ["ok", "0x3008", "0x3008"]
        assert outcomes(eglfaults.BINDS_ONCE, gl, "bind(3)", **more) == ["ok", "ok", "ok"]
        assert [fault[1:] for fault in eglfaults.recorded(more["record"])] == [
            ("eglMakeCurrent", 2),
            ("eglMakeCurrent", 3),
        ]

    def test_total_counts_over_processes(self, gl, tmp_path):
        record = tmp_path / "record"
        assert outcomes(eglfaults.BINDS_AFTER_8, gl, "bind(5)", record=record) == ["0x3008"] * 5
        assert outcomes(eglfaults.BINDS_AFTER_8, gl, "bind(5)", record=record) == ["0x3008"] * 3 + ["ok"] * 2
        faults = eglfaults.recorded(record)
        assert len(faults) == 8
        assert len({pid for pid, _, _ in faults}) == 2

    def test_the_record_of_an_endless_fault_ends(self, gl, tmp_path):
        outcomes(eglfaults.NEVER_BINDS, gl, "bind(300)", record=tmp_path / "record")
        assert len(eglfaults.recorded(tmp_path / "record")) == 100


class TestMediaPipe:
    """What the policy's tests build on."""

    @pytest.fixture
    def model(self, shared_models) -> str:
        return str(shared_models / "selfie_segmentation.tflite")

    @pytest.fixture
    def segmented(self, gl, model):
        def segmented(fault: str, times: int = 1, **more) -> subprocess.CompletedProcess[str]:
            return run(SEGMENTER, gl(fault, renderer="Card", **more), model, str(times))

        return segmented

    def test_without_a_fault(self, segmented):
        assert segmented("").stdout.split("\n") == ["create ok", *["frame ok"] * 3, "close ok", ""]

    def test_never_binds(self, segmented):
        first, second = segmented(eglfaults.NEVER_BINDS, times=2).stdout.splitlines()
        for line in (first, second):
            assert line.startswith('create RuntimeError Service "kGpuService", required by node')
            assert line.endswith("eglMakeCurrent() returned error 0x3008")

    def test_recovers_in_the_same_process(self, segmented, tmp_path):
        done = segmented(eglfaults.BINDS_AFTER_8, times=3, record=tmp_path / "record")
        created = [line[:19] for line in done.stdout.splitlines() if line.startswith("create")]
        assert created == ["create RuntimeError", "create RuntimeError", "create ok"]
        assert len(eglfaults.recorded(tmp_path / "record")) == 8

    def test_one_gl_error_poisons_the_graph_and_the_next_detector_works(self, segmented, tmp_path):
        lines = segmented(eglfaults.INFERENCE_ERROR, times=2, record=tmp_path / "r").stdout.splitlines()
        assert [" ".join(line.split()[:2]) for line in lines[:5]] == [
            "create ok",
            "frame ok",
            "frame RuntimeError",
            "frame RuntimeError",
            "close RuntimeError",
        ]
        assert lines[2].startswith(
            "frame RuntimeError CalculatorGraph::Run() failed: Calculator::Process() for"
        )
        assert "inference_calculator_gl.cc" in lines[2] or "[GL_OUT_OF_MEMORY]" in lines[2]
        assert lines[3].startswith("frame RuntimeError Graph has errors:")
        assert lines[5:] == ["create ok", *["frame ok"] * 3, "close ok"]
        assert len(eglfaults.recorded(tmp_path / "r")) == 1

    def test_a_program_that_cannot_be_made(self, segmented):
        failed, *rest = segmented(eglfaults.NO_PROGRAM, times=2).stdout.splitlines()
        assert failed.startswith(
            "create RuntimeError CalculatorGraph::Run() failed: Calculator::Open() for node"
        )
        assert rest == ["create ok", *["frame ok"] * 3, "close ok"]

    def test_aborts(self, segmented, tmp_path):
        assert segmented(eglfaults.ABORTS, once=tmp_path / "once").returncode == -6
        assert segmented(eglfaults.ABORTS, once=tmp_path / "once").returncode == 0

    def test_hangs_and_writes_without_end(self, gl, model):
        process = subprocess.Popen(
            [sys.executable, "-c", SEGMENTER, model, "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **gl(eglfaults.HANGS, renderer="Card")},
        )
        try:
            assert process.stdout is not None
            text = process.stdout.read(5_000_000)
        finally:
            process.kill()
            process.communicate()
        assert len(text) == 5_000_000
        assert text.count(b"Found unchecked GL error") > 40_000
        assert b"create" not in text.lower().replace(b"created", b"")
