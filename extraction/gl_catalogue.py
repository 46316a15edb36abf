"""The error texts of MediaPipe, EGL, OpenGL and Ray that are known, and what each of them means.

A row's source is a file of MediaPipe's public repository (below ``mediapipe/``) or the version of its wheel
with which the text was seen. The order is the precedence: where several rows fit one text, the first counts,
so that a cause stands before what merely wraps it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What an error's text means for the one who has to go on."""

    NO_GPU_IN_BUILD = "no-gpu-in-build"
    NO_EGL = "no-usable-egl"
    CONTEXT = "context-lost"
    POISONED = "graph-poisoned"
    CALLER = "caller-bug"
    CONFIGURATION = "configuration"
    NOISE = "log-noise"
    UNKNOWN = "unknown"


class Place(StrEnum):
    """Where a text appeared: the same words mean different things in an exception and in a log."""

    EXCEPTION = "exception"
    LOG = "log"


Pattern = str | re.Pattern[str]
"""A text to be found as it stands, where "…" is any gap; or a regular expression to be searched for."""


@dataclass(frozen=True, slots=True)
class KnownText:
    """One row of the catalogue.

    Attributes:
        name: Short stable name.
        meaning: What kind of trouble it is.
        patterns: The texts; one of them is enough.
        means: What it means, one sentence without its full stop.
        advice: What the user can do.
        source: Where the text was read or seen.
        place: The only place where the row counts; None for both.
        affected: Whether results are affected, where it is not what the meaning says.
    """

    name: str
    meaning: Meaning
    patterns: tuple[Pattern, ...]
    means: str
    advice: str
    source: str
    place: Place | None = None
    affected: str = ""


def _row(name: str, meaning: Meaning, *patterns: Pattern, means: str, advice: str, source: str) -> KnownText:
    return KnownText(name, meaning, patterns, means, advice, source)


def _noise(name: str, *patterns: Pattern, means: str, source: str, advice: str = "nothing") -> KnownText:
    return KnownText(name, Meaning.NOISE, patterns, means, advice, source, Place.LOG)


_SETUP = (
    _row(
        *("model-not-found", Meaning.CONFIGURATION, "Unable to open file at"),
        means="the model file is not there, or may not be read",
        advice="correct --model, or put the file there; `landmarks models fetch` gets the official ones",
        source="tasks/cc/core/external_file_handler.cc; 0.10.21 (RuntimeError), 1.2.2 (FileNotFoundError)",
    ),
    _row(
        *("model-unreadable", Meaning.CONFIGURATION),
        *("Unable to get file size, errno", "Unable to map file to memory buffer"),
        "must specify at least one of 'file_content'",
        means="the model is an empty file, a folder, or an empty name",
        advice="give --model the path of the model file itself",
        source="tasks/cc/core/external_file_handler.cc; 0.10.21 and 1.2.2",
    ),
    _row(
        *("model-not-a-bundle", Meaning.CONFIGURATION),
        *("Unable to open zip archive", "Expected uncompressed zip archive"),
        means="the model is no .task bundle: a zip whose entries are stored, not compressed",
        advice="use the official bundle (`landmarks models fetch`); fetch a download again that was cut",
        source="tasks/cc/metadata/utils/zip_utils.cc; 0.10.21 and 1.2.2",
    ),
    _row(
        *("model-part-missing", Meaning.CONFIGURATION, "No file with name:"),
        means="the bundle is of another task: it lacks a part that this detector needs",
        advice="use the bundle of this task; Holistic needs face_blendshapes.tflite in it even when unused",
        source="tasks/cc/core/model_asset_bundle_resources.cc; 0.10.21 (RuntimeError), "
        "1.2.2 (FileNotFoundError)",
    ),
    _row(
        *("model-not-tflite", Meaning.CONFIGURATION, "The model is not a valid Flatbuffer"),
        means="the model is no .tflite file; bundles and half downloads give this too",
        advice="use the .tflite file that the engine names",
        source="tasks/cc/core/model_resources.cc; 0.10.21 and 1.2.2 (ValueError, and a line in the log)",
    ),
    _row(
        *("model-download", Meaning.CONFIGURATION, "Downloading model to", "<urlopen error"),
        means="the wheel lacks a pose model, and MediaPipe tries to download it while it runs",
        advice="use --model-complexity 1, whose model is in the wheel, or put the file where the text says",
        source="python/solutions/download_utils.py; 0.10.21 without network (URLError)",
    ),
    _row(
        *("system-library", Meaning.CONFIGURATION),
        *("libGL.so.1…cannot open shared object", "libgthread-2.0.so.0…cannot open shared object"),
        means="OpenCV's build with a graphical interface lacks a system library",
        advice="apt-get install libgl1 libglib2.0-0, or install OpenCV's headless build as `make` does",
        source="opencv-contrib-python in a minimal Debian (ImportError)",
    ),
    _row(
        *("no-shader-for-model", Meaning.NO_GPU_IN_BUILD, "No shader implementation for"),
        means="the GPU delegate cannot run an operation of this model",
        advice="use --delegate cpu, or a model made for the GPU with --model",
        source="1.2.2 (FileNotFoundError) with a face model that gathers points",
    ),
    _row(
        *("gpu-not-in-build", Meaning.NO_GPU_IN_BUILD, "GPU processing is disabled"),
        re.compile(r"ValidatedGraphConfig Initialization failed.*GPU"),
        means="this build of MediaPipe has no GPU part",
        advice="use --delegate cpu, or the mediapipe version that this project installs; on Linux 0.10.30 to "
        "0.10.32 and 1.0.0 are for the CPU only",
        source="calculators/image/image_clone_calculator.cc; 0.10.32 (NotImplementedError)",
    ),
)

