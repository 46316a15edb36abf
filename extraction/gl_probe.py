"""What OpenGL this host has: tried in a process of its own, which a broken driver may crash or hang."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHILD = "from extraction.gl_probe_child import main; main()"

# The software rasterizers of Mesa (docs.mesa3d.org, environment variable GALLIUM_DRIVER, and its old swrast)
# and Google's. MediaPipe 1.x refuses them: "GPU emulation detected, but not supported".
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software rasterizer")

# What libglvnd is built to read where no variable says otherwise; so are the wheel's libEGL and Debian's
# (both have this string in them; libglvnd's src/EGL/icd_enumeration.md).
_VENDOR_FOLDERS = "/etc/glvnd/egl_vendor.d:/usr/share/glvnd/egl_vendor.d"


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found.

    Attributes:
        ok: Whether MediaPipe would get an OpenGL ES context here.
        error: Why not, in a sentence; "" otherwise.
        library: The libEGL that was used.
        vendors: Files that name a driver's EGL, in the order they are tried, each with its library.
        devices: What libEGL lists, in words.
        display: Where the context was made: ``"default display"`` or ``"device 0"``.
        vendor: GL_VENDOR of the context.
        renderer: GL_RENDERER.
        version: GL_VERSION.
        software: Whether a processor does the GPU's work.
    """

    ok: bool
    error: str = ""
    library: str = ""
    vendors: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    display: str = ""
    vendor: str = ""
    renderer: str = ""
    version: str = ""
    software: bool = False


def probe(timeout_s: float = 10.0, environment: Mapping[str, str] | None = None) -> Probe:
    """Tries to make an OpenGL ES context, as MediaPipe of this Python would.

    Args:
        timeout_s: A driver that does not answer for so long counts as one that does not work.
        environment: Variables of the process that tries; this process's by default.
    """
    environment = dict(os.environ if environment is None else environment)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        output, end = process.communicate(timeout=timeout_s)[0], ""
        if process.returncode:
            end = f"the process that tried ended with {_named(process.returncode)}"
    except subprocess.TimeoutExpired as late:
        output, end = late.output or b"", f"there was no answer for {timeout_s:g} s"
        process.kill()
        # A process inside a broken kernel driver cannot even be killed: it is left behind.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
    return _read(output, end, vendor_files(environment))


def vendor_files(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The files by which libglvnd finds drivers, in order, each with the library it names in brackets.

    Args:
        environment: Two variables in it replace the usual folders.
    """
    if (names := environment.get("__EGL_VENDOR_LIBRARY_FILENAMES")) is not None:
        files = [Path(name) for name in names.split(":") if Path(name).is_file()]
    else:
        folders = environment.get("__EGL_VENDOR_LIBRARY_DIRS", _VENDOR_FOLDERS)
        files = [
            file
            for folder in filter(None, folders.split(":"))
            for file in sorted(Path(folder).glob("*.json"))
        ]
    return tuple(f"{file} ({_library_named_in(file)})" for file in files)


def _named(returncode: int) -> str:
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"exit code {returncode}"


def _library_named_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_bytes())["ICD"]["library_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return "names no library"


def _read(output: bytes, end: str, vendors: tuple[str, ...]) -> Probe:
    """Puts together what the process said before it ended, and how it ended."""
    said: dict[str, Any] = {}
    for line in output.splitlines():
        # Drivers may print, too.
        with suppress(ValueError, TypeError):
            said.update(json.loads(line))
    step = said.pop("step", "Python's start")
    error = f"{end} during {step}" if end else str(said.pop("error", ""))
    known = {name: said[name] for name in Probe.__dataclass_fields__ if isinstance(said.get(name), str)}
    ok = not error and "renderer" in known
    if not ok and not vendors:
        error = f"no driver with EGL is installed, or none is to be used; {error}"
    return Probe(
        **{
            **known,
            "ok": ok,
            "error": "" if ok else error or "the process that tried said nothing",
            "vendors": vendors,
            "devices": tuple(map(str, said.get("devices", ()))),
            "software": any(name in known.get("renderer", "").lower() for name in _SOFTWARE),
        }
    )
