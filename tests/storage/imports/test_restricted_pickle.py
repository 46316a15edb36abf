"""Pickles of strangers: what they hold is read as pickle itself reads it, what they want run is not."""

import base64
import collections
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_trap import Runs

from extraction.errors import JobError
from storage import restricted_pickle
from storage.exports.pickling import dump

ARRAYS = [
    np.arange(24, dtype=np.float64).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(6, dtype=">i4").reshape(3, 2)[::2],
    np.zeros((0, 143, 3)),
    np.array([True, False]),
    np.array(["a", "ä"]),
    np.float16([1.5]),
]


def read(data: bytes) -> object:
    return restricted_pickle.load(io.BytesIO(data), "file.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_as_pickle_reads_them(protocol):
    values = {
        "split/a": {"keypoint": ARRAYS, "n": np.float64(1.5), "k": np.int64(3), "t": (1, None, "ä", 2.5)}
    }
    loaded = read(pickle.dumps(values, protocol))
    for array, found in zip(ARRAYS, loaded["split/a"]["keypoint"], strict=True):
        found = restricted_pickle.as_array(found)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    assert loaded["split/a"]["n"] == 1.5
    assert loaded["split/a"]["k"] == 3
    assert loaded["split/a"]["t"] == (1, None, "ä", 2.5)


def test_what_exports_write_is_read():
    file = io.BytesIO()
    dump(file, {"a": ARRAYS[0]})
    np.testing.assert_array_equal(restricted_pickle.as_array(read(file.getvalue())["a"]), ARRAYS[0])


def test_tensors_are_read_without_torch():
    torch = pytest.importorskip("torch", reason="torch is an extra: what it wrote is read by the next test")
    whole = torch.arange(48, dtype=torch.float64).reshape(4, 4, 3)
    for tensor in (
        whole,
        whole[1:3],
        whole.transpose(0, 1),
        whole[0, 0, 0],
        whole.float(),
        whole.long(),
        whole > 3,
    ):
        found = restricted_pickle.as_array(read(pickle.dumps({"x": tensor}))["x"])
        np.testing.assert_array_equal(found, tensor.numpy())
        assert found.dtype == tensor.numpy().dtype


# torch.arange(6, dtype=torch.float64).reshape(2, 3)[:, 1:], as pickle and torch 2.13 write it.
TENSOR = base64.b64decode("""
gAJjdG9yY2guX3V0aWxzCl9yZWJ1aWxkX3RlbnNvcl92MgpxAChjdG9yY2guc3RvcmFnZQpfbG9hZF9mcm9tX2J5dGVzCnEBY19j
b2RlY3MKZW5jb2RlCnECWDoBAADCgALCigpsw7zCnEbDuSBqwqhQGS7CgAJNw6kDLsKAAn1xAChYEAAAAHByb3RvY29sX3ZlcnNp
b25xAU3DqQNYDQAAAGxpdHRsZV9lbmRpYW5xAsKIWAoAAAB0eXBlX3NpemVzcQN9cQQoWAUAAABzaG9ydHEFSwJYAwAAAGludHEG
SwRYBAAAAGxvbmdxB0sEdXUuwoACKFgHAAAAc3RvcmFnZXEAY3RvcmNoCkRvdWJsZVN0b3JhZ2UKcQFYDgAAADk0ODQxNTk1OTE5
MDg4cQJYAwAAAGNwdXEDSwZOdHEEUS7CgAJdcQBYDgAAADk0ODQxNTk1OTE5MDg4cQFhLgYAAAAAAAAAAAAAAAAAAAAAAAAAAADD
sD8AAAAAAAAAQAAAAAAAAAhAAAAAAAAAEEAAAAAAAAAUQHEDWAYAAABsYXRpbjFxBIZxBVJxBoVxB1JxCEsBSwJLAoZxCUsDSwGG
cQqJY2NvbGxlY3Rpb25zCk9yZGVyZWREaWN0CnELKVJxDHRxDVJxDi4=
""")


def test_a_tensor_of_torch_is_read_where_torch_is_not():
    np.testing.assert_array_equal(restricted_pickle.as_array(read(TENSOR)), np.float64([[1, 2], [4, 5]]))


def test_a_tensor_does_not_leave_its_storage():
    data = TENSOR
    for wrong in range(2, 100):  # the offset, sizes and strides are single bytes behind opcode K
        changed = data.replace(b"K\x01K\x02K\x02\x86", b"K\x01K\x02K" + bytes([wrong]) + b"\x86")
        assert changed != data or wrong == 2
        tensor = read(changed)
        if wrong > 2:
            with pytest.raises(ValueError, match="leaves its storage"):
                restricted_pickle.as_array(tensor)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call", [(os.mkdir,), (eval,), (getattr, "x"), (np.load,), (io.open,), (collections.deque,)]
)
def test_nothing_is_run(protocol, call, tmp_path):
    trap = tmp_path / "sprung"
    data = pickle.dumps({"a": [Runs(*call, str(trap))]}, protocol)
    with pytest.raises(JobError, match="nothing of it was run"):
        read(data)
    assert not trap.exists()


