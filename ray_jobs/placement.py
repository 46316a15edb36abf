"""Where workers go: how many fit on each node, which of them get a share of a GPU, what a job waits for.

Ray places an actor by what it asks for. A worker asks for one core, for the memory that it and its detector
take, and, where the job shares out GPUs, for a part of one. Ray is imported in the functions, as in all that
the command line loads.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from extraction.errors import JobError
from ray_jobs.config import JobConfig, usable_workers

_NODE_ID = "ray.io/node-id"
"""A label that Ray gives each node by itself."""
_ROUNDING = 1e-6
CLUSTER_WORKERS = 64
"""Asked of a cluster by a job that names no number: four machines of 16 cores."""
_IF_MEMORY = (
    ". If none comes, the cluster's kinds of node may not state their memory: --memory-per-actor 0 asks "
    "for none"
)
"""Ray's launcher fills it in on AWS, and KubeRay does; elsewhere it may be unknown before a node is there."""
NO_NODE = "waiting for a node"
"""Begins what a job says that no node has room for."""
_LABEL_VALUE = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?")
"""As Ray has it (``ray._private.label_utils``); its ``!x`` and ``in(x,y)`` are no values but choices."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster, as far as it matters for where workers go.

    Attributes:
        node_id: Ray's.
        name: For a person.
        cpus: That Ray counts on it.
        gpus: The same.
        memory_mb: The same, for actors and tasks.
        labels: Ray's own, and those that ``ray start --labels`` gave it.
    """

    node_id: str
    name: str
    cpus: float
    gpus: float = 0.0
    memory_mb: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pool:
    """How many workers a turn begins with, and how many it may grow to.

    Attributes:
        smallest: Started at once; where there is no room for them they wait for it.
        largest: As the cluster grows.
    """

    smallest: int
    largest: int


def alive_nodes() -> list[Node]:
    """The nodes that are alive."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [_node(about) for about in nodes if about["Alive"]]


def _node(about: Mapping[str, Any]) -> Node:
    resources = about["Resources"]
    return Node(
        node_id=about["NodeID"],
        name=about["NodeManagerHostname"],
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_mb=resources.get("memory", 0.0) / (1 << 20),
        labels=about.get("Labels") or {},
    )


def memory_mb(config: JobConfig) -> int:
    """What a worker asks for; nothing on a local Ray, whose number of workers is all that there is to say."""
    return config.memory_per_actor_mb if config.address else 0


def room(node: Node, config: JobConfig) -> int:
    """Workers that fit on a node, whoever uses it now."""
    if any(node.labels.get(name) != value for name, value in config.node_labels):
        return 0
    fit = node.cpus
    if memory_mb(config):
        fit = min(fit, node.memory_mb / memory_mb(config))
    if config.gpus_per_actor and config.detector.delegate == "gpu":
        fit = min(fit, shares(node, config))
    return int(fit + _ROUNDING)


def shares(node: Node, config: JobConfig) -> int:
    """Workers that a node's GPUs are enough for; a share is of one GPU, never of two."""
    share = config.gpus_per_actor
    if share > 1:
        return int(node.gpus / share + _ROUNDING)
    return int(node.gpus) * int(1 / share + _ROUNDING) if share else 0


def pool(config: JobConfig, nodes: Sequence[Node], num_shards: int) -> Pool:
    """The pool for so many shards.

    Args:
        config: Of the job.
        nodes: Those that may work.
        num_shards: To be made; never more workers than that.
    """
    now = max(sum(room(node, config) for node in nodes), 1)
    if config.workers is not None:
        smallest, largest = config.min_workers or config.workers, config.workers
    else:
        # Actors that wait for room are what makes a cluster with an autoscaler grow: the pool itself only
        # grows into room that is there. A local Ray has what it has.
        smallest, largest = (max(now, CLUSTER_WORKERS), num_shards) if config.address else (now, now)
    return Pool(min(smallest, num_shards), min(largest, num_shards))


def local_workers(config: JobConfig) -> int:
    """Workers that a local Ray has cores for: as many as asked for, of a range what this machine can bear."""
    usable = usable_workers()
    if config.workers is None:
        return usable
    return max(config.min_workers or config.workers, min(config.workers, usable))


def expect_gpus(config: JobConfig, nodes: Sequence[Node], num_shards: int) -> None:
    """Makes sure that a local Ray has the shares of GPUs that its workers ask for: none will ever join it.

    Args:
        config: Of the job.
        nodes: Of the local Ray.
        num_shards: To be made.

    Raises:
        JobError: If a worker would wait for its share for ever.
    """
    if not config.gpus_per_actor:
        return
    asked, fit = pool(config, nodes, num_shards), sum(shares(node, config) for node in nodes)
    wanted = min(config.gpu_workers or 0, asked.largest) if is_mixed(config) else asked.smallest
    if wanted > fit:
        found = sum(node.gpus for node in nodes)
        raise JobError(
            f"--gpus-per-actor {config.gpus_per_actor:g}: workers that ask for that share: {wanted}, but Ray "
            f"found GPUs on this machine: {found:g}, enough for {fit}. Ask for fewer workers, or leave "
            "--gpus-per-actor out: --delegate gpu or auto takes a GPU that Ray does not know, too"
        )


