"""Shares over time as one line of text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# From nothing to all: U+2581 to U+2588, the lower eighths of a block. Nothing has its own mark, so that a
# gap can be told from the end of the line.
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.:-=+*#"
"""The same where the terminal has no such characters."""


def binned(flags: NDArray[np.bool_], bins: int) -> list[float]:
    """Shares of flags in equal stretches.

    Args:
        flags: bool (T,), T 1 or more.
        bins: How many stretches at most; T where there are fewer flags.

    Returns:
        Shares in [0, 1].
    """
    edges = np.linspace(0, len(flags), min(bins, len(flags)) + 1).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    return [float(share) for share in np.diff(running[edges]) / np.diff(edges)]


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
