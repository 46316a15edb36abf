"""What ``landmarks doctor`` looks at: one check a thing that a job needs or that makes it better."""

import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from extraction import models
from extraction.detectors import ENGINES, DetectorOptions, default_engine, delegates, resolve_engine
from extraction.errors import JobError
from extraction.gl import missing_library
from extraction.gl_probe import Probe, probe
from ray_jobs.config import installed, usable_cores

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
"""Fine; not there, and not needed either; works, but not as well as it could; no job can run."""

_GIB = 1 << 30
# The object store of a Ray that this project starts (ray_jobs/extract.py), and a little more; in Docker
# /dev/shm has 64 MB unless asked for more.
_SHM_BYTES = 256 << 20
# Measured: a detector's process holds 200 to 320 MB, Ray's own processes about 1 GB.
_DETECTOR_BYTES, _RAY_BYTES = 350 << 20, _GIB
_TEMPORARY_BYTES = _GIB
# All checks run within 5 s, whatever hangs.
_PROBE_S, _SMI_S = 4.0, 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing.

    Attributes:
        name: Of the thing.
        status: :data:`OK`, :data:`NOTE`, :data:`WARNING` or :data:`PROBLEM`.
        text: What was found.
        advice: What to do next; "" where nothing is to be done.
    """

    name: str
    status: str
    text: str
    advice: str = ""


def run_checks() -> tuple[list[Check], Probe]:
    """Runs all checks.

    Returns:
        What was found, in the order of a screen, and what OpenGL was found.
    """
    with ThreadPoolExecutor(2) as pool:
        waiting, driver = pool.submit(probe, _PROBE_S), pool.submit(_gpu_driver)
        software = [_python(), *map(_engine, ENGINES), _models(), _ray()]
        machine = [_cores(), _memory(), _shared_memory(), _temporary()]
        gl, gpu = waiting.result(), driver.result()
    return [*software, gpu, *_gl(gl, has_gpu=gpu.status != NOTE), *machine], gl


def _python() -> Check:
    found = f"{platform.python_version()}, ray-landmarks {installed('ray-landmarks') or 'not installed'}, "
    mediapipe = installed("mediapipe")
    if mediapipe is None:
        return Check("Python", PROBLEM, f"{found}no mediapipe", "install this project's dependencies: make")
    return Check("Python", OK, f"{found}mediapipe {mediapipe}")


def _engine(name: str) -> Check:
    is_default = name == default_engine()
    title = f"engine {name}"
    resolved, reasons = {}, []
    try:
        for delegate in delegates(name):
            try:
                resolved[delegate] = resolve_engine(DetectorOptions(engine=name, delegate=delegate))
            except JobError as error:
                reasons.append(str(error))
    except (ImportError, OSError) as error:
        reasons.append(missing_library(error) or str(error))
    if not resolved:
        reason = _shortened(reasons[0].removeprefix(f"engine {name!r} "))
        return Check(title, PROBLEM if is_default else NOTE, reason)
    words = ["the default"] if is_default else []
    words += ["on " + " or ".join(resolved)]
    words += sorted({f"model {Path(options.model).name}" for options in resolved.values() if options.model})
    return Check(title, OK, ", ".join(words))


def _shortened(reason: str) -> str:
    """Leaves out the address and the digest of a model, which `landmarks models list` shows."""
    for name in models.MODELS:
        reason = reason.replace(models.how_to_get(name), f"run `landmarks models fetch {name}`")
    return reason


def _models() -> Check:
    found = [name for name in models.MODELS if models.find_model(name) is not None]
    text = f"{len(found)} of {len(models.MODELS)} in {models.cache_folder()}"
    return Check(
        "models",
        OK if found else NOTE,
        f"{text}: {', '.join(found)}" if found else text,
        "" if found else "`landmarks models list` says which there are and what for",
    )


def _ray() -> Check:
    found = installed("ray")
    if found is None:
        return Check("Ray", PROBLEM, "not installed", "install this project's dependencies: make")
    return Check("Ray", OK, found)


def _gpu_driver() -> Check:
    """By nvidia-smi, the kernel module, or the device files of other drivers."""
    if command := shutil.which("nvidia-smi"):
        query = [command, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        code, output = _run(query, _SMI_S)
        lines = output.strip().splitlines() or ["it said nothing"]
        if code == 0:
            return Check("GPU driver", OK, "NVIDIA: " + "; ".join(lines))
        ended = f"ended with {code}" if code is not None else f"gave no answer in {_SMI_S:g} s"
        advice = "the driver is not loaded, hangs, or does not fit its libraries: restart, or install it anew"
        return Check("GPU driver", WARNING, f"nvidia-smi {ended}: {lines[0]}", advice)
    with suppress(OSError):
        line = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
        return Check("GPU driver", OK, line.removeprefix("NVRM version:").strip())
    nodes = sorted(Path("/dev/dri").glob("renderD*"))
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        advice = "let this user into the group that owns it (usually `render`)"
        return Check("GPU driver", WARNING, f"{', '.join(closed)}: this user may not open it", advice)
    if nodes:
        return Check("GPU driver", OK, ", ".join(map(str, nodes)))
    return Check("GPU driver", NOTE, "none found; the CPU, which is the default, needs none")


def _gl(found: Probe, has_gpu: bool) -> list[Check]:
    if not found.library and (library := missing_library(OSError(found.error))):
        # mediapipe 1.x is linked to libEGL: without it not even a CPU detector can be made.
        return [Check("EGL", PROBLEM, found.error, library)]
    lacking = WARNING if has_gpu else NOTE
    drivers = Check("EGL drivers", OK, ", ".join(found.vendors))
    if not found.vendors:
        advice = (
            "install the GPU driver's EGL library; in a container, NVIDIA_DRIVER_CAPABILITIES=all brings it"
        )
        drivers = Check("EGL drivers", lacking, "none: --delegate gpu cannot work", advice if has_gpu else "")
    devices = Check("EGL devices", OK if found.devices else lacking, "; ".join(found.devices) or "none")
    return [drivers, devices, _context(found, lacking)]


def _context(found: Probe, lacking: str) -> Check:
    name = "GL context"
    if not found.ok:
        return Check(name, lacking, found.error, "docs/gpu.md says what a host needs for --delegate gpu")
    text = f"{found.renderer}, {found.version}, by {found.display}"
    if found.software:
        advice = "use --delegate cpu or auto: GL on a processor is slower, and mediapipe 1.x refuses it"
        return Check(name, lacking, f"software only: {text}", advice)
    return Check(name, OK, text)


def _cores() -> Check:
    usable, online = usable_cores(), os.cpu_count() or 1
    text = f"{usable} usable of {online}: so many detectors at once unless --workers says otherwise"
    return Check("cores", OK, text)


def _memory() -> Check:
    free, total = _memory_bytes()
    wanted = usable_cores() * _DETECTOR_BYTES + _RAY_BYTES
    text = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f} GiB"
    if free >= wanted:
        return Check("memory", OK, text)
    fitting = max(1, int((free - _RAY_BYTES) // _DETECTOR_BYTES))
    advice = f"use --workers {fitting}: a detector takes up to 0.35 GiB, Ray about 1 GiB"
    return Check("memory", WARNING, f"{text}: little for {usable_cores()} detectors", advice)


def _memory_bytes() -> tuple[int, int]:
    """Free and all memory that this process can have: the machine's, or its container's if that is less."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    free, total = kib["MemAvailable"] << 10, kib["MemTotal"] << 10
    with suppress(OSError, ValueError):  # no cgroup v2 here, or "max": no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        free, total = min(free, max(limit - used, 0)), min(total, limit)
    return free, total


