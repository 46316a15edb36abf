"""A Ray head with a job server, for tests: ports, token, folder and processes of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UP_S = 60.0
_MARK = "LANDMARKS_TEST_HEAD"


@dataclass(frozen=True)
class Head:
    """A head that runs.

    Attributes:
        address: For ``--address`` of a driver.
        job_server: URL.
        metrics: URL of what Prometheus would ask.
        environment: For those who may talk to it: the token is in it.
    """

    address: str
    job_server: str
    metrics: str
    environment: dict[str, str]


@contextlib.contextmanager
def ray_head(
    num_cpus: int = 2,
    job_server: bool = True,
    kinds: dict[str, dict[str, float]] | None = None,
    **environment: str,
) -> Iterator[Head]:
    """Starts a head with token authentication, and ends all of its processes afterwards.

    Args:
        num_cpus: Of the head.
        job_server: Whether it has one, and a dashboard.
        kinds: Name of a kind of node to its resources: one of each comes when it is asked for, as a cloud's
            machines do, but as processes of this machine (Ray's own fake of a cloud), and goes when idle.
        **environment: Of all nodes.
    """
    # Below /tmp: paths of Ray's sockets may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="head-", dir="/tmp"))
    token, mark = folder / "token", uuid.uuid4().hex
    token.write_text(uuid.uuid4().hex)
    ports = _free_ports(5)
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_metrics_report_interval_ms": "1000",
        # What a submitted command finds as `python`.
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        _MARK: mark,
        **environment,
    }
    options = {
        "--port": ports[0],
        "--dashboard-port": ports[1],
        "--dashboard-agent-listen-port": ports[2],
        "--metrics-export-port": ports[3],
        "--ray-client-server-port": ports[4],
        "--include-dashboard": str(job_server).lower(),
        "--num-cpus": num_cpus,
        "--temp-dir": folder / "ray",
    }
    if kinds:
        (folder / "cluster.json").write_text(json.dumps(_autoscaling(kinds, ports[0])))
        options["--autoscaling-config"] = folder / "cluster.json"
        env |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"{name}={value}" for name, value in options.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_up(process, ports[:2] if job_server else ports[:1], folder / "log")
            own = {k: v for k, v in env.items() if k != _MARK}
            url = f"http://127.0.0.1:{ports[1]}"
            address = f"{socket.gethostbyname(socket.gethostname())}:{ports[0]}"
            yield Head(address, url, f"http://127.0.0.1:{ports[3]}/metrics", own)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
            _end(mark)
            shutil.rmtree(folder, ignore_errors=True)


def _autoscaling(kinds: dict[str, dict[str, float]], port: int) -> dict[str, object]:
    """A cluster.yaml for Ray's fake of a cloud. All keys are there: its monitor fills in nothing."""
    head = "ray.head.default"  # as the fake names it
    empty = {"node_config": {}, "min_workers": 0}
    types = {name: {**empty, "resources": given, "max_workers": 1} for name, given in kinds.items()}
    lists = ("setup", "head_setup", "worker_setup", "initialization", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "fake",
        "max_workers": len(kinds),
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1000,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": f"{socket.gethostbyname(socket.gethostname())}:{port}",
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {**types, head: {**empty, "resources": {"CPU": 0}, "max_workers": 0}},
        "head_node_type": head,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{f"{name}_commands": [] for name in lists},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }


def scrape(url: str) -> str:
    """What a metrics port serves."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def _wait_up(process: "subprocess.Popen[bytes]", ports: list[int], log: Path) -> None:
    deadline = time.monotonic() + _UP_S
    while not all(map(_answers, ports)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no Ray head came up: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end(mark: str) -> None:
    """Kills whatever of the head still runs: all that were started with its mark."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if f"{_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                os.kill(pid, signal.SIGKILL)
