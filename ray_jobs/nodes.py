"""The nodes of the cluster, as one of its workers or the driver sees them.

Ray is imported in the functions: the command line knows this module by way of what its workers say.
"""


def node_id() -> str:
    """Ray's id of the node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def alive() -> set[str]:
    """Ray's ids of the nodes that are alive and have cores: the head of a cluster may have none."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1}


def has_other_nodes() -> bool:
    """Whether the cluster has nodes beside this one that work."""
    return bool(alive() - {node_id()})
