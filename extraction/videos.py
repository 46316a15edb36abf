"""A video file to RGB frames, one for each picture that its container promises."""

import os
import stat
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from extraction.clips import Clip
from extraction.errors import ClipError
from extraction.images import RgbImage

Picture = tuple[float, RgbImage | None, str | None]
"""Milliseconds from the first picture; the image, or None and why it is missing."""

_OPTIONS = {
    # Only demuxers that read the one file: a playlist called x.mp4 would open others, and addresses.
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg",
    "protocol_whitelist": "file",
}
# PyAV's errors are OSErrors or ValueErrors, by their FFmpeg code.
_AV_ERRORS = (av.FFmpegError, OSError, ValueError)
_NO_PICTURE = "video damaged: its packet gave no picture"


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
    rate = stream.average_rate or stream.guessed_rate
    return Video(
        fps=float(rate) if rate and rate > 0 else None,
        pictures=_pictures(container, stream, os.path.getsize(path), max_pixels),
    )


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


def _pictures(
    container: InputContainer, stream: VideoStream, file_size: int, max_pixels: int
) -> Iterator[Picture]:
    """Turns times of the container into milliseconds from the first picture."""
    start: int | None = None
    unit_ms = (stream.time_base or Fraction(1, 1000)) * 1000
    with container:
        for time, image, error in _timed_pictures(container, stream, file_size, max_pixels):
            start = time if start is None else start
            yield float((time - start) * unit_ms), image, error


def _timed_pictures(
    container: InputContainer, stream: VideoStream, file_size: int, max_pixels: int
) -> Iterator[tuple[int, RgbImage | None, str | None]]:
    """Gives each packet its picture, or its reason, in the order of presentation."""
    # AVI stores no presentation times, and FFmpeg's guesses run backwards where there are B-frames.
    owed = _OwedPictures(has_times=container.format.name != "avi")
    reformatter = VideoReformatter()
    # Asked before anything is decoded: of a codec that could not be opened, PyAV 19 asks a null pointer.
    hides_packets = stream.codec_context.name in ("vp8", "libvpx")
    for packet, frames, failure in _decode(container, stream, max_pixels):
        if packet is not None and not (hides_packets and _is_hidden(packet)):
            owed.add(packet, failure)
        for frame in frames:
            lost, time = owed.settle(frame)
            yield from lost
            if time is not None:
                yield time, *_to_rgb(frame, reformatter, max_pixels)
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


@dataclass(slots=True)
class _OwedPictures:
    """The times of packets whose picture has not come out of the decoder yet.

    Pictures come in the order of presentation. Where packets have presentation times, a packet
    that is passed over has lost its picture. Where they have none, the decoding times in rising
    order are the presentation times, and each picture takes the next one.
    """

    has_times: bool
    _times: list[int] = field(default_factory=list)
    _reasons: dict[int, str] = field(default_factory=dict)
    _num_packets: int = 0
    _first: tuple[int, int] | None = None
    _last: int = 0

    def add(self, packet: "av.Packet[VideoStream]", failure: str | None) -> None:
        """Notes that a packet was given to the decoder, and what went wrong with it."""
        self._num_packets += 1
        decoding = packet.dts if packet.dts is not None else self._num_packets
        if packet.pts is None:
            self.has_times = False
        if packet.is_discard:
            return
        time = packet.pts if self.has_times and packet.pts is not None else decoding
        self._first = self._first or (time, decoding)
        insort(self._times, time)
        if failure is not None:
            self._reasons[time] = failure

    def settle(self, frame: av.VideoFrame) -> tuple[list[tuple[int, None, str]], int | None]:
        """The pictures lost before a decoded one, and its own time; None if it comes too late.

        After damage a decoder can let out a picture behind later ones: its place is given away.
        """
        lost = []
        if self.has_times and frame.pts is not None:
            while self._times and self._times[0] < frame.pts:
                lost.append(self._lose())
            if not self._times or self._times[0] != frame.pts:
                return lost, None
            self._last = self._take()
            return lost, self._last
        while self._times and self._times[0] in self._reasons:
            lost.append(self._lose())
        self._last = self._take() if self._times else self._last
        return lost, self._last

    def rest(self) -> Iterator[tuple[int, None, str]]:
        """The pictures that never came."""
        while self._times:
            yield self._lose()

    def never_read(self, stream: VideoStream, file_size: int) -> Iterator[int]:
        """Times of the packets that an MP4's index promises behind the end of the file."""
        shift = self._first[0] - self._first[1] if self._first else 0
        for entry in list(getattr(stream, "index_entries", ()))[self._num_packets :]:
            if entry.pos + entry.size > file_size and not entry.is_discard:
                yield max(self._last, entry.timestamp + shift)

    def _take(self) -> int:
        self._reasons.pop(self._times[0], None)
        return self._times.pop(0)

    def _lose(self) -> tuple[int, None, str]:
        self._last = self._times[0]
        reason = self._reasons.get(self._last, _NO_PICTURE)
        return self._take(), None, reason


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
