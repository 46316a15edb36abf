"""One job from its inputs to its summary: discover, plan, make shards, sum up."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.sources import (
    Discovery,
    DiscoveryCounts,
    clips_from_rows,
    discover_tree,
    read_csv_manifest,
    select,
)
from ray_jobs.config import JobConfig, usable_cores, versions
from ray_jobs.stages import Receipt
from storage.dataset import Dataset
from storage.manifest import read_parquet_manifest
from storage.plan import Plan, Revision, revise
from storage.running import JobMark
from storage.summary import SplitProgress, count_splits

_RENEW_S = 10.0
_CONNECT_S = 5.0
_CLUSTER_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the clips are, and which of them to take.

    Attributes:
        frames: A folder of clips, or None where a manifest names them.
        manifest: A CSV or Parquet file that names the clips, or None.
        split_from: ``"folder"`` or ``"none"``.
        include: Globs on clip ids; all clips where empty.
        exclude: Globs on clip ids.
        splits: Only these; all where empty.
        max_clips_per_split: At most so many of each split, the first in natural order.
        allow_outside: Whether a manifest may name paths outside its folder by ``..``.
    """

    frames: str | None = None
    manifest: str | None = None
    split_from: str = "folder"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    max_clips_per_split: int | None = None
    allow_outside: bool = False

    @property
    def source(self) -> str:
        """What the clips come from, as a path."""
        return os.path.abspath(self.manifest or self.frames or "")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        job_id: Whose mark stands on the data set.
        discovery: What was found.
        revision: The plan and the shards to make.
        clips_of: Shard to its clips.
    """

    job_id: str
    discovery: Discovery
    revision: Revision
    clips_of: dict[int, list[Clip]]


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
    """

    out: str
    splits: list[SplitProgress] = field(default_factory=list)
    shards: int = 0
    clips: int = 0
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

    @property
    def exit_code(self) -> int:
        """1 when clips of the data set failed, in whichever run, or folders could not be listed; else 0."""
        return 1 if any(split.failed for split in self.splits) or self.unreadable else 0


def check(config: JobConfig, inputs: Inputs, overwrite: bool) -> Dataset:
    """Finds out what is wrong with a job before an hour of looking for clips is spent on it.

    Args:
        config: What to do, its detector resolved by :func:`extraction.detectors.resolve_engine`.
        inputs: With what.
        overwrite: Whether what is in OUT may go.

    Raises:
        JobError: If no cluster answers, or OUT is not fit for these inputs and options.
    """
    _expect_cluster(config.address)
    dataset = Dataset(config.out)
    if inputs.frames is not None and os.path.isdir(inputs.frames):
        _expect_apart(inputs.frames, dataset)
    if not dataset.exists():
        dataset.expect_empty()
    elif not overwrite:
        dataset.check_options(_options(config, inputs))
    JobMark(dataset.store).expect_free()
    dataset.store.expect_writable()
    return dataset


def _options(config: JobConfig, inputs: Inputs) -> dict[str, object]:
    """What must be the same in every run on a data set: where split_from differs, splits would mix."""
    return {**config.result_options(), "split_from": inputs.split_from}


@contextmanager
def job(
    dataset: Dataset, config: JobConfig, inputs: Inputs, discovery: Discovery, overwrite: bool = False
) -> Iterator[Prepared]:
    """Plans a job and holds its mark on the data set while the body runs.

    Args:
        dataset: Checked before.
        config: What to do.
        inputs: Which of the clips to take.
        discovery: What was found.
        overwrite: Delete an existing data set first.

    Yields:
        What is to be done.

    Raises:
        JobError: If nothing is selected, another job is at work, or OUT cannot be written.
    """
    wanted = _take(discovery.clips, inputs)
    mark = JobMark(dataset.store)
    mark.take()
    try:
        with _renewed(mark):
            if overwrite and dataset.exists():
                mark.check()
                dataset.delete()
            if not dataset.exists():
                about = {"source": inputs.source, "versions": versions()}
                dataset.create(_options(config, inputs), config.options_hash(), about)
            dataset.store.sweep()
            dataset.sweep_logs()
            revision = _plan(dataset, config, inputs, discovery, wanted)
            if revision.plan != dataset.plan():
                mark.check()
                dataset.write_plan(revision.plan)
            yield Prepared(mark.job_id, discovery, revision, revision.plan.by_shard())
    finally:
        with suppress(JobError):
            dataset.store.sweep()  # what workers left that were killed
        mark.release()


