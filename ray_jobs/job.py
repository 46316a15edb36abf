"""One job from its inputs to its summary: discover, plan, hold the mark."""

import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from extraction.clips import Clip, from_uri
from extraction.errors import JobError
from extraction.sources import Discovery, DiscoveryCounts, discover_tree, select
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import find_dataset
from extraction.sources.tree import SplitFrom
from ray_jobs.config import JobConfig, usable_cores, versions
from ray_jobs.datasets import store_annotations, told, with_known
from ray_jobs.remote_inputs import discover_manifest, discover_remote_tree
from storage.dataset import Dataset
from storage.partial import PARTIAL, sweep_partial
from storage.plan import Plan, Revision, revise, tabulated, to_clips
from storage.running import JobMark
from storage.s3 import expect_place
from storage.scratch import sweep_scratch
from storage.stores import is_remote, location_of, uri_of

_RENEW_S = 10.0
_CONNECT_S = 5.0
_CLUSTER_WORKERS = 256
"""Cut for so many, PHOENIX-2014-T takes 4% longer than the least possible on 8 or 64 cores, 5% on 256 and 10%
on 512, where each shard loses half a second to an object store; cut for 64, twice as long on 256."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the clips are, and which of them to take.

    Attributes:
        frames: A folder of clips, or its URI; None where a manifest names them.
        manifest: A CSV or Parquet file that names the clips, or its URI; None otherwise.
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
        JobError: If a URI names no place, or a data set that is known by name, or its annotations, are on an
            object store.
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
        for name in ("frames", "manifest", "annotations"):
            place = getattr(self, name)
            if place and is_remote(place):
                expect_place(place)
            if place and place.startswith("file://"):
                object.__setattr__(self, name, from_uri(place))
        for name, place in (("--annotations", self.annotations), ("--dataset", self.dataset and self.frames)):
            if place and is_remote(place):
                raise JobError(
                    f"{name} goes with files of this machine, found {location_of(place)}: mount the bucket "
                    "(Mountpoint for Amazon S3, rclone) and give that path; or leave --dataset out, and give "
                    "a --manifest with the annotations as columns (gloss, text, signer, label) and the "
                    "clips' URIs as uri"
                )

    @property
    def uri(self) -> str:
        """Of FRAMES or the manifest, as it was given, where it is on an object store; else ""."""
        place = self.manifest or self.frames or ""
        return place if is_remote(place) else ""

    @property
    def source(self) -> str:
        """What the clips come from, as a path, or a URI without credentials."""
        return (
            uri_of(location_of(self.uri)) if self.uri else os.path.abspath(self.manifest or self.frames or "")
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        job_id: Whose mark stands on the data set.
        discovery: What was passed over; its clips are let go, since a million take a gigabyte.
        num_found: Clips that were found.
        revision: The plan and the shards to make.
        notes: What to tell of the annotations of what was found.
    """

    job_id: str
    discovery: Discovery
    num_found: int
    revision: Revision
    notes: tuple[str, ...]


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
    _expect_apart(inputs, dataset)
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
    taken, found = _take(discovery.clips, inputs), tabulated(discovery.clips)
    wanted = found if len(taken) == found.num_rows else tabulated(taken)
    discovery, taken = replace(discovery, clips=()), ()
    mark = JobMark(dataset.store)
    mark.take()
    revision = None
    try:
        with _renewed(mark):
            if overwrite and dataset.exists():
                mark.check()
                dataset.delete()
            if not dataset.exists():
                about: dict[str, object] = {"source": inputs.source, "versions": versions()}
                if inputs.annotations:
                    about["annotations"] = os.path.abspath(inputs.annotations)
                dataset.create(_options(config, inputs), config.options_hash(), about)
            dataset.store.sweep()
            dataset.sweep_logs()
            revision, notes = _planned(mark, dataset, config, inputs, discovery, found, wanted)
            if discovery.annotated:
                mark.check()
                store_annotations(dataset, discovery)
            _sweep_partial(mark, dataset, revision.plan)
            num_found, found, wanted = found.num_rows, None, None
            yield Prepared(mark.job_id, discovery, num_found, revision, notes)
    finally:
        with suppress(JobError):
            dataset.store.sweep()  # what workers left that were killed
        with suppress(JobError):
            if revision:
                _sweep_partial(mark, dataset, revision.plan)
        sweep_scratch()
        mark.release()


def _sweep_partial(mark: JobMark, dataset: Dataset, plan: Plan) -> None:
    """Deletes what was done of shards that stand by now, or have been dissolved."""
    if dataset.store.is_local and dataset.store.exists(PARTIAL):
        mark.check()
        sweep_partial(dataset.store, set(plan.table["shard"].unique().to_pylist()) - dataset.done().keys())


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


@contextmanager
def _without_looking_for_garbage() -> Iterator[None]:
    """A million clips are no garbage: looking for some among them takes an eighth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_looking_for_garbage()
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
        split_from: SplitFrom = "none" if inputs.split_from == "none" else "folder"
        if inputs.uri:
            return discover_remote_tree(inputs.uri, split_from, on_progress)
        return discover_tree(inputs.frames, split_from=split_from, on_progress=on_progress)
    return discover_manifest(inputs.manifest or "", inputs.allow_outside, on_progress)


def _planned(
    mark: JobMark,
    dataset: Dataset,
    config: JobConfig,
    inputs: Inputs,
    discovery: Discovery,
    found: pa.Table,
    wanted: pa.Table,
) -> tuple[Revision, tuple[str, ...]]:
    """Brings the plan up to date with what was found and is wanted; says what to tell of annotations."""
    plan, done = dataset.plan(), dataset.done()
    wanted = with_known(discovery.annotated, found, wanted, plan)
    retry = dataset.failures(plan)["clip_id"].to_pylist() if config.retry_failed else ()
    wanted = pa.concat_tables([wanted, tabulated(_vanished(plan, done, found["clip_id"], inputs))])
    revision = revise(plan, wanted, done.keys(), retry, _expected_workers(config))
    if revision.plan != plan:
        mark.check()
        dataset.write_plan(revision.plan)
    return revision, told(discovery.annotated, found, revision.plan, done)


def _expected_workers(config: JobConfig) -> int:
    """For how many workers to cut small inputs; a cluster's size is not known before Ray is connected."""
    return config.workers or (_CLUSTER_WORKERS if config.address else usable_cores())


def _vanished(plan: Plan, done: dict[int, str], found: pa.ChunkedArray, inputs: Inputs) -> tuple[Clip, ...]:
    """Clips that wait in the plan and were not found this time: extracted from where they were, or failed."""
    stands = pc.is_in(plan.table["shard"], pa.array(list(done), pa.int32()))
    is_found = pc.is_in(plan.table["clip_id"], found)
    waiting = to_clips(plan.table.filter(pc.invert(pc.or_(stands, is_found))))
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


def _expect_apart(inputs: Inputs, dataset: Dataset) -> None:
    """OUT inside FRAMES would be found as an input of the next run."""
    if inputs.frames is None:
        return
    if inputs.uri and not dataset.store.is_local:
        frames, out = location_of(inputs.uri), dataset.store.location
        lies_inside = f"{out}/".startswith(f"{frames}/")
    elif not inputs.uri and dataset.store.is_local and os.path.isdir(inputs.frames):
        frames, out = os.path.realpath(inputs.frames), os.path.realpath(dataset.store.root)
        lies_inside = os.path.commonpath([frames, out]) == frames
    else:
        return
    if lies_inside:
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
