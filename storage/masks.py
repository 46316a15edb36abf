"""Masks as they stand in a data set: PNG files of 8 bits and one channel, decoded and counted."""

import io
import struct

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY_8 = (8, 0)
"""Bits a sample, and the type of colour that means one channel (PNG, section 11.2.1, IHDR)."""


def read_mask(png: bytes, size_px: tuple[int, int]) -> Mask:
    """Decodes a mask.

    Args:
        png: As it stands in the column ``mask_png``.
        size_px: Width and height that it must have: a header alone makes nobody reserve memory.

    Returns:
        uint8 (H, W): classes, or confidences in 1/255.

    Raises:
        ValueError: If the bytes are no whole PNG of that form and size.
    """
    from PIL.PngImagePlugin import PngImageFile  # here, so that importing storage stays cheap

    if png[:8] != _SIGNATURE or png[12:16] != b"IHDR" or len(png) < 26:
        raise ValueError("is not a PNG")
    width, height, *form = struct.unpack(">IIBB", png[16:26])
    if tuple(form) != _GRAY_8:
        raise ValueError(f"has {form[0]} bits of the PNG colour type {form[1]}, expected 8 bits of type 0")
    if (width, height) != size_px:
        raise ValueError(f"is {width}x{height} px, its frame {size_px[0]}x{size_px[1]}")
    try:
        return np.array(PngImageFile(io.BytesIO(png)), np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise ValueError(f"is a damaged PNG: {error}") from error
