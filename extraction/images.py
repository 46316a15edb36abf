"""An image file's bytes to RGB, or a sentence that says why not. The header is read before any pixel."""

import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, TiffImagePlugin

RgbImage = NDArray[np.uint8]

_PNG_START = b"\x89PNG\r\n\x1a\n"
# Whatever else a PNG holds (colour profiles, compressed texts, animation frames) cv2 makes no use
# of, but allocates as the file bids it: a file of 57 bytes can cost 1.1 GB.
_PNG_CHUNKS_USED = frozenset((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"))

_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
# No marker, and no fill bits: whatever a cut picture still needs, it decodes to other pixels than
# the zeros that libjpeg supplies where the end marker comes too early.
_JPEG_STRANGE_TAIL = bytes(range(1, 129))

_TIFF_BITS, _TIFF_SAMPLE_FORMAT, _TIFF_UNSIGNED = 258, 339, 1

# The largest legitimate file is an uncompressed one with 4 channels of 16 bits.
_MOST_BYTES_PER_PIXEL = 8
_HEADER_ALLOWANCE_BYTES = 1 << 20


class UnreadableFrame(ValueError):  # noqa: N818  (an expected outcome of one frame, not a failure of the program)
    """One frame cannot be had; the text says why, and becomes the frame's status."""


def read_image(path: str, max_pixels: int) -> RgbImage:
    """Reads and decodes one image file.

    Args:
        path: A local file, as the functions of :mod:`os` want it.
        max_pixels: As for :func:`decode_image`.

    Returns:
        uint8 (H, W, 3), RGB, C-contiguous.

    Raises:
        UnreadableFrame: If the file cannot be read, is no regular file, or cannot be decoded.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise UnreadableFrame("cannot be read: not a regular file")
        if status.st_size > max_pixels * _MOST_BYTES_PER_PIXEL + _HEADER_ALLOWANCE_BYTES:
            raise UnreadableFrame(
                f"too large: {status.st_size} bytes cannot be needed by --max-pixels {max_pixels}"
            )
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError as error:
        raise UnreadableFrame(f"cannot be read: {error.strerror or error}") from error
    return decode_image(data, max_pixels)


def decode_image(data: bytes, max_pixels: int) -> RgbImage:
    """Decodes a PNG, JPEG, WebP, TIFF or BMP image, whatever its bit depth and colour type.

    The EXIF orientation of JPEG, PNG and TIFF is applied; alpha is dropped, so that a transparent
    pixel shows its colour; of an animation the first picture is taken. The pixels are those of
    ``cv2.imread`` in reversed channel order.

    Args:
        data: The whole file. Its content decides the format, and bytes after its end do not matter.
        max_pixels: Width times height above which nothing is decoded.

    Returns:
        uint8 (H, W, 3), RGB, C-contiguous.

    Raises:
        UnreadableFrame: If this is no such image, or damaged, or too large; nothing else.
    """
    if not data:
        raise UnreadableFrame("empty file")
    for decode, *starts in _DECODERS:
        if data.startswith(tuple(starts)) and (decode is not _decode_webp or data[8:12] == b"WEBP"):
            return decode(data, max_pixels)
    raise UnreadableFrame(f"not an image (PNG, JPEG, WebP, TIFF, BMP): starts with {_quoted(data[:16])}")


def _decode_png(data: bytes, max_pixels: int) -> RgbImage:
    return _decode_with_cv2("PNG", _essential_png(data, max_pixels))


def _essential_png(data: bytes, max_pixels: int) -> bytes:
    """Walks a PNG's chunks, checks every length and checksum, and drops what no pixel depends on."""
    kept = [_PNG_START]
    position, view = len(_PNG_START), memoryview(data)
    while True:
        if position + 12 > len(data):
            raise UnreadableFrame(f"PNG damaged: ends after {len(data)} bytes, before its last chunk")
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + length + 12
        if end > len(data):
            raise UnreadableFrame(
                f"PNG damaged: chunk {_quoted(kind)} should end at byte {end}, the file has {len(data)}"
            )
        if zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise UnreadableFrame(f"PNG damaged: wrong checksum of chunk {_quoted(kind)} at byte {position}")
        if position == len(_PNG_START):
            if kind != b"IHDR" or length != 13:
                raise UnreadableFrame(f"PNG damaged: starts with chunk {_quoted(kind)}, expected IHDR")
            width, height = struct.unpack_from(">II", data, position + 8)
            _check_size("PNG", width, height, max_pixels)
        if kind in _PNG_CHUNKS_USED:
            kept.append(data[position:end])
        position = end
        if kind == b"IEND":
            return b"".join(kept)


def _decode_jpeg(data: bytes, max_pixels: int) -> RgbImage:
    _check_size("JPEG", *_header("JPEG", JpegImagePlugin.JpegImageFile, data).size, max_pixels)
    if data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
        return _decode_jpeg_without_end(data)
    return _decode_with_cv2("JPEG", data)


def _decode_jpeg_without_end(data: bytes) -> RgbImage:
    """Decodes a JPEG whose end marker is missing, if only that is missing.

    Decoders fill up a cut picture with grey. A whole picture does not depend on what follows it,
    so it is decoded twice with different bytes behind it. A tail of zeros is what a copy that
    broke off leaves behind; zeros are valid picture data, and are taken away first.
    """
    data = data.rstrip(b"\0")
    image = _decode_with_cv2("JPEG", data + _JPEG_END)
    if not np.array_equal(image, _decode_with_cv2("JPEG", data + _JPEG_STRANGE_TAIL + _JPEG_END)):
        raise UnreadableFrame(f"JPEG damaged: ends after {len(data)} bytes, within the picture")
    return image


def _decode_webp(data: bytes, max_pixels: int) -> RgbImage:
    # By hand: Pillow allocates the canvas as soon as it opens a WebP.
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", body, 6))
    _check_size("WebP", width, height, max_pixels)
    return _decode_with_cv2("WebP", data)


def _decode_tiff(data: bytes, max_pixels: int) -> RgbImage:
    with warnings.catch_warnings():  # Pillow warns of damage that cv2 decides about
        warnings.simplefilter("ignore")
        header = _header("TIFF", TiffImagePlugin.TiffImageFile, data)
        _check_size("TIFF", *header.size, max_pixels)
        tags = header.tag_v2  # type: ignore[attr-defined]
        bits, sample_formats = tags.get(_TIFF_BITS, (1,)), tags.get(_TIFF_SAMPLE_FORMAT, (_TIFF_UNSIGNED,))
        if max(bits) > 16 or set(sample_formats) != {_TIFF_UNSIGNED}:
            # Nothing says which of their values is white.
            raise UnreadableFrame("TIFF of samples that are not unsigned integers of 16 bits or less")
        if header.mode in ("RGBA", "RGBa", "LA"):  # cv2 would blend them with black
            try:
                return np.array(header.convert("RGB"))
            except Exception as error:
                raise UnreadableFrame(f"TIFF damaged: {error}") from error
    return _decode_with_cv2("TIFF", data)


def _decode_bmp(data: bytes, max_pixels: int) -> RgbImage:
    _check_size("BMP", *_header("BMP", BmpImagePlugin.BmpImageFile, data).size, max_pixels)
    return _decode_with_cv2("BMP", data)


# What decodes a file, by its first bytes.
_DECODERS: tuple[tuple[Callable[[bytes, int], RgbImage], *tuple[bytes, ...]], ...] = (
    (_decode_png, _PNG_START),
    (_decode_jpeg, b"\xff\xd8\xff"),
    (_decode_webp, b"RIFF"),
    (_decode_tiff, b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    (_decode_bmp, b"BM"),
)


def _header(name: str, reader: Callable[[BytesIO], ImageFile.ImageFile], data: bytes) -> ImageFile.ImageFile:
    """Reads a header with Pillow; not by Image.open, whose own limit warns or raises before ours."""
    try:
        return reader(BytesIO(data))
    except Exception as error:  # hostile bytes end in SyntaxError, struct.error, KeyError, ...
        raise UnreadableFrame(f"{name} damaged: {error}") from error


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width <= 0 or height <= 0:
        raise UnreadableFrame(f"{name} damaged: its header says {width}x{height} px")
    if width * height > max_pixels:
        raise UnreadableFrame(f"too large: {width}x{height} px is above --max-pixels {max_pixels}")


def _decode_with_cv2(name: str, data: bytes) -> RgbImage:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UnreadableFrame(f"{name} damaged: {error.err}") from error
    if image is None:
        raise UnreadableFrame(f"{name} damaged: its picture data cannot be decoded")
    return np.asarray(image, np.uint8)


def _quoted(start: bytes) -> str:
    return repr(start.decode("ascii")) if start.isascii() else repr(start)