def _shared_memory() -> Check:
    try:
        size = os.statvfs("/dev/shm")
    except OSError as error:
        return Check("/dev/shm", WARNING, f"cannot be used: {error}", "mount a tmpfs there: Ray wants it")
    total, free = size.f_blocks * size.f_frsize, size.f_bavail * size.f_frsize
    text = f"{free / _GIB:.2f} GiB free of {total / _GIB:.2f} GiB"
    if free >= _SHM_BYTES:
        return Check("/dev/shm", OK, text)
    advice = "make it larger (docker run --shm-size=1g): Ray keeps its objects on disk otherwise"
    return Check("/dev/shm", WARNING, text, advice)


def _temporary() -> Check:
    folder = os.environ.get("TMPDIR") or "/tmp"
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = "set TMPDIR to a folder that can be written"
        return Check("temporary files", PROBLEM, f"{folder}: nothing can be written: {error}", advice)
    text = f"{folder}, {free / _GIB:.1f} GiB free"
    if free >= _TEMPORARY_BYTES:
        return Check("temporary files", OK, text)
    advice = "make room, or set TMPDIR to a folder with more: Ray and long clips keep files there"
    return Check("temporary files", WARNING, text, advice)


def _run(command: list[str], timeout_s: float) -> tuple[int | None, str]:
    """Exit code, None after the time limit, and what was written."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired as late:
        process.kill()
        # Not even that ends a process inside a broken kernel driver: it is left behind.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=0.5)
        return None, (late.output or b"").decode("utf-8", "replace")
    return process.returncode, output.decode("utf-8", "replace")
