"""A pickle of annotations is read; one that would run something is refused, and runs nothing."""

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from extraction.errors import JobError
from extraction.sources.datasets.plain_data import read_plain_data

PLAIN = {"info": [{"name": "S1", "length": 3, "time": None, "gloss": ("他", b"x", 1.5, True, {1}, 2**70)}]}


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(tmp_path, protocol):
    content = (
        PLAIN if protocol >= 4 else {"info": [{"name": "S1", "length": 3, "time": None, "gloss": ["他"]}]}
    )
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content, protocol))
    assert read_plain_data(str(tmp_path / "p.pkl")) == content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path, protocol):
    data = pickle.dumps({"info": [Trap(tmp_path / "sprung")]}, protocol)
    (tmp_path / "p.pkl").write_bytes(data)
    with pytest.raises(JobError, match="it asks for"):
        read_plain_data(str(tmp_path / "p.pkl"))
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)
    assert (tmp_path / "sprung").is_dir()


@pytest.mark.parametrize(
    "content", [np.zeros(3), collections.OrderedDict(a=1), os.system, Path("x"), Exception("x")]
)
def test_no_class_is_looked_up(tmp_path, content):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(JobError, match="and no more: it asks for"):
        read_plain_data(str(tmp_path / "p.pkl"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"hello",
        pickle.dumps(PLAIN)[:-9],
        b"cos\nsystem\n(S'true'\ntR.",
        b"Pwhere\n.",
        b"\x80\x05Q.",
    ],
)
def test_damage_is_told(tmp_path, data):
    (tmp_path / "p.pkl").write_bytes(data)
    with pytest.raises(JobError, match="expected a pickle of lists"):
        read_plain_data(str(tmp_path / "p.pkl"))
