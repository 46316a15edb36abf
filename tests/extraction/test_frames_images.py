import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from extraction.clips import Clip
from extraction.errors import ClipError, JobError
from extraction.frames import FrameOptions, open_frames
from extraction.images import UnreadableFrame, decode_image

MAX_PIXELS = FrameOptions().max_pixels

PICTURE = (260, 210)
HOSTILE: dict[str, tuple[int, int] | str] = {
    "animated.gif": "not an image",
    "animated.webp": PICTURE,
    "apng.png": PICTURE,
    "bad_ihdr_crc.png": "wrong checksum of chunk 'IHDR'",
    "bit1.png": PICTURE,
    "bitflip_idat.png": "wrong checksum of chunk 'IDAT'",
    "black.png": PICTURE,
    "bomb_20000x20000_1bit.png": "too large: 20000x20000 px is above --max-pixels 50000000",
    "cmyk.jpg": PICTURE,
    "exif_rot90.jpg": PICTURE,
    "exif_rot90.png": PICTURE,
    "gray.png": PICTURE,
    "html_404.png": "starts with '<!DOCTYPE html><'",
    "huge_dims_header.png": "too large: 65500x65500 px",
    "jpeg_named.png": PICTURE,
    "noise.png": PICTURE,
    "one_byte.png": "not an image",
    "one_px.png": (1, 1),
    "palette.png": PICTURE,
    "png_named.jpg": PICTURE,
    "rgb16.png": PICTURE,
    "rgba.png": PICTURE,
    "rgba_alpha0.png": PICTURE,
    "rotated90_noexif.png": (210, 260),
    "size_change_420x520.png": (520, 420),
    "text.png": "starts with 'this is not an i'",
    "trailing_garbage.png": PICTURE,
    "trunc_50.png": "should end at byte 41053, the file has 33041",
    "trunc_60.jpg": "JPEG damaged: ends after 13524 bytes",
    "trunc_99.png": "PNG damaged",
    "trunc_header.png": "chunk 'IHDR' should end at byte 33, the file has 20",
    "white.png": PICTURE,
    "wide_4000x2.png": (2, 4000),
    "zero.png": "empty file",
    "zero_width.png": "its header says 0x260 px",
    "zeros_tail.png": "PNG damaged",
}


def picture(height: int = 61, width: int = 83) -> NDArray[np.uint8]:
    """A smooth picture with an asymmetric mark: uint8 (height, width, 3), RGB."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)
    image[: height // 4, : width // 3] = (250, 20, 30)
    return image


def saved(image: NDArray[np.uint8] | Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, fmt, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def decoded(data: bytes) -> NDArray[np.uint8]:
    image = decode_image(data, MAX_PIXELS)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.flags.c_contiguous
    return image


def test_every_hostile_file_ends_as_expected(hostile_images: Path) -> None:
    clip = Clip("hostile", str(hostile_images), "frames")
    stream = open_frames(clip, FrameOptions(default_fps=50.0))
    found: dict[str, tuple[int, int] | str] = {}
    for position, frame in enumerate(stream.frames):
        assert (frame.index, frame.timestamp_ms) == (position, position * 20.0)
        assert (frame.image is None) != (frame.error is None)
        if frame.image is None:
            assert frame.error is not None
            expected = HOSTILE.get(frame.name, "")
            # Equal where the expected words stand in the reason.
            found[frame.name] = (
                expected if isinstance(expected, str) and expected in frame.error else frame.error
            )
        else:
            found[frame.name] = frame.image.shape[:2]
    names = {name for name in HOSTILE if not name.endswith(".gif")}  # no frame by its name
    assert stream.num_frames == len(names)
    assert found == {name: HOSTILE[name] for name in names}
    assert stream.fps == 50.0


def test_gif_is_refused_by_content(hostile_images: Path) -> None:
    with pytest.raises(UnreadableFrame, match="not an image"):
        decode_image((hostile_images / "animated.gif").read_bytes(), MAX_PIXELS)


def test_hostile_files_cost_little_memory(hostile_images: Path) -> None:
    code = """
import pathlib, sys
from extraction.frames import FrameOptions
from extraction.images import UnreadableFrame, decode_image
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        decode_image(file.read_bytes(), FrameOptions().max_pixels)
    except UnreadableFrame:
        pass
# Not ru_maxrss, which begins at the parent's.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(hostile_images)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(ran.stdout) < 700


