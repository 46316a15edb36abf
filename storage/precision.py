"""How exactly coordinates are stored."""

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("float32", "float16")
"""Of coordinates and scores: as the detector gave them, or rounded by :func:`rounded`."""
_DROPPED_BITS = 13
"""A float32 has 23 bits behind the point, a float16 has 10."""


def rounded(values: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
    """Values as they are stored: with float16's 11 significant bits, or as they are.

    The column stays one of float32, whose dropped bits compress to next to nothing: every reader goes on
    unchanged, and what is too large or too small for a float16 is kept all the same.

    Args:
        values: float32 of any shape.
        precision: One of :data:`PRECISIONS`.

    Returns:
        float32 of the same shape; rounded to the nearest, halves to the even; NaN bit for bit as it was.
    """
    if precision == "float32":
        return values
    bits = np.ascontiguousarray(values).view(np.uint32)
    half = np.uint32((1 << (_DROPPED_BITS - 1)) - 1) + ((bits >> np.uint32(_DROPPED_BITS)) & np.uint32(1))
    kept = (bits + half) & np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    return np.where(np.isnan(values), bits, kept).view(np.float32)