def remote_args(config: JobConfig, bad: Collection[str]) -> dict[str, Any]:
    """What every worker of a turn asks of Ray.

    Args:
        config: Of the job.
        bad: Ids of nodes that get no work.
    """
    wanted: dict[str, Any] = {"num_cpus": 1}
    if memory_mb(config):
        wanted["memory"] = memory_mb(config) << 20
    if config.gpus_per_actor and config.detector.delegate == "gpu":
        wanted["num_gpus"] = config.gpus_per_actor
    labels = dict(config.node_labels)
    if bad:
        labels[_NODE_ID] = f"!in({','.join(sorted(bad))})"
    return {**wanted, "label_selector": labels} if labels else wanted


def is_mixed(config: JobConfig) -> bool:
    """Whether workers with a share of a GPU stand beside workers without."""
    return bool(config.gpus_per_actor) and config.detector.delegate == "auto"


def args_of_each(config: JobConfig, nodes: Callable[[], Sequence[Node]]) -> Callable[[], dict[str, Any]]:
    """What one worker of a mixed job asks for beyond the others; Ray Data calls it before it makes an actor.

    An actor that Ray makes anew, because its process or node died, keeps what it had asked for at first.

    Args:
        config: Of the job.
        nodes: Says which nodes there are.
    """
    with_gpu = 0

    def of_next() -> dict[str, Any]:
        nonlocal with_gpu
        limit = config.gpu_workers
        if limit is None:
            limit = sum(min(shares(node, config), room(node, config)) for node in nodes())
        if with_gpu >= limit:
            return {"num_gpus": 0}
        with_gpu += 1
        return {"num_gpus": config.gpus_per_actor}

    return of_next


def free_cpus() -> dict[str, float]:
    """Cores that nobody uses, by Ray's id of the node."""
    try:
        from ray._private.state import available_resources_per_node
    except ImportError:  # a later Ray
        return {}
    found = available_resources_per_node()  # type: ignore[no-untyped-call]
    return {node_id: free.get("CPU", 0.0) for node_id, free in found.items()}


def waiting(config: JobConfig, nodes: Sequence[Node], free: Mapping[str, float]) -> str:
    """Why no worker can start now, in a sentence; "" where one can.

    Args:
        config: Of the job.
        nodes: That are alive.
        free: Cores that nobody uses, by node id.
    """
    wanted = "1 CPU"
    if memory_mb(config):
        wanted += f", {memory_mb(config)} MB of memory"
    if config.gpus_per_actor and config.detector.delegate == "gpu":
        wanted += f", {config.gpus_per_actor:g} GPU"
    if config.node_labels:
        wanted += ", label " + ", ".join(f"{name}={value}" for name, value in config.node_labels)
    fitting = [node for node in nodes if room(node, config)]
    if not fitting:
        found = "; ".join(_described(node) for node in nodes[:5]) + ("; ..." if len(nodes) > 5 else "")
        found = found or "no node"
        return (
            f"{NO_NODE} with room for a worker ({wanted}); now there is {found}. A cluster that "
            "scales by itself has been asked for it; to another one add a node (ray start --address ...)"
            + _IF_MEMORY
            * bool(memory_mb(config))
        )
    if free and not any(free.get(node.node_id, node.cpus) >= 1 for node in fitting):
        total = sum(node.cpus for node in fitting)
        return f"waiting for a free CPU: others use all {total:g} of {len(fitting)} nodes"
    return ""


def _described(node: Node) -> str:
    gpus = f", {node.gpus:g} GPUs" if node.gpus else ""
    return f"{node.name}: {node.cpus:g} CPUs{gpus}, {node.memory_mb:,.0f} MB"


def delegate_here(config: JobConfig) -> str:
    """What this worker's detector runs on: where GPUs are shared out, the GPU if Ray gave it a share."""
    if not config.gpus_per_actor:
        return config.detector.delegate
    import ray

    return "gpu" if ray.get_runtime_context().get_accelerator_ids().get("GPU") else "cpu"


def parse_workers(text: str) -> tuple[int | None, int | None]:
    """Smallest and largest number of workers from ``"8"`` or ``"2..64"``; None twice from ``""``.

    Raises:
        JobError: If it is neither.
    """
    if not text:
        return None, None
    low, dots, high = text.partition("..")
    if not low.isdecimal() or (dots and not high.isdecimal()):
        raise JobError(f"--workers must be a number such as 8, or a range such as 2..64, found {text!r}")
    return int(low), int(high if dots else low)


def parse_labels(listed: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names and values from ``["disk=a"]``.

    Raises:
        JobError: If one is not NAME=VALUE.
    """
    pairs = [text.partition("=") for text in listed]
    if wrong := next((text for text, pair in zip(listed, pairs, strict=True) if not all(pair)), None):
        raise JobError(f"--node-label must be NAME=VALUE, as in `ray start --labels`, found {wrong!r}")
    if wrong := next((value for _, _, value in pairs if not _LABEL_VALUE.fullmatch(value)), None):
        raise JobError(
            f"--node-label: expected a value of letters, digits, '-', '_' and '.', as nodes have it, "
            f"found {wrong!r}"
        )
    return tuple((name, value) for name, _, value in pairs)
