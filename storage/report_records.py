"""What one pass over a data set counts, and the clips it comes upon."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.summary import Detection

HANDS = ("left_hand", "right_hand")
MILLISECONDS = ("extract_ms", "decode_ms", "detect_ms", "write_ms")
"""Columns of rows that say where time went."""
STRIP_CELLS = 120
"""Of a heat strip; a longer clip has several frames in each."""

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(slots=True)
class Timing:
    """What the clips of one worker took, or those of several together.

    Attributes:
        host: The machine.
        worker: The worker on it; "" for all of a machine, and where rows do not name theirs.
        workers: How many they are; 0 where unknown.
        clips: Clips.
        frames: Frame positions.
        extract_ms: From a clip's opening to its last landmark, without attempts that were lost.
        decode_ms: Of these, reading and decoding.
        detect_ms: Of these, in the detector.
        write_ms: Beside these, writing rows and shards; what came after a worker's last clip is unknown.
        retried: Clips that took more than one attempt.
        lost: Why detectors were lost, in a word, to how often.
    """

    host: str
    worker: str = ""
    workers: int = 0
    clips: int = 0
    frames: int = 0
    extract_ms: float = 0.0
    decode_ms: float = 0.0
    detect_ms: float = 0.0
    write_ms: float = 0.0
    retried: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def busy_ms(self) -> float:
        """Of all workers, at clips and at writing them."""
        return self.extract_ms + self.write_ms

    def frames_per_second(self) -> float:
        """Of one worker, while it had a clip to extract or to write."""
        return self.frames / self.busy_ms() * 1000 if self.busy_ms() else 0.0

    def take_in(self, other: "Timing") -> None:
        """Adds what another one counted."""
        for name in ("workers", "clips", "frames", "retried", *MILLISECONDS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lost.update(other.lost)


@dataclass(frozen=True, slots=True)
class Found:
    """A clip that a scan came upon.

    Attributes:
        clip_id: Of the clip.
        split: Where it belongs; ``"none"`` where to none.
        shard: Name of the file it stands in.
        value: What made it stand out.
        frames: Frame positions.
    """

    clip_id: str
    split: str
    shard: str
    value: float
    frames: int


@dataclass(frozen=True, slots=True)
class HandStrip:
    """Where the hands of a clip are missing.

    Attributes:
        found: The clip; its value is the share of readable frames without any hand.
        one_missing: Share of readable frames with one hand only.
        missing: Hand to shares in [0, 1], from the clip's beginning to its end, at most
            :data:`STRIP_CELLS`.
        unreadable: The same of frames that could not be read.
    """

    found: Found
    one_missing: float
    missing: Mapping[str, tuple[float, ...]]
    unreadable: tuple[float, ...]


@dataclass(slots=True)
class Scan:
    """What one pass counted.

    Attributes:
        splits: By name of the split.
        signers: By name of the signer; clips without one are not here.
        workers: By machine and worker; the worker is "" where rows do not name it.
        made_with: Engine, version of MediaPipe and delegate to clips.
        attempts: Number of attempts to clips.
        retry_reasons: Why detectors were lost, to how often.
        sizes_px: Width and height of the first frame to clips; at most 1,000 different ones.
        lengths_frames: int64, frames of each clip.
        lengths_s: float64, seconds of each clip.
        frames_without_hand: Readable frames in which neither hand was found; 0 too where the parts are none.
        frames_with_one_hand: Readable frames in which one was.
        worst_hands: Clips with most frames without a hand.
        shortest, longest, least_readable: Clips that stand out.
        sample: Clips chosen by chance.
    """

    splits: dict[str, Detection] = field(default_factory=dict)
    signers: dict[str, Detection] = field(default_factory=dict)
    workers: dict[tuple[str, str], Timing] = field(default_factory=dict)
    made_with: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    retry_reasons: Counter[str] = field(default_factory=Counter)
    sizes_px: Counter[tuple[int, int]] = field(default_factory=Counter)
    lengths_frames: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    lengths_s: Doubles = field(default_factory=lambda: np.zeros(0))
    frames_without_hand: int = 0
    frames_with_one_hand: int = 0
    worst_hands: list[HandStrip] = field(default_factory=list)
    shortest: list[Found] = field(default_factory=list)
    longest: list[Found] = field(default_factory=list)
    least_readable: list[Found] = field(default_factory=list)
    sample: list[Found] = field(default_factory=list)

    def total(self) -> Detection:
        """Of all splits together."""
        return merged("all", self.splits.values())

    def hosts(self) -> list[Timing]:
        """By machine, in the order of their names."""
        hosts: dict[str, Timing] = {}
        for (host, _), timing in sorted(self.workers.items()):
            hosts.setdefault(host, Timing(host)).take_in(timing)
        return list(hosts.values())


def merged(name: str, groups: Iterable[Detection]) -> Detection:
    """Counts of several groups as one."""
    whole = Detection(name)
    for group in groups:
        add(whole, group)
    return whole


def add(into: Detection, group: Detection) -> None:
    """Adds the counts of a group to those of another."""
    for count in ("clips", "frames", "ok", "nobody", "unreadable", "retried", "extract_ms"):
        setattr(into, count, getattr(into, count) + getattr(group, count))
    into.present.update(group.present)