HOSTILE = {
    "a name with dots": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.",
    "a module": b"cos\nsystem\n(S'true'\ntR.",
    "an instance": b"(S'true'\nios\nsystem\n.",
    "an extension": b"\x82\x01.",
    "a persistent id": b"Pfile\n.",
    "state for a function": b"cnumpy\nndarray\n(NdS'x'\nI1\nstb.",
    "a new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an array larger than its bytes": b"cnumpy\nndarray\n((I99999999\nI99999999\ntS'f8'\ntR.",
    "an array of objects": b"cnumpy\nndarray\n((I1\ntS'O'\nc_codecs\nencode\n(S'12345678'\nS'latin1'\ntRtR.",
    "a memo that fills memory": b"N" + b"r\xff\xff\xff\x7f" + b"0Nr\xfe\xff\xff\x7f.",
    "a length that fills memory": b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "a text of a wrong length": b"X\xff\xff\xff\x7fx.",
    "a bytearray by length": b"c__builtin__\nbytearray\n(I999999999999\ntR.",
    "nothing": b"",
    "no pickle": b"PK\x03\x04 this is a zip",
    "a text": b"import os\n",
    "deep": b")" + b"\x85" * 100_000 + b".",
}


def outcome(data: bytes) -> str:
    """``"values"``, or the sentence in which it was refused; any other error is one of the test."""
    try:
        restricted_pickle.as_array(read(data))
    except JobError as error:
        return str(error)
    except restricted_pickle.RefusedError as error:
        return f"file.pkl: {error}"
    return "values"


def reduced(name: bytes, args: bytes) -> bytes:
    return b"c" + name.replace(b".", b"\n") + b"\n" + args + b"\x85R"


BIG = b"X\x00\x00\x10\x00" + b"a" * (1 << 20)
STORAGE = TENSOR[TENSOR.index(b"ctorch.storage") : TENSOR.index(b"q\x07R") + 3]
LOAD = b"ctorch.storage\n_load_from_bytes\n"
AGAIN = b"h\x01h\x00\x85R" * 40 + b"t."
GREEDY = {
    "one text as bytes": (BIG + b"\x940c_codecs\nencode\n\x940(" + AGAIN, "more than 16 times"),
    "one memory as bytes": (
        b"B\x00\x00\x10\x00" + b"a" * (1 << 20) + b"\x940cbuiltins\nbytes\n\x940(" + AGAIN,
        "more than 16 times",
    ),
    "one list as dictionaries": (
        b"](" + b"(NNt" * 20_000 + b"e\x940ccollections\nOrderedDict\n\x940(" + AGAIN,
        "more than 16 times",
    ),
    "an instance": (BIG + b"\x940(" + b"(h\x00i_codecs\nencode\n" * 40 + b"t.", "more than 16 times"),
    "tuples of one hash": (b"ccollections\nOrderedDict\n](K\x01K\x02\x86N\x86e\x85R.", "a key that is tuple"),
    "storages in storages": (
        LOAD + pickle.dumps(b"\x80\x02" + LOAD + b"N\x85R.", 4)[11:-2] + b"\x85R.",
        "found torch.storage._load_from_bytes",
    ),
    "a changed storage": (
        STORAGE + b"N}X\x05\x00\x00\x00dtypeX\x01\x00\x00\x00Os\x86b.",
        "storage with the state",
    ),
    "a key of thousands of digits": (pickle.dumps({10**5000: 1}, 4)[2:], "more than 64 bits"),
}


@pytest.mark.parametrize("what", GREEDY)
def test_no_pickle_takes_much_more_than_its_size(what):
    data, reason = GREEDY[what]
    assert reason in outcome(b"\x80\x04" + data)


def test_storages_alone_and_bytes_given_twice_are_read():
    assert outcome(b"\x80\x02" + STORAGE + b".") == "values"
    few = BIG + b"\x940c_codecs\nencode\n\x940(" + b"h\x01h\x00\x85R" * 2 + b"t."
    assert [len(data) for data in read(b"\x80\x04" + few)] == [1 << 20] * 2


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_end_in_a_sentence_or_in_plain_values(what):
    found = outcome(HOSTILE[what])
    if what in ("a memo that fills memory", "deep"):
        assert found == "values"
    else:
        assert found.startswith("file.pkl: ")


def test_a_pickle_cannot_change_the_reader_for_the_next_one():
    assert [outcome(data) for data in HOSTILE.values()] == [outcome(data) for data in HOSTILE.values()]
    np.testing.assert_array_equal(restricted_pickle.as_array(read(pickle.dumps(ARRAYS[0]))), ARRAYS[0])


GOOD = pickle.dumps({"train": {"keypoints": [{"pose": ARRAYS[0], "image_shape": (1, 2)}]}}, 4)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, len(GOOD)))
def test_a_damaged_pickle_ends_in_a_sentence_or_in_values(position, change, length):
    data = bytearray(GOOD)
    data[position] ^= change
    for damaged in (bytes(data), bytes(data[:length])):
        found = outcome(damaged)
        assert found == "values" or found.startswith("file.pkl: ")
