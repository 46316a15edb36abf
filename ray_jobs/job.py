"""One job from its inputs to its summary: discover, plan, hold the mark."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

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
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import find_dataset
from ray_jobs.config import JobConfig, usable_cores, versions
from ray_jobs.datasets import store_annotations
from storage.dataset import Dataset
from storage.manifest import read_parquet_manifest
from storage.plan import Plan, Revision, revise
from storage.running import JobMark

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
        dataset: Name of the data set that ``frames`` is, ``"auto"``, or None where it is any folder of clips.
        annotations: Where its annotations lie, if not in ``frames``.
        unannotated: Whether to take what is there without an annotation, too.

    Raises:
        JobError: If they are not files of this machine.
    """

    frames: str | None = None
    manifest: str | None = None
    split_from: str = "folder"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    max_clips_per_split: int | None = None
    allow_outside: bool = False
    dataset: str | None = None
    annotations: str | None = None
    unannotated: bool = False

    def __post_init__(self) -> None:
        for place in filter(None, (self.frames, self.manifest, self.annotations)):
            if "://" in place:
                raise JobError(
                    "expected a folder or file of this machine, found a URI "
                    f"({place.partition('://')[0]}://...): mount what it names (a bucket by Mountpoint for "
                    "Amazon S3 or rclone) and give that path; only OUT may be a URI"
                )

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
    options = {**config.result_options(), "split_from": inputs.split_from}
    # Ids and splits are the data set's own. Left out without one, as before there was this choice.
    return {**options, "dataset": inputs.dataset} if inputs.dataset else options


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
            if discovery.annotated:
                mark.check()
                store_annotations(dataset, discovery)
            yield Prepared(mark.job_id, discovery, revision, revision.plan.by_shard())
    finally:
        with suppress(JobError):
            dataset.store.sweep()  # what workers left that were killed
        mark.release()


def resolved(inputs: Inputs) -> Inputs:
    """Finds out which data set ``--dataset auto`` is, and checks that the options go together.

    Raises:
        JobError: If they do not, or the data set is not there.
    """
    if inputs.dataset is None:
        if inputs.annotations or inputs.unannotated:
            raise JobError("--annotations and --unannotated go with --dataset NAME (or --dataset auto)")
        return inputs
    if inputs.frames is None or inputs.manifest is not None:
        raise JobError("--dataset NAME takes the folder that was unpacked: extract --dataset NAME ROOT OUT")
    located = find_dataset(inputs.dataset, inputs.frames, inputs.annotations)
    return replace(inputs, dataset=located.layout.name)


def discover(inputs: Inputs, on_progress: Callable[[DiscoveryCounts], None] | None = None) -> Discovery:
    """Finds the clips that inputs speak of.

    Raises:
        JobError: If there is none, or the inputs cannot be read.
    """
    if (inputs.frames is None) == (inputs.manifest is None):
        raise JobError("give either FRAMES, a folder of clips, or --manifest FILE, not both and not neither")
    if inputs.dataset is not None:
        located = find_dataset(inputs.dataset, inputs.frames, inputs.annotations)
        return match(located, inputs.unannotated, on_progress)
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
