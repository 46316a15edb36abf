"""What a person sees while a job runs: a live bar on a terminal, a line every 30 s elsewhere."""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from extraction.sources import DiscoveryCounts
from ray_jobs.tally import Counts, Tally
from ray_jobs.worker_log import LogTail
from storage import running
from storage.files import Store

_LIVE_S = 1.0
_REMOTE_S = 10.0
"""Each look at the workers' reports on an object store is a few requests."""
_LINE_S = 30.0


@contextmanager
def shown(
    console: Console,
    store: Store,
    tally: Tally,
    native: LogTail | None = None,
    told: Collection[str] = (),
) -> Iterator[None]:
    """Shows how a run goes while the body adds its receipts to the tally, and stops it if it goes badly.

    Args:
        console: Where to.
        store: The data set's files, where the workers report.
        tally: Of the run.
        native: What native code writes, to be shown too.
        told: Notices that a person has been told already.
    """
    stop = threading.Event()
    news = _News(console, tally, native, told)
    show = _live if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(console, store, tally, stop, news), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        news.tell([])


class _News:
    """What is told as it happens, each notice once."""

    def __init__(self, console: Console, tally: Tally, native: LogTail | None, told: Collection[str]) -> None:
        self._console, self._tally, self._native = console, tally, native
        self._told = set(told)
        self._receipts = 0

    def tell(self, reports: list[running.WorkerStatus]) -> None:
        """Prints what is new.

        Args:
            reports: Of the workers.
        """
        new = self._tally.receipts[self._receipts :]
        self._receipts += len(new)
        notices = [receipt.notice for receipt in new] + [r.notice for r in reports]
        notices += self._tally.bad_nodes
        for notice in filter(None, dict.fromkeys(notices)):
            if notice not in self._told:
                self._told.add(notice)
                self._console.print(f"[yellow]warning:[/yellow] {escape(notice)}")
        for worker, line in self._native.new_lines() if self._native else ():
            self._console.print(f"[dim]{escape(worker)}[/dim] {escape(line)}")


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


def _live(console: Console, store: Store, tally: Tally, stop: threading.Event, news: _News) -> None:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=tally.frames, text="starting")
        while not stop.wait(_LIVE_S if store.is_local else _REMOTE_S):
            reports = running.reports(store)
            news.tell(reports)
            counts = tally.now(reports)
            tally.stop_if_too_many_failed(counts)
            if counts.frames or counts.failed:
                progress.update(task, completed=counts.frames, text=describe(counts, tally))


def _lines(console: Console, store: Store, tally: Tally, stop: threading.Event, news: _News) -> None:
    told = time.monotonic()
    while not stop.wait(_LIVE_S if store.is_local else _REMOTE_S):
        reports = running.reports(store)
        news.tell(reports)
        counts = tally.now(reports)
        tally.stop_if_too_many_failed(counts)
        if time.monotonic() - told >= _LINE_S:
            told = time.monotonic()
            console.print(describe(counts, tally))


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
