"""Kills what can be killed while a job runs, until it is finished, and counts whether every clip is there.

    make chaos MINUTES=5 SEED=1
    python benchmarks/chaos.py --minutes 5 --seed 1 [--clips 320] [--frames FOLDER] [--json FILE]

Starts a Ray cluster of two nodes on this machine, cuts hundreds of short clips and plants poison among them,
extracts the healthy ones once undisturbed, and then runs the same `landmarks extract --address` command again
and again while detectors, workers, a node and the driver are killed at random. What it starts, it ends, by
process id; nothing else on the machine is touched. When the time is over, or the job is finished, it runs
the command to its end, and once more with --retry-failed, as a user would, and judges. Exit code 0 only if
no clip is missing or there twice, all arrays are those of the undisturbed run, exactly the poison failed,
each clip for a fitting reason, and nothing is left over. The seed decides the clips, the faults, their order
and moments; how far the job is at such a moment is up to the machine.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos_clips import ChangingInput, Planted, plant
from chaos_cluster import Cluster, end_with_parent, marked
from chaos_monkey import RAYS_AGENTS_S, Monkey
from chaos_verdict import Verdict, judge
from rich.console import Console
from rich.table import Table

from storage.dataset import Dataset

REPO = Path(__file__).resolve().parents[1]
_TICK_S = 0.1
_CALM_RUN_S = 900.0
"""An undisturbed run that takes longer is stuck."""
_STUCK_S = 150.0
"""A disturbed run is stuck where no shard and no report came for so long."""
_LONGER_S = 240.0
"""For so long a run goes on behind its time for the faults it has to have: slow machines start slowly."""
_SHARE_OF_WORK = 0.3
"""Of the time, what the frames would take undisturbed; the rest goes into restarts."""
_MAX_SLOW_S = 0.5
_FINISHED = (0, 1)


@dataclass(slots=True)
class Runs:
    """The runs of the driver so far.

    Attributes:
        ended: Counts by how they ended, of the disturbed ones.
        done_by_then: Clips in the data set after the last of these.
        failed_by_then: Healthy clips among the failures then, each killed once too often.
        unexpected: Last words of those that ended neither by a fault nor with the job done.
        calm_s: Seconds that each undisturbed one took, by name.
    """

    ended: Counter[str] = field(default_factory=Counter)
    done_by_then: int = 0
    failed_by_then: int = 0
    unexpected: list[str] = field(default_factory=list)
    calm_s: dict[str, float] = field(default_factory=dict)


class Chaos:
    """One chaos run in a folder of its own.

    Args:
        args: The command line.
        folder: Empty.
    """

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._args, self._folder, self._seconds = args, folder, args.minutes * 60
        self.out, self.reference, self.temporary = folder / "out", folder / "undisturbed", folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.mark = uuid.uuid4().hex
        self._slow = folder / "slow"
        self._environment = {
            **os.environ,
            # This checkout's code, whatever is installed, and the engine that poisons.
            "PYTHONPATH": os.pathsep.join((str(REPO), str(REPO / "tests" / "support"))),
            "CHAOS_SLOW": str(self._slow),
            "TMPDIR": str(self.temporary),
            "RAY_AUTH_MODE": "token",  # for the minutes that its ports are open, nobody else may use it
            "RAY_AUTH_TOKEN": self.mark,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._environment.pop("RAY_ADDRESS", None)
        self.planted: Planted = plant(folder, args.frames, args.clips, args.poison, args.seed)
        self.runs = Runs()
        self.slow_s = 0.0
        self._logs = 0
        self._began = time.monotonic()
        self.say(f"{len(self.planted.healthy)} clips and {len(self.planted.poison)} poison in {folder}")
        self.cluster = Cluster(folder, self._environment)
        self.monkey = Monkey(self.cluster, self.out, args.pause, args.seed, args.agents_wait)

    def run(self) -> Verdict:
        """Runs everything and judges."""
        self._calm("undisturbed", self._command(self.planted.reference, self.reference, "holistic"))
        self._calibrate()
        changes = ChangingInput(self.planted, self._seconds * 0.7, self._args.seed)
        self._began = time.monotonic()
        self._storm(changes)
        self.monkey.stop()
        self._slow.unlink()
        self._count_done()
        command = self._command(self.planted.frames, self.out, "poison_engine:make")
        self._calm("last", command, changes)
        self._calm("--retry-failed", [*command, "--retry-failed"], changes)
        self.monkey.expect_idle()
        self.monkey.watch.wait()
        self.say("everything that had to go has gone, or was noted")
        verdict = judge(self.planted, self.out, self.reference, self.temporary)
        self.cluster.stop()
        self.say("the cluster has ended")
        verdict.faults["orphan processes"] = [*self.monkey.watch.orphans, *self._left()]
        verdict.faults["driver runs that ended wrongly"] = self.runs.unexpected
        return verdict

    def say(self, text: str) -> None:
        """Tells how it goes."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def _command(self, frames: Path, out: Path, engine: str) -> list[str]:
        return [
            *(sys.executable, "-m", "ray_jobs.extract", str(frames), str(out)),
            *("--address", self.cluster.address, "--engine", engine),
            *("--frame-timeout", str(self._args.frame_timeout), "--start-timeout", "30"),
            *("--max-worker-rss-mb", "800"),
            *("--max-failures", "100%"),  # in a small run the poison is more than a fifth
        ]

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        self._logs += 1
        with open(self._log(), "wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                preexec_fn=end_with_parent,
            )

    def _log(self) -> Path:
        return self._folder / f"driver{self._logs:03d}.log"

    def _calibrate(self) -> None:
        """Slows each frame so far that there is work for the whole time."""
        work_s = self._seconds * _SHARE_OF_WORK * self.cluster.num_nodes
        slow_s = work_s / self.planted.num_frames - 0.05  # what a frame takes anyway, about
        self.slow_s = round(min(max(slow_s, 0.0), _MAX_SLOW_S), 3)
        self._slow.write_text(str(self.slow_s))

    def _storm(self, changes: ChangingInput) -> None:
        command = self._command(self.planted.frames, self.out, "poison_engine:make")
        deadline = time.monotonic() + self._seconds
        while not self._is_over(deadline):
            driver, began = self._start(command), time.time()
            asked, signs = "", (0, time.monotonic())
            while driver.poll() is None and not self._is_over(deadline):
                time.sleep(_TICK_S)
                changes.tick((self.out / "plan.parquet").exists())
                self.monkey.watch.tick()
                if fault := self.monkey.tick(driver, began):
                    self.say(fault)
                    asked = fault if fault.startswith("driver") else asked
                signs = self._signs(signs)
                if time.monotonic() - signs[1] > _STUCK_S:
                    self.runs.unexpected.append(f"stuck for {_STUCK_S:g} s ({self._log().name})")
                    driver.kill()
            if driver.poll() is None:
                self.say("time is over")
                driver.send_signal(signal.SIGINT)
                asked = "stopped when the time was over"
            if self._ended(driver, asked):
                return

    def _is_over(self, deadline: float) -> bool:
        """Whether the time is over and there were faults enough."""
        enough = self.monkey.injected.total() >= self._args.faults
        return time.monotonic() >= deadline + (0 if enough else _LONGER_S)

    def _count_done(self) -> None:
        if (self.out / "dataset.json").exists():
            dataset = Dataset.open(str(self.out))
            failed = set(dataset.failures()["clip_id"].to_pylist())
            self.runs.done_by_then = dataset.clips().count_rows()
            self.runs.failed_by_then = len(failed.intersection(self.planted.healthy))

    def _signs(self, last: tuple[int, float]) -> tuple[int, float]:
        """When the newest file of the data set was written, and when that was seen: a sign of life."""
        newest = 0
        for place, _, names in os.walk(self.out):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    newest = max(newest, os.stat(os.path.join(place, name)).st_mtime_ns)
        return last if newest == last[0] else (newest, time.monotonic())

    def _ended(self, driver: "subprocess.Popen[bytes]", asked: str) -> bool:
        """Notes how a disturbed run ended; returns whether the job is finished."""
        try:
            code = driver.wait(60)
        except subprocess.TimeoutExpired:
            driver.kill()
            code = driver.wait()
            self.runs.unexpected.append(f"did not stop within 60 s after {asked} ({self._log().name})")
        self.monkey.expect_idle()
        why = asked.partition(" (")[0] or "by itself"
        self.runs.ended[f"{why}, exit code {code}"] += 1
        self.say(f"the driver ended {why} with {code}")
        # A signal that comes before Python has its handlers ends it by that signal.
        stopped = {130, -signal.SIGINT, -signal.SIGTERM, *_FINISHED}
        if (not asked and code not in _FINISHED) or (
            asked and "SIGKILL" not in asked and code not in stopped
        ):
            self.runs.unexpected.append(f"exit code {code} after {why}: {self._last_words()}")
        if "Traceback" in self._log().read_text(errors="replace") and code != -signal.SIGINT:
            self.runs.unexpected.append(f"a traceback after {why}: {self._last_words()}")
        return code in _FINISHED

    def _last_words(self) -> str:
        return self._log().read_text(errors="replace")[-1500:].strip()

    def _calm(self, name: str, command: list[str], changes: ChangingInput | None = None) -> None:
        """Runs a command to its end, undisturbed but for changes of the input that never stop."""
        began = time.monotonic()
        driver = self._start(command)
        while driver.poll() is None and time.monotonic() - began < _CALM_RUN_S:
            time.sleep(_TICK_S)
            self.monkey.watch.tick()
            if changes:
                changes.tick(is_planned=True)
        if driver.poll() is None:
            driver.kill()
        code = driver.wait()
        self.runs.calm_s[name] = round(time.monotonic() - began, 1)
        self.say(f"{name} run: exit code {code}")
        if code not in _FINISHED:
            self.runs.unexpected.append(f"{name} run: exit code {code}: {self._last_words()}")

    def _left(self) -> list[str]:
        """Processes of ours that still live although cluster and jobs have ended."""
        deadline = time.monotonic() + 120
        while (left := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.5)
        for process in left:
            process.send(signal.SIGKILL)
        return [f"{process.pid} at the end: {process.command()[:200]}" for process in left]


