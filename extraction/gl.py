"""What an error of MediaPipe, EGL or OpenGL means, and the GL environment of a worker."""

from collections.abc import Mapping
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


def classify(text: str, place: Place) -> Meaning:
    """Says what an error's text means."""
    raise NotImplementedError


_CPU_ENVIRONMENT = {
    # A libglvnd variable: with no EGL vendor to load, MediaPipe 0.10.21 makes no GL context, which it
    # otherwise tries for CPU graphs too (one context and a thread each). Results are bit-equal.
    "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent",
    # One arena instead of one a thread: about 15% less memory in detectors that live for days.
    "MALLOC_ARENA_MAX": "2",
}


def worker_environment(delegate: str) -> Mapping[str, str]:
    """Environment variables to set before MediaPipe is imported.

    Args:
        delegate: ``"cpu"`` or ``"gpu"``.
    """
    return dict(_CPU_ENVIRONMENT) if delegate == "cpu" else {"MALLOC_ARENA_MAX": "2"}


# What opencv-contrib-python and mediapipe 1.x load and a minimal Debian lacks.
_PACKAGES = {
    "libGL.so.1": "libgl1 libglib2.0-0",
    "libgthread-2.0.so.0": "libgl1 libglib2.0-0",
    "libEGL.so.1": "libegl1 libgles2",
    "libGLESv2.so.2": "libegl1 libgles2",
}


def missing_library(error: BaseException) -> str | None:
    """Says which Debian package gives a system library that was not found.

    Args:
        error: What an import or a detector raised.

    Returns:
        One sentence for a person; None where the error is of another kind.
    """
    for library, package in _PACKAGES.items():
        if library in str(error):
            return (
                f"the system library {library} is missing: apt-get install {package}, or the "
                "package of your system that has it. An environment made by `make` needs none: it holds "
                "OpenCV's headless build"
            )
    return None
