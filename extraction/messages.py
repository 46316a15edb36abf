"""What a detector's child and its parent say to each other; see `extraction.supervisor`."""

from dataclasses import dataclass

from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.errors import ClipError
from extraction.frames import FrameOptions


@dataclass(slots=True)
class StageTimes:
    """Where the time of one clip went, in milliseconds of wall time.

    Attributes:
        extract_ms: From opening the clip to its last landmark.
        decode_ms: Reading and decoding frames.
        detect_ms: In the detector, conversion to arrays included.
    """

    extract_ms: float = 0.0
    decode_ms: float = 0.0
    detect_ms: float = 0.0


IDLE_EXIT_CODE = 70
"""A child that had no clip for long ends with it; any number that neither Python nor a signal gives."""


@dataclass(frozen=True, slots=True)
class Setup:
    """First message to the child: what it is to be."""

    detector: DetectorOptions
    frames: FrameOptions
    max_frames_per_piece: int
    idle_s: float


@dataclass(frozen=True, slots=True)
class Remake:
    """To the child: let the detector go and make it again; answered like :class:`Setup`."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The detector stands."""

    info: DetectorInfo


@dataclass(frozen=True, slots=True)
class NotReady:
    """The detector cannot be made on this machine, however often it is tried."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Sign of life: frames of the current clip done so far."""

    num_frames: int


@dataclass(frozen=True, slots=True)
class Done:
    """The clip is complete; its pieces came before."""

    num_frames: int
    num_unreadable: int
    fingerprint: str
    times: StageTimes


@dataclass(frozen=True, slots=True)
class Failed:
    """The clip failed and would fail again."""

    error: ClipError


@dataclass(frozen=True, slots=True)
class Broken:
    """The detector raised: its state is not to be trusted, or it was not made at all.

    Attributes:
        text: The trace.
        ends: The child ends after this message; otherwise it waits for :class:`Remake`.
    """

    text: str
    ends: bool
