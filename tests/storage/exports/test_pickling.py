import gzip
import io
import pickle
import pickletools
import re
from pathlib import Path

import numpy as np
import pytest

from storage.exports import pickling
from storage.exports.pickling import DictOf, ListOf, dump, tensor


def written(value: object) -> bytes:
    file = io.BytesIO()
    dump(file, value)
    return file.getvalue()


def sample(n: int) -> dict[str, object]:
    # "name" and the array occur twice: what a pickle remembers of one item must not leak into the next.
    array = np.full((3, 2), n, np.float32)
    return {"name": f"clip {n}", "again": f"clip {n}", "a": array, "b": array, "shape": (3, n)}


@pytest.mark.parametrize("count", [0, 1, 300])
def test_what_is_written_item_by_item_loads_as_if_written_at_once(count):
    for value, plain in (
        (ListOf(sample(n) for n in range(count)), [sample(n) for n in range(count)]),
        (DictOf((f"k{n}", sample(n)) for n in range(count)), {f"k{n}": sample(n) for n in range(count)}),
        (
            DictOf([("x", {"split": [1]}), ("all", ListOf(range(count)))]),
            {"x": {"split": [1]}, "all": [*range(count)]},
        ),
        (DictOf([("deep", DictOf([("deeper", ListOf([ListOf([])]))]))]), {"deep": {"deeper": [[]]}}),
    ):
        loaded = pickle.loads(written(value))
        np.testing.assert_equal(loaded, plain)
    assert type(loaded) is dict


def test_arrays_load_writable_and_of_their_type():
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.float32), np.array([True]), np.int8([1])):
        loaded = pickle.loads(written({"a": array}))["a"]
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(loaded, array)
        loaded += loaded
    transposed = np.arange(6).reshape(2, 3).T
    np.testing.assert_array_equal(pickle.loads(written(transposed)), transposed)


def test_only_names_that_every_numpy_has_are_asked_for():
    data = written(ListOf(sample(n) for n in range(3)))
    asked = {arg for opcode, arg, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}
    assert asked == {"numpy ndarray", "builtins bytearray"}
    assert max(opcode.proto for opcode, *_ in pickletools.genops(data)) <= 3


def test_items_are_made_and_let_go_one_by_one():
    file = io.BytesIO()

    def items():
        for n in range(50):
            assert file.tell() >= n * 80_000  # those before are written
            yield np.full(10_000, n, np.float64)

    dump(file, ListOf(items()))
    assert len(pickle.loads(file.getvalue())) == 50


def test_through_gzip():
    file = io.BytesIO()
    with gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        dump(packed, ListOf([sample(1)]))
    np.testing.assert_equal(pickle.loads(gzip.decompress(file.getvalue())), [sample(1)])


def test_tensors_are_torchs_own():
    torch = pytest.importorskip("torch")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    array.setflags(write=False)
    loaded = pickle.loads(written(ListOf([tensor(array, with_torch=True)] * 2)))
    assert [type(value) for value in loaded] == [torch.Tensor] * 2
    assert loaded[1].dtype == torch.float32
    np.testing.assert_array_equal(loaded[1].numpy(), array)


def test_nothing_is_unpickled_there():
    assert not re.search(r"\.loads?\b|Unpickler", Path(pickling.__file__).read_text(encoding="utf-8"))


def test_without_torch_arrays_stay_arrays():
    array = np.zeros(3)
    assert tensor(array, with_torch=False) is array
