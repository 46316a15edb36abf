"""Reading pickles of strangers: no code of theirs is run, and few bytes cannot take all memory or time.

A pickle is a program that may call anything its reader can import. This reader imports nothing: names are
answered by who derives from it, and here by nobody, so that lists, dictionaries, texts and numbers remain.
"""

import io
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, ClassVar

from extraction.errors import JobError

# Pickle's own reader in Python, not that in C: a few bytes can make the latter's memo take all memory
# (LONG_BINPUT with a large number), and only this one lets its opcodes be answered otherwise.
_Reader: Any = pickle._Unpickler  # type: ignore[attr-defined, unused-ignore]

_SMALL_BYTES = 1 << 20
"""Room that may be made without looking whether the file has so much."""
_KEYS = (str, bytes, int, float, bool, type(None))
_KEY_BITS = 64
_TUPLE_PARTS = 8
_TUPLE_KEYS = 1000
_GIVEN_PER_BYTE = 16
"""That a pickle may give to what it calls, per byte of the file: honest ones give theirs once or twice."""
_BYTES_PER_ITEM = 16
_BYTES = (str, bytes, bytearray)
_BROKEN = (
    pickle.UnpicklingError,
    *(EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError),
    *(AssertionError, UnicodeError, OSError, ImportError, RuntimeError, struct.error),
)
"""What a file that is no pickle, or a damaged one, makes the reader say."""


Answers = Mapping[tuple[str, str], Callable[..., Any]]


class RefusedError(ValueError):
    """The pickle asks for something that it may not have."""


