import hashlib
import json

import pytest

from extraction import models
from ray_jobs.models import fetch, list_models

CONTENT = b"a model"
TOY = models.Model("t/toy/float16/1/toy.task", hashlib.sha256(CONTENT).hexdigest(), "tests", ("http://card",))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path))
    monkeypatch.setattr(models, "MODELS", {"toy": TOY})
    return tmp_path


@pytest.mark.parametrize(
    ("content", "state"), [(None, "absent"), (b"another", "damaged"), (CONTENT, "present")]
)
def test_list(content, state, cache, capsys):
    if content is not None:
        (cache / "toy.task").write_bytes(content)
    assert list_models(as_json=False) == 0
    printed = capsys.readouterr().out
    for text in (state, str(cache / "toy.task"), "Apache-2.0", models.BASE_URL + TOY.path):
        assert text in printed
    assert list_models(as_json=True) == 0
    (described,) = json.loads(capsys.readouterr().out)
    assert described["state"] == state
    assert described["bytes"] == (None if content is None else len(content))
    assert described["sha256"] == TOY.sha256


def test_fetch_says_where_it_lies_and_under_which_licence(cache, capsys):
    (cache / "toy.task").write_bytes(CONTENT)
    assert fetch("toy", base_url=None, as_json=False) == 0
    printed = capsys.readouterr().out
    for text in ("there already", str(cache / "toy.task"), "Apache-2.0", TOY.path, TOY.sha256, "http://card"):
        assert text in printed
    assert fetch("toy", base_url="http://mirror", as_json=True) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["downloaded"] is False
    assert described["source"] == f"http://mirror/{TOY.path}"
