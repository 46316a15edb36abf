"""A real child process asks the real libEGL, healthy and with faults."""

import ast
import importlib.util
import os
import time
from pathlib import Path

import eglfaults
import pytest

from extraction import gl_probe, gl_probe_child
from extraction.gl_probe import Probe, probe, vendor_files

SYSTEM_EGL = not list(
    Path(importlib.util.find_spec("mediapipe").origin).parents[1].glob("mediapipe.libs/libEGL*")
)


def changed(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


@pytest.fixture
def faulty(tmp_path_factory):
    def faulty(fault: str, timeout_s: float = 10.0, **more: str) -> Probe:
        return probe(timeout_s, changed(**eglfaults.environment(tmp_path_factory, fault, **more)))

    return faulty


def test_mesa_without_a_gpu(faulty):
    found = faulty("")
    assert found.ok
    assert found.error == ""
    assert found.software
    assert "llvmpipe" in found.renderer
    assert "Mesa" in found.vendor
    assert found.version.startswith("OpenGL ES 3.")
    assert found.display == "default display"
    assert "Mesa's software device" in found.devices
    assert any("libEGL_mesa.so.0" in vendor for vendor in found.vendors)


def test_the_libegl_is_the_one_that_mediapipe_takes(faulty):
    found = faulty("").library
    assert found == "libEGL.so.1" if SYSTEM_EGL else "/mediapipe.libs/libEGL-" in found


def test_a_card_is_no_software(faulty):
    found = faulty("", renderer="NVIDIA A100/PCIe/SSE2")
    assert (found.ok, found.software, found.renderer) == (True, False, "NVIDIA A100/PCIe/SSE2")


@pytest.mark.parametrize("variable", ["__EGL_VENDOR_LIBRARY_DIRS", "__EGL_VENDOR_LIBRARY_FILENAMES"])
@pytest.mark.parametrize("value", ["/nonexistent", ""])
def test_no_driver(variable, value):
    found = probe(environment=changed(**{variable: value}))
    assert not found.ok
    assert found.error.startswith("no driver with EGL is installed, or none is to be used; ")
    assert "EGL_BAD_PARAMETER (0x300c)" in found.error
    assert (found.vendors, found.devices, found.renderer, found.software) == ((), (), "", False)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            "eglMakeCurrent:code=0x3008",
            "default display: eglMakeCurrent failed with EGL_BAD_DISPLAY (0x3008)",
        ),
        (
            "eglInitialize:code=0x3001",
            "default display: eglInitialize failed with EGL_NOT_INITIALIZED (0x3001)",
        ),
        (
            "eglCreateContext:code=0x3003",
            "default display: eglCreateContext failed with EGL_BAD_ALLOC (0x3003)",
        ),
    ],
)
def test_the_call_that_failed_is_named_with_its_code(fault, text, faulty):
    found = faulty(fault)
    assert not found.ok
    assert found.error.startswith(text)
    assert "Mesa's software device" in found.devices


def test_a_driver_that_crashes(faulty):
    found = faulty("eglCreateContext:abort=1")
    assert not found.ok
    assert found.error == "the process that tried ended with SIGABRT during eglCreateContext"
    assert "Mesa's software device" in found.devices


def test_a_driver_that_hangs(faulty):
    faulty("")  # builds the library
    began = time.monotonic()
    found = faulty("eglMakeCurrent:hang=1", timeout_s=1.5)
    assert not found.ok
    assert found.error == "there was no answer for 1.5 s during eglMakeCurrent"
    assert time.monotonic() - began < 5


def test_a_display_that_only_newer_mediapipes_try(faulty, tmp_path):
    """The default display fails once; then the software device makes a context."""
    found = faulty("eglInitialize:count=1", once=tmp_path / "once")
    if SYSTEM_EGL:
        assert (found.ok, found.display) == (True, "device 0")
    else:
        assert not found.ok
        assert "device 0 (llvmpipe" in found.error
        assert "set EGL_PLATFORM=surfaceless" in found.error


def test_no_libegl(tmp_path):
    """What stands in for a system without it: one whose libEGL is no library."""
    if not SYSTEM_EGL:
        pytest.skip("mediapipe 0.10.21 brings its own libEGL")
    (tmp_path / "libEGL.so.1").write_text("not a library")
    found = probe(environment=changed(LD_LIBRARY_PATH=str(tmp_path)))
    assert not found.ok
    assert "libEGL.so.1" in found.error


class TestVendorFiles:
    def make(self, folder: Path, name: str, content: str) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        return folder / name

    def test_folders_in_their_order_and_files_by_name(self, tmp_path):
        second = self.make(tmp_path / "b", "50_mesa.json", '{"ICD": {"library_path": "libEGL_mesa.so.0"}}')
        first = self.make(tmp_path / "b", "10_nvidia.json", '{"ICD": {"library_path": "libEGL_nvidia.so.0"}}')
        third = self.make(tmp_path / "a", "00.json", "{")
        self.make(tmp_path / "a", "readme.txt", "")
        found = vendor_files({"__EGL_VENDOR_LIBRARY_DIRS": f"{tmp_path}/b:/nonexistent:{tmp_path}/a"})
        assert found == (
            f"{first} (libEGL_nvidia.so.0)",
            f"{second} (libEGL_mesa.so.0)",
            f"{third} (names no library)",
        )

    def test_files_go_before_folders(self, tmp_path):
        file = self.make(tmp_path, "x.json", '{"ICD": {"library_path": "x"}}')
        found = vendor_files(
            {
                "__EGL_VENDOR_LIBRARY_FILENAMES": f"{file}:/nonexistent",
                "__EGL_VENDOR_LIBRARY_DIRS": "/usr/share/glvnd/egl_vendor.d",
            }
        )
        assert found == (f"{file} (x)",)


def test_it_needs_nothing_heavy():
    for module in (gl_probe, gl_probe_child):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        names = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names])
        }
        assert {name.partition(".")[0] for name in names} & {"mediapipe", "cv2", "numpy"} == set()
        assert {name for name in names if name.startswith("extraction")} <= {"extraction.gl"}
