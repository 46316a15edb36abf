"""The doctor on this machine, and on machines with something wrong about them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import eglfaults
import pytest

from extraction.detectors import ENGINES, default_engine

ROWS = [("context-lost", "again 3 times, [red]then[/red] the CPU"), ("refresh", "after 60 minutes")]
DOCTOR = f"""
import sys
from ray_jobs.doctor import doctor
code = doctor(sys.argv[1] == "json", {ROWS!r})
assert not {{"ray", "mediapipe", "pyarrow"}} & sys.modules.keys()
sys.exit(code)
"""
REPO = Path(__file__).resolve().parents[2]
LIMIT_S = 6.0


def run(form: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DOCTOR, form],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO), **more},
        check=False,
        timeout=30,
    )


def examined(**more: str) -> dict[str, Any]:
    done = run("json", **more)
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert done.returncode == (0 if value["works"] else 1)
    checks = {check["name"]: check for check in value["checks"]}
    assert len(checks) == len(value["checks"])
    return {**value, "checks": checks}


def program(folder: Path, text: str) -> str:
    """A PATH whose nvidia-smi is this shell script: no machine with a card is at hand."""
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return examined()


class TestThisMachine:
    def test_every_thing_is_looked_at(self, here):
        checks = here["checks"]
        assert {f"engine {name}" for name in ENGINES} < checks.keys()
        assert {"Python", "models", "Ray", "GPU driver"} < checks.keys()
        assert {"cores", "memory", "/dev/shm", "temporary files"} < checks.keys()
        assert {check["status"] for check in checks.values()} <= {"ok", "note", "warning", "problem"}
        assert all(check["text"] for check in checks.values())
        assert here["policy"] == dict(ROWS)

    def test_a_job_can_run_where_the_default_engine_can(self, here):
        default = here["checks"][f"engine {default_engine()}"]
        if default["status"] == "ok":
            assert here["works"]
            assert default["text"].startswith("the default, on cpu")
        else:
            assert not here["works"]
            assert "landmarks models fetch holistic_landmarker" in default["text"]

    def test_engines_that_are_no_default_are_no_problem(self, here):
        others = [here["checks"][f"engine {name}"] for name in ENGINES if name != default_engine()]
        assert {check["status"] for check in others} <= {"ok", "note"}
        missing = "tasks" if default_engine() == "holistic" else "holistic"
        assert "found mediapipe 1." in here["checks"][f"engine {missing}"]["text"] or (
            "found 0.10.21" in here["checks"][f"engine {missing}"]["text"]
        )

    @pytest.mark.parametrize("columns", [80, 120])
    def test_the_screen(self, columns):
        done = run("text", COLUMNS=str(columns), NO_COLOR="1")
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= columns
        assert len(lines) <= 60
        starts = {line.split(maxsplit=1)[0] for line in lines if line[:1].isalpha()}
        assert {"ok", "context-lost", "refresh"} <= starts
        assert any("again 3 times, [red]then[/red] the CPU" in line for line in lines)
        last = "a job can run here" if done.returncode == 0 else "no job can run here yet: "
        assert lines[-1].startswith(last)

    def test_it_takes_no_time(self):
        began = time.monotonic()
        run("text")
        assert time.monotonic() - began < LIMIT_S


class TestOpenGl:
    def test_software_only(self, tmp_path_factory):
        found = examined(**eglfaults.environment(tmp_path_factory))
        context = found["checks"]["GL context"]
        assert context["status"] == "note"
        assert context["text"].startswith("software only: llvmpipe")
        assert "--delegate cpu or auto" in context["advice"]
        assert found["gl"]["software"]

    def test_a_card(self, tmp_path_factory, tmp_path):
        path = program(tmp_path, "echo 'NVIDIA A100-SXM4-80GB, 550.54.15, 81920 MiB'")
        variables = eglfaults.environment(tmp_path_factory, renderer="NVIDIA A100-SXM4-80GB/PCIe/SSE2")
        checks = examined(**variables, PATH=path)["checks"]
        assert checks["GPU driver"]["status"] == "ok"
        assert checks["GPU driver"]["text"] == "NVIDIA: NVIDIA A100-SXM4-80GB, 550.54.15, 81920 MiB"
        assert checks["GL context"]["status"] == "ok"
        assert checks["GL context"]["text"].startswith("NVIDIA A100-SXM4-80GB/PCIe/SSE2, OpenGL ES 3.")

    def test_no_egl_is_no_trouble_without_a_card(self):
        checks = examined(__EGL_VENDOR_LIBRARY_DIRS="/nonexistent")["checks"]
        for name in ("EGL drivers", "EGL devices", "GL context"):
            assert checks[name]["status"] == (
                "note" if checks["GPU driver"]["status"] == "note" else "warning"
            )
        assert "EGL_BAD_PARAMETER" in checks["GL context"]["text"]

    def test_a_card_without_its_egl(self, tmp_path):
        path = program(tmp_path, "echo 'NVIDIA L4, 550.54.15, 23034 MiB'")
        checks = examined(__EGL_VENDOR_LIBRARY_DIRS="/nonexistent", PATH=path)["checks"]
        assert checks["EGL drivers"]["status"] == "warning"
        assert "NVIDIA_DRIVER_CAPABILITIES" in checks["EGL drivers"]["advice"]
        assert checks["GL context"]["status"] == "warning"

    def test_the_driver_fails(self, tmp_path):
        path = program(tmp_path, "echo 'NVIDIA-SMI has failed.'; exit 9")
        driver = examined(PATH=path)["checks"]["GPU driver"]
        assert driver["status"] == "warning"
        assert driver["text"] == "nvidia-smi ended with 9: NVIDIA-SMI has failed."

    def test_nothing_hangs(self, tmp_path_factory, tmp_path):
        path = program(tmp_path, "echo begun; exec sleep 30")
        variables = eglfaults.environment(tmp_path_factory, "eglMakeCurrent:hang=1")
        began = time.monotonic()
        checks = examined(**variables, PATH=path)["checks"]
        assert time.monotonic() - began < LIMIT_S
        assert checks["GL context"]["text"] == "there was no answer for 4 s during eglMakeCurrent"
        assert checks["GPU driver"]["text"] == "nvidia-smi gave no answer in 3 s: begun"

    def test_no_libegl_for_a_mediapipe_that_needs_it(self, tmp_path):
        if default_engine() == "holistic":
            pytest.skip("mediapipe 0.10.21 brings its own libEGL")
        (tmp_path / "libEGL.so.1").write_text("not a library")
        found = examined(LD_LIBRARY_PATH=str(tmp_path))
        assert found["checks"]["EGL"]["status"] == "problem"
        assert "apt-get install libegl1 libgles2" in found["checks"]["EGL"]["advice"]
        assert not found["works"]


def test_no_place_for_temporary_files():
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n" + DOCTOR
    done = subprocess.run(
        [sys.executable, "-c", limited, "json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        check=False,
        timeout=30,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["temporary files"]["status"] == "problem"
    assert "TMPDIR" in checks["temporary files"]["advice"]
    assert done.returncode == 1
