"""What kills at random, and what watches that nothing is left behind."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chaos_cluster import Cluster, Process, descendants

from storage.files import Store, is_temporary
from storage.running import WorkerStatus, reports

# Kind of fault to how often it comes in a round; each round is shuffled anew. A detector's process ("child")
# that is stopped stays so until its worker notices; a worker ("actor") is let go on after a while, as after a
# frozen machine. "writers" are all workers, in the moment in which one of them makes a file visible.
FAULTS = {
    "child SIGKILL": 5,
    "child SIGSEGV": 5,
    "child SIGSTOP": 2,
    "actor SIGKILL": 3,
    "actor SIGSTOP": 1,
    "writers SIGKILL": 1,
    "node SIGKILL": 2,
    "driver SIGKILL": 1,
    "driver SIGINT": 1,
    "driver SIGTERM": 1,
}
_AT_ONCE = 0.25
"""Share of the faults that do not wait until clips are at work: they hit the start of a job too."""
_WAIT_S = 20.0
"""A fault that finds nothing to hit for so long lets the next one go first."""
_NEW_NODE_S = (0.0, 6.0)
_FROZEN_S = (1.0, 12.0)
_LURK_S = 5.0
"""How long to wait for a file that becomes visible."""
_NOTICED_S = 120.0
"""A stopped detector has to be found and replaced; its worker looks when the next clip wants it."""
RAYS_AGENTS_S = 120.0
"""Ray's own agents of a dead node try for about 100 s to reach it before they end."""


