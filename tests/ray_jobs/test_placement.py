"""Which worker goes where, without a cluster."""

import time
from collections.abc import Callable

import pytest

from extraction.detectors import DetectorOptions
from extraction.errors import JobError
from ray_jobs import placement
from ray_jobs.config import JobConfig
from ray_jobs.placement import (
    NO_NODE,
    Node,
    Pool,
    args_of_each,
    expect_gpus,
    local_workers,
    parse_labels,
    parse_workers,
    pool,
    remote_args,
    room,
    shares,
    waiting,
)
from ray_jobs.submit import entrypoint_of
from storage.dataset import Dataset
from storage.running import WorkerStatus, report

HEAD = Node("h", "head", 0.0, memory_mb=4000)
BIG = Node("b", "big", 16.0, memory_mb=32_000)
SMALL = Node("s", "small", 8.0, memory_mb=3000, labels={"disk": "a"})
GPU = Node("g", "gpu", 8.0, gpus=2.0, memory_mb=32_000)


def config(delegate: str = "cpu", **more) -> JobConfig:
    options = DetectorOptions(engine="segmenter", delegate=delegate)
    return JobConfig("/out", detector=options, **{"address": "auto", **more})


def test_workers_fit_by_cores_and_by_memory():
    assert [room(node, config()) for node in (HEAD, BIG, SMALL)] == [0, 16, 4]
    assert room(SMALL, config(memory_per_actor_mb=0)) == 8
    assert room(SMALL, config(address=None)) == 8
    assert room(Node("x", "x", 1.5, memory_mb=9000), config()) == 1


def test_labels_choose_nodes():
    chosen = config(node_labels=(("disk", "a"),))
    assert [room(node, chosen) for node in (BIG, SMALL)] == [0, 4]
    assert remote_args(chosen, ["n2", "n1"])["label_selector"] == {
        "disk": "a",
        "ray.io/node-id": "!in(n1,n2)",
    }
    assert "label_selector" not in remote_args(config(), [])


@pytest.mark.parametrize(("share", "fit"), [(0.25, 8), (0.4, 4), (1.0, 2), (2.0, 1), (0.0, 0)])
def test_a_share_is_of_one_gpu(share, fit):
    assert shares(GPU, config("auto", gpus_per_actor=share)) == fit


def test_with_delegate_gpu_all_workers_are_where_gpus_are():
    gpu = config("gpu", gpus_per_actor=0.5)
    assert [room(node, gpu) for node in (BIG, GPU)] == [0, 4]
    assert remote_args(gpu, [])["num_gpus"] == 0.5
    assert pool(gpu, [BIG, GPU], 100) == Pool(64, 100)


def test_the_pool():
    nodes = [HEAD, BIG, SMALL]
    assert pool(config(), nodes, 100) == Pool(64, 100)  # asks for some, and grows with the cluster
    assert pool(config(), [BIG] * 5, 100) == Pool(80, 100)
    assert pool(config(), nodes, 7) == Pool(7, 7)
    assert pool(config(workers=64), [HEAD], 100) == Pool(64, 64)
    assert pool(config(workers=64, min_workers=2), nodes, 100) == Pool(2, 64)
    assert pool(config(workers=64, min_workers=2), nodes, 10) == Pool(2, 10)
    assert pool(config(address=None), [Node("l", "here", 2.0)], 100) == Pool(2, 2)


def kinds(chosen: JobConfig, nodes: list[Node], number: int) -> list[float]:
    args = args_of_each(chosen, lambda: nodes)
    return [args()["num_gpus"] for _ in range(number)]


def test_gpu_workers_come_first_and_cpu_workers_beside_them():
    mixed = config("auto", gpus_per_actor=0.25, gpu_workers=2)
    assert kinds(mixed, [BIG, GPU], 5) == [0.25, 0.25, 0, 0, 0]


def test_gpu_workers_are_as_many_as_the_gpus_are_enough_for():
    nodes = [BIG]
    args = args_of_each(config("auto", gpus_per_actor=0.5), lambda: nodes)
    assert args() == {"num_gpus": 0}
    nodes.append(Node("g", "gpu", 2.0, gpus=1.0, memory_mb=32_000))  # has come since
    assert [args()["num_gpus"] for _ in range(3)] == [0.5, 0.5, 0]


def test_what_a_job_waits_for():
    said = waiting(config("gpu", gpus_per_actor=0.5, node_labels=(("disk", "a"),)), [HEAD], {})
    assert said.startswith(NO_NODE)
    assert "1 CPU, 700 MB of memory, 0.5 GPU, label disk=a" in said
    assert "head: 0 CPUs, 4,000 MB" in said
    assert "others use all 16" in waiting(config(), [HEAD, BIG], {"h": 0.0, "b": 0.0})
    assert waiting(config(), [HEAD, BIG], {"b": 3.0}) == ""
    assert waiting(config(), [HEAD, BIG, SMALL], {"h": 0.0, "b": 0.0}) == ""  # one has just come
    assert "now there is no node. A cluster" in waiting(config(), [], {})


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_says_what_it_waits_for_whenever_it_does(monkeypatch, tmp_path):
    from ray_jobs import extract

    cluster, free, told, looks = [HEAD, BIG], {"h": 0.0, "b": 0.0}, [], []
    monkeypatch.setattr(extract, "_PARKED_S", 0.01)
    monkeypatch.setattr(extract, "alive_nodes", lambda: looks.append(1) or list(cluster))
    monkeypatch.setattr(extract, "free_cpus", lambda: dict(free))
    dataset = Dataset(str(tmp_path))
    report(dataset.store, WorkerStatus("old", 0, time=1.0))  # of an earlier turn
    with extract._waiting_told(config(), dataset, (), told.append):
        until(lambda: told)
        assert told.pop() == "waiting for a free CPU: others use all 16 of 1 nodes"
        report(dataset.store, WorkerStatus("new", 1, time=2.0))
        for _ in range(2):  # all nodes go in the middle, twice
            cluster.remove(BIG)
            until(lambda: told)
            assert "now there is head: 0 CPUs" in told.pop()
            cluster.append(BIG)
            seen = len(looks)
            until(lambda seen=seen: len(looks) > seen + 2)
            assert not told  # it may be the job itself that uses all cores


