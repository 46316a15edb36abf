"""The GL environment of a worker."""

from collections.abc import Mapping

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
