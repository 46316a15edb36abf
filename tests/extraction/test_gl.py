"""Texts that were really seen, word for word, and what is made of them."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.gl import EGL_CODES, GL_CODES, Meaning, Place, classify, egl_name, explain, is_noise
from extraction.gl_catalogue import CATALOGUE

ERRORS_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")

SEGMENTER = "mediapipe_tasks_vision_image_segmenter_imagesegmentergraph__"
INFERENCE = "mediapipe_tasks_core_inferencesubgraph__"
INFERENCE_NODE = f"{SEGMENTER}{INFERENCE}inferencecalculator__{SEGMENTER}{INFERENCE}InferenceCalculator"
TENSOR_NODE = (
    f"{SEGMENTER}mediapipe_tasks_components_processors_imagepreprocessinggraph__ImageToTensorCalculator"
)
NO_SERVICE = (
    f'Service "kGpuService", required by node {INFERENCE_NODE}, was not provided and cannot be created: '
)
FAMOUS = (
    "E0000 00:00:1795253361.103555   17040 gl_context.cc:408] INTERNAL: ; RET_CHECK failure "
    "(mediapipe/gpu/gl_context_egl.cc:303) successeglMakeCurrent() returned error 0x3008;  "
    "(entering GL context)"
)
RUN_FAILED = "RuntimeError: CalculatorGraph::Run() failed: \nCalculator::Process() for node "
HAS_ERRORS = "RuntimeError: Graph has errors: \nCalculator::Process() for node "
SMALL_IMAGE = (
    "TfLiteTensor and Tensor sizes do not match. TfLiteTensor dims: [1, 256, 256, 3], type: FLOAT32, "
    "bytes: 786432 vs. MP Tensor dims: [1, 256, 256, 1], type: kFloat32, bytes: 262144;  at index 0"
)

# Row of the catalogue, version, text of the exception. All were provoked with that version, but those of
# "read", which are put together from MediaPipe's source or come from a public report.
EXCEPTIONS = [
    ("ray-token-missing", "Ray 2.60", "Unauthorized: Missing authentication token"),
    (
        "ray-token-missing",
        "Ray 2.60, read",
        "Token authentication is enabled but no authentication token was found",
    ),
    ("ray-token-wrong", "Ray 2.60", "Forbidden: Invalid authentication token"),
    (
        "ray-token-wrong",
        "Ray 2.60",
        "InvalidAuthToken: Authentication token is missing or incorrect",
    ),
    ("model-not-found", "0.10.21", "RuntimeError: Unable to open file at /data/none.tflite"),
    ("model-not-found", "1.2.2", "FileNotFoundError: Unable to open file at /data/none.task"),
    ("model-unreadable", "0.10.21", "RuntimeError: Unable to get file size, errno=0"),
    ("model-unreadable", "1.2.2", "RuntimeError: Unable to get file size, errno=11"),
    ("model-unreadable", "both", "RuntimeError: Unable to map file to memory buffer, errno=12"),
    (
        "model-unreadable",
        "1.2.2",
        "ValueError: ExternalFile must specify at least one of 'file_content', 'file_name', "
        "'file_pointer_meta' or 'file_descriptor_meta'.",
    ),
    ("model-not-a-bundle", "both", "RuntimeError: Unable to open zip archive."),
    ("model-not-a-bundle", "1.2.2", "RuntimeError: Expected uncompressed zip archive."),
    (
        "model-part-missing",
        "1.2.2",
        "FileNotFoundError: No file with name: face_blendshapes.tflite. All files in the model asset bundle "
        "are: hand_roi_refinement.tflite, face_detector.tflite.",
    ),
    ("model-not-tflite", "both", "ValueError: The model is not a valid Flatbuffer buffer"),
    (
        "model-download",
        "0.10.21",
        "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
    ),
    (
        "system-library",
        "read",
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
    ),
    (
        "no-shader-for-model",
        "1.2.2",
        'FileNotFoundError: CalculatorGraph::Run() failed: \nCalculator::Open() for node "x" failed: '
        "No shader implementation for gather",
    ),
    (
        "gl-program",
        "1.2.2",
        'RuntimeError: CalculatorGraph::Run() failed: \nCalculator::Open() for node "x" failed: '
        "Can't create opengl program: 0 program_id",
    ),
    (
        "gpu-not-in-build",
        "0.10.32",
        "NotImplementedError: ValidatedGraphConfig Initialization failed.\n"
        "ImageCloneCalculator: GPU processing is disabled in build flags\n"
        "ImageCloneCalculator: GPU processing is disabled in build flags",
    ),
    (
        "egl-library",
        "1.2.2",
        "OSError: libGLESv2.so.2: cannot open shared object file: No such file or directory",
    ),
    (
        "gpu-emulated",
        "1.2.2",
        f"RuntimeError: {NO_SERVICE}GPU emulation detected, but not supported. Please run in an environment "
        "that exposes a physical GPU.",
    ),
    (
        "context-not-entered",
        "0.10.21",
        f"RuntimeError: {NO_SERVICE}; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:303) "
        "successeglMakeCurrent() returned error 0x3008",
    ),
    (
        "context-not-entered",
        "1.2.2",
        f"RuntimeError: {NO_SERVICE}RET_CHECK failure (third_party/mediapipe/gpu/gl_context_egl.cc:465) "
        "success eglMakeCurrent() returned error 0x300e",
    ),
    (
        "egl-resources",
        "0.10.21",
        f"RuntimeError: {NO_SERVICE}; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:164) context_ != "
        "EGL_NO_CONTEXTCould not create GLES 2 context; eglCreateContext() returned error 0x3003",
    ),
    (
        "egl-resources",
        "1.2.2",
        f"RuntimeError: {NO_SERVICE}RET_CHECK failure (third_party/mediapipe/gpu/gl_context_egl.cc:356) "
        "surface_ != EGL_NO_SURFACE eglCreatePbufferSurface() returned error 0x3003",
    ),
    (
        "segmenter-program",
        "read",
        "RuntimeError: CalculatorGraph::Run() failed: \nCalculator::Open() for node "
        f'"{SEGMENTER}mediapipe.tasks.TensorsToSegmentationCalculator" failed: ; RET_CHECK failure '
        "(mediapipe/"
        "tasks/cc/vision/image_segmenter/calculators/segmentation_postprocessor_gl.cc:404) "
        "shader_struct_ptr->programProblem initializing the activation program.",
    ),
    (
        "gl-program",
        "read",
        f'{RUN_FAILED}"x" failed: ; RET_CHECK failure program_Problem initializing the program.',
    ),
    (
        "gl-call",
        "0.10.21",
        f'{RUN_FAILED}"{TENSOR_NODE}" failed: [GL_OUT_OF_MEMORY]: There is not enough memory left to execute '
        "the command.: glBindBufferRange in external/org_tensorflow/tensorflow/lite/delegates/gpu/gl/"
        "gl_buffer.cc:83",
    ),
    (
        "gl-call",
        "1.2.2",
        f'{HAS_ERRORS}"{TENSOR_NODE}" failed: [GL_INVALID_VALUE]: A numeric argument is out of range.: '
        "glProgramUniform2i in third_party/tensorflow/lite/delegates/gpu/gl/gl_program.cc:66",
    ),
    (
        "gl-call",
        "0.10.21",
        f'{RUN_FAILED}"{INFERENCE_NODE}" failed: ; RET_CHECK failure (mediapipe/calculators/tensor/'
        "inference_calculator_gl.cc:253) (interpreter_->Invoke())==(kTfLiteOk)",
    ),
    (
        "no-egl-display",
        "0.10.21",
        f"RuntimeError: {NO_SERVICE}; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:77) display != "
        "EGL_NO_DISPLAYeglGetDisplay() returned error 0x300c",
    ),
    (
        "no-egl-display",
        "0.10.21",
        f"RuntimeError: {NO_SERVICE}; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:84) "
        "egl_initializedUnable to initialize EGL",
    ),
    ("no-egl-display", "1.2.2", f"RuntimeError: {NO_SERVICE}Failed to get and init EGL display."),
    (
        "no-egl-config",
        "read",
        "RuntimeError: ; eglChooseConfig() returned no matching EGL configuration for RGBA8888 D16 "
        "ES2 request. ",
    ),
    (
        "no-gl-context",
        "read",
        f"RuntimeError: {NO_SERVICE}; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:164) context_ != "
        "EGL_NO_CONTEXTCould not create GLES 2 context; eglCreateContext() returned error 0x3009",
    ),
    (
        "gles-too-old",
        "1.2.2",
        "RuntimeError: CalculatorGraph::Run() failed: \nCalculator::Open() for node "
        f'"{INFERENCE_NODE}" failed: OpenGL ES 3.1 or above is required to use OpenGL inference.',
    ),
    ("gpu-service", "read", f"RuntimeError: {NO_SERVICE}something new"),
    ("timestamp-order", "both", "ValueError: Input timestamp must be monotonically increasing."),
    (
        "timestamp-order",
        "0.10.21",
        "ValueError: Graph has errors: \n; Packet timestamp mismatch on a calculator receiving from "
        'stream "a". '
        "Current minimum expected timestamp is 6 but received 3. Are you using a custom InputStreamHandler?",
    ),
    ("image-format", "read", "ValueError: Input image must contain three channel rgb data."),
    (
        "image-format",
        "0.10.21",
        "ValueError: CalculatorGraph::Run() failed: \nCalculator::Process() for node "
        f'"{INFERENCE_NODE}" failed: '
        "; RET_CHECK failure (mediapipe/calculators/tensor/inference_calculator_utils.cc:144) "
        f"(tflite_tensor.bytes)==(input_tensor.bytes()){SMALL_IMAGE}",
    ),
    (
        "image-format",
        "1.2.2",
        f'ValueError: Graph has errors: \nCalculator::Process() for node "{INFERENCE_NODE}" failed: '
        "RET_CHECK failure (third_party/mediapipe/calculators/tensor/inference_calculator_utils.cc:148) "
        f"tflite_tensor.bytes == input_tensor.bytes() (786432 vs. 262144) {SMALL_IMAGE}",
    ),
    ("image-format", "1.2.2", "ValueError: Pixel data size is too small: 4096 (expected 12288)"),
    (
        "image-format",
        "1.2.2",
        "ValueError: Unsupported image format: SRGB (expected VEC32F1, VEC32F2, or VEC32F4 for float data)",
    ),
    (
        "image-format",
        "0.10.21",
        "RuntimeError: float image data should be either VEC32F1, VEC32F2, or VEC32F4 MediaPipe "
        "image formats.",
    ),
    (
        "image-size-changed",
        "0.10.21",
        f'{RUN_FAILED}"poselandmarkcpu__posesegmentationfiltering__SegmentationSmoothingCalculator" failed: '
        "; RET_CHECK failure (mediapipe/calculators/image/segmentation_smoothing_calculator.cc:206) "
        "(current_mat->rows)==(previous_mat->rows)",
    ),
    (
        "running-mode",
        "0.10.21",
        "ValueError: Task is not initialized with the image mode. Current running mode:VIDEO",
    ),
    (
        "running-mode",
        "1.2.2",
        "ValueError: Task is not initialized with the video mode. Current running mode:image mode",
    ),
    (
        "wrong-argument",
        "1.2.2",
        "ctypes.ArgumentError: argument 4: TypeError: 'float' object cannot be interpreted as an integer",
    ),
    (
        "wrong-argument",
        "0.10.21",
        "TypeError: at(): incompatible function arguments. The following argument types are supported:\n"
        "    1. (self: mediapipe.python._framework_bindings.packet.Packet, arg0: int) -> Packet",
    ),
    ("detector-closed", "0.10.21", "ValueError: Task runner is currently not running."),
    ("detector-closed", "0.10.21", "ValueError: Closing SolutionBase._graph which is already None"),
    ("detector-closed", "0.10.21", "ValueError: _graph is None in SolutionBase"),
    (
        "graph-configuration",
        "0.10.21",
        "RuntimeError: ValidatedGraphConfig Initialization failed.\nNo registered object with name: "
        'NoSuchCalculator; Unable to find Calculator "NoSuchCalculator"',
    ),
    (
        "graph-has-errors",
        "0.10.21",
        "RuntimeError: ; CalculatorGraph::AddPacketToInputStream() is called before StartRun()",
    ),
    ("graph-has-errors", "read", f'{HAS_ERRORS}"x" failed: something new'),
    ("graph-has-errors", "read", f'{RUN_FAILED}"x" failed: something new'),
]

LINES = [
    ("model-download", "0.10.21", "Downloading model to /opt/mediapipe/pose_landmark_heavy.tflite"),
    ("model-not-tflite", "both", "ERROR: The model is not a valid Flatbuffer buffer"),
    (
        "calculator-without-context",
        "read",
        'Calculator::Process() for node "x" failed: ; RET_CHECK failure '
        "(mediapipe/gpu/gl_context_egl.cc:303) "
        "successeglMakeCurrent() returned error 0x3008; (entering GL context)",
    ),
    ("destructor-without-context", "0.10.9", FAMOUS),
    (
        "destructor-without-context",
        "read",
        "gl_context.cc:408 … gl_context_egl.cc:303 … eglMakeCurrent() returned error 0x3008; "
        "(entering GL context)",
    ),
    (
        "gpu-probe",
        "0.10.21",
        "I0000 00:00:1795253124.885210   11541 task_runner.cc:85] GPU suport is not available: INTERNAL: ; "
        "RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:77) display != EGL_NO_DISPLAYeglGetDisplay() "
        "returned error 0x300c",
    ),
    (
        "gpu-probe",
        "0.10.21",
        "I0000 00:00:1795253100.785047   10527 task_runner.cc:85] GPU suport is not available: INTERNAL: ; "
        "RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:303) successeglMakeCurrent() returned "
        "error 0x3008",
    ),
    (
        "context-teardown",
        "0.10.21",
        "E0000 00:00:1795253412.102869   17328 gl_context.cc:419] Failed to deactivate context on thread: "
        "INTERNAL: ; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:303) successeglMakeCurrent() "
        "returned "
        "error 0x3008",
    ),
    (
        "context-teardown",
        "read",
        "E20210504 16:07:07.905655 27519 gl_context_egl.cc:237] eglDestroyContext() returned error 0x3008",
    ),
    (
        "gles3-first-try",
        "0.10.21",
        "W0000 00:00:1795253097.062304   10358 gl_context_egl.cc:184] Creating a context with OpenGL ES 3 "
        "failed: INTERNAL: ; RET_CHECK failure (mediapipe/gpu/gl_context_egl.cc:164) context_ != "
        "EGL_NO_CONTEXTCould not create GLES 3 context; eglCreateContext() returned error 0x3003",
    ),
    (
        "gles3-first-try",
        "both",
        "W0000 00:00:1795253097.062308   10358 gl_context_egl.cc:186] Fall back on OpenGL ES 2.",
    ),
    (
        "default-display",
        "1.2.2",
        "W0000 00:00:1795253104.996727   10720 gl_context_egl.cc:214] Failed to get default EGL "
        "display, trying "
        "multi-gpu EGL display selection.",
    ),
    (
        "gl-came-up",
        "both",
        "I0000 00:00:1795253060.490845   10071 gl_context_egl.cc:113] Successfully initialized EGL. "
        "Major : 1 "
        "Minor: 5",
    ),
    (
        "gl-came-up",
        "1.2.2",
        "I0000 00:00:1795253060.506395   10079 gl_context.cc:408] GL version: 3.2 (OpenGL ES 3.2 "
        "Mesa 22.3.6), "
        "renderer: llvmpipe (LLVM 15.0.6, 256 bits)",
    ),
    ("gl-came-up", "both", "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."),
    ("gl-came-up", "0.10.21", "INFO: Created TensorFlow Lite delegate for GPU."),
    (
        "remark",
        "both",
        "W0000 00:00:1795253124.892182   11581 inference_feedback_manager.cc:114] Feedback manager "
        "requires a "
        "model with a single signature inference. Disabling support for feedback tensors.",
    ),
    (
        "remark",
        "0.10.21",
        "E0000 00:00:1795253112.117475   11056 tensor.cc:410] Tensors are designed for single "
        "writes. Multiple "
        "writes to a Tensor instance are not supported and may lead to undefined behavior due to lack of "
        "synchronization.",
    ),
    (
        "about-the-log",
        "0.10.21",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    ),
    ("about-the-log", "1.2.2", "WARNING: Logging before InitGoogle() is written to STDERR"),
    ("about-the-log", "1.2.2", "Stack trace:"),
    ("about-the-log", "1.2.2", "    @     0x7f283060e45d  mediapipe::GlContext::SetCurrentContextBinding()"),
    ("about-the-log", "1.2.2", "=== Source Location Trace: === "),
    ("about-the-log", "1.2.2", "third_party/mediapipe/gpu/gl_context_egl.cc:465"),
    (
        "unchecked-gl-error",
        "0.10.21",
        "I0000 00:00:1795253399.821353   17234 gl_context.cc:1083] Found unchecked GL error: UNKNOWN ERROR",
    ),
    (
        "unchecked-gl-error",
        "1.2.2",
        "W0000 00:00:1795253118.363157   11307 gl_context.cc:1178] Ignoring unchecked GL error.",
    ),
    (
        "context-not-entered",
        "1.2.2",
        "E0000 00:00:1795253102.188489   10617 gl_context_egl.cc:465] INTERNAL: RET_CHECK failure "
        "(third_party/mediapipe/gpu/gl_context_egl.cc:465) success eglMakeCurrent() returned error 0x3008",
    ),
    (
        "gl-call",
        "0.10.21",
        "ERROR: TfLiteGpuDelegate Invoke: [GL_INVALID_VALUE]: A numeric argument is out of range.: "
        "glMemoryBarrier in external/org_tensorflow/tensorflow/lite/delegates/gpu/gl/command_queue.cc:38",
    ),
    ("gl-call", "0.10.21", "ERROR: Node number 246 (TfLiteGpuDelegate) failed to prepare."),
    ("gl-call", "0.10.21", "ERROR: Restored original execution plan after delegate application failure."),
    (
        "no-egl-display",
        "1.2.2",
        "E0000 00:00:1795253055.589782    9980 gl_context_egl.cc:105] INTERNAL: RET_CHECK failure "
        "(third_party/mediapipe/gpu/gl_context_egl.cc:105) display != EGL_NO_DISPLAY eglGetDisplay() "
        "returned "
        "error 0x300c",
    ),
    ("no-egl-display", "1.2.2", "Failed to create and initialize a valid EGL display! Devices tried: 0"),
    ("no-egl-display", "1.2.2", "eglQueryDevicesEXT Failed. EGL error 3000"),
    (
        "image-format",
        "both",
        "F0000 00:00:1795253128.582447   11727 image_frame.cc:128] Check failed: "
        "ImageFormat::UNKNOWN != format_ "
        "(0 vs. 0) ",
    ),
    (
        "abort-empty-packet",
        "read",
        "F0000 00:00:1795253128.582447   11727 packet.cc:151] Check failed: holder_ != nullptr The packet is "
        "empty.",
    ),
    ("abort-check", "read", "F0000 00:00:1795253128.582447   11727 x.cc:1] Check failed: a == b"),
    ("abort-heap", "0.10.21", "malloc(): unaligned tcache chunk detected"),
]


def cases(table: list[tuple[str, str, str]]) -> list[object]:
    return [
        pytest.param(name, text, id=f"{name}-{version}-{n}") for n, (name, version, text) in enumerate(table)
    ]


@pytest.mark.parametrize(("name", "text"), cases(EXCEPTIONS))
def test_exceptions(name, text):
    assert explain(text, Place.EXCEPTION).name == name


@pytest.mark.parametrize(("name", "line"), cases(LINES))
def test_lines_of_a_log(name, line):
    assert explain(line, Place.LOG).name == name
    assert is_noise(line) == (classify(line, Place.LOG) is Meaning.NOISE)


def test_every_row_explains_a_text_that_stands_here():
    assert {row.name for row in CATALOGUE} == {name for name, _, _ in EXCEPTIONS + LINES}
    assert len({row.name for row in CATALOGUE}) == len(CATALOGUE)


MEANINGS = {
    "model-not-found": Meaning.CONFIGURATION,
    "gpu-not-in-build": Meaning.NO_GPU_IN_BUILD,
    "no-shader-for-model": Meaning.NO_GPU_IN_BUILD,
    "graph-configuration": Meaning.CONFIGURATION,
    "no-egl-display": Meaning.NO_EGL,
    "gpu-emulated": Meaning.NO_EGL,
    "egl-library": Meaning.NO_EGL,
    "context-not-entered": Meaning.CONTEXT,
    "egl-resources": Meaning.CONTEXT,
    "segmenter-program": Meaning.CONTEXT,
    "gl-call": Meaning.CONTEXT,
    "timestamp-order": Meaning.CALLER,
    "image-format": Meaning.CALLER,
    "graph-has-errors": Meaning.POISONED,
    "destructor-without-context": Meaning.NOISE,
}


@pytest.mark.parametrize(("name", "meaning"), MEANINGS.items())
def test_meanings(name, meaning):
    (row,) = (row for row in CATALOGUE if row.name == name)
    assert row.meaning is meaning


class TestPlace:
    def test_the_famous_line_is_harmless_in_a_log_and_a_failure_in_an_exception(self):
        words = FAMOUS.partition("] ")[2]
        harmless, real = explain(FAMOUS, Place.LOG), explain(f"RuntimeError: {words}", Place.EXCEPTION)
        assert (harmless.meaning, real.meaning) == (Meaning.NOISE, Meaning.CONTEXT)
        assert harmless.means.startswith("harmless")
        assert harmless.codes == real.codes == ("0x3008 EGL_BAD_DISPLAY",)

    def test_a_line_makes_nobody_act(self):
        line = next(line for name, _, line in LINES if name == "context-not-entered")
        assert explain(line, Place.LOG).does != explain(line, Place.EXCEPTION).does

    def test_noise_never_explains_an_exception(self):
        for name, _, line in LINES:
            if is_noise(line):
                assert explain(line, Place.EXCEPTION).name != name


class TestPrecedence:
    """A cause stands before what wraps it; these texts are put together."""

    @pytest.mark.parametrize(
        ("text", "meaning"),
        [
            ("ValidatedGraphConfig Initialization failed.\nx: no GPU here", Meaning.NO_GPU_IN_BUILD),
            ("ValidatedGraphConfig Initialization failed.\nx: no such option", Meaning.CONFIGURATION),
            ("Graph has errors: \nCalculator::Open() x: Unable to open file at y", Meaning.CONFIGURATION),
            ("Graph has errors: \nx: eglMakeCurrent() returned error 0x3002", Meaning.CONTEXT),
            ("CalculatorGraph::Run() failed: \nx: Packet timestamp mismatch", Meaning.CALLER),
            (
                "CalculatorGraph::Run() failed: \nx: [GL_INVALID_VALUE]: y\nPacket timestamp mismatch",
                Meaning.CONTEXT,
            ),
            ("kGpuService: Unable to initialize EGL", Meaning.NO_EGL),
            *(
                (f"kGpuService: eglCreateContext() returned error {code}", Meaning.CONTEXT)
                for code in ("0x3003", "0x3006", "0x300d", "0x300e")
            ),
            ("kGpuService: eglCreateContext() returned error 0x3004", Meaning.NO_EGL),
        ],
    )
    def test_of_several_rows(self, text, meaning):
        assert classify(f"RuntimeError: {text}", Place.EXCEPTION) is meaning


class TestUnknown:
    @pytest.mark.parametrize("place", Place)
    @pytest.mark.parametrize(
        "text", ["", "RuntimeError: std::bad_alloc", "segfault at 0", "EGL is a library"]
    )
    def test_stays_unknown_and_says_so(self, text, place):
        explanation = explain(text, place)
        assert (explanation.meaning, explanation.name) == (Meaning.UNKNOWN, "unknown")
        assert "not in the catalogue" in explanation.means
        assert "report" in explanation.advice

    @given(st.text(), st.sampled_from(Place))
    def test_any_text_is_taken(self, text, place):
        assert explain(text, place).means


class TestForm:
    TRACE = (
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in detect\n'
        "    raise FileNotFoundError('Unable to open file at')\n"
        "    ^^^^^^^^^\n"
        "{}\n"
    )

    def test_frames_of_a_traceback_do_not_count(self):
        text = self.TRACE.format("RuntimeError: something new")
        assert classify(text, Place.EXCEPTION) is Meaning.UNKNOWN

    def test_the_exception_of_a_traceback_counts(self):
        for name, _, message in EXCEPTIONS:
            assert explain(self.TRACE.format(message), Place.EXCEPTION).name == name

    def test_log_lines_put_after_an_exception_do_not_count(self):
        line = next(line for name, _, line in LINES if name == "context-not-entered")
        text = f"{NO_SERVICE}Failed to get and init EGL display.; last lines it wrote:\n{line}"
        assert explain(text, Place.EXCEPTION).name == "no-egl-display"

    def test_a_chain_of_exceptions_is_read_as_a_whole(self):
        first = self.TRACE.format("RuntimeError: Graph has errors: \nx")
        text = f"{first}\nDuring handling of the above exception, another exception occurred:\n\n" + (
            self.TRACE.format("ValueError: Input timestamp must be monotonically increasing.")
        )
        assert classify(text, Place.EXCEPTION) is Meaning.CALLER

    def test_colours_line_breaks_and_capital_hex_digits_do_not_matter(self):
        text = (
            "\x1b[1;31mRuntimeError\x1b[0m: Could not create GLES 2 context;\n  eglCreateContext() returned\n"
            "error 0x300E"
        )
        explanation = explain(text, Place.EXCEPTION)
        assert explanation.name == "egl-resources"
        assert explanation.codes == ("0x300e EGL_CONTEXT_LOST",)


class TestCodes:
    def test_the_famous_code_is_bad_display(self):
        assert egl_name(0x3008) == "EGL_BAD_DISPLAY"
        assert EGL_CODES[0x3009] == "EGL_BAD_MATCH"

    def test_the_tables_are_whole(self):
        assert list(EGL_CODES) == list(range(0x3000, 0x300F))
        assert list(GL_CODES) == list(range(0x500, 0x508))

    def test_a_number_that_is_no_code_is_told_as_a_number(self):
        assert egl_name(0x3055) == "0x3055"

    @pytest.mark.parametrize(
        ("text", "codes"),
        [
            ("error 0x300c, then 0x300C and 0x505", ("0x300c EGL_BAD_PARAMETER", "0x505 GL_OUT_OF_MEMORY")),
            ("eglQueryDevicesEXT Failed. EGL error 3000", ("0x3000 EGL_SUCCESS",)),
            ("@ 0x30081234 and 0x3008f and 0x500000", ()),
        ],
    )
    def test_codes_in_a_text(self, text, codes):
        assert explain(text, Place.LOG).codes == codes


@pytest.mark.parametrize("line", [FAMOUS, "word " * 400, "egl" * 30_000, "@ 0x" * 5_000, "GPU\x1b[" * 5_000])
def test_a_flood_is_read_in_time(line):
    count = max(2_000_000 // (len(line) + 100), 10)
    began = time.monotonic()
    for _ in range(count):
        is_noise(line)
    assert time.monotonic() - began < 10


def shown(pattern: str | re.Pattern[str]) -> str:
    text = pattern if isinstance(pattern, str) else f"/{pattern.pattern}/"
    return "`" + text.replace("|", "\\|") + "`"


class TestPage:
    @pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
    def test_every_row_stands_in_it(self, row):
        where = row.place or "both"
        cells = (row.name, "<br>".join(map(shown, row.patterns)), where, row.means, row.advice, row.source)
        assert f"| {' | '.join(cells)} |\n" in ERRORS_PAGE

    def test_every_meaning_stands_in_it_with_what_is_done(self):
        for name, _, text in EXCEPTIONS:
            explanation = explain(text, Place.EXCEPTION)
            assert f"Results affected: {explanation.affected}." in ERRORS_PAGE, name
            assert f"The software {explanation.does}." in ERRORS_PAGE, name

    def test_every_code_stands_in_it(self):
        for code, name in {**EGL_CODES, **GL_CODES}.items():
            assert f"| `{code:#x}` | {name} |" in ERRORS_PAGE


MAKE = """
import json, sys, traceback
from mediapipe.tasks.python import BaseOptions, vision

