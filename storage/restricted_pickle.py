"""Reading pickles of strangers: plain values, NumPy arrays and torch tensors, and nothing else.

Nothing is imported: each name that a pickle of arrays needs is answered by a small function of this module
that checks what it gets, tensors are put together without torch, and every other name is refused in a
sentence.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from extraction.untrusted_pickle import RefusedError, RestrictedReader, hashable, loaded, shortly

_KINDS = "biufSU"
"""Kinds of array that hold plain values: no objects, no records, no pointers."""
_TORCH_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_PROTOCOL = 1001


@dataclass(slots=True)
class PickledDtype:
    """A NumPy type as a pickle names it."""

    name: str
    byte_order: str = "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError(f"a NumPy type with the state {shortly(state)}")
        self.byte_order = state[1]

    def dtype(self) -> "np.dtype[Any]":
        """The type, if it is one of plain values."""
        try:
            found = np.dtype(self.name)
        except (TypeError, ValueError, SyntaxError) as error:
            raise RefusedError(f"an array of the type {self.name[:60]!r}") from error
        if found.kind not in _KINDS or found.itemsize == 0:
            raise RefusedError(f"an array of the type {self.name[:60]!r}, neither numbers nor texts")
        return (
            found if self.byte_order in "=|" else found.newbyteorder("<" if self.byte_order == "<" else ">")
        )


@dataclass(slots=True)
class PickledArray:
    """An array as a pickle describes it; :meth:`array` is it."""

    shape: tuple[int, ...] = ()
    dtype: PickledDtype | None = None
    data: Any = b""
    order: str = "C"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise RefusedError(f"an array with the state {shortly(state)}")
        shape, dtype, is_fortran, data = state[-4:]
        self.shape, self.dtype = _shape(shape), _dtype(dtype)
        # One of objects has a list of them here; array() refuses it, and the other clips can be read.
        self.data = b"" if isinstance(data, list) else _bytes(data)
        self.order = "F" if is_fortran else "C"

    def array(self) -> NDArray[Any]:
        """The array, read-only; its bytes are checked against its shape."""
        dtype = _dtype(self.dtype).dtype()
        wanted = dtype.itemsize * _product(self.shape)
        if len(self.data) != wanted:
            raise RefusedError(f"an array {self.shape} of {dtype} in {len(self.data)} bytes, not {wanted}")
        flat = np.frombuffer(self.data, dtype)
        flat.setflags(write=False)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


@dataclass(slots=True)
class PickledStorage:
    """The memory of a torch tensor."""

    dtype: str
    numel: int
    data: bytes = b""

    def __setstate__(self, state: Any) -> None:
        raise RefusedError(f"a torch storage with the state {shortly(state)}")


@dataclass(slots=True)
class PickledTensor:
    """A torch tensor as a pickle describes it; :meth:`array` is its values as NumPy has them."""

    storage: PickledStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: Any) -> None:
        raise RefusedError(f"a tensor with the state {shortly(state)}")

    def array(self) -> NDArray[Any]:
        """The values, read-only; every one of them lies inside the storage."""
        flat = np.frombuffer(self.storage.data, self.storage.dtype)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        # More values than the storage has would be few bytes that fill all memory.
        if _product(self.size) and not (0 <= last < len(flat) and _product(self.size) <= len(flat)):
            raise RefusedError(f"a tensor {self.size} that leaves its storage of {len(flat)} values")
        if not _product(self.size):
            return np.zeros(self.size, flat.dtype)
        steps = [step * flat.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, steps, writeable=False)


def load(file: IO[bytes], name: str) -> Any:
    """Reads a pickle without running anything it names.

    Args:
        file: Open for reading.
        name: Of the file, for messages.

    Returns:
        Plain values. In place of arrays and tensors stand objects that :func:`as_array` understands.

    Raises:
        JobError: If it is no pickle, or holds anything but plain values, arrays and tensors.
    """
    return loaded(RestrictedReader(file, _ANSWERS), name, "plain values, NumPy arrays and torch tensors")


def as_array(value: object) -> NDArray[Any] | None:
    """The array that a value of a pickle stands for; None where it stands for none.

    Raises:
        ValueError: If the pickle describes an array that cannot be.
    """
    return value.array() if isinstance(value, PickledArray | PickledTensor) else None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What stands for a name: called as the pickle bids, and never changed by it."""

    name: str
    make: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        try:
            return self.make(*args)
        except RefusedError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RefusedError(f"{self.name} with arguments it cannot have: {error}") from error

    def __setstate__(self, state: Any) -> None:
        raise RefusedError(f"a change of {self.name}")


