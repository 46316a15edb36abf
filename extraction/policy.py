"""What is done when a detector is lost: one frozen record, and the way of one clip down its ladder."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from extraction.errors import JobError
from extraction.gl import Meaning

_MEANINGS = frozenset(str(meaning) for meaning in Meaning)
_MAX_LOSSES = 20
"""Of one clip, whatever their reasons: no mixture of them goes on for ever."""

PROCESS_LOST = "process-lost"
"""Stands for every loss without words: a signal, an exit, a hang, a closed socket."""


class Step(StrEnum):
    """What to do next, the mildest first."""

    AGAIN = "again"
    """Make the detector again in the same process."""
    RESTART = "restart"
    """Make it in a new child process."""
    CPU = "cpu"
    """Make it in a new child process, on the CPU."""
    GIVE_UP = "give up"
    """Fail the clip; with no clip at hand, stop the job."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """The ladder for one meaning.

    Attributes:
        again: Times the detector is made again in the same process.
        restarts: Times after that a new child process makes it.
        cpu: Whether a detector that was to run on the GPU then gets the CPU.
        backoff_s: Wait before the first retry; doubled for each further one, with jitter, to at most 10 s.
    """

    again: int = 0
    restarts: int = 0
    cpu: bool = True
    backoff_s: float = 0.0


def remedies(max_attempts: int = 2, gl_retries: int = 3) -> dict[str, Remedy]:
    """The ladder of every meaning.

    Args:
        max_attempts: Tries a clip gets on one delegate when its detector dies, hangs or raises.
        gl_retries: Times a detector that lost its GL context is made again in the same process.

    Returns:
        :class:`extraction.gl.Meaning`, or :data:`PROCESS_LOST`, to its ladder.

    Raises:
        JobError: If a number is out of its range.
    """
    if max_attempts < 1:
        raise JobError(f"--max-attempts must be 1 or more, found {max_attempts}")
    if gl_retries < 0:
        raise JobError(f"--gl-retries must be 0 or more, found {gl_retries}")
    retries = max_attempts - 1
    return {
        # Nothing on this host will change by trying again, but once: a driver may just be starting.
        Meaning.NO_GPU_IN_BUILD: Remedy(),
        Meaning.NO_EGL: Remedy(again=1, backoff_s=0.2),
        # Others may hold the context for a moment. MediaPipe itself tries 3 or 4 times without a pause.
        Meaning.CONTEXT: Remedy(again=gl_retries, restarts=1, backoff_s=0.2),
        Meaning.POISONED: Remedy(again=retries),
        # The same call would fail in the same way.
        Meaning.CALLER: Remedy(cpu=False),
        Meaning.CONFIGURATION: Remedy(cpu=False),
        Meaning.NOISE: Remedy(restarts=retries),
        Meaning.UNKNOWN: Remedy(restarts=retries),
        PROCESS_LOST: Remedy(restarts=retries),
    }


@dataclass(frozen=True, slots=True)
class Policy:
    """When a detector counts as lost, what is done then, and when it is made anew unasked.

    Attributes:
        remedies: Meaning of the loss to its ladder.
        gl_fallback: ``"cpu"``, or ``"fail"`` to never put a CPU's landmarks where the GPU's were asked for.
        frame_timeout_s: A child that shows no progress for so long is killed.
        start_timeout_s: A detector that does not stand after so long is killed.
        max_starts: Child processes in a row that may fail to bring up a detector before the job stops.
        refresh_clips: The detector is made anew after so many clips; 0 for never.
        refresh_minutes: And after so long; 0 for never.
        max_worker_rss_mb: A child that holds more memory is killed, and replaced between two clips when it
            holds three quarters of that; 0 for no limit.
        max_new_threads: A child with so many more threads than after its first clip is replaced.
        idle_s: A child that has had no clip for so long ends; 0 for never.

    Raises:
        JobError: If a value is out of its range.
    """

    remedies: Mapping[str, Remedy] = field(default_factory=remedies)
    gl_fallback: str = "cpu"
    frame_timeout_s: float = 30.0
    start_timeout_s: float = 120.0
    max_starts: int = 3
    refresh_clips: int = 0
    # What practice with long-running graphs settled on.
    refresh_minutes: float = 60.0
    max_worker_rss_mb: int = 4096
    max_new_threads: int = 32
    idle_s: float = 300.0

    def __post_init__(self) -> None:
        if self.gl_fallback not in ("cpu", "fail"):
            raise JobError(f"--gl-fallback must be 'cpu' or 'fail', found {self.gl_fallback!r}")
        for option, seconds in (
            ("--frame-timeout", self.frame_timeout_s),
            ("--start-timeout", self.start_timeout_s),
        ):
            if not 0 < seconds < float("inf"):
                raise JobError(f"{option} must be above 0, found {seconds}")
        for option, number in (
            ("--refresh-clips", self.refresh_clips),
            ("--refresh-minutes", self.refresh_minutes),
            ("--max-worker-rss-mb", self.max_worker_rss_mb),
            ("--idle-seconds", self.idle_s),
        ):
            if not 0 <= number < float("inf"):
                raise JobError(f"{option} must be 0 (never) or more, found {number}")

    def for_clip(self) -> "Trial":
        """The ladders that a clip goes down when it loses its detector."""
        return Trial(self.remedies, self.gl_fallback)

    def for_start(self) -> "Trial":
        """Those of a detector that does not come up; a process that dies then gets more tries."""
        more = Remedy(restarts=self.max_starts - 1, backoff_s=1.0)
        ladders = {**self.remedies, PROCESS_LOST: more, Meaning.UNKNOWN: more, Meaning.NOISE: more}
        return Trial(ladders, self.gl_fallback)


def described(policy: Policy) -> list[tuple[str, str]]:
    """A policy for a person: name and value of each line, ladders first."""
    rows = [(str(meaning), _ladder(meaning, remedy, policy)) for meaning, remedy in policy.remedies.items()]
    clips = policy.refresh_clips or "any number of"
    limits = {
        "a frame takes longer than": f"{policy.frame_timeout_s:g} s: the process is killed",
        "a detector comes up in more than": f"{policy.start_timeout_s:g} s: the process is killed",
        "memory reaches": f"{policy.max_worker_rss_mb:,} MiB: the process is replaced",
        "threads grow by": f"{policy.max_new_threads}: the process is replaced",
        "made anew after": f"{clips} clips, or {policy.refresh_minutes:g} minutes",
        "let go after": f"{policy.idle_s:g} s without a clip",
    }
    return rows + list(limits.items())


def _ladder(meaning: str, remedy: Remedy, policy: Policy) -> str:
    steps = []
    if remedy.again:
        steps.append(f"again in the same process (at most {remedy.again})")
    if remedy.restarts:
        steps.append(f"in a new process (at most {remedy.restarts})")
    if remedy.cpu and policy.gl_fallback == "cpu":
        steps.append("on the CPU if it was the GPU")
    end = "the job stops" if meaning == Meaning.CONFIGURATION else "the clip fails"
    return " > ".join([*steps, end])


class Trial:
    """One clip's way down the ladders; or that of a detector which is to stand.

    Args:
        ladders: Meaning of a loss to its ladder.
        gl_fallback: Of :class:`Policy`.

    Attributes:
        reasons: Of the losses so far, in order.
    """

    def __init__(self, ladders: Mapping[str, Remedy], gl_fallback: str) -> None:
        self._ladders, self._gl_fallback = ladders, gl_fallback
        self._losses: Counter[tuple[str, str]] = Counter()
        self.reasons: list[str] = []

    def next_step(self, reason: str, delegate: str) -> Step:
        """Says what to do after a loss.

        Args:
            reason: Of the loss.
            delegate: What the detector ran on, or was to.
        """
        self.reasons.append(reason)
        remedy = self._ladders[ladder_of(reason)]
        self._losses[ladder_of(reason), delegate] += 1
        losses = self._losses[ladder_of(reason), delegate]
        if len(self.reasons) < _MAX_LOSSES:
            if losses <= remedy.again:
                return Step.AGAIN
            if losses <= remedy.again + remedy.restarts:
                return Step.RESTART
            if delegate == "gpu" and remedy.cpu and self._gl_fallback == "cpu":
                return Step.CPU
        return Step.GIVE_UP

    def backoff_s(self, reason: str) -> float:
        """Seconds to wait before the retry after the latest loss.

        With jitter: actors that lost their detectors together do not come back in step.

        Args:
            reason: Of that loss.
        """
        remedy = self._ladders[ladder_of(reason)]
        doublings = min(self.reasons.count(reason) - 1, 10)
        return min(remedy.backoff_s * 2.0**doublings, 10.0) * random.uniform(0.5, 1.5)


def ladder_of(reason: str) -> str:
    """The key of the ladder for the reason of a loss."""
    return reason if reason in _MEANINGS else PROCESS_LOST