# Of Ray, which starts the workers; the words of MediaPipe do not occur in them.
_RAY = (
    _row(
        *("ray-token-missing", Meaning.CONFIGURATION, "Missing authentication token"),
        *(
            "authentication is enabled but no authentication token",
            "Ray couldn't find an authentication token",
        ),
        means="the Ray cluster wants a token, and none was sent (HTTP 401)",
        advice="`ray get-auth-token` on the head prints it: put it in ~/.ray/auth_token, and set "
        "RAY_AUTH_MODE=token",
        source="Ray 2.60 _private/authentication; seen with `ray job submit` and ray.init",
    ),
    _row(
        *("ray-token-wrong", Meaning.CONFIGURATION, "Invalid authentication token"),
        *(
            "InvalidAuthToken",
            "authentication token is invalid or incorrect",
            "Invalid or missing authentication token",
        ),
        means="the Ray cluster wants another token than the one that was sent (HTTP 403), often one that a "
        "local job made",
        advice="`ray get-auth-token` on the head prints it: put it in ~/.ray/auth_token, or name its file in "
        "RAY_AUTH_TOKEN_PATH",
        source="Ray 2.60 _private/authentication; seen with `ray job submit` and ray.init",
    ),
)

# Before the real failures, whose words they quote.
_LOG_ONLY = (
    KnownText(
        *("calculator-without-context", Meaning.CONTEXT, ("Calculator::…eglMakeCurrent() returned error",)),
        means="a calculator of the graph could not enter its GL context; the exception that follows counts",
        advice="see the exception that follows",
        source="framework/calculator_graph.cc, which logs the exception's text",
        place=Place.LOG,
    ),
    _noise(
        *("destructor-without-context", "eglMakeCurrent() returned error…(entering GL context)"),
        means="harmless: the destructor of a GL context that never existed tries to enter it; there is no "
        "usable EGL, and the detector works on the CPU",
        advice="nothing; mediapipe 0.10.10 and later no longer do it",
        source="gpu/gl_context.cc, ~GlContext, to 0.10.9; 0.10.9 without an EGL vendor",
    ),
    _noise(
        *("gpu-probe", "GPU suport is not available", "GPU support is not available"),
        means="MediaPipe tried EGL before making a detector, and goes on without",
        advice="nothing; where the GPU was asked for, an exception says that it cannot be had",
        source="tasks/cc/core/task_runner.cc; 0.10.21 on every host without EGL",
    ),
    _noise(
        *("context-teardown", "Failed to deactivate context"),
        *("eglDestroyContext() returned error", "eglDestroySurface() returned error"),
        means="a GL context was let go and EGL complained; its work was done",
        advice="nothing; a detector that cannot be made afterwards says so in an exception",
        source="gpu/gl_context.cc, gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 with unbinding made to fail",
    ),
    _noise(
        *("gles3-first-try", "Creating a context with OpenGL ES 3 failed", "Could not create GLES 3 context"),
        *("RGBA8888 D16 ES3 request", "Fall back on OpenGL ES 2"),
        means="the first of two tries: MediaPipe asks for OpenGL ES 3, then for 2",
        advice="nothing; where the second try fails too, an exception says so",
        source="gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 with eglCreateContext made to fail",
    ),
    _noise(
        *("default-display", "Failed to get default EGL display, trying"),
        means="the first of two tries: MediaPipe asks for the default EGL display, then for each device's",
        advice="nothing; where no display can be had, an exception says so",
        source="gpu/gl_context_egl.cc; 1.2.2 with eglGetDisplay made to fail once",
    ),
    _noise(
        *("gl-came-up", "Successfully initialized EGL", "GL version: ", "Created TensorFlow Lite…delegate"),
        means="GL or an inference engine came up; a renderer named llvmpipe or softpipe is software",
        source="gpu/gl_context_egl.cc, gpu/gl_context.cc; 0.10.21 and 1.2.2",
    ),
    _noise(
        *("remark", "Feedback manager requires", "Using NORM_RECT without IMAGE_DIMENSIONS"),
        *("Tensors are designed for single writes", "OpenGL error checking is disabled"),
        *("acceleration to xnnpack", "acceleration to Xnnpack", "No activation type is found in model"),
        *("MessageFactory class is deprecated", "self._runner.get_graph_config()"),
        means="a remark of MediaPipe's to its own developers",
        source="calculators/tensor, calculators/util, framework/formats/tensor.cc; 0.10.21 and 1.2.2",
    ),
    _noise(
        *("about-the-log", "All log messages before absl::InitializeLog()", "Logging before InitGoogle"),
        *("*** Check failure stack trace", "=== Source Location Trace", re.compile(r"^Stack trace:$")),
        *(re.compile(r"^@ 0x[0-9a-f]{4,16} "), re.compile(r"^third_party/[\w./+-]{1,300}:\d+$")),
        means="about the log itself, or the native call stack of the line above it",
        advice="nothing; read the line above it",
        source="absl's logging; 0.10.21 and 1.2.2",
    ),
)

