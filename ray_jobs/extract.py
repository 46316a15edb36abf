"""The job: shards that are to be made, through a pool of workers, to receipts."""

import importlib
import inspect
import itertools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import ray

from extraction.errors import JobError
from extraction.gl import Place, explain
from ray_jobs.circuit import release_name
from ray_jobs.config import JobConfig
from ray_jobs.head import head_watched
from ray_jobs.lean_ray import (
    messages_logged,
    sigterm_kept,
    without_driver_log,
    without_helper_actors,
    without_monitors,
)
from ray_jobs.nodes import alive
from ray_jobs.placement import (
    NO_NODE,
    Node,
    alive_nodes,
    args_of_each,
    expect_gpus,
    free_cpus,
    is_mixed,
    local_workers,
    pool,
    remote_args,
    room,
    waiting,
)
from ray_jobs.receipt import Receipt
from ray_jobs.same_code import SameCode, code_version, expect_same_code
from storage.dataset import Dataset
from storage.running import host_name, reports

_OBJECT_STORE_BYTES = 200_000_000
"""Only shard numbers and receipts flow through Ray; frames and landmarks never do."""
_PARKED_S = 5.0
_log = logging.getLogger(__name__)


def make_shards(
    config: JobConfig, job_id: str, shards: Sequence[int], tell: Callable[[str], None] = _log.info
) -> Iterator[Receipt]:
    """Makes shards, the first of the list first, and yields a receipt as each stands.

    Args:
        config: Of the job.
        job_id: Whose mark stands on the data set.
        shards: Numbers of the shards to make.
        tell: Gets what a person should know while nothing happens, from another thread.

    Raises:
        JobError: If the job has to stop.
    """
    with _ray(config):
        if not config.address:
            expect_gpus(config, alive_nodes(), len(shards))
        bad: dict[str, str] = {}
        to_do = list(shards)
        for turn in itertools.count():
            given_back = []
            for receipt in _turn(config, job_id, to_do, turn, bad, tell):
                if receipt.stop:
                    raise JobError(receipt.stop)
                if receipt.bad_node:
                    given_back.append(receipt.shard)
                    bad[receipt.bad_node] = receipt.notice
                yield receipt
            if not given_back:
                return
            to_do = given_back
            if not alive() - bad.keys():
                raise JobError(f"no node is left to work: {'; '.join(sorted(set(bad.values())))}")


def _turn(
    config: JobConfig,
    job_id: str,
    shards: list[int],
    turn: int,
    bad: Collection[str],
    tell: Callable[[str], None],
) -> Iterator[Receipt]:
    """Makes shards on all nodes but the bad ones."""
    # One block a shard, so that each is a task of its own; no read operator, which would starve beside
    # a pool that holds every core (ray issue 44687). The workers write: an operator behind a full pool
    # would hold back every shard to the end.
    todo = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    size = pool(config, _nodes_but(bad), len(shards))
    worker = ray.put({"config": config, "job_id": job_id, "turn": turn})
    each: dict[str, Any] = {}
    if is_mixed(config):
        each["ray_remote_args_fn"] = args_of_each(config, lambda: _nodes_but(bad))
    with _mixing_allowed(each):
        receipts = todo.map_batches(
            SameCode,
            fn_constructor_kwargs={"code": code_version(), "host": host_name(), "arguments": [worker]},
            # A second task waiting at a busy worker could be the last of the job, with the others idle.
            compute=ray.data.ActorPoolStrategy(
                min_size=size.smallest, max_size=size.largest, max_tasks_in_flight_per_actor=1
            ),
            batch_size=1,
            batch_format="pyarrow",
            **remote_args(config, bad),
            **each,
        )
    dataset = Dataset(config.out)
    with _parked_released(config, dataset, shards, turn, bad), _waiting_told(config, dataset, bad, tell):
        try:
            for row in receipts.iter_rows():
                yield Receipt.from_json(expect_same_code(row["receipt"]))
        except ray.exceptions.RayError as error:
            raise JobError(f"Ray stopped the job: {error}") from error


