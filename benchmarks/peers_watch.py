"""Runs a command and watches it from outside, the same way whoever it is: time, CPU, memory, first result."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos_cluster import Process, descendants, end_with_parent, marked

_LOOK_S = 1.0
"""A look takes some 9 ms."""
_MEMORY_SHARE = 0.01
"""Of one core, at most, for looking at memory: reading PSS makes the kernel walk page tables."""
_BUSY = 0.75
"""Share of the cores from which on they count as busy: the rest goes to the machine, and to looking."""
_TICKS = os.sysconf("SC_CLK_TCK")
_MARK = "LANDMARKS_PEERS_RUN"


@dataclass(slots=True)
class Watched:
    """What was seen of a command.

    Attributes:
        wall_s: From its start to its end.
        cpu_s: Of all its processes.
        peak_mb: Largest sum of the proportional set sizes of all its processes, 10^6 bytes.
        memory_mb: Of what processes this peak was, by their commands.
        tail_s: From the last moment at which it kept all cores busy to its end.
        code: Exit code.
        stdout: What it printed.
        stderr: And what it complained of.
        busy: Cores in use over time, for each look.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    memory_mb: dict[str, float] = field(default_factory=dict)
    tail_s: float = 0.0
    code: int = 0
    stdout: str = ""
    stderr: str = ""
    busy: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Killed:
    """What was left when the command's first process got SIGKILL.

    Attributes:
        after_s: When, from its start.
        orphans: Its other processes that still lived so long afterwards.
    """

    after_s: float
    orphans: list[str]


class Tree:
    """A command with all the processes that come from it, wherever the kernel hangs them."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self._known: dict[Process, float] = {}
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**environment, _MARK: self._mark},
                preexec_fn=end_with_parent,
            )
        self.began = time.monotonic()

    def look(self) -> float:
        """Finds new processes and returns the CPU seconds of all so far."""
        living = [process for process in self._known if process.lives()]
        roots = [self.process.pid, *(process.pid for process in living)]
        for process in [*filter(None, [Process.of(self.process.pid)]), *descendants(roots)]:
            self._known.setdefault(process, 0.0)
        for process in self._known:
            # Of one that has ended the last look counts.
            self._known[process] = _cpu_s(process) or self._known[process]
        return sum(self._known.values())

    def has_ended(self, patience_s: float) -> bool:
        """Waits at most so long for the first process to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        return self.process.returncode is not None

    def memory_mb(self) -> dict[str, float]:
        """Memory of all processes by their commands, what they share counted once."""
        found: Counter[str] = Counter()
        for process in self._known:
            if process.lives() and (size := _pss_bytes(process.pid)):
                found[process.command()[:100]] += size / 1e6
        return dict(found)

    def left(self) -> list[Process]:
        """What still lives beside the first process."""
        self.look()
        found = {*marked(f"{_MARK}={self._mark}"), *(p for p in self._known if p.lives())}
        return sorted(process for process in found if process.pid != self.process.pid)

    def said(self) -> tuple[str, str]:
        """What it printed and what it complained of."""
        out, err = (self._folder / name for name in ("stdout", "stderr"))
        return out.read_text(errors="replace"), err.read_text(errors="replace")

    def end(self) -> None:
        """Kills what still lives, by its id."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in self.left():
            process.send(signal.SIGKILL)


def watched(command: list[str], environment: dict[str, str], folder: Path, workers: int) -> Watched:
    """Runs a command to its end.

    Args:
        command: To run.
        environment: Of the command.
        folder: Gets what it prints.
        workers: How many cores it should keep busy.
    """
    tree, seen, memory_due = Tree(command, environment, folder), Watched(), 0.0
    try:
        last = (tree.began, 0.0)
        while not tree.has_ended(_LOOK_S):
            now, cpu_s = time.monotonic(), tree.look()
            seen.busy.append((now - tree.began, (cpu_s - last[1]) / (now - last[0])))
            last, seen.cpu_s = (now, cpu_s), cpu_s
            if now >= memory_due:
                memory_mb = tree.memory_mb()
                if sum(memory_mb.values()) > seen.peak_mb:
                    seen.peak_mb, seen.memory_mb = sum(memory_mb.values()), memory_mb
                memory_due = time.monotonic() + (time.monotonic() - now) / _MEMORY_SHARE
        seen.wall_s = time.monotonic() - tree.began
        seen.code = tree.process.wait()
        seen.stdout, seen.stderr = tree.said()
    finally:
        tree.end()
    full = [at for at, cores in seen.busy if cores >= _BUSY * workers]
    seen.tail_s = seen.wall_s - max(full, default=0.0)
    return seen


def killed(
    command: list[str], environment: dict[str, str], folder: Path, after_s: float, patience_s: float
) -> Killed:
    """Runs a command, kills its first process and nothing else, and looks what stays.

    Args:
        command: To run.
        environment: Of the command.
        folder: Gets what it prints.
        after_s: When to kill it.
        patience_s: How long its other processes may take to notice.
    """
    tree = Tree(command, environment, folder)
    try:
        while (left_s := tree.began + after_s - time.monotonic()) > 0:
            if tree.has_ended(min(left_s, _LOOK_S)):
                break
            tree.look()
        tree.process.kill()
        tree.process.wait()
        at = time.monotonic()
        while (left := tree.left()) and time.monotonic() - at < patience_s:
            time.sleep(_LOOK_S)
        return Killed(at - tree.began, [process.command()[:80] for process in left])
    finally:
        tree.end()


def _cpu_s(process: Process) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields[19] == process.started else 0.0


def _pss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