def discover(inputs: Inputs, on_progress: Callable[[DiscoveryCounts], None] | None = None) -> Discovery:
    """Finds the clips that inputs speak of.

    Raises:
        JobError: If there is none, or the inputs cannot be read.
    """
    if (inputs.frames is None) == (inputs.manifest is None):
        raise JobError("give either FRAMES, a folder of clips, or --manifest FILE, not both and not neither")
    if inputs.frames is not None:
        if inputs.split_from not in ("folder", "none"):
            raise JobError(f"--split-from must be 'folder' or 'none', found {inputs.split_from!r}")
        return discover_tree(
            inputs.frames,
            split_from="none" if inputs.split_from == "none" else "folder",
            on_progress=on_progress,
        )
    path = inputs.source
    is_parquet = path.lower().endswith(".parquet")
    return clips_from_rows(
        read_parquet_manifest(path) if is_parquet else read_csv_manifest(path),
        numbered_by="row" if is_parquet else "line",
        base=os.path.dirname(path),
        source=path,
        allow_outside=inputs.allow_outside,
        on_progress=on_progress,
    )


def sum_up(
    dataset: Dataset, prepared: Prepared, receipts: list[Receipt], began: float, bad_nodes: Sequence[str] = ()
) -> Summary:
    """Sums the receipts of a run and counts how the data set stands.

    Args:
        dataset: After the run.
        prepared: What the run set out to do.
        receipts: Of the shards it made.
        began: Unix time at which the command started.
        bad_nodes: Why nodes got no more work.
    """
    plan = dataset.plan()
    failed = Counter(dataset.failures(plan)["split"].to_pylist())
    summary = Summary(
        out=dataset.store.location,
        splits=count_splits(plan, dataset.done(), failed),
        shards=len(receipts),
        clips=sum(receipt.clips for receipt in receipts),
        failed=sum(receipt.failed for receipt in receipts),
        frames=sum(receipt.frames for receipt in receipts),
        unreadable_frames=sum(receipt.unreadable_frames for receipt in receipts),
        seconds=time.time() - began,
        workers=_by_worker(receipts),
        changed=prepared.revision.changed,
        unreadable=prepared.discovery.unreadable,
        events=_summed(receipt.events for receipt in receipts),
        log_lines=_summed(receipt.log_lines for receipt in receipts),
        notices=tuple(dict.fromkeys(receipt.notice for receipt in receipts if receipt.notice)),
        bad_nodes=tuple(dict.fromkeys(bad_nodes)),
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
        worker.frames += receipt.frames
        if receipt.first_frame_at:
            worker.seconds = max(worker.seconds, receipt.finished_at - receipt.first_frame_at)
    return sorted(totals.values(), key=lambda worker: worker.worker)


def _plan(
    dataset: Dataset, config: JobConfig, inputs: Inputs, discovery: Discovery, wanted: tuple[Clip, ...]
) -> Revision:
    plan = dataset.plan()
    done = dataset.done()
    retry = set(dataset.failures(plan)["clip_id"].to_pylist()) if config.retry_failed else set()
    wanted += _vanished(plan, done, discovery, inputs)
    return revise(plan, wanted, done.keys(), retry, _expected_workers(config))


def _expected_workers(config: JobConfig) -> int:
    """For how many workers to cut small inputs; a cluster's size is not known before Ray is connected."""
    return config.workers or (_CLUSTER_WORKERS if config.address else usable_cores())


def _vanished(plan: Plan, done: dict[int, str], discovery: Discovery, inputs: Inputs) -> tuple[Clip, ...]:
    """Clips that wait in the plan and were not found this time: extracted from where they were, or failed."""
    found = {clip.clip_id for clip in discovery.clips}
    waiting = [
        clip
        for clip, shard in zip(plan.clips, plan.shards, strict=True)
        if shard not in done and clip.clip_id not in found
    ]
    if not waiting:
        return ()
    try:
        return _take(tuple(waiting), inputs)
    except JobError:  # none of them is selected
        return ()


def _take(clips: tuple[Clip, ...], inputs: Inputs) -> tuple[Clip, ...]:
    return select(
        clips,
        include=inputs.include,
        exclude=inputs.exclude,
        splits=inputs.splits,
        max_clips_per_split=inputs.max_clips_per_split,
    )


def _expect_apart(folder: str, dataset: Dataset) -> None:
    """OUT inside FRAMES would be found as an input of the next run."""
    if dataset.store.is_local:
        frames, out = os.path.realpath(folder), os.path.realpath(dataset.store.root)
        if os.path.commonpath([frames, out]) == frames:
            raise JobError(f"OUT {out} lies inside FRAMES {frames}: choose a folder outside of it")


def _expect_cluster(address: str | None) -> None:
    """Ray itself would try for minutes to reach a cluster that is not there."""
    if address is None or "://" in address or address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise JobError(
            f"--address {address}: expected a Ray cluster at host:port, none answers ({error}): start it "
            "with `ray start --head`, or leave --address out to use this machine"
        ) from error


@contextmanager
def _renewed(mark: JobMark) -> Iterator[None]:
    """Renews the job's mark while the body runs."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(_RENEW_S):
            try:
                mark.check()
                mark.renew()
            except (JobError, OSError):
                # Lost, or the disk is full: the workers find out at their next commit.
                continue

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
