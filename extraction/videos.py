"""A video file to RGB frames, one for each picture that its container promises."""

import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, takewhile

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from extraction.clips import Clip
from extraction.errors import ClipError
from extraction.images import RgbImage
from extraction.owed_pictures import OwedPictures

Picture = tuple[float, RgbImage | None, str | None]
"""Milliseconds from the first picture; the image, or None and why it is missing."""

_OPTIONS = {
    # Only demuxers that read the one file: a playlist called x.mp4 would open others, and addresses.
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg",
    "protocol_whitelist": "file",
}
# PyAV's errors are OSErrors or ValueErrors, by their FFmpeg code.
_AV_ERRORS = (av.FFmpegError, OSError, ValueError)
_SOUGHT = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers whose packets all say when their picture is shown."""
_SEEKS = 8


@dataclass(frozen=True, slots=True)
class Video:
    """An open video.

    Attributes:
        fps: Average rate of the container; None where it is silent.
        pictures: In the order of presentation; the file is closed at its end.
    """

    fps: float | None
    pictures: Iterator[Picture]


def open_video(clip: Clip, max_pixels: int) -> Video:
    """Opens the best video stream of a file.

    Args:
        clip: A clip of kind ``"video"``.
        max_pixels: Width times height above which a picture is unreadable, and not decoded.

    Returns:
        Its rate and its pictures; each is decoded when it is asked for.

    Raises:
        ClipError: If the file is missing, cannot be read, is no video or holds no video stream.
    """
    path = os.path.abspath(clip.path)
    _check_file(clip, path)
    container, stream = _open(clip, path, max_pixels)
    rate, unit_ms = stream.average_rate or stream.guessed_rate, _unit_ms(stream)
    file_size = os.path.getsize(path)
    if clip.is_part:
        container.close()
        timed = _timed_pictures_of_part(clip, lambda: _open(clip, path, max_pixels), file_size, max_pixels)
    else:
        timed = _all_timed_pictures(container, stream, file_size, max_pixels)
    return Video(fps=float(rate) if rate and rate > 0 else None, pictures=_pictures(timed, unit_ms))


_Opened = tuple[InputContainer, VideoStream]
_TimedPicture = tuple[int, RgbImage | None, str | None]


def _open(clip: Clip, path: str, max_pixels: int) -> _Opened:
    try:
        container = av.open(path, options=_OPTIONS)
    except _AV_ERRORS as error:
        raise ClipError("open", "not-a-video", f"{clip.uri}: not a video: {_said(error)}") from error
    stream = next((s for s in container.streams.video if not _is_cover(s)), None)
    if stream is None:
        found = ", ".join(sorted({s.type for s in container.streams})) or "none"
        container.close()
        raise ClipError("open", "no-video-stream", f"{clip.uri}: no video stream, found streams: {found}")
    if stream.codec_context is None:
        container.close()
        raise ClipError("open", "no-decoder", f"{clip.uri}: its video stream is in a codec without decoder")
    # One core a worker: the frames of other clips are decoded on the other cores.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    # A stream can grow on its way. Twice, because FFmpeg counts its padding.
    stream.codec_context.options = {"max_pixels": str(2 * max_pixels)}
    return container, stream


def _unit_ms(stream: VideoStream) -> Fraction:
    return (stream.time_base or Fraction(1, 1000)) * 1000


def _check_file(clip: Clip, path: str) -> None:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ClipError("open", "not-a-video", f"{clip.uri}: not a video: not a regular file")
        if status.st_size == 0:
            raise ClipError("open", "not-a-video", f"{clip.uri}: not a video: empty file")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise ClipError("open", "missing", f"{clip.uri}: no such file") from error
    except OSError as error:
        raise ClipError("open", "unreadable", f"{clip.uri}: cannot be read: {error.strerror}") from error


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _is_cover(stream: VideoStream) -> bool:
    """Whether the stream is the cover picture of a piece of music."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _pictures(timed: Iterator[_TimedPicture], unit_ms: Fraction) -> Iterator[Picture]:
    """Turns times of the container into milliseconds from the first picture."""
    start: int | None = None
    for time, image, error in timed:
        start = time if start is None else start
        yield float((time - start) * unit_ms), image, error


