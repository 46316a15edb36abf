"""What an error of MediaPipe, EGL or OpenGL means, and the GL environment of a worker."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from extraction.gl_catalogue import CATALOGUE, KnownText, Meaning, Place

__all__ = [
    "EGL_CODES",
    "GL_CODES",
    "Explanation",
    "Meaning",
    "Place",
    "classify",
    "egl_name",
    "explain",
    "is_noise",
    "missing_library",
    "worker_environment",
]

# EGL 1.5 specification, section 3.1, with the numbers of the header EGL/egl.h.
EGL_CODES: Mapping[int, str] = MappingProxyType(
    {
        0x3000: "EGL_SUCCESS",
        0x3001: "EGL_NOT_INITIALIZED",
        0x3002: "EGL_BAD_ACCESS",
        0x3003: "EGL_BAD_ALLOC",
        0x3004: "EGL_BAD_ATTRIBUTE",
        0x3005: "EGL_BAD_CONFIG",
        0x3006: "EGL_BAD_CONTEXT",
        0x3007: "EGL_BAD_CURRENT_SURFACE",
        0x3008: "EGL_BAD_DISPLAY",
        0x3009: "EGL_BAD_MATCH",
        0x300A: "EGL_BAD_NATIVE_PIXMAP",
        0x300B: "EGL_BAD_NATIVE_WINDOW",
        0x300C: "EGL_BAD_PARAMETER",
        0x300D: "EGL_BAD_SURFACE",
        0x300E: "EGL_CONTEXT_LOST",
    }
)

# What glGetError returns: OpenGL ES 3.2 specification, section 2.3.1; the two of the stack are KHR_debug's.
GL_CODES: Mapping[int, str] = MappingProxyType(
    {
        0x500: "GL_INVALID_ENUM",
        0x501: "GL_INVALID_VALUE",
        0x502: "GL_INVALID_OPERATION",
        0x503: "GL_STACK_OVERFLOW",
        0x504: "GL_STACK_UNDERFLOW",
        0x505: "GL_OUT_OF_MEMORY",
        0x506: "GL_INVALID_FRAMEBUFFER_OPERATION",
        0x507: "GL_CONTEXT_LOST",
    }
)

# The policy that does this is in extraction/policy.py.
_DOES = {
    Meaning.NO_GPU_IN_BUILD: "goes over to the CPU at once, or stops (--gl-fallback cpu or fail)",
    Meaning.NO_EGL: "tries once more after a moment, then goes over to the CPU, or stops "
    "(--gl-fallback cpu or fail)",
    Meaning.CONTEXT: "makes the detector again a few times with growing pauses (--gl-retries), then in a "
    "new process, then on the CPU (--gl-fallback cpu); the clip's row names the delegate and the retries",
    Meaning.POISONED: "does the clip again with a new detector, up to --max-attempts times, then fails it",
    Meaning.CALLER: "does not try again, since the same call would fail in the same way: the clip fails",
    Meaning.CONFIGURATION: "stops at once: no retry can mend it",
    Meaning.NOISE: "counts the line, keeps it in the worker's log and does not show it",
    Meaning.UNKNOWN: "does the clip again in a new process, up to --max-attempts times, then fails it",
}
_DOES_IN_LOG = (
    "counts the line and keeps it in the worker's log; it acts on an exception, on the end of the process, "
    "and on a clip without progress"
)

_NONE_MADE = "no: no detector came up, so there are none"
_AGAIN = "no: an interrupted clip is done again from its first frame"
_AFFECTED = {
    Meaning.NO_GPU_IN_BUILD: _NONE_MADE,
    Meaning.NO_EGL: _NONE_MADE,
    Meaning.CONTEXT: _AGAIN,
    Meaning.POISONED: _AGAIN,
    Meaning.CALLER: "no: a clip that fails has no row, but stands among the failures",
    Meaning.CONFIGURATION: _NONE_MADE,
    Meaning.NOISE: "no",
}
_AFFECTED_IN_LOG = (
    "not by the line: where results are at stake an exception follows, and its clip is done again or fails"
)

_UNKNOWN = KnownText(
    name="unknown",
    meaning=Meaning.UNKNOWN,
    patterns=(),
    means="this text is not in the catalogue, and no guess is made",
    advice="report it with the whole log, the versions (`landmarks doctor`) and the clip",
    source="",
    affected="not known; a clip that an exception interrupted is done again from its first frame",
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one error text means.

    Attributes:
        name: Of the row of the catalogue, or ``"unknown"``.
        place: Where the text was taken to have appeared.
        meaning: What kind of trouble it is.
        means: One sentence without its full stop.
        affected: Whether results are affected.
        does: What this software does about it; "it" is the subject.
        advice: What the user can do.
        source: Where the text was read or seen.
        codes: EGL and OpenGL error codes in the text with their names: ``"0x3008 EGL_BAD_DISPLAY"``.
    """

    name: str
    place: Place
    meaning: Meaning
    means: str
    affected: str
    does: str
    advice: str
    source: str
    codes: tuple[str, ...]


