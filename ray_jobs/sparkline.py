"""Shares over time as one line of text."""

from collections.abc import Sequence

from storage.binning import binned

# From nothing to all: U+2581 to U+2588, the lower eighths of a block. Nothing has its own mark, so that a
# gap can be told from the end of the line.
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.:-=+*#"
"""The same where the terminal has no such characters."""


def sparkline(shares: Sequence[float], encoding: str = "utf-8") -> str:
    """A character for each share.

    Args:
        shares: In [0, 1]. Only 0 gives the lowest mark, and only 1 the highest.
        encoding: Of the terminal; where it has no blocks, plain characters stand for them.
    """
    try:
        BLOCKS.encode(encoding)
        marks = BLOCKS
    except (UnicodeEncodeError, LookupError):
        marks = PLAIN
    return "".join(_mark(share, marks) for share in shares)


def _mark(share: float, marks: str) -> str:
    if share <= 0 or share >= 1:
        return marks[0] if share <= 0 else marks[-1]
    return marks[1 + min(int(share * (len(marks) - 2)), len(marks) - 3)]


__all__ = ["BLOCKS", "PLAIN", "binned", "sparkline"]