_GL = (
    KnownText(
        *("unchecked-gl-error", Meaning.CONTEXT),
        ("Found unchecked GL error", "Ignoring unchecked GL error"),
        means="a GL call failed and nobody looked; thousands of these in a row are a hang: the driver has "
        "lost the context, and MediaPipe asks for its errors for ever",
        advice="look at the clip after a single one; a hang is ended by --frame-timeout. If it comes again: "
        "fewer detectors on the card (--workers), or --delegate cpu",
        source="gpu/gl_context.cc; 0.10.21 and 1.2.2 with one wrong glGetError, and with an endless one",
        affected="possibly, of the frame it happened in",
    ),
    _row(
        *("egl-library", Meaning.NO_EGL),
        *("libEGL.so.1…cannot open shared object", "libGLESv2.so.2…cannot open shared object"),
        means="the system's EGL or OpenGL ES library is not installed; mediapipe 0.10.33 and later need both",
        advice="apt-get install libegl1 libgles2, and the GPU driver's own EGL for --delegate gpu",
        source="1.2.2 in a minimal Debian (OSError)",
    ),
    _row(
        *("gpu-emulated", Meaning.NO_EGL, "GPU emulation detected, but not supported"),
        means="EGL works, but with a software renderer (Mesa's llvmpipe), which mediapipe 1.x refuses",
        advice="install the GPU driver's EGL; in a container ask for the graphics capability "
        "(NVIDIA_DRIVER_CAPABILITIES=all); or --delegate cpu, which is faster than software GL",
        source="1.2.2 on Mesa (RuntimeError)",
    ),
    _row(
        *("context-not-entered", Meaning.CONTEXT, "eglMakeCurrent() returned error"),
        means="the GL context cannot be entered: another process or thread holds it, or the driver lost it",
        advice="put fewer detectors on the card (--workers); look for driver errors (dmesg, nvidia-smi)",
        source="gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 with eglMakeCurrent made to fail (RuntimeError)",
    ),
    _row(
        *("egl-resources", Meaning.CONTEXT, re.compile(r"egl\w{1,30}\(\) returned error 0x300[36de]\b")),
        means="EGL ran out of memory or contexts, or lost one",
        advice="put fewer detectors on the card (--workers); look at its memory (nvidia-smi)",
        source="gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 with eglCreateContext made to fail (RuntimeError)",
    ),
    _row(
        *("segmenter-program", Meaning.CONTEXT, "Problem initializing the activation program"),
        means="the image segmenter could not build its first shader when its graph opened: the new GL "
        "context is lost or full, so it is the making of a detector again that fails, after hours of work",
        advice="put fewer detectors on the card (--workers), or use --delegate cpu; in code of your own a "
        "new process helps where a retry in the old one does not",
        source="tasks/cc/vision/image_segmenter/calculators/segmentation_postprocessor_gl.cc, compiled for "
        "Android and browsers: the Linux wheels 0.10.9, 0.10.21 and 1.2.2 do not contain it",
    ),
    _row(
        *("gl-program", Meaning.CONTEXT, "Problem initializing…program"),
        *("Failed to compile shader", "Failed to link program", "Can't create opengl program"),
        means="a shader could not be built: the GL context is lost or out of memory",
        advice="put fewer detectors on the card (--workers), or use --delegate cpu",
        source="gpu/shader_util.cc, gpu/gl_quad_renderer.cc; 1.2.2 with one failing glCreateProgram",
    ),
    _row(
        *("gl-call", Meaning.CONTEXT, "[GL_", "TfLiteGpuDelegate", "inference_calculator_gl…kTfLiteOk"),
        "after delegate application failure",
        means="a GL call failed while the detector was made or worked",
        advice="look at the card's memory (nvidia-smi), put fewer detectors on it, or use --delegate cpu; "
        "where no detector can ever be made, the driver has no OpenGL ES 3.1",
        source="calculators/tensor/inference_calculator_gl.cc; 0.10.21 and 1.2.2 with one wrong glGetError",
    ),
    _row(
        *("no-egl-display", Meaning.NO_EGL, "eglGetDisplay() returned error"),
        *("Failed to get and init EGL display", "Failed to create and initialize a valid EGL display"),
        *("Unable to initialize EGL", "eglQueryDevicesEXT Failed"),
        means="no EGL display can be had: no driver with EGL, no device, or none that this process may use",
        advice="install the GPU driver's EGL; in a container ask for the graphics capability "
        "(NVIDIA_DRIVER_CAPABILITIES=all); `landmarks doctor` shows what is seen; or --delegate cpu",
        source="gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 without an EGL vendor (RuntimeError)",
    ),
    _row(
        *("no-egl-config", Meaning.NO_EGL, "eglChooseConfig() returned"),
        means="EGL works, but offers no configuration for both windows and pixel buffers",
        advice="update the GPU driver, or use --delegate cpu",
        source="gpu/gl_context_egl.cc",
    ),
    _row(
        *("no-gl-context", Meaning.NO_EGL, "Could not create GLES"),
        *("eglCreateContext() returned error", "eglCreatePbufferSurface() returned error"),
        means="EGL works, but makes no OpenGL ES context",
        advice="update the GPU driver, or use --delegate cpu",
        source="gpu/gl_context_egl.cc; 0.10.21 and 1.2.2 with these calls made to fail (RuntimeError)",
    ),
    _row(
        *("gles-too-old", Meaning.NO_EGL, "OpenGL ES 3.1…required"),
        means="the driver has no OpenGL ES 3.1, which GPU inference needs",
        advice="update the GPU driver, or use --delegate cpu",
        source="calculators/tensor/image_to_tensor_converter_gl_buffer.cc; 1.2.2 on OpenGL ES 3.0",
    ),
    _row(
        *("gpu-service", Meaning.NO_EGL, "kGpuService"),
        means="MediaPipe could not set up the GPU",
        advice="read what follows 'cannot be created:'; `landmarks doctor` tries it; or --delegate cpu",
        source="framework/calculator_graph.cc; 0.10.21 and 1.2.2",
    ),
)

