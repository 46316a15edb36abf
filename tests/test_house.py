"""Holds the rules of the house: which way imports run, what importing does, what no file may say."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGES = ("ray_jobs", "storage", "extraction")
HEAVY = ("ray", "mediapipe", "cv2", "av", "pandas", "torch", "matplotlib")


def modules(package: str) -> list[Path]:
    found = sorted((REPO / package).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, with the names it takes from packages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node):
            texts = [child.value for child in ast.walk(node) if isinstance(child, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str))


def importers(package: str, *targets: str) -> dict[str, list[str]]:
    """File to those of its imports that lie in a target."""
    found = {}
    for path in modules(package):
        hits = [name for name in imports(path) if any(f"{name}.".startswith(f"{t}.") for t in targets)]
        if hits:
            found[path.relative_to(REPO).as_posix()] = hits
    return found


def test_the_reader_of_imports_sees_them():
    assert "storage/rows.py" in importers("storage", "extraction.landmarks")
    assert "storage.dataset.Dataset" in importers("ray_jobs", "storage")["ray_jobs/stages.py"]
    assert "ray.data" in importers("ray_jobs", "ray")["ray_jobs/extract.py"]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("extraction", ("storage", "ray_jobs", "ray", "pyarrow")),
        ("storage", ("ray_jobs", "ray", "mediapipe", "cv2", "av")),
        ("ray_jobs", ("mediapipe",)),
    ],
)
def test_imports_never_run_back(package, forbidden):
    assert importers(package, *forbidden) == {}


def test_storage_knows_only_the_records_of_extraction():
    records = ("clips", "landmarks", "topology", "errors")
    allowed = tuple(f"extraction.{name}." for name in (*records, "untrusted_pickle"))
    names = {name for hits in importers("storage", "extraction").values() for name in hits}
    assert {name for name in names if not f"{name}.".startswith(allowed)} == set()


def test_only_detectors_know_mediapipe():
    places = importers("extraction", "mediapipe")
    assert places
    assert all(place.startswith("extraction/detectors/") for place in places)


def loaded_by(*names: str) -> set[str]:
    """What stands in sys.modules of a fresh process after an import, and what it printed."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "names",
    [
        PACKAGES,
        ("ray_jobs.cli",),
        ("storage.dataset", "storage.summary"),
        ("storage.torch",),
        ("extraction.sources",),
    ],
)
def test_importing_is_cheap_and_silent(names):
    assert loaded_by(*names) & set(HEAVY) == set()


def test_importing_extraction_needs_no_pyarrow():
    every = [
        ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        for path in modules("extraction")
        if "detectors" not in path.parts
    ]
    assert loaded_by(*every) & {"pyarrow", "ray", "mediapipe"} == set()


FORBIDDEN_TEXTS = {
    "the home folder of somebody": r"(?<![\w.])/(?:home|Users|root)/[\w.]",
    "the host of a package registry": r"pythonhosted[.]org|pypi[.]org/simple|--(?:extra-)?index-url",
    "an address with a password": r"https?://[^/\s:@'\"]+:[^/\s@'\"]+@",
}


def tracked_texts() -> Iterator[tuple[str, str]]:
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("no git, or not a git checkout: which files are tracked is unknown")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (REPO / name).is_file():
            yield name, (REPO / name).read_bytes().decode("utf-8", "ignore")


@pytest.mark.parametrize("what", FORBIDDEN_TEXTS)
def test_no_file_names(what):
    pattern = re.compile(FORBIDDEN_TEXTS[what])
    found = [f"{name}: {match[0]}" for name, text in tracked_texts() if (match := pattern.search(text))]
    assert found == []