class _OfStorages(RestrictedReader):
    """Reads the inner pickle in which torch wraps a storage; it calls nothing, so none lies in it."""

    def __init__(self, file: IO[bytes], storages: dict[str, PickledStorage]) -> None:
        super().__init__(file, _STORAGE_TYPES)
        self._storages = storages

    def persistent_load(self, pid: Any) -> Any:
        """Of ``("storage", type, key, place, number of values, view)``."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            return super().persistent_load(pid)
        kind, key, numel = pid[1], pid[2], pid[4]
        if (
            not isinstance(kind, _Answer)
            or not isinstance(key, str)
            or (len(pid) == 6 and pid[5] is not None)
        ):
            return super().persistent_load(pid)
        dtype = _TORCH_DTYPES.get(kind.name.removeprefix("torch."))
        if dtype is None:
            raise RefusedError(f"a storage of {kind.name}")
        return self._storages.setdefault(key, PickledStorage(dtype, _count(numel)))


def _load_from_bytes(data: Any) -> PickledStorage:
    """What ``torch.save`` wrote in its older form: five pickles, then the memory of each storage."""
    file, storages = io.BytesIO(_bytes(data)), dict[str, PickledStorage]()
    if RestrictedReader(file).load() != _TORCH_MAGIC or RestrictedReader(file).load() != _TORCH_PROTOCOL:
        raise RefusedError("a torch storage of another form")
    system = RestrictedReader(file).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedError("a torch storage of a machine with another order of bytes")
    storage = _OfStorages(file, storages).load()
    for key in RestrictedReader(file).load():
        numel = int.from_bytes(file.read(8), "little")
        of_key = storages[key]
        of_key.data = file.read(of_key.numel * np.dtype(of_key.dtype).itemsize)
        if numel != of_key.numel or len(of_key.data) < numel * np.dtype(of_key.dtype).itemsize:
            raise RefusedError("a torch storage that is cut short")
    if not isinstance(storage, PickledStorage):
        raise RefusedError("something else where a torch storage should be")
    return storage


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> PickledTensor:
    if not isinstance(storage, PickledStorage) or len(_shape(size)) != len(_shape(stride)):
        raise RefusedError("a tensor without its storage")
    return PickledTensor(storage, _count(offset), _shape(size), _shape(stride))


def _new_array(shape: Any, dtype: Any = "f8", data: Any = b"") -> PickledArray:
    """``numpy.ndarray(shape, dtype, buffer)``."""
    return PickledArray(_shape(shape), _dtype(dtype), _bytes(data))


def _reconstruct(_kind: Any, _shape: Any, _typecode: Any) -> PickledArray:
    """The empty array that gets its state next."""
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> PickledArray:
    return PickledArray(_shape(shape), _dtype(dtype), _bytes(data), "F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    return PickledArray((), _dtype(dtype), _bytes(data)).array().item()


def _new_dtype(name: Any, *_: Any) -> PickledDtype:
    return PickledDtype(_text(name))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocols 0 to 2 write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"a text in the encoding {shortly(encoding)}")
    return _text(text).encode("latin1")


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    ordered = {}
    for key, value in pairs:
        if isinstance(key, tuple):  # many of one hash would take for ever
            raise RefusedError(f"a key that is {shortly(key)}")
        ordered[hashable(key)] = value
    return ordered


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) > 32:
        raise RefusedError(f"a shape {shortly(value)}")
    return tuple(map(_count, value))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise RefusedError(f"a number of values {shortly(value)}")
    return value


def _dtype(value: Any) -> PickledDtype:
    found = PickledDtype(value) if isinstance(value, str) else value
    if not isinstance(found, PickledDtype):
        raise RefusedError(f"a NumPy type {shortly(value)}")
    return found


def _bytes(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise RefusedError(f"an array whose memory is {shortly(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RefusedError(f"a name {shortly(value)}")
    return value


def _product(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _unmade(*_: Any) -> Any:
    raise RefusedError("a bare torch storage")


_MODULES_OF_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_STORAGE_TYPES = {("torch", name): _Answer(f"torch.{name}", _unmade) for name in _TORCH_DTYPES}
_ANSWERS: dict[tuple[str, str], _Answer] = {
    (answer.name.rpartition(".")[0], answer.name.rpartition(".")[2]): answer
    for answer in (
        _Answer("numpy.ndarray", _new_array),
        _Answer("numpy.dtype", _new_dtype),
        *(_Answer(f"{module}._reconstruct", _reconstruct) for module in _MODULES_OF_NUMPY),
        *(_Answer(f"{module}.scalar", _scalar) for module in _MODULES_OF_NUMPY),
        _Answer("numpy.core.numeric._frombuffer", _from_buffer),
        _Answer("numpy._core.numeric._frombuffer", _from_buffer),
        _Answer("collections.OrderedDict", _ordered),
        _Answer("_codecs.encode", _encode),
        *(
            _Answer(f"{module}.{name}", lambda data=b"": bytes(_bytes(data)))
            for module in ("builtins", "__builtin__")
            for name in ("bytes", "bytearray")
        ),
        _Answer("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
        _Answer("torch.storage._load_from_bytes", _load_from_bytes),
    )
} | _STORAGE_TYPES
