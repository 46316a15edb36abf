"""What a person sees while a job runs: a live bar on a terminal, a line every 30 s elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from extraction.clips import Clip
from extraction.sources import DiscoveryCounts
from ray_jobs.stages import Receipt
from storage import running
from storage.files import Store
from storage.plan import weight

_LIVE_S = 1.0
_LINE_S = 30.0


@dataclass(slots=True)
class Tally:
    """Counts of a run while it goes on: finished shards by receipt, present ones by report.

    Attributes:
        clips: Clips this run is to do.
        frames: Frames it is to do, as planned.
        receipts: Of the shards that stand.
    """

    clips: int
    frames: int
    receipts: list[Receipt] = field(default_factory=list)

    def now(self, reports: list[running.WorkerStatus]) -> "Counts":
        """The counts at this moment.

        Args:
            reports: What the workers say of the shards they have now.
        """
        finished = {receipt.shard for receipt in self.receipts}
        active = [report for report in reports if report.shard not in finished]
        starts = [r.first_frame_at for r in self.receipts] + [r.first_frame_at for r in reports]
        first = min(filter(None, starts), default=None)
        frames = sum(r.frames for r in self.receipts) + sum(r.frames for r in active)
        rate = frames / (time.time() - first) if first and time.time() > first else None
        failed = sum(r.failed for r in self.receipts) + sum(r.failures for r in active)
        clips = sum(r.clips for r in self.receipts) + sum(r.clips for r in active)
        left_s = max(self.frames - frames, 0) / rate if rate else None
        return Counts(clips, frames, failed, rate, left_s)


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run is."""

    clips: int
    frames: int
    failed: int
    frames_per_second: float | None
    seconds_left: float | None


@contextmanager
def shown(console: Console, store: Store, clips: list[Clip]) -> Iterator[Tally]:
    """Shows how a run goes while the body adds its receipts to the tally.

    Args:
        console: Where to.
        store: The data set's files, where the workers report.
        clips: What the run is to do.
    """
    tally = Tally(len(clips), sum(map(weight, clips)))
    stop = threading.Event()
    show = _live if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(console, store, tally, stop), daemon=True)
    thread.start()
    try:
        yield tally
    finally:
        stop.set()
        thread.join()


@contextmanager
def discovery_shown(console: Console) -> Iterator["DiscoveryDisplay"]:
    """Shows how many clips have been found so far."""
    if console.is_terminal:
        with console.status("looking for clips") as status:
            yield DiscoveryDisplay(lambda text: status.update(text), 0.2)
    else:
        yield DiscoveryDisplay(console.print, _LINE_S)


class DiscoveryDisplay:
    """Turns counts into text now and then."""

    def __init__(self, show, every_s: float) -> None:  # type: ignore[no-untyped-def]
        self._show, self._every_s = show, every_s
        self._shown = time.monotonic()

    def __call__(self, counts: DiscoveryCounts) -> None:
        """Shows the counts if it is time."""
        if time.monotonic() - self._shown >= self._every_s:
            self._shown = time.monotonic()
            self._show(
                f"looking for clips: {counts.clips:,} clips, {counts.frames:,} frames "
                f"in {counts.folders:,} folders"
            )


def _live(console: Console, store: Store, tally: Tally, stop: threading.Event) -> None:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=tally.frames, text="starting")
        while not stop.wait(_LIVE_S):
            counts = tally.now(running.reports(store))
            if counts.frames or counts.failed:
                progress.update(task, completed=counts.frames, text=describe(counts, tally))


def _lines(console: Console, store: Store, tally: Tally, stop: threading.Event) -> None:
    while not stop.wait(_LINE_S):
        console.print(describe(tally.now(running.reports(store)), tally))


def describe(counts: Counts, tally: Tally) -> str:
    """Counts as one line."""
    rate = "" if counts.frames_per_second is None else f"  {counts.frames_per_second:.1f} frames/s"
    left = "" if counts.seconds_left is None else f"  {duration(counts.seconds_left)} left"
    return (
        f"{counts.clips + counts.failed:,}/{tally.clips:,} clips  {counts.frames:,}/{tally.frames:,} frames"
        f"{rate}{left}  {counts.failed:,} failed"
    )


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
