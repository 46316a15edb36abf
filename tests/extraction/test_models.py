import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from extraction import models
from extraction.errors import JobError
from extraction.models import MODELS, Model, digest, fetch_model, find_model, how_to_get, source_url

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOY = Model("toys/toy/float16/1/toy.task", SHA256, "tests", ("https://example.org/card",))


class Mirror(ThreadingHTTPServer):
    """A mirror of the bucket on this machine, which misbehaves as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mood = "good"
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/bucket"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.mood == "missing":
            return self.send_error(404)
        body = CONTENT.replace(b"\x00\x01", b"\x00\x00", 1) if self.server.mood == "corrupted" else CONTENT
        self.send_response(200)
        if self.server.mood != "lengthless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body if self.server.mood in ("good", "corrupted") else body[: len(body) // 2]
        self.wfile.write(sent)
        if self.server.mood == "stalled":
            time.sleep(3)
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "models"
    monkeypatch.setenv("LANDMARKS_MODELS", str(folder))
    monkeypatch.delenv("LANDMARKS_MODELS_URL", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(models, "MODELS", {"toy": TOY})
    return folder


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestCatalogue:
    def test_digests_and_names(self):
        assert all(re.fullmatch("[0-9a-f]{64}", model.sha256) for model in MODELS.values())
        assert len({model.sha256 for model in MODELS.values()}) == len(MODELS) == 7
        assert all(re.search(r"/float16/\d+/[^/]+\.(task|tflite)$", model.path) for model in MODELS.values())
        assert all(model.model_cards for model in MODELS.values())

    def test_only_the_first_digest_is_known_from_two_sources(self):
        assert [name for name, model in MODELS.items() if model.sources > 1] == ["holistic_landmarker"]

    def test_source(self, monkeypatch):
        model = MODELS["hand_landmarker"]
        official = (
            "https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/"
            "hand_landmarker.task"
        )
        assert source_url(model) == official
        monkeypatch.setenv("LANDMARKS_MODELS_URL", "http://mirror/m/")
        assert source_url(model) == f"http://mirror/m/{model.path}"
        assert source_url(model, "http://other") == f"http://other/{model.path}"

    def test_an_unknown_name(self):
        with pytest.raises(JobError, match="unknown model 'face': expected one of toy"):
            find_model("face")


class TestFetch:
    def test_a_model_is_fetched_once(self, mirror, cache):
        assert find_model("toy") is None
        fetched = fetch_model("toy", mirror.url)
        assert fetched.downloaded
        assert fetched.file == cache / "toy.task" == find_model("toy")
        assert fetched.file.read_bytes() == CONTENT
        assert fetched.file.stat().st_mode & 0o044, "others on a cluster must be able to read it"
        assert not fetch_model("toy", mirror.url).downloaded
        assert mirror.requests == ["/bucket/toys/toy/float16/1/toy.task"]

    def test_to_a_file(self, mirror, tmp_path):
        file = tmp_path / "new" / "mine.task"
        assert fetch_model("toy", mirror.url, to=file).file == file
        assert file.read_bytes() == CONTENT
        assert not fetch_model("toy", mirror.url, to=file).downloaded
        assert find_model("toy") is None

    def test_a_file_of_the_user_is_not_overwritten(self, mirror, tmp_path):
        file = tmp_path / "precious.txt"
        file.write_text("precious")
        with pytest.raises(JobError, match=f"precious.txt is there already and is not toy .*{SHA256}"):
            fetch_model("toy", mirror.url, to=file)
        assert file.read_text() == "precious"
        assert mirror.requests == []

    def test_a_damaged_file_is_told_and_fetched_anew(self, mirror, cache):
        cache.mkdir(parents=True)
        (cache / "toy.task").write_bytes(b"damaged")
        assert find_model("toy") is None
        fetched = fetch_model("toy", mirror.url)
        assert fetched.replaced_sha256 == hashlib.sha256(b"damaged").hexdigest()
        assert fetched.file.read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("mood", "text"),
        [
            ("missing", "404"),
            ("truncated", "could not be fetched"),
            ("stalled", "could not be fetched.*timed out"),
        ],
    )
    def test_what_cannot_be_fetched_says_what_to_put_where(self, mirror, cache, mood, text):
        mirror.mood = mood
        with pytest.raises(JobError, match=text) as failed:
            fetch_model("toy", mirror.url, read_timeout_s=0.5)
        for needed in (f"{mirror.url}/{TOY.path}", str(cache / "toy.task"), SHA256):
            assert needed in str(failed.value)
        assert os.listdir(cache) == []

    @pytest.mark.parametrize("mood", ["corrupted", "lengthless"])
    def test_another_content_is_not_kept_and_both_sums_are_told(self, mirror, cache, mood):
        mirror.mood = mood
        sent = CONTENT.replace(b"\x00\x01", b"\x00\x00", 1) if mood == "corrupted" else CONTENT[: 256 * 2500]
        with pytest.raises(JobError, match="is not toy") as failed:
            fetch_model("toy", mirror.url)
        assert f"expected SHA-256 {SHA256}, found {hashlib.sha256(sent).hexdigest()}" in str(failed.value)
        assert os.listdir(cache) == []

    def test_a_damaged_file_that_cannot_be_replaced_is_told_as_well(self, mirror, cache):
        cache.mkdir(parents=True)
        (cache / "toy.task").write_bytes(b"damaged")
        mirror.mood = "missing"
        with pytest.raises(JobError, match=r"toy.task is damaged .*; model toy could not be fetched"):
            fetch_model("toy", mirror.url)
        assert find_model("toy") is None

    def test_nobody_answers(self, cache):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # bound, but it does not listen
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            with pytest.raises(JobError, match=f"Get {url}/{TOY.path} in another way.*{SHA256}"):
                fetch_model("toy", url)
        assert os.listdir(cache) == []

    def test_an_address_that_is_none(self):
        with pytest.raises(JobError, match="could not be fetched"):
            fetch_model("toy", "nonsense:")

    def test_a_folder_that_cannot_be_made(self, mirror, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(JobError, match=r"could not be fetched.*SHA-256"):
            fetch_model("toy", mirror.url, to=tmp_path / "file" / "toy.task")


class TestFind:
    def test_the_cache_is_of_the_user_unless_told_otherwise(self, monkeypatch):
        monkeypatch.delenv("LANDMARKS_MODELS")
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert models.cache_folder() == Path("/somewhere/ray-landmarks/models")

    def test_how_to_get_names_command_file_and_sum(self, cache):
        text = how_to_get("toy")
        assert "landmarks models fetch toy" in text
        assert str(cache / "toy.task") in text
        assert SHA256 in text

    def test_a_changed_file_has_another_digest(self, tmp_path):
        file = tmp_path / "a"
        file.write_bytes(b"one")
        assert digest(file) == digest(str(file)) == hashlib.sha256(b"one").hexdigest()
        file.write_bytes(b"another")
        assert digest(file) == hashlib.sha256(b"another").hexdigest()

    def test_a_file_that_cannot_be_read(self, tmp_path):
        with pytest.raises(JobError, match="the model cannot be read"):
            digest(tmp_path / "missing")
        with pytest.raises(JobError, match="the model cannot be read"):
            digest(tmp_path)