def _all_timed_pictures(
    container: InputContainer, stream: VideoStream, file_size: int, max_pixels: int
) -> Iterator[_TimedPicture]:
    with container:
        yield from _timed_pictures(container, stream, file_size, max_pixels)


def _timed_pictures_of_part(
    clip: Clip, open_again: Callable[[], _Opened], file_size: int, max_pixels: int
) -> Iterator[_TimedPicture]:
    """The pictures of a range: sought where that is sure to give what reading from the beginning gives."""
    container, stream = open_again()
    with container:
        window = _window(clip, container, stream, file_size, max_pixels)
        pictures = window and _sought(window, container, stream, max_pixels)
        if pictures is not None:
            yield from pictures
            return
    container, stream = open_again()
    with container:
        origin: int | None = None
        pictures = _timed_pictures(container, stream, file_size, max_pixels)
        for position, (time, image, error) in enumerate(pictures):
            origin = time if origin is None else origin
            time_ms = float((time - origin) * _unit_ms(stream))
            if clip.is_past(position, time_ms):
                return
            if clip.holds(position, time_ms):
                yield time, image, error


_Window = tuple[int, float]
"""Time of a range's first picture, or earlier but behind the picture before; time at which it has ended."""


def _window(
    clip: Clip, container: InputContainer, stream: VideoStream, file_size: int, max_pixels: int
) -> _Window | None:
    """A clip's range in the container's times; None where only reading from the beginning can tell."""
    if container.format.name not in _SOUGHT or _is_cut_off(stream, file_size):
        return None
    if clip.start_ms is None and clip.end_ms is None:
        times = _packet_times(container, stream)
        first, end = clip.start_frame or 0, clip.end_frame
        if times is None or len(set(times)) < len(times) or max(first + 1, end or 0) > len(times):
            return None
        return times[first], math.inf if end in (None, len(times)) else times[end]
    opening = next(_timed_pictures(container, stream, file_size, max_pixels), None)
    if opening is None:
        return None
    start = _first_time(opening[0], _unit_ms(stream), clip.start_ms or 0.0)
    return start, math.inf if clip.end_ms is None else _first_time(opening[0], _unit_ms(stream), clip.end_ms)


def _first_time(origin: int, unit_ms: Fraction, wanted_ms: float) -> int:
    """The first time of the container that, in milliseconds from the origin, is not below a number."""
    steps = math.floor(Fraction(wanted_ms) / unit_ms)
    while float(steps * unit_ms) >= wanted_ms:
        steps -= 1
    return origin + steps + 1


def _is_cut_off(stream: VideoStream, file_size: int) -> bool:
    return any(entry.pos + entry.size > file_size for entry in getattr(stream, "index_entries", ()))


def _packet_times(container: InputContainer, stream: VideoStream) -> list[int] | None:
    """Times of all pictures in order, without decoding; None where packets do not say."""
    hides_packets = _hides_packets(stream)
    times = []
    try:
        for packet in container.demux(stream):
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                break
            if packet.size == 0 or packet.pts is None:
                return None
            if not packet.is_discard and not (hides_packets and _is_hidden(packet)):
                times.append(packet.pts)
    except _AV_ERRORS:
        return None
    return sorted(times)


def _sought(
    window: _Window, container: InputContainer, stream: VideoStream, max_pixels: int
) -> Iterator[_TimedPicture] | None:
    """The pictures of a range, decoded from the key picture before it; None where that goes wrong."""
    start, end = window
    key_time = _seek(container, stream, start)
    if key_time is None:
        return None
    pictures = _timed_pictures(container, stream, sys.maxsize, max_pixels, convert_from=start)
    for time, image, error in pictures:
        # Pictures before the key picture need what lies before it; none behind it may.
        if error and time >= key_time:
            return None
        if time >= start:
            return takewhile(lambda picture: picture[0] < end, chain([(time, image, error)], pictures))
    return iter(())


