"""A Ray cluster of two nodes on this machine, as processes that are known by their ids and can be killed."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_OBJECT_STORE_BYTES = 100_000_000
_START_S = 60.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl


class Process(NamedTuple):
    """A process, known for good: ids are used again, start times are not.

    Attributes:
        pid: Its id.
        started: In clock ticks since boot.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The living process with an id; None where there is none."""
        fields = _stat(pid)
        return cls(pid, fields[19]) if fields else None

    def lives(self) -> bool:
        """Whether it still runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and fields[19] == self.started

    def is_stopped(self) -> bool:
        """Whether it lives and was stopped by a signal."""
        fields = _stat(self.pid)
        return fields is not None and fields[19] == self.started and fields[0] == "T"

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to this process and no other; returns False where it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle was taken before this look, so that the id cannot become somebody else's in between.
            if not self.lives():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def command(self) -> str:
        """Its command line, for a person."""
        with contextlib.suppress(OSError):
            return (
                Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        return ""


def children_of_all() -> dict[int, list[Process]]:
    """The children of every process of this machine that has any."""
    children: dict[int, list[Process]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(Process(pid, fields[19]))
    return children


def descendants(roots: Iterable[int]) -> list[Process]:
    """All processes below some, those of the first generation first."""
    children = children_of_all()
    found: list[Process] = []
    todo = list(roots)
    for pid in todo:
        found += children.get(pid, ())
        todo += [child.pid for child in children.get(pid, ())]
    return found


def marked(mark: str) -> list[Process]:
    """All living processes whose environment, as they were started, holds a text that nobody else has."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes() and (process := Process.of(pid)):
                found.append(process)
    return found


def end_with_parent() -> None:
    """For a child between fork and exec: it is not to outlive this program, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Cluster:
    """A head and one more node with a core each, started by ``ray start``; ports and folders of its own.

    Args:
        folder: For logs. Ray's sockets lie below it, and their paths may have no more than 107 bytes.
        environment: Of all its processes.

    Attributes:
        address: Of its head.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        head = [
            "--head",
            "--port",
            str(port),
            "--include-dashboard",
            "false",
            "--temp-dir",
            str(folder / "ray"),
        ]
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._killed: list[subprocess.Popen[bytes]] = []
        self._logs = 0
        self.address = f"127.0.0.1:{port}"
        self._start(head)
        self._wait_up()
        self.add_node()
        self._wait_up()

    @property
    def num_nodes(self) -> int:
        """Nodes that were started and have not been killed."""
        return len(self._nodes)

    def add_node(self) -> None:
        """Starts one more node, without waiting for it."""
        self._start(["--address", self.address])

    def raylets(self) -> list[Process]:
        """The raylet of each node, the head's first; of a node that is coming up none."""
        return [raylet for node in self._nodes if (raylet := _raylet(node.pid))]

    def workers(self, reported: Iterable[int] = ()) -> list[Process]:
        """Ray's worker processes that hold a detector, or of which a job has had a report.

        Args:
            reported: Process ids of these.
        """
        children = children_of_all()
        direct = [process for raylet in self.raylets() for process in children.get(raylet.pid, ())]
        known = set(reported)
        return [process for process in direct if process.pid in known or process.pid in children]

    def kill_node(self) -> list[Process]:
        """Kills the raylet of the newest node, if that is up; returns all processes of the node."""
        raylet = _raylet(self._nodes[-1].pid)
        if raylet is None or len(self._nodes) == 1:
            return []
        node = self._nodes.pop()
        # The node's starter sees within a second that its raylet is gone, and ends what else it started.
        lost = [*descendants([node.pid]), *filter(None, [Process.of(node.pid)])]
        raylet.send(signal.SIGKILL)
        self._killed.append(node)
        return lost

    def stop(self) -> None:
        """Ends all nodes."""
        for node in reversed(self._nodes):
            node.terminate()
        for node in [*self._nodes, *self._killed]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            node.kill()  # and with it, by the kernel, what it started
            node.wait()
        self._nodes.clear()

    def _start(self, arguments: list[str]) -> None:
        self._logs += 1
        with open(self._folder / f"node{self._logs}.log", "wb") as log:
            self._nodes.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments),
                        *("--num-cpus", "1", "--object-store-memory", str(_OBJECT_STORE_BYTES)),
                        # Several nodes on one machine: each takes ports that are free.
                        *("--min-worker-port", "0", "--max-worker-port", "0"),
                        *("--dashboard-agent-listen-port", "0", "--disable-usage-stats"),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # On one machine all nodes have its name; they are to be told apart, as machines are.
                    env={
                        **self._environment,
                        "LANDMARKS_HOST": f"node{self._logs}",
                        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
                    },
                    preexec_fn=end_with_parent,
                )
            )

    def _wait_up(self) -> None:
        log = self._folder / f"node{self._logs}.log"
        deadline = time.monotonic() + _START_S
        while b"Ray runtime started" not in log.read_bytes():
            if self._nodes[-1].poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"a Ray node did not come up:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)


def _raylet(starter: int) -> Process | None:
    for process in children_of_all().get(starter, ()):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/{process.pid}/exe")) == "raylet":
                return process
    return None


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat behind the name; None where it has ended, also where nobody has reaped it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields
