import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared"
PHOENIX_FEATURES = "phoenix_like/PHOENIX-2014-T/features/fullFrame-210x260px"


def shared_folder(name: str) -> Path:
    """A folder of sample files beside the checkout; its absence fails in CI, where it is promised."""
    folder = SHARED / name
    if folder.is_dir():
        return folder
    if os.environ.get("CI") == "true" and SHARED.is_dir():
        pytest.fail(f"the sample files are here, but {name} is missing from them")
    pytest.skip(f"no sample files: the folder {name} is not beside the checkout")


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    return shared_folder("clips")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    return shared_folder("models")


@pytest.fixture(scope="session")
def hostile_images() -> Path:
    return shared_folder("hostile/images")


@pytest.fixture(scope="session")
def phoenix_root(shared_clips: Path) -> Path:
    return shared_clips / PHOENIX_FEATURES


@pytest.fixture(scope="session")
def phoenix_expected(shared_clips: Path) -> Path:
    return shared_clips / "phoenix_like/expected"
