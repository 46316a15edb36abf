"""Faults of EGL and OpenGL ES for a process to start: builds eglfaults.c, whose head names them all.

What they do to an ImageSegmenter with the GPU delegate on Mesa, mediapipe 0.10.21 and 1.2.2:

- A context that cannot be made current is tried 4 times (0.10.21) or 3 (1.2.2), then the creation raises.
- glGetError is called about 670 times while a detector is made, then 720 to 750 times a frame, most of them
  in the inference: call 1750 of a process lies in the second frame of its first detector.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from extraction.gl_probe import probe

NEVER_BINDS = "eglMakeCurrent:code=0x3008"
BINDS_ONCE = "eglMakeCurrent:code=0x3008,from=2"
BINDS_AFTER_8 = "eglMakeCurrent:code=0x3008,total=8"
"""Needs a record: the 8 count over all processes that share it."""
HANGS = "glGetError:code=0x507"
ABORTS = "eglMakeCurrent:abort=1"
INFERENCE_ERROR = "glGetError:code=0x505,from=1750,count=1"
NO_PROGRAM = "glCreateProgram:from=20,count=1"

MESA = {"EGL_PLATFORM": "surfaceless", "LIBGL_ALWAYS_SOFTWARE": "1"}
"""Environment in which Mesa makes contexts without a screen and without a GPU."""


def environment(
    factory: pytest.TempPathFactory,
    fault: str = "",
    once: Path | None = None,
    record: Path | None = None,
    renderer: str = "",
) -> dict[str, str]:
    """Variables under which a process has a fault, and a GL context by Mesa; the test is skipped without one.

    Args:
        factory: Of this session.
        fault: Such as :data:`NEVER_BINDS`; "" for none.
        once: The first process that comes to the fault makes this file; all later ones are healthy.
        record: Gets a line for each fault.
        renderer: What GL_RENDERER says instead of llvmpipe, which mediapipe 1.x refuses.
    """
    more = {
        "EGLFAULT": fault,
        "EGLFAULT_ONCE": once,
        "EGLFAULT_RECORD": record,
        "EGLFAULT_RENDERER": renderer,
    }
    _need_mesa()
    return {
        **MESA,
        "LD_PRELOAD": str(library(factory)),
        **{name: str(value) for name, value in more.items() if value},
    }


def recorded(record: Path) -> list[tuple[int, str, int]]:
    """Process id, call and its number of each fault so far."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [(int(pid), call, int(number)) for pid, call, number in map(str.split, lines)]


def library(factory: pytest.TempPathFactory) -> Path:
    """Builds the library, once a session."""
    built = factory.getbasetemp() / "eglfaults.so"
    if not built.exists():
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler to build the library of EGL faults")
        flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, *flags, "-o", str(built), str(source), "-ldl"], check=True)
    return built


@functools.cache
def _need_mesa() -> None:
    found = probe(environment={**os.environ, **MESA})
    if not found.software:
        pytest.skip(f"no Mesa EGL here to make a GL context without a GPU: {found.error or found.renderer}")