@contextmanager
def _mixing_allowed(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Actors of one pool can differ by an argument only that Ray 2.60 calls experimental, and 2.64 drops."""
    if arguments.keys() - inspect.signature(ray.data.Dataset.map_batches).parameters.keys():
        raise JobError(
            f"--gpus-per-actor with --delegate auto needs Ray 2.60 to 2.63, found {ray.__version__}: with "
            "--delegate gpu all workers get their share, and without --gpus-per-actor none does"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _nodes_but(bad: Collection[str]) -> list[Node]:
    return [node for node in alive_nodes() if node.node_id not in bad]


@contextmanager
def _parked_released(
    config: JobConfig, dataset: Dataset, shards: list[int], turn: int, bad: Collection[str]
) -> Iterator[None]:
    """Lets workers of bad nodes give their shards back once nothing else is to be done, or nobody else is."""

    def look() -> bool:
        parked = sum(bool(status.parked) for status in reports(dataset.store))
        if not parked:
            return False
        # By the shards that stand: Ray Data keeps back the latest receipt until there is another one.
        left = len(set(shards) - dataset.done().keys())
        if parked >= min(pool(config, _nodes_but(bad), len(shards)).largest, _room(config, bad), left):
            dataset.store.write(release_name(turn), b"", durable=False)
            return True
        return False

    with _watched(look, if_any=len(alive()) > 1 or bool(config.address)):
        yield


def _room(config: JobConfig, bad: Collection[str]) -> int:
    return sum(room(node, config) for node in _nodes_but(bad))


@contextmanager
def _waiting_told(
    config: JobConfig, dataset: Dataset, bad: Collection[str], tell: Callable[[str], None]
) -> Iterator[None]:
    """Tells a person what a job on a cluster waits for.

    That no node has room may come true at any time. That others use all cores is said only until a worker of
    this turn has begun: from then on it may be the job's own workers that do.
    """
    at_first = free_cpus()
    earlier = _begun(dataset)
    said, has_begun = "", False

    def look() -> bool:
        nonlocal said, has_begun
        # Cores that were free at first are taken by workers of this job by now, which only have to start.
        known = {node: cpus for node, cpus in free_cpus().items() if node in at_first}
        free = {node: max(cpus, at_first[node]) for node, cpus in known.items()}
        now = waiting(config, _nodes_but(bad), free)
        if now and not now.startswith(NO_NODE):
            has_begun = has_begun or bool(_begun(dataset) - earlier)
            now = "" if has_begun else now
        if now and now != said:
            tell(now)
        said = now
        return False

    # A node may come within seconds: that it was waited for is said before.
    with _watched(look, if_any=bool(config.address), first_after_s=0.0):
        yield


def _begun(dataset: Dataset) -> set[tuple[str, float]]:
    return {(status.worker, status.time) for status in reports(dataset.store)}


@contextmanager
def _watched(look: Callable[[], bool], if_any: bool, first_after_s: float = _PARKED_S) -> Iterator[None]:
    """While the body runs, looks every few seconds until a look says that it was the last one.

    A look that fails, because the cluster's head or the store is away for a moment, does not end the watch:
    the job may depend on the next.
    """
    stop = threading.Event()

    def watch() -> None:
        failed, pause_s = "", first_after_s
        while not stop.wait(pause_s):
            pause_s = _PARKED_S
            try:
                if look():
                    return
            except Exception as error:
                if str(error) != failed:
                    _log.warning("could not look after the workers, and will try again: %s", error)
                failed = str(error)

    thread = threading.Thread(target=watch, daemon=True)
    if if_any:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()


@contextmanager
def _ray(config: JobConfig) -> Iterator[None]:
    """Connects to Ray, or starts and stops a local one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray Data takes over a second to load, in which Ray itself mostly waits for its processes.
    loading = threading.Thread(target=importlib.import_module, args=("ray.data",))
    loading.start()
    with ExitStack() as stack:
        stack.enter_context(messages_logged())
        stack.callback(_shutdown)
        with without_driver_log(), sigterm_kept():
            if config.address:
                _connect(config.address)
            else:
                with without_monitors(config.dashboard):
                    _start_local(config)
        loading.join()
        _be_quiet()
        if not config.address and not config.dashboard:
            stack.enter_context(without_helper_actors(ray.cluster_resources()))  # type: ignore[no-untyped-call]
        if config.address:
            stack.enter_context(head_watched(ray.get_runtime_context().gcs_address))
        yield


def _shutdown() -> None:
    with sigterm_kept():
        ray.shutdown()


def _connect(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        known = explain(str(error), Place.EXCEPTION)
        advice = f". {known.means}: {known.advice}" if known.name.startswith("ray-") else ""
        raise JobError(
            f"--address {address}: cannot connect to a Ray cluster there: {error}{advice}"
        ) from error


def _start_local(config: JobConfig) -> None:
    # A worker that is killed for memory takes its shard along, again and again; without Ray's monitor the
    # kernel ends the largest process, which is a detector, and that costs one attempt of one clip.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    try:
        _init_local(config)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise JobError(f"a local Ray could not be started: {error}") from error


def _init_local(config: JobConfig) -> None:
    ray.init(
        # Never somebody else's cluster that happens to run here.
        address="local",
        num_cpus=local_workers(config),
        include_dashboard=config.dashboard,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
    )


def _be_quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    context.print_on_execution_start = False
    # A worker has one task at a time, so that is when the pool is full: it grows wherever a cluster has room.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    # A shard of one long video may take hours; hangs are noticed by the detector's supervisor.
    context.execution_no_progress_timeout_s = -1
    # Errors too: what a worker says reaches the driver as an exception, without Ray's trace around it.
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


if __name__ == "__main__":
    from ray_jobs.cli import main

    sys.exit(main(["extract", *sys.argv[1:]]))
