"""What hostile images cost: a whole job over a folder of them, and the peak memory of each of its processes.

    python benchmarks/hostile.py FOLDER [--workers 2] [--limit-mb 1500] [options of `landmarks extract`]

Each file of FOLDER is a clip of its own, named as an image where it is not, and all together are one more.
Prints the job's exit code, its wall time, and the peak memory (VmHWM, as the kernel counted it) of every
process it had. Exit code 1 when a worker or its detector passed the limit, when the job ended otherwise than
with 0 or 1, or when a clip is neither in the data set nor among its failures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from extraction.sources.frame_folder import media_kind
from storage.dataset import Dataset

_LOOK_S = 0.05
_KINDS = (
    ("ray_jobs.cli", "driver"),
    ("ray::MapWorker", "worker"),
    ("extraction.detector_child", "detector"),
    ("raylet", "raylet"),
    ("gcs_server", "gcs server"),
    ("ray::", "other process of Ray's"),
    ("ray", "other process of Ray's"),
)
_LIMITED = ("worker", "detector")


@dataclass(slots=True)
class Peaks:
    """Peak memory in MiB by process id, and what each process is; it may become something else on its way."""

    mb: dict[int, float] = field(default_factory=dict)
    kind: dict[int, str] = field(default_factory=dict)

    def look(self, root: int) -> None:
        """Looks at a process and all below it."""
        for pid in (root, *descendants(root)):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                continue
            peak = status.partition("VmHWM:")[2].split()
            if peak:
                self.mb[pid] = max(self.mb.get(pid, 0.0), int(peak[0]) / 1024)
                self.kind[pid] = next((kind for text, kind in _KINDS if text in command), "other")


def descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for known in found:
        found += [pid for pid, parent in parents.items() if parent == known]
    return found[1:]


def lay_out(images: Path, folder: Path) -> int:
    """Links the files as frames of clips; returns how many clips."""
    files = sorted(path for path in images.iterdir() if path.is_file())
    for path in files:
        name = path.name if media_kind(path.name) == "frames" else f"{path.name}.png"
        for place in (folder / "all", folder / "alone" / path.name):
            place.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to(path.resolve())
    return len(files) + 1


def run(command: list[str], said: Path) -> tuple[int, float, Peaks]:
    """Runs a command; returns its exit code, its seconds, and what its processes took."""
    peaks = Peaks()
    began = time.monotonic()
    with said.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            peaks.look(process.pid)
            time.sleep(_LOOK_S)
    return process.returncode, time.monotonic() - began, peaks


def tell(peaks: Peaks, limit_mb: float) -> bool:
    """Prints a row for each kind of process; returns whether no worker passed the limit."""
    table = Table(title="peak memory, MiB", title_justify="left")
    for column in ("process", "how many", "the largest", "together"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for kind in dict.fromkeys(name for _, name in _KINDS):
        sizes = [mb for pid, mb in peaks.mb.items() if peaks.kind[pid] == kind]
        if sizes:
            table.add_row(kind, str(len(sizes)), f"{max(sizes):,.0f}", f"{sum(sizes):,.0f}")
    Console().print(table)
    too_large = [mb for pid, mb in peaks.mb.items() if peaks.kind[pid] in _LIMITED and mb > limit_mb]
    for mb in too_large:
        print(f"a worker or its detector took {mb:,.0f} MiB, the limit is {limit_mb:,.0f}")
    return not too_large


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder of image files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit-mb", type=float, default=1500)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        num_clips = lay_out(arguments.images, folder / "in")
        command = [sys.executable, "-m", "ray_jobs.cli", "extract", str(folder / "in"), str(folder / "out")]
        command += ["--workers", str(arguments.workers), *options]
        code, seconds, peaks = run(command, folder / "said")
        print((folder / "said").read_text(encoding="utf-8", errors="replace"))
        print(f"exit code {code} after {seconds:.1f} s, {num_clips} clips")
        is_small = tell(peaks, arguments.limit_mb)
        if code not in (0, 1):
            return 1
        dataset = Dataset.open(str(folder / "out"))
        failures = dataset.failures().to_pylist()
        print(f"failed: {json.dumps(Counter(row['reason'] for row in failures))}")
        ids = dataset.clips().to_table(columns=["clip_id"])["clip_id"].to_pylist()
        found = Counter([*ids, *(row["clip_id"] for row in failures)])
        is_complete = len(found) == num_clips and set(found.values()) == {1}
        print(f"in the data set {len(ids)}, in failures {len(failures)}, missing {num_clips - len(found)}")
    return 0 if is_small and is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
