"""The formats by name."""

from importlib import import_module

from extraction.errors import JobError
from storage.exports.protocol import Format

# Each has FORMATS, a tuple. Imported when asked for: what lists the commands needs none of them.
_MODULES: tuple[str, ...] = (
    *("slt", "twostream", "mska", "unisign", "openhands", "pyskl"),
    *("kaggle", "pose_file", "seed", "npz", "long_csv"),
)


def formats() -> dict[str, Format]:
    """Every format by its name, in the order of the list that users see."""
    modules = [import_module(f"storage.exports.{name}") for name in _MODULES]
    return {known.name: known for module in modules for known in module.FORMATS}


def format_named(name: str) -> Format:
    """The format of a name.

    Raises:
        JobError: If there is none, naming all there are.
    """
    known = formats()
    if name not in known:
        raise JobError(f"--format: expected one of {', '.join(known)}, found {name!r}")
    return known[name]
