"""Who works on a data set now, and how far each worker is: small files that vanish with the job."""

import contextlib
import json
import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from extraction.errors import JobError
from storage.files import Store
from storage.retry import Patience

FOLDER = "_running"
_JOB = f"{FOLDER}/job.json"
_STALE_S = 120.0
"""A job of another machine that has not renewed its mark for so long is dead; its driver does every 10 s."""
_RENEWAL = Patience(total_s=8.0, longest_pause_s=2.0)
"""A mark says when it was made: better a new one in 10 s than an old one after minutes."""
_REPORTS_AT_ONCE = 32
_LARGEST = 1e11
"""No time or count in these files is larger: Unix time of the year 5138."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How far one worker is.

    Attributes:
        worker: Its name, unique in the job.
        shard: The shard it works on.
        clips: Clips of that shard done.
        frames: Frames of that shard done, those of the current clip included.
        kept_frames: Of these, frames that an earlier job had done.
        failures: Clips of that shard that failed.
        reasons: These by reason.
        examples: Reason to what one of these clips said.
        clip_id: The clip it has now.
        child_pid: Process id of its detector.
        shard_started: Unix time at which it began the shard.
        first_frame_at: Unix time at which it had its first frame, 0 before.
        host: The machine it runs on.
        parked: Why it keeps its shard and takes no other; "" while it works.
        notice: What a person should know of it; "" otherwise.
        time: Unix time of this report.
    """

    worker: str
    shard: int
    clips: int = 0
    frames: int = 0
    kept_frames: int = 0
    failures: int = 0
    clip_id: str = ""
    child_pid: int | None = None
    shard_started: float = 0.0
    first_frame_at: float = 0.0
    host: str = ""
    parked: str = ""
    notice: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    time: float = field(default_factory=time.time)


def host_name() -> str:
    """Name of this machine in rows and reports: its host name, or what LANDMARKS_HOST says instead.

    For clusters whose nodes share a host name, as containers may.
    """
    return os.environ.get("LANDMARKS_HOST") or socket.gethostname()


class JobMark:
    """The mark of the one job that may write to a data set.

    Args:
        store: The data set's files.
        job_id: Of a job that has its mark already (for its workers); a new id without.
    """

    def __init__(self, store: Store, job_id: str | None = None) -> None:
        self._store = store
        self.job_id = job_id or uuid.uuid4().hex
        self._started = time.time()

    def take(self) -> None:
        """Takes the mark, over from a dead job where need be.

        Raises:
            JobError: If another job is at work, naming its host and start time.
        """
        self.expect_free()
        self._write(self._store)
        # Of two that start in the same moment the later writer wins; the other sees it here or at its
        # first commit, and leaves nothing.
        time.sleep(0.05)
        self.check()
        for status in self._store.names(FOLDER):
            if status != _JOB:
                self._store.delete(status)

    def expect_free(self) -> None:
        """Makes sure that no other job is at work.

        Raises:
            JobError: If one is, naming its host and start time.
        """
        other = _read_mark(self._store)
        if other and _is_alive(other):
            started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(other["started"])))
            raise JobError(
                f"{self._store.location}: another job works on it, started {started} on {other['host']} "
                f"(process {other['pid']}): wait for it, or stop it first"
            )

    def renew(self) -> None:
        """Says that the job lives.

        Raises:
            JobError: If that cannot be written; it is not waited for long, because the next time is near.
        """
        self._write(self._store.with_patience(_RENEWAL))

    def keep(self) -> None:
        """Renews the mark if it is still ours; for the driver, every 10 s.

        Raises:
            JobError: If it is not, or cannot be read or written now.
        """
        hasty = self._store.with_patience(_RENEWAL)
        self._expect_ours(hasty)
        self._write(hasty)

    def _write(self, store: Store) -> None:
        mark = {
            "job_id": self.job_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_started": _pid_started(os.getpid()),
            "started": self._started,
            "renewed": time.time(),
        }
        store.write(_JOB, json.dumps(mark).encode())

    def check(self) -> None:
        """Makes sure that the mark is still ours: the gate that every shard passes before it is visible.

        Raises:
            JobError: If it is not, so that a worker left over from a dead job cannot add clips which the
                next job planned anew.
        """
        self._expect_ours(self._store)

    def _expect_ours(self, store: Store) -> None:
        found = (_read_mark(store) or {}).get("job_id")
        if found != self.job_id:
            raise JobError(
                f"{self._store.location}: another job took over; this worker leaves its shard to it"
            )

    def release(self) -> None:
        """Takes the mark away at the end of the job; where that fails it is stale soon."""
        store = self._store.impatient
        with contextlib.suppress(JobError):
            self._expect_ours(store)
            store.delete(_JOB)
            store.delete_folder(FOLDER)  # refused where a worker's last report comes in between