def explain(text: str, place: Place) -> Explanation:
    """Says what an error's text means.

    Args:
        text: One message, line or whole traceback; colour codes do not matter. In an exception neither do the
            frames of its traceback nor glog lines that were put after it.
        place: Where it appeared.
    """
    clean = _clean(text, place)
    row = _find(clean, place)
    in_log = place is Place.LOG and row.meaning is not Meaning.NOISE
    return Explanation(
        name=row.name,
        place=place,
        meaning=row.meaning,
        means=row.means,
        affected=row.affected or (_AFFECTED_IN_LOG if in_log else _AFFECTED[row.meaning]),
        does=_DOES_IN_LOG if in_log else _DOES[row.meaning],
        advice=row.advice,
        source=row.source,
        codes=_codes(clean),
    )


def classify(text: str, place: Place) -> Meaning:
    """Says what kind of trouble an error's text means; see :func:`explain`."""
    return explain(text, place).meaning


def is_noise(line: str) -> bool:
    """Whether a line in a log is one of those that mean nothing."""
    return classify(line, Place.LOG) is Meaning.NOISE


def egl_name(code: int) -> str:
    """Name of an EGL error code, such as ``EGL_BAD_DISPLAY``; for a number that is none, the number."""
    return EGL_CODES.get(code, f"0x{code:04x}")


def _tests(place: Place) -> list[tuple[str, tuple[str, ...] | re.Pattern[str], KnownText]]:
    """A text that must be there ("" where none is known), the whole pattern, and its row."""
    tests: list[tuple[str, tuple[str, ...] | re.Pattern[str], KnownText]] = []
    for row in CATALOGUE:
        for pattern in row.patterns if row.place in (None, place) else ():
            pieces = pattern.split("…") if isinstance(pattern, str) else [""]
            tests.append((pieces[0], tuple(pieces) if isinstance(pattern, str) else pattern, row))
    return tests


_TESTS = {place: _tests(place) for place in Place}


def _find(clean: str, place: Place) -> KnownText:
    """The first row that fits; it is asked for each line of a log, and nearly all fail the first test."""
    for first, pattern, row in _TESTS[place]:
        if first in clean and _fits(pattern, clean):
            return row
    return _UNKNOWN


def _fits(pattern: tuple[str, ...] | re.Pattern[str], text: str) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.search(text) is not None
    at = 0
    for piece in pattern:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


_HEX = re.compile(r"\b0[xX][0-9a-fA-F]{1,4}\b")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CODE = re.compile(r"\b(?:0[xX]|EGL error )(300[0-9a-eA-E]|50[0-7])\b")
# The head of a glog or absl line: severity, date, time, thread.
_GLOG = re.compile(r"^[IWEF]\d{4,8} [\d:.]+ +\d+ ")
_TRACEBACK = "Traceback (most recent call last)"


def _clean(text: str, place: Place) -> str:
    """The words that count, in one line with single spaces; codes in small letters, as in MediaPipe."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if place is Place.EXCEPTION and "\n" in text:
        text = "\n".join(_said(text.splitlines())) or text
    if "0x" in text or "0X" in text:
        text = _HEX.sub(lambda match: match[0].lower(), text)
    return " ".join(text.split())


def _said(lines: list[str]) -> list[str]:
    """Lines of an exception without its frames, which quote source code, and without log lines after it."""
    said, in_frames = [], False
    for line in lines:
        if _TRACEBACK in line:
            in_frames = True
        elif not (in_frames and line[:1].isspace()):
            in_frames = False
            if not _GLOG.match(line):
                said.append(line)
    return said


def _codes(text: str) -> tuple[str, ...]:
    found = dict.fromkeys(int(match[1], 16) for match in _CODE.finditer(text))
    return tuple(f"{code:#x} {EGL_CODES.get(code) or GL_CODES[code]}" for code in found)


_ENVIRONMENT = {
    # One arena instead of one a thread: about 15% less memory in detectors that live for days.
    "MALLOC_ARENA_MAX": "2",
    # MediaPipe 1.x sends telemetry from a thread of each detector, which nothing turns off. Where DNS
    # swallows queries, each close waits 10 s for it; a proxy that refuses at once ends that in 0.01 s
    # (docs/engines.md). Port 9 is the discard service's. An exception from it would bring the wait back.
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "",
    "NO_PROXY": "",
}
_NO_GL = {
    # A libglvnd variable: with no EGL vendor to load, MediaPipe 0.10.21 makes no GL context, which it
    # otherwise tries for CPU graphs too (one context and a thread each). Results are bit-equal.
    "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent",
}


def worker_environment(delegate: str) -> Mapping[str, str]:
    """Environment variables to set before MediaPipe is imported.

    Args:
        delegate: ``"cpu"`` or ``"gpu"``.
    """
    return _ENVIRONMENT | _NO_GL if delegate == "cpu" else dict(_ENVIRONMENT)


# What opencv-contrib-python and mediapipe 1.x load and a minimal Debian lacks.
_PACKAGES = {
    "libGL.so.1": "libgl1 libglib2.0-0",
    "libgthread-2.0.so.0": "libgl1 libglib2.0-0",
    "libEGL.so.1": "libegl1 libgles2",
    "libGLESv2.so.2": "libegl1 libgles2",
}
_OR_ELSE = {
    "libgl1 libglib2.0-0": ". An environment made by `make` needs none: it holds OpenCV's headless build",
    "libegl1 libgles2": ". mediapipe 1.x needs it even on the CPU; 0.10.21 (Python 3.12) brings its own",
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
                f"the system library {library} is missing: apt-get install {package}, or the package of "
                f"your system that has it{_OR_ELSE.get(package, '')}"
            )
    return None