def test_phoenix_pixels_are_those_of_imread(phoenix_root: Path) -> None:
    folder = phoenix_root / "dev/french_a1"
    frames = list(open_frames(Clip("dev/french_a1", str(folder), "frames"), FrameOptions()).frames)
    assert [frame.name for frame in frames] == sorted(p.name for p in folder.glob("*.png"))
    for frame in frames:
        expected = cv2.cvtColor(cv2.imread(str(folder / frame.name)), cv2.COLOR_BGR2RGB)
        assert frame.image is not None
        np.testing.assert_array_equal(frame.image, expected)
        assert frame.timestamp_ms == frame.index * 40.0


LOSSLESS = {
    "png": lambda p: saved(p, "PNG"),
    "png with profile and text": lambda p: saved(p, "PNG", icc_profile=b"\0" * 500, pnginfo=_text()),
    "png rgba transparent": lambda p: saved(np.dstack([p, np.zeros_like(p[..., 0])]), "PNG"),
    "png with a transparent colour": lambda p: saved(p, "PNG", transparency=(250, 20, 30)),
    "png 16 bit": lambda p: _cv2_encoded(".png", p[..., ::-1].astype(np.uint16) * 257),
    "png trailing garbage": lambda p: saved(p, "PNG") + os.urandom(1000),
    "apng": lambda p: saved(p, "PNG", save_all=True, append_images=[Image.fromarray(p[::-1])]),
    "apng with a default image": lambda p: saved(
        p, "PNG", save_all=True, default_image=True, append_images=[Image.fromarray(p[::-1].copy())] * 2
    ),
    "webp": lambda p: saved(p, "WEBP", lossless=True),
    "webp rgba": lambda p: saved(
        np.dstack([p, np.full_like(p[..., 0], 9)]), "WEBP", lossless=True, exact=True
    ),
    "webp animated": lambda p: saved(
        p, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(p[::-1].copy())]
    ),
    "bmp": lambda p: saved(p, "BMP"),
    "tiff": lambda p: saved(p, "TIFF"),
    "tiff lzw": lambda p: saved(p, "TIFF", compression="tiff_lzw"),
    "tiff 16 bit": lambda p: _cv2_encoded(".tiff", p[..., ::-1].astype(np.uint16) * 257),
    "tiff rgba transparent": lambda p: saved(np.dstack([p, np.zeros_like(p[..., 0])]), "TIFF"),
}


def _text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 5000, zip=True)
    return info


