"""Plain values of a pickle are read as pickle reads them; what would run, fill memory or hang is refused."""

import collections
import contextlib
import io
import os
import pickle
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_trap import Runs

from extraction.errors import JobError
from extraction.untrusted_pickle import load_plain

pytestmark = pytest.mark.once

PLAIN = {
    "info": [{"name": "S1", "length": 3, "gloss": ["他", "x"], ("a", 1): {2.5, None, True}}],
    "bytes": (b"x", 2**70, -1, frozenset({1, (2, 3)})),
}
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.integers(-(2**64) + 1, 2**64 - 1)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | keys, inner) | st.tuples(inner),
    max_leaves=20,
)


def read(data: bytes) -> object:
    return load_plain(io.BytesIO(data), "file.pkl")


@pytest.mark.parametrize("protocol", [4, 5])
def test_plain_values_come_back(protocol):
    assert read(pickle.dumps(PLAIN, protocol)) == PLAIN
    assert read(pickle.dumps([bytearray(b"y")], 5)) == [bytearray(b"y")]


@settings(max_examples=200, deadline=None)
@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_any_plain_value_comes_back_where_it_needs_no_name(value, protocol):
    data = pickle.dumps(value, protocol)
    if b"_codecs" not in data and b"builtin" not in data:  # how older protocols write bytes
        assert read(data) == value


def test_what_stands_behind_the_pickle_stays_there():
    file = io.BytesIO(pickle.dumps([1]) + b"rest")
    assert load_plain(file, "file.pkl") == [1]
    assert file.read() == b"rest"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(protocol, tmp_path):
    data = pickle.dumps({"a": [Runs(os.mkdir, str(tmp_path / "sprung"))]}, protocol)
    with pytest.raises(JobError, match=r"file\.pkl: .* found (posix|nt)\.mkdir: nothing of it was run"):
        read(data)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)
    assert (tmp_path / "sprung").is_dir()


nested = "x"
for _ in range(60):
    nested = (nested, nested)

REFUSED = {
    "a class": pickle.dumps(collections.OrderedDict(a=1)),
    "a key whose hash takes 2**60 steps": pickle.dumps([nested])[:-2] + b"}\x94h\x00N\x73.",
    "a member whose hash takes 2**60 steps": b"\x80\x04\x8f"
    + pickle.dumps((nested,), 2)[2:-1]
    + b"(K\x01\x90.",
    "a key whose hash is that of the next": pickle.dumps({i * (2**61 - 1): 0 for i in range(1, 100)}),
    "a member whose hash is that of the next": pickle.dumps({i * (2**61 - 1) for i in range(1, 100)}),
    "a key in parts whose hash is that of the next": pickle.dumps({("a", 2**70): 0}),
    "a key of many parts": pickle.dumps({tuple(range(100)): 0}),
    "keys that can all have one hash": pickle.dumps({(i, i): 0 for i in range(5000)}),
    "items for a list": b"]K\x01K\x02s.",
    "more items for a list": b"](K\x01K\x02u.",
    "members for a list": b"](K\x01\x90.",
    "an extension": b"\x82\x01.",
    "a persistent id": b"Pfile\n.",
    "a module": b"cos\nsystem\n(S'true'\ntR.",
    "an instance": b"(S'true'\nios\nsystem\n.",
    "a new object of a text": b"\x80\x02X\x01\x00\x00\x00x)\x81.",
    "a call of a text": b"X\x01\x00\x00\x00x)R.",
    "state for a list": b"](K\x01K\x02db.",
    "memory from elsewhere": b"\x80\x05\x97.",
    "a key without its value": b"(K\x01d.",
    "nothing": b"",
    "no pickle": b"PK\x03\x04 this is a zip",
    "an end too soon": pickle.dumps(PLAIN)[:-9],
    "4 GB of text": b"X\xff\xff\xff\xffx.",
    "a bytearray of 1 TB": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "a bytearray of 2 GB": b"\x80\x05\x96" + struct.pack("<Q", 2 << 30) + b"x.",
    "a frame of 1 TB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_is_refused_in_a_sentence(what):
    with pytest.raises(JobError, match=r"^file\.pkl: expected a pickle"):
        read(REFUSED[what])


READ = """
import resource, sys
from extraction.errors import JobError
from extraction.untrusted_pickle import load_plain
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
try:
    print(type(load_plain(sys.stdin.buffer, "x")).__name__)
except JobError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "data",
    [
        b"N" + b"r\xff\xff\xff\x7f" + b"0Nr\xfe\xff\xff\x7f.",  # places 2**31 - 1 and the one before it
        REFUSED["a bytearray of 2 GB"],
        REFUSED["4 GB of text"],
    ],
)
def test_a_few_bytes_take_no_memory(data, tmp_path):
    """In 512 MB of address space, of a real file; pickle's reader in C takes 16 GB for the first."""
    (tmp_path / "x.pkl").write_bytes(data)
    with open(tmp_path / "x.pkl", "rb") as file:
        done = subprocess.run([sys.executable, "-c", READ], stdin=file, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("NoneType", "x: expected a pickle, cannot read it: it announces"))


GOOD = pickle.dumps(PLAIN, 4)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, len(GOOD)))
def test_a_damaged_pickle_ends_in_a_sentence_or_in_values(position, change, length):
    data = bytearray(GOOD)
    data[position] ^= change
    for damaged in (bytes(data), bytes(data[:length])):
        with contextlib.suppress(JobError):
            read(damaged)
