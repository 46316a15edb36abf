"""Pictures one after another to a video: MP4 through FFmpeg, GIF and WebP through Pillow."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import numpy as np

from extraction.draw import Image
from extraction.drawn_files import whole_or_absent
from extraction.errors import JobError

FORMATS = ("mp4", "gif", "webp")

# x264 first: its files are the smallest. openh264 is what builds without GPL code have.
_H264_ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf")
_QUALITY: dict[str, dict[str, object]] = {"libx264": {"crf": "20", "preset": "medium"}}

MAX_ANIMATION_PIXELS = 400_000_000
"""Of all frames of a GIF or WebP together; Pillow keeps them in memory until the file is written."""

_WEBP_QUALITY = 80


def write_video(path: str, pictures: Iterator[Image], fps: float) -> int:
    """Writes pictures as they come; the file is whole or absent.

    Args:
        path: Of the file; its extension, one of :data:`FORMATS`, says the format.
        pictures: uint8 (H, W, 3), RGB, one or more, all as large as the first. MP4 takes any number with the
            memory of a few; a GIF or WebP is kept in memory.
        fps: Pictures per second, above 0.

    Returns:
        How many there were.

    Raises:
        JobError: If there is no picture, no encoder, too much for a GIF or WebP, or the file cannot be
            written.
    """
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in FORMATS:
        raise JobError(f"{path}: expected a video of {', '.join(FORMATS)}, found {kind!r}")
    first = next(pictures, None)
    if first is None:
        raise JobError(f"{path}: there is no frame to draw")
    counted = _Counted(chain([first], pictures), first.shape)
    with whole_or_absent(path) as temporary:
        (_write_mp4 if kind == "mp4" else _write_animation)(temporary, counted, fps)
    return counted.number


class _Counted:
    """Pictures as they pass, checked and counted."""

    def __init__(self, pictures: Iterator[Image], shape: tuple[int, ...]) -> None:
        self._pictures, self._shape, self.number = pictures, shape, 0

    def __iter__(self) -> Iterator[Image]:
        for picture in self._pictures:
            if picture.shape != self._shape:
                raise ValueError(f"expected all pictures {self._shape}, found {picture.shape}")
            self.number += 1
            yield picture


def h264_encoder() -> str:
    """The encoder of this PyAV that makes H.264.

    Raises:
        JobError: If it has none.
    """
    import av

    for name in _H264_ENCODERS:
        with contextlib.suppress(Exception):
            av.Codec(name, "w")
            return name
    raise JobError(
        f"this build of PyAV {av.__version__} has no H.264 encoder ({', '.join(_H264_ENCODERS)}): install "
        "its wheel ('pip install --force-reinstall --only-binary av av'), or give --video gif or webp"
    )


def _write_mp4(path: str, pictures: _Counted, fps: float) -> None:
    import av
    from av.video.stream import VideoStream

    name = h264_encoder()
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: VideoStream | None = None
        for picture in pictures:
            even = _even(picture)
            if stream is None:
                added = container.add_stream(name, rate=Fraction(fps).limit_denominator(1001))
                assert isinstance(added, VideoStream)
                stream = added
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"  # what every player shows
                stream.options = dict(_QUALITY.get(name, {}))
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        assert stream is not None
        for packet in stream.encode():
            container.mux(packet)


def _even(picture: Image) -> Image:
    """With an even number of rows and columns, as H.264 in 4:2:0 has them; the last one is repeated."""
    height, width = picture.shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(picture, odd, mode="edge") if height % 2 or width % 2 else picture)


def _write_animation(path: str, pictures: _Counted, fps: float) -> None:
    from PIL import Image as Pillow

    images = []
    for picture in pictures:
        if picture.shape[0] * picture.shape[1] * pictures.number > MAX_ANIMATION_PIXELS:
            raise JobError(
                f"frame {pictures.number} is one too many for a {path[-4:].lstrip('.').upper()} of "
                f"{picture.shape[1]}x{picture.shape[0]} px, which is made in memory: give --video mp4, "
                "--every N to take every N-th frame, or a smaller --image-size"
            )
        images.append(Pillow.fromarray(picture))
    more = {"quality": _WEBP_QUALITY} if path.endswith("webp") else {"optimize": True}
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=_durations_ms(len(images), fps, path), loop=0,
        **more,
    )  # fmt: skip


def _durations_ms(count: int, fps: float, path: str) -> list[int]:
    """How long each picture stands. A GIF counts in 10 ms: rounded so that the whole is as long as it was."""
    unit = 10 if path.endswith("gif") else 1
    ends = [round((index + 1) * 1000 / fps / unit) * unit for index in range(count)]
    return [max(unit, end - start) for start, end in zip([0, *ends], ends, strict=False)]