class Monkey:
    """Injects one fault after the other.

    Args:
        cluster: Whose processes may be hit.
        out: The data set, where workers report.
        pause_s: Mean time between two faults.
        seed: Of the kinds, their order and their moments; what they hit depends on how the job goes.
        agents_s: How long Ray's own processes of a killed node may stay; 0: they are killed with it.

    Attributes:
        injected: Counts by kind.
        watch: Of what has to be gone after a fault.
    """

    def __init__(self, cluster: Cluster, out: Path, pause_s: float, seed: int, agents_s: float) -> None:
        self._cluster, self._store, self._pause_s = cluster, Store(str(out)), pause_s
        self._agents_s = agents_s
        self._chance = random.Random(f"monkey {seed}")
        self._bag: list[str] = []
        self._new_node_at = 0.0
        self._frozen: list[tuple[float, Process]] = []
        self._due, self._at_once = 0.0, False
        self._plan_next()
        self.injected: Counter[str] = Counter()
        self.watch = Watch()

    def tick(self, driver: "subprocess.Popen[bytes]", began: float) -> str:
        """Does what is due; returns the kind of a fault that was injected, else "".

        Args:
            driver: The running job.
            began: Unix time at which it was started.
        """
        self._replace_node()
        self._thaw()
        now = time.monotonic()
        if now < self._due:
            return ""
        kind = self._bag[-1]
        status = [report for report in reports(self._store) if report.time > began]
        if (status or self._at_once) and (detail := self._strike(kind, driver, status)):
            self._bag.pop()
            self._plan_next()
            self.injected[kind] += 1
            return f"{kind} ({detail})"
        if now > self._due + _WAIT_S:
            self._bag.insert(0, self._bag.pop())
            self._due = now
        return ""

    def stop(self) -> None:
        """No more faults; a node that is missing comes back."""
        if self._new_node_at:
            self._new_node_at = time.monotonic()
        self._replace_node()
        self._thaw(all_of_them=True)

    def expect_idle(self) -> None:
        """A job has ended: its workers and all below them have to go."""
        workers = self._cluster.workers(_pids(reports(self._store)))
        self.watch.expect_gone([*workers, *descendants(w.pid for w in workers)], 30, "after its job")

    def _plan_next(self) -> None:
        if not self._bag:
            self._bag = [kind for kind, times in FAULTS.items() for _ in range(times)]
            self._chance.shuffle(self._bag)
        self._due = time.monotonic() + self._chance.uniform(0.2, 1.8) * self._pause_s
        self._at_once = self._chance.random() < _AT_ONCE

    def _strike(self, kind: str, driver: "subprocess.Popen[bytes]", status: list[WorkerStatus]) -> str:
        """Injects a fault; returns what it hit, "" where there is nothing to hit yet."""
        whom, name = kind.split()
        number = signal.Signals[name]
        if whom == "driver":
            driver.send_signal(number)
            return f"process {driver.pid}"
        if whom == "node":
            return self._kill_node(status)
        workers = self._cluster.workers(_pids(status))
        if whom == "writers":
            return self._kill_writers(workers)
        below = descendants(worker.pid for worker in workers)
        victims = workers if whom == "actor" else below
        if number != signal.SIGKILL:  # another signal would wait until the process goes on
            victims = [victim for victim in victims if not victim.is_stopped()]
        if not victims:
            return ""
        victim = self._chance.choice(victims)
        below = descendants([victim.pid])
        if not victim.send(number):
            return ""
        if whom == "actor" and number == signal.SIGSTOP:
            self._frozen.append((time.monotonic() + self._chance.uniform(*_FROZEN_S), victim))
        else:
            self.watch.expect_gone(below, 10, "under a killed worker")
            self.watch.expect_gone([victim], _NOTICED_S, f"although sent {name}")
        return f"process {victim.pid}"

    def _kill_writers(self, workers: list[Process]) -> str:
        """Kills all workers as soon as a file becomes visible, before its worker can say so."""
        before, deadline = self._visible(), time.monotonic() + _LURK_S
        while workers and time.monotonic() < deadline:
            if new := self._visible() - before:
                below = descendants(worker.pid for worker in workers)
                for worker in workers:
                    worker.send(signal.SIGKILL)
                self.watch.expect_gone([*workers, *below], 10, "after its worker was killed")
                return ", ".join(sorted(new))
            time.sleep(0.001)
        return ""

    def _visible(self) -> set[str]:
        return {
            f"{os.path.basename(place)}/{name}"
            for top in ("clips", "failures")
            for place, _, names in os.walk(os.path.join(self._store.root, top))
            for name in names
            if not is_temporary(name)
        }

    def _thaw(self, all_of_them: bool = False) -> None:
        for moment, victim in list(self._frozen):
            if all_of_them or time.monotonic() >= moment:
                self._frozen.remove((moment, victim))
                victim.send(signal.SIGCONT)

    def _kill_node(self, status: list[WorkerStatus]) -> str:
        workers = self._cluster.workers(_pids(status))
        family = {*workers, *descendants(worker.pid for worker in workers)}
        lost = self._cluster.kill_node()
        if not lost:
            return ""
        self.watch.expect_gone(family.intersection(lost), 30, "on a killed node")
        for process in () if self._agents_s else set(lost) - family:
            process.send(signal.SIGKILL)
        self.watch.expect_gone(lost, self._agents_s or 10, "of Ray, on a killed node")
        self._new_node_at = time.monotonic() + self._chance.uniform(*_NEW_NODE_S)
        return f"{len(lost)} processes"

    def _replace_node(self) -> None:
        if self._new_node_at and time.monotonic() >= self._new_node_at:
            self._new_node_at = 0.0
            self._cluster.add_node()


class Watch:
    """Processes that have to be gone by a certain time.

    Attributes:
        orphans: Those that were not.
    """

    def __init__(self) -> None:
        self._expected: dict[Process, tuple[float, str]] = {}
        self.orphans: list[str] = []

    def expect_gone(self, processes: Iterable[Process], within_s: float, why: str) -> None:
        """Adds processes; one that is expected to go already keeps its time."""
        for process in processes:
            self._expected.setdefault(process, (time.monotonic() + within_s, why))

    def tick(self) -> None:
        """Looks whose time has come."""
        for process, (deadline, why) in list(self._expected.items()):
            if not process.lives():
                del self._expected[process]
            elif time.monotonic() > deadline:
                del self._expected[process]
                self.orphans.append(f"{process.pid} {why}: {process.command()[:200]}")

    def wait(self) -> None:
        """Waits until each has gone, or its time is over."""
        while self._expected:
            self.tick()
            time.sleep(0.2)


def _pids(status: Iterable[WorkerStatus]) -> list[int]:
    """Process ids of workers; they name themselves HOST-PID."""
    pids = []
    for report in status:
        with contextlib.suppress(ValueError):
            pids.append(int(report.worker.rpartition("-")[2]))
    return [pid for pid in pids if pid != os.getpid()]
