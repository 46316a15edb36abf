"""What runs in the process that `extraction.gl_probe` starts: the calls that may crash or hang.

They go the way that MediaPipe goes (gpu/gl_context_egl.cc): the same libEGL, the default display and, from
mediapipe 1.x on, those of the EGL devices, then an OpenGL ES 3 context on a pbuffer of one pixel.
"""

import ctypes
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from extraction.gl import egl_name

# EGL/egl.h and EGL/eglext.h.
_ES3_BIT, _PBUFFER_BIT, _ES_API = 0x0040, 0x0001, 0x30A0
_SURFACE_TYPE, _RENDERABLE_TYPE, _NONE = 0x3033, 0x3040, 0x3038
_RED, _GREEN, _BLUE, _ALPHA, _DEPTH = 0x3024, 0x3023, 0x3022, 0x3021, 0x3025
_WIDTH, _HEIGHT, _CLIENT_VERSION = 0x3057, 0x3056, 0x3098
_VENDOR, _EXTENSIONS, _RENDERER, _DRM_DEVICE_FILE = 0x3053, 0x3055, 0x335F, 0x3233
_PLATFORM_DEVICE = 0x313F
# GLES3/gl3.h.
_GL_STRINGS = {"vendor": 0x1F00, "renderer": 0x1F01, "version": 0x1F02}