def make(model, delegate):
    base = BaseOptions(model_asset_path=model, delegate=getattr(BaseOptions.Delegate, delegate))
    return vision.ImageSegmenter.create_from_options(
        vision.ImageSegmenterOptions(base_options=base, running_mode=vision.RunningMode.VIDEO)
    )

told = {}
for name, (model, delegate) in json.loads(sys.argv[1]).items():
    try:
        make(model, delegate)
    except Exception:
        told[name] = traceback.format_exc()
print("\\n" + json.dumps(told))
"""


def test_errors_of_this_mediapipe(shared_models, tmp_path):
    """The installed version, whichever it is, on a host without EGL: its own words, whole traces."""
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "text.tflite").write_text("no model\n" * 100)
    model = str(shared_models / "selfie_segmentation.tflite")
    cases = {
        "no-egl-display": (model, "GPU"),
        "model-not-found": (str(tmp_path / "none.tflite"), "CPU"),
        "model-unreadable": (str(tmp_path / "empty.tflite"), "CPU"),
        "model-not-tflite": (str(tmp_path / "text.tflite"), "CPU"),
    }
    done = subprocess.run(
        [sys.executable, "-c", MAKE, json.dumps(cases)],
        env={**os.environ, "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: explain(text, Place.EXCEPTION).name for name, text in told.items()} == {n: n for n in cases}
    lines = [line for line in done.stderr.splitlines() if line.startswith(("I0", "W0", "E0"))]
    assert [line for line in lines if classify(line, Place.LOG) is Meaning.UNKNOWN] == []