def _seek(container: InputContainer, stream: VideoStream, time: int) -> int | None:
    """Goes to a key picture at a time or before it, and returns its time; None where there is none."""
    target = time
    for _ in range(_SEEKS):
        try:
            container.seek(target, stream=stream)
            packet = next(container.demux(stream))
            if packet.pts is not None and packet.pts <= time and packet.is_keyframe:
                container.seek(target, stream=stream)
                return packet.pts
        except (*_AV_ERRORS, StopIteration):
            return None
        # Found by its time of decoding, it may be shown only later.
        target -= max(int(1000 / _unit_ms(stream)), 1)
    return None


def _timed_pictures(
    container: InputContainer,
    stream: VideoStream,
    file_size: int,
    max_pixels: int,
    convert_from: float = -math.inf,
) -> Iterator[_TimedPicture]:
    """Gives each packet its picture, or its reason, in the order of presentation.

    Pictures before ``convert_from`` are decoded, because later ones need them, and come as None.
    """
    # AVI stores no presentation times, and FFmpeg's guesses run backwards where there are B-frames.
    owed = OwedPictures(has_times=container.format.name != "avi")
    reformatter = VideoReformatter()
    hides_packets = _hides_packets(stream)
    for packet, frames, failure in _decode(container, stream, max_pixels):
        if packet is not None and not (hides_packets and _is_hidden(packet)):
            owed.add(packet, failure)
        for frame in frames:
            lost, time = owed.settle(frame)
            yield from lost
            if time is not None:
                is_wanted = time >= convert_from
                yield time, *(_to_rgb(frame, reformatter, max_pixels) if is_wanted else (None, None))
    yield from owed.rest()
    for time in owed.never_read(stream, file_size):
        yield time, None, "video damaged: the file ends before this picture"


def _decode(
    container: InputContainer, stream: VideoStream, max_pixels: int
) -> Iterator[tuple["av.Packet[VideoStream] | None", list[av.VideoFrame], str | None]]:
    """Yields each packet, what frames come out at it, and what went wrong; at last without packet."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except _AV_ERRORS:  # the rest of the file cannot be reached
            packet = None
        if packet is not None and packet.size == 0:
            if packet.pts is not None or packet.dts is not None:
                # Given to the decoder, it would mean the end of the stream.
                yield packet, [], "video damaged: empty packet"
                continue
            packet = None
        if packet is not None and (error := _too_large(stream, max_pixels)):
            yield packet, [], error
            continue
        try:
            yield packet, stream.decode(packet), None
        except EOFError:
            pass
        except _AV_ERRORS as failure:
            yield packet, [], f"video damaged: {_said(failure)}"
        if packet is None:
            return


def _hides_packets(stream: VideoStream) -> bool:
    """Whether packets can be of pictures that are not shown.

    Ask before anything is decoded: of a codec that could not be opened, PyAV 19 asks a null pointer.
    """
    return stream.codec_context.name in ("vp8", "libvpx")


def _is_hidden(packet: "av.Packet[VideoStream]") -> bool:
    """Whether a packet of VP8 only serves later pictures (RFC 6386, 9.1: show_frame)."""
    return not bytes(packet)[0] >> 4 & 1


def _too_large(sized: VideoStream | av.VideoFrame, max_pixels: int) -> str | None:
    if sized.width * sized.height <= max_pixels:
        return None
    return f"too large: {sized.width}x{sized.height} px is above --max-pixels {max_pixels}"


def _to_rgb(
    frame: av.VideoFrame, reformatter: VideoReformatter, max_pixels: int
) -> tuple[RgbImage | None, str | None]:
    """Converts a decoded frame, turned as the container says, unless the decoder found it damaged."""
    if frame.is_corrupt:
        return None, "video damaged: the decoder had to make up a part of the picture"
    if too_large := _too_large(frame, max_pixels):
        return None, too_large
    try:
        # The same reformatter for all frames: a new one for each costs four times the conversion.
        image = reformatter.reformat(frame, format="rgb24").to_ndarray()
    except _AV_ERRORS as error:
        return None, f"video cannot be converted from {frame.format.name}: {_said(error)}"
    # Both count turns counterclockwise.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90))), None
