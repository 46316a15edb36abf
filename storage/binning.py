"""How often something is so, in equal stretches of time."""

import numpy as np
from numpy.typing import NDArray


def binned(flags: NDArray[np.bool_], bins: int) -> list[float]:
    """Shares of flags in equal stretches.

    Args:
        flags: bool (T,).
        bins: How many stretches at most; T where there are fewer flags.

    Returns:
        Each in [0, 1].
    """
    edges = np.linspace(0, len(flags), min(bins, len(flags)) + 1).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    return [float(share) for share in np.diff(running[edges]) / np.diff(edges)]
