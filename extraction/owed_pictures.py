"""Which pictures a decoder still owes, so that each packet ends as a picture or as a reason."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

import av
from av.video.stream import VideoStream

_NO_PICTURE = "video damaged: its packet gave no picture"


@dataclass(slots=True)
class OwedPictures:
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