def show(chaos: Chaos, verdict: Verdict, args: argparse.Namespace, seconds: float) -> None:
    table = Table(title=f"chaos, {args.minutes:g} minutes, seed {args.seed}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    injected = chaos.monkey.injected
    for kind, count in sorted(injected.items()):
        table.add_row(f"injected: {kind}", f"{count}")
    table.add_row("injected in all", f"{injected.total()}")
    table.add_section()
    for how, count in sorted(chaos.runs.ended.items()):
        table.add_row(f"driver runs ended: {how}", f"{count}")
    table.add_row("clips in the data set by then", f"{chaos.runs.done_by_then}")
    table.add_row("healthy clips in failures by then", f"{chaos.runs.failed_by_then}")
    for name, run_s in chaos.runs.calm_s.items():
        table.add_row(f"{name} run without faults", f"{run_s} s")
    table.add_section()
    table.add_row("clips planned", f"{verdict.planned}")
    table.add_row("in the data set", f"{verdict.extracted}")
    table.add_row("  of these interrupted and done again", f"{verdict.interrupted}")
    table.add_row("  of these equal to the undisturbed run, bit for bit", f"{verdict.equal}")
    table.add_row("in failures", f"{verdict.reasons.total()}")
    for reason, count in sorted(verdict.reasons.items()):
        table.add_row(f"  {reason}", f"{count}")
    table.add_section()
    for fault, found in verdict.faults.items():
        table.add_row(fault, f"{len(found)}")
    Console(width=100).print(table)
    for fault, found in verdict.faults.items():
        for item in found[:20]:
            print(f"{fault}: {item}")
    print(f"{'good' if verdict.is_good else 'NOT GOOD'}, {seconds:.0f} s in all")


def as_mapping(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5, help="how long faults are injected")
    parser.add_argument("--faults", type=int, default=0, help="go on until there were so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=int, default=320, help="healthy clips")
    parser.add_argument("--poison", type=int, default=2, help="clips of each kind of poison")
    parser.add_argument("--pause", type=float, default=4.0, help="mean seconds between two faults")
    parser.add_argument("--frame-timeout", type=float, default=8.0)
    parser.add_argument(
        "--agents-wait",
        type=float,
        default=RAYS_AGENTS_S,
        help="seconds for Ray's own agents of a killed node to end; 0: they are killed with it",
    )
    parser.add_argument("--frames", help="folder of clips to cut from; a portrait by default")
    parser.add_argument("--json", type=Path, help="where the figures go too")
    parser.add_argument(
        "--keep", type=Path, help="an empty folder for everything, kept; by default a temporary one"
    )
    args = parser.parse_args()
    began = time.monotonic()
    # Not below a long TMPDIR: Ray's sockets lie here, and their paths may have no more than 107 bytes.
    folder = args.keep or Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    chaos = Chaos(args, folder)
    try:
        verdict = chaos.run()
    finally:
        chaos.cluster.stop()
    seconds = time.monotonic() - began
    show(chaos, verdict, args, seconds)
    if args.json:
        figures = {"injected": chaos.monkey.injected, "runs": chaos.runs, "verdict": verdict}
        args.json.write_text(json.dumps(figures, default=as_mapping, indent=2))
    if verdict.is_good and not args.keep:
        shutil.rmtree(folder)
    else:
        print(f"data set and logs: {folder}")
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