def main() -> None:
    """Tries, and prints what comes out as lines of JSON."""
    try:
        _Egl(lambda **what: print(json.dumps(what), flush=True)).run()
    except (_GlError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
    # No farewell to a driver that may hang in it.
    os._exit(0)


_DEFAULT = "default display"
_ONLY_DEFAULT = (
    "{name} ({renderer}) would do, but mediapipe 0.10.21 uses the default display only: set "
    "EGL_PLATFORM=surfaceless, by which Mesa's default display needs no screen"
)


class _GlError(Exception):
    """Says which call failed, and how."""


class _Egl:
    """The calls, by the names of C, on what the dynamic linker finds first, as for MediaPipe."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        bundled = _bundled_libraries()
        # One by one, since in the wheel they find each other only from MediaPipe's own module.
        for name in bundled or ["libEGL.so.1", "libGLESv2.so.2"]:
            say(step=f"the loading of {name}")
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
        self._linked = ctypes.CDLL(None)
        self._uses_devices = not bundled
        say(library=next((name for name in bundled if "libEGL" in name), "libEGL.so.1"))

    def run(self) -> None:
        devices = self._devices()
        self._say(devices=[self._described(device) for device in devices])
        errors = []
        for name, display in self._displays(devices):
            try:
                self._make_context(display)
            except _GlError as error:
                errors.append(f"{name}: {error}")
            else:
                strings = {key: self._gl_string(code) for key, code in _GL_STRINGS.items()}
                if name != _DEFAULT and not self._uses_devices:
                    errors.append(_ONLY_DEFAULT.format(name=name, renderer=strings["renderer"]))
                    break
                _check_version(strings["version"])
                self._say(display=name, **strings)
                return
        raise _GlError("; ".join(errors))

    def _displays(self, devices: list[int]) -> Iterator[tuple[str, int | None]]:
        yield _DEFAULT, self._call("eglGetDisplay", None, result=ctypes.c_void_p)
        get = self._extension("eglGetPlatformDisplayEXT", ctypes.c_void_p)
        for number, device in enumerate(devices):
            yield f"device {number}", get(_PLATFORM_DEVICE, ctypes.c_void_p(device), None)

    def _make_context(self, display: int | None) -> None:
        if not display:
            raise _GlError(f"there is none: {self._last_error()}")
        on = ctypes.c_void_p(display)
        self._check("eglInitialize", on, None, None)
        self._check("eglBindAPI", _ES_API)
        wanted = [_RENDERABLE_TYPE, _ES3_BIT, _SURFACE_TYPE, _PBUFFER_BIT]
        wanted += [_RED, 8, _GREEN, 8, _BLUE, 8, _ALPHA, 8, _DEPTH, 16]
        config, count = ctypes.c_void_p(), ctypes.c_int()
        self._check("eglChooseConfig", on, _ints(*wanted), ctypes.byref(config), 1, ctypes.byref(count))
        if not count.value:
            raise _GlError("eglChooseConfig found no configuration for OpenGL ES 3 with a pbuffer")
        context = self._check(
            "eglCreateContext", on, config, None, _ints(_CLIENT_VERSION, 3), result=ctypes.c_void_p
        )
        surface = self._check(
            "eglCreatePbufferSurface", on, config, _ints(_WIDTH, 1, _HEIGHT, 1), result=ctypes.c_void_p
        )
        drawable = ctypes.c_void_p(surface)
        self._check("eglMakeCurrent", on, drawable, drawable, ctypes.c_void_p(context))

    def _call(self, name: str, *arguments: Any, result: Any = ctypes.c_uint) -> Any:
        self._say(step=name)
        function = getattr(self._linked, name)
        function.restype = result
        return function(*arguments)

    def _check(self, name: str, *arguments: Any, result: Any = ctypes.c_uint) -> Any:
        if value := self._call(name, *arguments, result=result):
            return value
        raise _GlError(f"{name} failed with {self._last_error()}")

    def _last_error(self) -> str:
        code = self._linked.eglGetError()
        return f"{egl_name(code)} ({code:#06x})"

    def _gl_string(self, code: int) -> str:
        return (self._call("glGetString", code, result=ctypes.c_char_p) or b"").decode("utf-8", "replace")

    def _extension(self, name: str, result: Any) -> Any:
        address = self._call("eglGetProcAddress", name.encode(), result=ctypes.c_void_p)
        return ctypes.CFUNCTYPE(result)(address) if address else lambda *_: None

    def _devices(self) -> list[int]:
        array, count = (ctypes.c_void_p * 64)(), ctypes.c_int()
        self._extension("eglQueryDevicesEXT", ctypes.c_uint)(len(array), array, ctypes.byref(count))
        return [device for device in array[: count.value] if device]

    def _described(self, device: int) -> str:
        """Names a device by what it tells; not every driver tells its name."""
        query = self._extension("eglQueryDeviceStringEXT", ctypes.c_char_p)

        def text(code: int) -> str:
            return (query(ctypes.c_void_p(device), code) or b"").decode("utf-8", "replace")

        extensions = text(_EXTENSIONS)
        words = []
        if "EGL_EXT_device_query_name" in extensions:
            words += [text(_VENDOR), text(_RENDERER)]
        if "EGL_EXT_device_drm" in extensions.split():
            words.append(text(_DRM_DEVICE_FILE))
        if "EGL_NV_device_cuda" in extensions:
            words.append("CUDA device")
        if "EGL_MESA_device_software" in extensions:
            words.append("Mesa's software device")
        return ", ".join(filter(None, words)) or extensions or "says nothing of itself"


def _check_version(version: str) -> None:
    """MediaPipe's words for less are "OpenGL ES 3.1 or above is required to use OpenGL inference"."""
    found = re.search(r"OpenGL ES (\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < (3, 1):
        raise _GlError(f"expected OpenGL ES 3.1 or newer, found {version!r}: a newer driver may have it")


def _ints(*values: int) -> Any:
    return (ctypes.c_int * (len(values) + 1))(*values, _NONE)


def _bundled_libraries() -> list[str]:
    """GLdispatch, EGL and GLESv2 of a wheel that brings them (mediapipe 0.10.21), in the order of loading."""
    package = importlib.util.find_spec("mediapipe")  # finds, does not import
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parents[1] / "mediapipe.libs"
    found = [sorted(map(str, folder.glob(f"lib{name}-*"))) for name in ("GLdispatch", "EGL", "GLESv2")]
    return [files[0] for files in found] if all(found) else []