def _cv2_encoded(extension: str, image: NDArray[np.uint16]) -> bytes:
    return cv2.imencode(extension, image)[1].tobytes()


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_back_the_picture(name: str) -> None:
    np.testing.assert_array_equal(decoded(LOSSLESS[name](picture())), picture())


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "I;16"])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_colour_types_become_rgb(mode: str, fmt: str) -> None:
    gray = Image.fromarray(picture()).convert("L")
    if mode == "I;16":
        data = saved(Image.fromarray(np.asarray(gray).astype(np.uint16) * 257), fmt)
        expected = np.asarray(gray.convert("RGB"))
    else:
        image = Image.fromarray(picture()).convert(mode)
        data, expected = saved(image, fmt), np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decoded(data), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(mode: str, progressive: bool) -> None:
    image = Image.fromarray(picture()).convert(mode)
    found = decoded(saved(image, "JPEG", quality=95, progressive=progressive))
    assert np.abs(found.astype(int) - np.asarray(image.convert("RGB"))).mean() < 4


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(fmt: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"tiffinfo": {0x112: orientation}} if fmt == "TIFF" else {"exif": exif.tobytes()}
    upright = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
        8: np.rot90,
    }[orientation](picture())
    found = decoded(saved(picture(), fmt, **options))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_no_cut_file_gives_a_picture(fmt: str) -> None:
    data = saved(picture(), fmt)
    # The last two bytes may be missing from a JPEG, and padding from the others.
    for length in range(1, len(data) - 16, max(1, len(data) // 60)):
        with pytest.raises(UnreadableFrame):
            decode_image(data[:length], MAX_PIXELS)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_whole_jpeg_without_end_marker_is_read(progressive: bool) -> None:
    data = saved(picture(), "JPEG", progressive=progressive)
    for without_end in (data[:-2], data[:-1], data[:-2] + bytes(4096)):
        np.testing.assert_array_equal(decoded(without_end), decoded(data))


def test_a_jpeg_that_ends_in_zeros_is_damaged() -> None:
    data = saved(picture(), "JPEG")
    with pytest.raises(UnreadableFrame, match="JPEG damaged"):
        decode_image(data[: len(data) * 8 // 10].ljust(len(data), b"\0"), MAX_PIXELS)


def test_float_tiff_is_refused_rather_than_black() -> None:
    data = _cv2_encoded(".tiff", picture().astype(np.float32) / 255)
    with pytest.raises(UnreadableFrame, match="TIFF"):
        decode_image(data, MAX_PIXELS)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_size_limit_is_exact_and_silent(fmt: str) -> None:
    data = saved(picture(100, 100), fmt)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data, 10_000).shape == (100, 100, 3)
        with pytest.raises(UnreadableFrame, match="too large: 100x100 px is above --max-pixels 9999"):
            decode_image(data, 9_999)


def test_webp_sizes_of_all_three_headers() -> None:
    kinds = (
        saved(picture(), "WEBP"),
        saved(picture(), "WEBP", lossless=True),
        saved(picture(), "WEBP", exif=b"x"),
    )
    assert {data[12:16] for data in kinds} == {b"VP8 ", b"VP8L", b"VP8X"}
    for data in kinds:
        with pytest.raises(UnreadableFrame, match="83x61"):
            decode_image(data, 1)


def test_png_chunk_that_claims_a_gigabyte_is_not_believed() -> None:
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))
    data = header + struct.pack(">I", 1 << 30) + b"iCCPx\0\0" + bytes(10)
    with pytest.raises(UnreadableFrame, match="should end at byte 1073741869"):
        decode_image(data, MAX_PIXELS)


def test_png_data_too_short_under_right_checksums_is_damaged() -> None:
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    data = header + chunk(b"IDAT", zlib.compress(bytes(64 * 193 // 2))) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableFrame, match="PNG damaged"):
        decode_image(data, MAX_PIXELS)


_MUTABLE = [
    saved(picture(20, 24), fmt, **options)
    for fmt, options in (
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("BMP", {}),
    )
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.sampled_from(_MUTABLE),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=5),
    length=st.floats(0, 1),
)
def test_mutated_files_raise_nothing_else(
    data: bytes, edits: list[tuple[float, bytes]], length: float
) -> None:
    mutated = bytearray(data)
    for place, new in edits:
        at = int(place * len(mutated))
        mutated[at : at + len(new)] = new
    try:
        image = decode_image(bytes(mutated[: int(length * len(mutated))] if length < 0.5 else mutated), 10**6)
    except UnreadableFrame:
        pass
    else:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3


def test_what_cannot_be_read_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "f2.png").write_bytes(saved(picture(), "PNG"))
    (tmp_path / "f10.png").write_bytes(b"<html>404</html>")
    (tmp_path / "f1.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "f3.png").symlink_to(tmp_path / "f3.png")
    with open(tmp_path / "f4.png", "wb") as file:
        file.truncate(1 << 40)
    frames = list(open_frames(Clip("c", str(tmp_path), "frames", fps=10.0), FrameOptions()).frames)
    assert [(f.name, f.timestamp_ms) for f in frames] == [
        ("f1.png", 0.0),
        ("f2.png", 100.0),
        ("f3.png", 200.0),
        ("f4.png", 300.0),
        ("f10.png", 400.0),
    ]
    assert [f.error and f.error.split(":")[0] for f in frames] == [
        "cannot be read",
        None,
        "cannot be read",
        "too large",
        "not an image (PNG, JPEG, WebP, TIFF, BMP)",
    ]
    assert frames[0].error == "cannot be read: No such file or directory"


def test_a_file_that_turns_into_a_pipe_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(picture(), "PNG"))
    stream = open_frames(Clip("c", str(tmp_path), "frames"), FrameOptions())
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    assert [f.error for f in stream.frames] == ["cannot be read: not a regular file"]


def test_names_that_are_not_unicode_are_read(tmp_path: Path) -> None:
    file = os.path.join(os.fsencode(tmp_path), b"a\xff.png")
    with open(file, "wb") as out:
        out.write(saved(picture(), "PNG"))
    (frame,) = open_frames(Clip("c", str(tmp_path), "frames"), FrameOptions()).frames
    assert frame.name == "a\\xff.png"
    assert frame.error is None


@pytest.mark.parametrize(
    ("kind", "reason"), [("gone", "missing"), ("file", "not-a-folder"), ("empty", "no-frames")]
)
def test_folders_that_cannot_be_opened(tmp_path: Path, kind: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ClipError) as caught:
        open_frames(Clip("c", str(tmp_path / kind), "frames"), FrameOptions())
    assert (caught.value.stage, caught.value.reason) == ("open", reason)


def test_options_are_checked() -> None:
    with pytest.raises(JobError, match="max_pixels must be 1 or more, found 0"):
        FrameOptions(max_pixels=0)
    with pytest.raises(JobError, match="default_fps must be above 0 and finite, found nan"):
        FrameOptions(default_fps=float("nan"))