class RestrictedReader(_Reader):  # type: ignore[misc]
    """Builds plain values, and whatever answers the names that a pickle asks for.

    Args:
        file: Open for reading, able to seek. What stands behind the pickle is not read.
        answers: Module and name to what stands for it and is called as the pickle bids; all others are
            refused.
    """

    def __init__(self, file: IO[bytes], answers: Answers | None = None) -> None:
        bounded = _Bounded(file)
        super().__init__(bounded)
        self._answers = answers or {}
        self._may_give = _SMALL_BYTES + _GIVEN_PER_BYTE * bounded.size
        self._may_key = _TUPLE_KEYS

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name.

        Raises:
            RefusedError: If nothing does.
        """
        answer = self._answers.get((module, name))
        if answer is None:
            # The names of what is no pickle at all are anything.
            if not all(step.isidentifier() for step in f"{module}.{name}".split(".")):
                raise pickle.UnpicklingError("it names nothing that could be imported")
            raise RefusedError(f"{module}.{name}"[:120])
        return answer

    def persistent_load(self, pid: Any) -> Any:
        """Refuses objects that are kept elsewhere."""
        raise RefusedError(f"a reference to something outside of it, {shortly(pid)}")

    def get_extension(self, code: int) -> Any:
        """Refuses names by number."""
        raise RefusedError(f"the extension {code}")

    def _reduce(self) -> None:
        self._expect_little(self.stack[-1])
        _Reader.load_reduce(self)

    def _instantiate(self, what: Any, args: Any) -> None:
        self._expect_little(args)
        super()._instantiate(what, args)

    def _expect_little(self, args: Any) -> None:
        """One text that is given to 5,000 calls, a few bytes each, would be 5,000 copies of it."""
        sized = [args, *args] if isinstance(args, tuple | list) else [args]
        given = (
            len(a) * (1 if isinstance(a, _BYTES) else _BYTES_PER_ITEM) for a in sized if hasattr(a, "__len__")
        )
        self._may_give -= sum(given)
        if self._may_give < 0:
            raise RefusedError(f"calls that are given more than {_GIVEN_PER_BYTE} times what the file holds")

    def _put(self, target: Any, items: Sequence[Any]) -> Any:
        if type(target) is not dict:
            raise RefusedError(f"items for {shortly(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._key(key)] = value
        return target

    def _key(self, value: Any) -> Any:
        """Tuples of numbers can be chosen so that all their hashes are one; a few of them do no harm."""
        self._may_key -= type(value) is tuple
        if self._may_key < 0:
            raise RefusedError(f"more than {_TUPLE_KEYS} keys that are tuples")
        return hashable(value)

    def _bytearray8(self) -> None:
        # Pickle's own makes room for as many bytes as are announced, before it looks for them.
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    def _dict(self) -> None:
        items = self.pop_mark()  # which changes what self.append is
        self.append(self._put({}, items))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._put(self.stack[-1], items)

    def _add_items(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise RefusedError(f"additions to {shortly(self.stack[-1])}")
        self.stack[-1].update(map(self._key, items))

    def _frozen_set(self) -> None:
        members = self.pop_mark()
        self.append(frozenset(map(self._key, members)))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **_Reader.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.BYTEARRAY8[0]: _bytearray8,
        pickle.DICT[0]: _dict,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _frozen_set,
    }


class _Bounded:
    """A file of which never more is asked than it has: whoever asks makes room first.

    Args:
        file: Open for reading, able to seek.

    Attributes:
        size: Bytes from where it stands to its end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        here = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(here)
        self.size = self._end - here
        self.readline = file.readline  # it makes no room before it finds the bytes

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            pickle.UnpicklingError: If there are not nearly so many.
        """
        if size > _SMALL_BYTES and size > self._end - self._file.tell():
            raise pickle.UnpicklingError(f"it announces {size} bytes and ends before them")
        return self._file.read(size)


def load_plain(file: IO[bytes], name: str) -> Any:
    """Reads a pickle of plain values without running anything it names.

    Memory is bounded by some 200 times the file's size (a byte can be an empty set), time by its size.

    Args:
        file: Open for reading.
        name: Of the file, for messages.

    Returns:
        Lists, tuples, dictionaries, sets, texts, bytes, numbers, truth values and None.

    Raises:
        JobError: If it is no pickle, or holds anything else.
    """
    return loaded(RestrictedReader(file), name, "plain values: lists, dictionaries, texts, numbers")


def loaded(reader: RestrictedReader, name: str, what: str) -> Any:
    """What a reader reads; whatever it says of the pickle becomes a sentence.

    Args:
        reader: Of an open file.
        name: Of the file, for messages.
        what: The values that are expected, for messages.

    Raises:
        JobError: If it is no pickle, or holds something else.
    """
    try:
        return reader.load()
    except RefusedError as error:
        raise JobError(
            f"{name}: expected a pickle of {what}, found {error}: nothing of it was run; leave it unless you "
            "know who made it"
        ) from error
    except MemoryError as error:
        raise JobError(f"{name}: this pickle does not fit into memory: split it where it was made") from error
    except _BROKEN as error:
        raise JobError(
            f"{name}: expected a pickle, cannot read it: {error or type(error).__name__}"
        ) from error


def hashable(value: Any) -> Any:
    """A key of a dictionary, or a member of a set, whose hash is quickly found.

    That of tuples in tuples takes for ever: each level can stand twice in the next. That of a long tuple is
    found anew for each time that it is a key. Long numbers can be chosen so that all their hashes are one.

    Raises:
        RefusedError: If it is neither a text, a number of up to 64 bits nor a short tuple of such.
    """
    parts = value if type(value) is tuple else (value,)
    if len(parts) > _TUPLE_PARTS:
        raise RefusedError(f"a key that is a tuple of {len(parts)} parts")
    for part in parts:
        if type(part) not in _KEYS:
            raise RefusedError(f"a key that is {shortly(value)}")
        if type(part) is int and part.bit_length() > _KEY_BITS:
            raise RefusedError(f"a key that is a number of more than {_KEY_BITS} bits")
    return value


def shortly(value: object) -> str:
    """A value of a pickle, for messages: its type alone where it can be of any size."""
    is_short = isinstance(value, str) or (isinstance(value, int) and value.bit_length() <= 64)
    return f"{type(value).__name__} {value!r}"[:80] if is_short else type(value).__name__
