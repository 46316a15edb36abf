"""What a job did, and how the data set stands after it."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ray_jobs.job import Prepared
from ray_jobs.receipt import Receipt
from ray_jobs.tally import Tally
from storage.dataset import Dataset
from storage.summary import SplitProgress, count_plan


@dataclass(slots=True)
class WorkerTotals:
    """What one worker did in a run.

    Attributes:
        worker: Its name.
        shards: Shards it made.
        frames: Frames it extracted.
        seconds: From its first frame to its last shard.
    """

    worker: str
    shards: int = 0
    frames: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Summary:
    """What a job did, and how the data set stands after it.

    Attributes:
        out: The data set.
        splits: Clips by split, of all runs so far.
        shards: Shards made in this run.
        clips: Clips extracted in this run.
        kept: Clips that stand now, of those that killed workers had done of shards that did not stand.
        failed: Clips that failed in this run.
        frames: Frames extracted in this run.
        unreadable_frames: Of these, frames that could not be read.
        seconds: From the start of the command to this summary.
        seconds_to_first_frame: From the start of the command to the first frame detected, if any was.
        frames_per_second: Of all workers together, from the first frame on.
        workers: What each worker did.
        changed: Finished clips whose input has changed since.
        unreadable: Folders that could not be listed, and why.
        events: What happened to detectors in this run beside clips, counted; "lost: " and a reason for each
            one that was lost.
        log_lines: Lines that native code wrote in this run, by meaning; ``OUT/logs`` has them.
        notices: What else to know, each once.
        bad_nodes: Nodes that got no more work, and why.
        complaint: Why too many failed clips ended the run; "" otherwise.
    """

    out: str
    splits: list[SplitProgress] = field(default_factory=list)
    shards: int = 0
    clips: int = 0
    kept: int = 0
    failed: int = 0
    frames: int = 0
    unreadable_frames: int = 0
    seconds: float = 0.0
    seconds_to_first_frame: float | None = None
    frames_per_second: float | None = None
    workers: list[WorkerTotals] = field(default_factory=list)
    changed: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    events: dict[str, int] = field(default_factory=dict)
    log_lines: dict[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    bad_nodes: tuple[str, ...] = ()
    complaint: str = ""

    @property
    def exit_code(self) -> int:
        """3: too many clips failed; 1: some clip or folder of the data set did; 0 otherwise."""
        if self.complaint:
            return 3
        return 1 if any(split.failed for split in self.splits) or self.unreadable else 0


def sum_up(dataset: Dataset, prepared: Prepared, tally: Tally, began: float) -> Summary:
    """Sums the receipts of a run and counts how the data set stands.

    Args:
        dataset: After the run.
        prepared: What the run set out to do.
        tally: Of the run.
        began: Unix time at which the command started.
    """
    receipts = tally.receipts
    splits, _ = count_plan(dataset)
    summary = Summary(
        out=dataset.store.location,
        splits=list(splits),
        shards=len(receipts),
        clips=sum(receipt.clips - receipt.kept for receipt in receipts),
        kept=sum(receipt.kept for receipt in receipts),
        failed=sum(receipt.failed for receipt in receipts),
        frames=sum(receipt.frames - receipt.kept_frames for receipt in receipts),
        unreadable_frames=sum(receipt.unreadable_frames for receipt in receipts),
        seconds=time.time() - began,
        workers=_by_worker(receipts),
        changed=prepared.revision.changed,
        unreadable=prepared.discovery.unreadable,
        events=_summed(receipt.events for receipt in receipts),
        log_lines=_summed(receipt.log_lines for receipt in receipts),
        notices=tuple(dict.fromkeys(receipt.notice for receipt in receipts if receipt.notice)),
        bad_nodes=tuple(dict.fromkeys(tally.bad_nodes)),
        complaint=tally.judged(),
    )
    first = min((receipt.first_frame_at for receipt in receipts if receipt.first_frame_at), default=None)
    if first is not None:
        summary.seconds_to_first_frame = first - began
        last = max(receipt.finished_at for receipt in receipts)
        summary.frames_per_second = summary.frames / max(last - first, 1e-9)
    return summary


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def _by_worker(receipts: list[Receipt]) -> list[WorkerTotals]:
    totals: dict[str, WorkerTotals] = {}
    for receipt in receipts:
        worker = totals.setdefault(receipt.worker, WorkerTotals(receipt.worker))
        worker.shards += 1
        worker.frames += receipt.frames - receipt.kept_frames
        if receipt.first_frame_at:
            worker.seconds = max(worker.seconds, receipt.finished_at - receipt.first_frame_at)
    return sorted(totals.values(), key=lambda worker: worker.worker)