def test_the_watch_outlives_a_look_that_fails(monkeypatch, caplog):
    from ray_jobs import extract

    monkeypatch.setattr(extract, "_PARKED_S", 0.01)
    looks = []

    def look() -> bool:
        looks.append(1)
        if len(looks) < 3:
            raise ConnectionError("the head is away")
        return len(looks) == 4

    with extract._watched(look, if_any=True):
        until(lambda: len(looks) == 4)
    assert [record.message for record in caplog.records if "the head is away" in record.message] == [
        "could not look after the workers, and will try again: the head is away"
    ]


def test_a_local_job_starts_no_more_of_a_range_than_its_machine_can_bear(monkeypatch):
    monkeypatch.setattr(placement, "usable_workers", lambda: 4)
    ranges = [(None, None), (2, 64), (6, 64), (2, 3), (8, 8), (None, 8)]
    here = [local_workers(JobConfig("/out", min_workers=low, workers=high)) for low, high in ranges]
    assert here == [4, 4, 6, 3, 8, 8]


@pytest.mark.parametrize(
    ("wanted", "gpus", "said"),
    [
        ({"delegate": "gpu"}, 0.0, r"share: 1, but Ray found GPUs .*: 0, enough for 0"),
        ({"delegate": "gpu", "workers": 4}, 1.0, r"share: 4, but .*: 1, enough for 2"),
        ({"delegate": "auto", "gpu_workers": 2}, 0.0, r"share: 2, but .*: 0, enough for 0"),
        ({"delegate": "gpu", "workers": 2}, 1.0, ""),
        ({"delegate": "gpu", "workers": 4, "min_workers": 1}, 1.0, ""),
        ({"delegate": "auto", "gpu_workers": 2}, 1.0, ""),
        ({"delegate": "auto"}, 0.0, ""),
    ],
)
def test_a_local_job_has_the_gpus_it_shares_out_or_says_so(wanted, gpus, said):
    local, here = config(address=None, gpus_per_actor=0.5, **wanted), Node("l", "here", 4.0, gpus=gpus)
    if not said:
        expect_gpus(local, [here], 100)
        return
    with pytest.raises(JobError, match=said):
        expect_gpus(local, [here], 100)


def test_labels_are_of_clusters():
    with pytest.raises(JobError, match=r"--node-label .* goes with --address"):
        config(address=None, node_labels=(("disk", "a"),))
    assert "--node-label=disk=a" in entrypoint_of(["/in", "/out", "--node-label=disk=a"])  # has its cluster


@pytest.mark.parametrize(
    ("text", "range_"), [("", (None, None)), ("8", (8, 8)), ("2..64", (2, 64)), ("64..2", (64, 2))]
)
def test_workers(text, range_):
    assert parse_workers(text) == range_


@pytest.mark.parametrize("text", ["x", "2..", "..4", "2-4", "-1", "2...4"])
def test_workers_that_are_none(text):
    with pytest.raises(JobError, match="--workers must be a number"):
        parse_workers(text)


def test_labels_are_names_with_values():
    assert parse_labels(["disk=a", "market-type=spot"]) == (("disk", "a"), ("market-type", "spot"))
    with pytest.raises(JobError, match="NAME=VALUE"):
        parse_labels(["disk"])
    for choice in ("!a", "in(a,b)", "a b", "-a"):  # some are Ray's language, in which `room` does not think
        with pytest.raises(JobError, match="expected a value of letters"):
            parse_labels([f"disk={choice}"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 2, "min_workers": 64}, "found 64..2"),
        ({"workers": 0}, "--workers must be 1 or more"),
        ({"memory_per_actor_mb": -1}, "--memory-per-actor"),
        ({"gpus_per_actor": 1.5, "delegate": "gpu"}, "found 1.5"),
        ({"gpus_per_actor": float("nan"), "delegate": "gpu"}, "found nan"),
        ({"gpus_per_actor": float("inf"), "delegate": "gpu"}, "found inf"),
        ({"gpus_per_actor": -0.5, "delegate": "gpu"}, "found -0.5"),
        ({"gpus_per_actor": 0.5}, "--delegate gpu"),
        ({"gpu_workers": 2, "delegate": "auto"}, "goes with --gpus-per-actor"),
        ({"gpu_workers": 2, "gpus_per_actor": 0.5, "delegate": "gpu"}, "--delegate auto"),
        ({"gpu_workers": 3, "workers": 2, "gpus_per_actor": 0.5, "delegate": "auto"}, "at most 2"),
    ],
)
def test_options_that_do_not_go_together(wrong, said):
    with pytest.raises(JobError, match=said):
        config(**wrong)


def test_an_engine_without_gpu_takes_no_share():
    with pytest.raises(JobError, match="runs on the CPU only"):
        JobConfig("/out", detector=DetectorOptions(engine="holistic", delegate="auto"), gpus_per_actor=0.5)
