import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_dataset import make_dataset

from storage.dataset import Dataset

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


@pytest.fixture(scope="session")
def real_dataset(tmp_path_factory: pytest.TempPathFactory, shared_clips: Path) -> Dataset:
    """Real landmarks of four clips in three splits, and a clip that failed; not to be written to."""
    return make_dataset(tmp_path_factory.mktemp("real") / "out", shared_clips)


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    """Host and port of an S3 server with a bucket of the name ``bucket``, and the credentials for it."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        backend = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        backend.start()
        host, port = backend.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield host, port
        backend.stop()


@pytest.fixture
def s3_uri(moto: tuple[str, int]) -> str:
    """A folder on an S3 server that nothing else uses."""
    host, port = moto
    return f"s3://bucket/{uuid.uuid4().hex}?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
