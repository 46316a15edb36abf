"""Counts of a run while it goes on, and when so many clips fail that it had better stop."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ray_jobs.config import FailureLimit
from ray_jobs.receipt import Receipt
from storage.running import WorkerStatus


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run is.

    Attributes:
        clips: Clips extracted.
        frames: Frames extracted.
        failed: Clips that failed.
        frames_per_second: Of all workers together; None where unknown.
        seconds_left: At that rate; None where unknown.
        reasons: Failed clips by reason.
        examples: Reason to what one of those clips said.
    """

    clips: int
    frames: int
    failed: int
    frames_per_second: float | None
    seconds_left: float | None
    reasons: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Finished shards by receipt, present ones by report.

    Attributes:
        clips: Clips this run is to do.
        frames: Frames it is to do, as planned.
        limit: How many clips may fail.
        again: What to run to go on, in words.
        receipts: Of the shards that stand.
        bad_nodes: Why nodes got no more work.
        complaint: Why the run has to stop; "" otherwise.
    """

    clips: int
    frames: int
    limit: FailureLimit
    again: str = "the same command again"
    receipts: list[Receipt] = field(default_factory=list)
    bad_nodes: list[str] = field(default_factory=list)
    complaint: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False
    _sums: "_Sums" = field(default_factory=lambda: _Sums())

    def add(self, receipt: Receipt) -> None:
        """Counts a shard; one that a bad node gave back comes again."""
        if receipt.bad_node:
            self.bad_nodes.append(receipt.notice)
        else:
            self.receipts.append(receipt)

    def now(self, reports: list[WorkerStatus]) -> Counts:
        """The counts at this moment.

        Args:
            reports: What the workers say of the shards they have now.
        """
        done = self._sums
        done.go_on(self.receipts)
        active = [report for report in reports if report.shard not in done.shards]
        first = min(filter(None, (done.first_frame_at, *(r.first_frame_at for r in reports))), default=None)
        frames = done.frames + sum(r.frames for r in active)
        kept = done.kept_frames + sum(r.kept_frames for r in active)
        rate = (frames - kept) / (time.time() - first) if first and time.time() > first else None
        reasons, examples = done.reasons.copy(), done.examples.copy()
        for report in active:
            reasons.update(report.reasons)
            examples.update(report.examples)
        return Counts(
            clips=done.clips + sum(r.clips for r in active),
            frames=frames,
            failed=done.failed + sum(r.failures for r in active),
            frames_per_second=rate,
            seconds_left=max(self.frames - frames, 0) / rate if rate else None,
            reasons=reasons,
            examples=examples,
        )

    def stop_if_too_many_failed(self, counts: Counts) -> None:
        """Stops the job as SIGTERM does when the limit is passed; for another thread than the main one."""
        if not self.limit.is_passed(counts.failed, counts.clips + counts.failed):
            return
        with self._lock:
            if not self._over and not self.complaint:
                self.complaint = f"stopped: {self._complaint(counts)}"
                # Not SIGINT, which a shell has its background jobs ignore. Without the job's handler there is
                # no job to stop yet, and nobody to survive the signal.
                if callable(signal.getsignal(signal.SIGTERM)):
                    os.kill(os.getpid(), signal.SIGTERM)

    def finish(self) -> None:
        """No interrupt comes from here on."""
        with self._lock:
            self._over = True

    def judged(self) -> str:
        """Why a run that has come to its end failed by too many clips, or was stopped; "" otherwise."""
        counts = self.now([])
        if not self.complaint and self.limit.is_passed(counts.failed, counts.clips + counts.failed):
            return self._complaint(counts)
        return self.complaint

    def _complaint(self, counts: Counts) -> str:
        text = f"{counts.failed:,} of {counts.clips + counts.failed:,} clips failed"
        if counts.reasons:
            reason = max(counts.reasons, key=lambda name: counts.reasons[name])
            text += f", {counts.reasons[reason]:,} by {reason!r}, such as: {counts.examples[reason]}"
        return (
            f"{text}\n--max-failures is {self.limit.text}: mend what is wrong, then run {self.again} with "
            "--retry-failed; --max-failures 100% goes on whatever fails"
        )


@dataclass(slots=True)
class _Sums:
    """Receipts added up as they come: there may be many thousands, and they are looked at every second."""

    shards: set[int] = field(default_factory=set)
    clips: int = 0
    frames: int = 0
    kept_frames: int = 0
    failed: int = 0
    first_frame_at: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _counted: int = 0

    def go_on(self, receipts: list[Receipt]) -> None:
        """Adds those that are new at the end of the list."""
        new = receipts[self._counted :]
        self._counted += len(new)
        for receipt in new:
            self.shards.add(receipt.shard)
            self.clips += receipt.clips
            self.frames += receipt.frames
            self.kept_frames += receipt.kept_frames
            self.failed += receipt.failed
            self.reasons.update(receipt.reasons)
            self.examples.update(receipt.examples)
            starts = filter(None, (self.first_frame_at, receipt.first_frame_at))
            self.first_frame_at = min(starts, default=0.0)