def _read_mark(store: Store) -> dict[str, Any] | None:
    """What the mark says; None where there is none, or one that no job wrote."""
    try:
        mark = json.loads(store.read(_JOB))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(mark, dict) or not isinstance(mark.setdefault("pid_started", None), str | None):
        return None
    texts, numbers = ("job_id", "host"), ("pid", "started", "renewed")
    is_ours = all(isinstance(mark.get(name), str) for name in texts)
    return mark if is_ours and all(_is_number(mark.get(name)) for name in numbers) else None


def report(store: Store, status: WorkerStatus) -> None:
    """Writes how far a worker is; where that fails, the next report will do.

    Raises:
        JobError: If it cannot be written.
    """
    store.impatient.write(
        f"{FOLDER}/worker-{status.worker}.json", json.dumps(asdict(status)).encode(), durable=False
    )


def reports(store: Store) -> list[WorkerStatus]:
    """How far each worker is, of dead ones only what nobody took over; empty where no job runs."""
    by_shard: dict[int, WorkerStatus] = {}
    store = store.impatient
    with contextlib.suppress(JobError):
        names = [name for name in store.names(FOLDER) if os.path.basename(name).startswith("worker-")]
        # On an object store each is a wait, and there may be hundreds.
        with ThreadPoolExecutor(1 if store.is_local else _REPORTS_AT_ONCE) as readers:
            for status in filter(None, readers.map(partial(_read_report, store), names)):
                known = by_shard.get(status.shard)
                if known is None or known.time < status.time:
                    by_shard[status.shard] = status
    return sorted(by_shard.values(), key=lambda status: status.worker)


def _read_report(store: Store, name: str) -> WorkerStatus | None:
    """What a worker says; None where that is gone, or nothing that a worker says."""
    try:
        status = WorkerStatus(**json.loads(store.read(name)))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return None
    return status if _is_plausible(status) else None


def _is_plausible(status: WorkerStatus) -> bool:
    """Whether each field is of the type that it should be."""
    usual = WorkerStatus("", 0)
    for name in (f.name for f in fields(WorkerStatus)):
        found, expected = getattr(status, name), getattr(usual, name)
        if isinstance(expected, int | float) or (expected is None and found is not None):
            fits = _is_number(found)
        else:
            fits = isinstance(found, type(expected))
        if not fits:
            return False
    texts = (*status.reasons, *status.examples, *status.examples.values())
    return all(isinstance(text, str) for text in texts) and all(map(_is_number, status.reasons.values()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _LARGEST


def count_start(store: Store, shard: int) -> int:
    """Counts how often this job has begun a shard; returns the count with this time in it."""
    name = f"{FOLDER}/starts-{shard:06d}"
    count = 1
    with contextlib.suppress(FileNotFoundError, ValueError):
        count += int(store.read(name))
    store.write(name, str(count).encode(), durable=False)
    return count


def running_job(store: Store) -> dict[str, Any] | None:
    """The job that works on the data set now: host, pid, started; None where there is none."""
    mark = _read_mark(store)
    return mark if mark and _is_alive(mark) else None


def process_began() -> float:
    """Unix time at which this process started."""
    ticks = _pid_started(os.getpid())
    if ticks is None:  # no /proc here
        return time.time()
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s


def _is_alive(mark: dict[str, Any]) -> bool:
    if mark["host"] == socket.gethostname() and mark["pid_started"] is not None:
        started = _pid_started(int(mark["pid"]))
        return started is not None and started == mark["pid_started"]
    return time.time() - float(mark["renewed"]) < _STALE_S


def _pid_started(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks since boot; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    # proc(5): state is the first field behind the name, starttime the twentieth; a zombie is dead.
    return None if fields[0] == "Z" else fields[19]
