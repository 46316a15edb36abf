"""Writing pickles piece by piece, so that they load with every NumPy; nothing is ever unpickled here."""

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Protocol 3, not 4 or 5: its memo has explicit numbers, so that the bodies of several pickles can stand
# behind one another in one stream; and it has no frames, which would have to be long enough for a body.
_PROTOCOL = 3
_HEADER = pickle.PROTO + bytes([_PROTOCOL])


class Sink(Protocol):
    """What a pickle is written to: a file, plain or compressed."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Writes all of some bytes."""


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict that is written item by item; each is let go before the next is made.

    Attributes:
        items: Pairs of key and value; a value may be a :class:`DictOf` or :class:`ListOf` too.
    """

    items: Iterable[tuple[object, object]]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list that is written item by item; see :class:`DictOf`."""

    items: Iterable[object]


def dump(file: Sink, value: object) -> None:
    """Writes a pickle of a value.

    Args:
        file: Open for writing.
        value: Plain values, NumPy arrays, torch tensors; a :class:`DictOf` or :class:`ListOf`, there or
            inside one another, becomes a dict or list while memory holds one item of it.
    """
    file.write(_HEADER)
    _write(file, value)
    file.write(pickle.STOP)


def _write(file: Sink, value: object) -> None:
    if isinstance(value, DictOf):
        file.write(pickle.EMPTY_DICT)
        for key, item in value.items:
            _write(file, key)
            _write(file, item)
            file.write(pickle.SETITEM)
    elif isinstance(value, ListOf):
        file.write(pickle.EMPTY_LIST)
        for item in value.items:
            _write(file, item)
            file.write(pickle.APPEND)
    else:
        file.write(_body(value))


def _body(value: object) -> memoryview:
    """The operations that put a value on the stack, without header and stop."""
    buffer = io.BytesIO()
    _Portable(buffer, _PROTOCOL).dump(value)
    return buffer.getbuffer()[len(_HEADER) : -len(pickle.STOP)]


class _Portable(pickle.Pickler):
    """Writes arrays so that any NumPy reads them.

    NumPy's own way names a private module that moved in NumPy 2, so that what 2 writes, 1.25 cannot read.
    ``numpy.ndarray(shape, dtype, buffer)`` is public in all; of a bytearray the array is writable.
    """

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray:
            return np.ndarray, (obj.shape, obj.dtype.str, bytearray(obj.tobytes()))
        return NotImplemented


def tensor(array: NDArray[Any], with_torch: bool) -> Any:
    """An array as what the consumer computes with.

    Args:
        array: Of any shape.
        with_torch: As :attr:`storage.exports.protocol.ExportRun.with_torch`.

    Returns:
        A torch tensor of the same type, or the array.
    """
    if not with_torch:
        return array
    return import_module("torch").from_numpy(np.array(array, order="C"))