_GRAPH = (
    _row(
        *("timestamp-order", Meaning.CALLER),
        *("Input timestamp must be monotonically increasing", "Packet timestamp mismatch"),
        means="a frame came with a time that does not lie after the one before",
        advice="report it; in code of your own give each frame of a detector's life a later time",
        source="tasks/cc/core/task_runner.cc, framework/input_stream_manager.cc; 0.10.21, 1.2.2 (ValueError)",
    ),
    _row(
        *("image-format", Meaning.CALLER, "Input image must contain three channel rgb data"),
        *("TfLiteTensor and Tensor sizes do not match", "Pixel data size is too small"),
        *("Unsupported image format", "float image data should be"),
        "Check failed: ImageFormat::UNKNOWN != format_",
        means="the image is not 8-bit RGB; one of 16 bits even ends the process",
        advice="report it; in code of your own pass uint8 (H, W, 3) in RGB order",
        source="python/solution_base.py, calculators/tensor/inference_calculator_utils.cc, "
        "framework/formats/image_frame.cc; 0.10.21 and 1.2.2 (ValueError, RuntimeError, SIGABRT)",
    ),
    _row(
        *("image-size-changed", Meaning.CALLER, "SegmentationSmoothingCalculator…previous_mat"),
        means="the frames of one clip differ in size, which smoothing a mask over time does not take",
        advice="give the clip frames of one size",
        source="calculators/image/segmentation_smoothing_calculator.cc; 0.10.21 (RuntimeError)",
    ),
    _row(
        *("running-mode", Meaning.CALLER, "Task is not initialized with the…mode"),
        means="the detector was made for images and asked about video, or the other way round",
        advice="report it; in code of your own call the function of the detector's running mode",
        source="tasks/cc/vision/core/base_vision_task_api.h; 0.10.21 and 1.2.2 (ValueError)",
    ),
    _row(
        *("wrong-argument", Meaning.CALLER, "ctypes.ArgumentError"),
        *(re.compile(r"\bargument \d+: TypeError:"), "incompatible function arguments"),
        means="a call into MediaPipe got an argument of the wrong type",
        advice="report it; in code of your own look at the argument with that number",
        source="0.10.21 (TypeError), 1.2.2 (ctypes.ArgumentError)",
    ),
    _row(
        *("detector-closed", Meaning.CALLER, "Task runner is currently not running"),
        *("_graph is None in SolutionBase", "SolutionBase._graph which is already None"),
        means="a detector was used after it was closed; version 1.2.2 silently finds nothing instead",
        advice="report it; in code of your own make a new detector after close()",
        source="tasks/cc/core/task_runner.cc, python/solution_base.py; 0.10.21 (ValueError)",
    ),
    _row(
        *("graph-configuration", Meaning.CONFIGURATION, "ValidatedGraphConfig Initialization failed"),
        means="the graph does not fit this build of MediaPipe, or its options do not fit together",
        advice="use the mediapipe version that this project installs; report it if you do",
        source="framework/validated_graph_config.cc; 0.10.21 (RuntimeError, ValueError)",
    ),
    _row(
        *("abort-empty-packet", Meaning.POISONED, "Check failed: holder_ != nullptr"),
        means="native code found an empty packet and ended the process; Holistic of the Tasks API does so on "
        "0.10.21 whenever a part of the body is not seen",
        advice="use the legacy engine on 0.10.21, the Tasks engine on mediapipe 1.0.1 and later",
        source="framework/packet.cc; 0.10.21 (SIGABRT)",
    ),
    _row(
        *("abort-check", Meaning.POISONED, "Check failed:"),
        means="native code found its own state broken and ended the process; no exception can be caught",
        advice="report it with the whole log if the same clip does it again",
        source="absl's CHECK; 0.10.21 and 1.2.2 (SIGABRT)",
    ),
    _row(
        *("abort-heap", Meaning.POISONED, re.compile(r"^(?:malloc|free|realloc|munmap_chunk)\(\): \w")),
        *("double free or corruption", "corrupted size vs. prev_size", "corrupted double-linked list"),
        means="the C library found the memory of the process damaged and ended it; a fork after a detector "
        "has run does that",
        advice="in code of your own start workers with spawn, not fork; report it otherwise",
        source="glibc; 0.10.21 after a fork (SIGABRT)",
    ),
    _row(
        *("graph-has-errors", Meaning.POISONED, "Graph has errors:", "CalculatorGraph::Run() failed"),
        "is called before StartRun()",
        means="the graph failed before, or for a reason that is not in this catalogue; it stays unusable",
        advice="read what follows in the text; if the same clip does it again, look at that clip",
        source="framework/calculator_graph.cc; 0.10.21 and 1.2.2 (RuntimeError, ValueError and others)",
    ),
)

CATALOGUE: tuple[KnownText, ...] = (*_SETUP, *_RAY, *_LOG_ONLY, *_GL, *_GRAPH)
"""All rows, in their precedence."""
