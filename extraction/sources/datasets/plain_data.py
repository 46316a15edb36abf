"""Reads a pickle of lists, dictionaries, texts and numbers; whatever else one asks for is refused."""

import pickle
from typing import Any, NoReturn

from extraction.errors import JobError


class _BuiltinsOnly(pickle.Unpickler):
    """Builds what a pickle's own instructions can build, and never looks up a class or a function."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuses every name: plain data needs none.

        Raises:
            pickle.UnpicklingError: Always.
        """
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuses objects that are kept elsewhere.

        Raises:
            pickle.UnpicklingError: Always.
        """
        raise pickle.UnpicklingError(f"it asks for the object {pid!r} outside of it")


def read_plain_data(path: str) -> Any:
    """Reads a pickle without running anything that is in it.

    Args:
        path: A local file.

    Returns:
        Lists, tuples, dictionaries, sets, texts, bytes, numbers, truth values and None.

    Raises:
        JobError: If it cannot be read, or needs a class or a function.
    """
    try:
        with open(path, "rb") as file:
            return _BuiltinsOnly(file).load()
    except OSError as error:
        raise JobError(f"{path}: expected a pickle of annotations, found: {error.strerror}.") from error
    # A damaged pickle can fail in every way that its instructions can.
    except Exception as error:
        raise JobError(
            f"{path}: expected a pickle of lists, dictionaries, texts and numbers, and no more: {error}. "
            "Get it from the makers of the data set again."
        ) from error
