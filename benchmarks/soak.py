"""Does a detector that lives for hours grow? One worker, clip after clip, a new detector every few clips.

    make soak MINUTES=20

prints memory, threads and open files of the worker's child and of its parent every minute, and at the
end against the start. Exit code 1 when one of them grew by more than 5%.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass

from extraction.clips import Clip
from extraction.detectors import DetectorOptions, default_engine
from extraction.policy import Policy
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess
from ray_jobs.demo_clips import make_demo_clips

_WARM_UP = 0.2
"""Share of the time that is not counted: the heap settles over the first few hundred clips."""
_WINDOW = 0.1
"""Share of the time, after the warm-up and at the end, whose medians are compared."""
_LIMIT = 1.05


@dataclass(frozen=True, slots=True)
class Sample:
    """What the child and its parent held after a clip."""

    seconds: float
    clips: int
    frames: int
    rss_mb: float
    threads: int
    files: int
    parent_rss_mb: float
    parent_files: int


def usage(pid: int | str) -> tuple[float, int, int]:
    """RSS in MiB, threads and open files of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        rss_mb = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return rss_mb, len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def soak(clips: list[Clip], options: DetectorOptions, minutes: float, refresh_clips: int) -> list[Sample]:
    samples: list[Sample] = []
    began = told = time.monotonic()
    frames = done = 0
    policy = Policy(refresh_clips=refresh_clips, max_worker_rss_mb=0)
    with DetectorProcess(options, policy=policy) as detector:
        while time.monotonic() - began < minutes * 60:
            extraction = detector.extract(clips[done % len(clips)])
            done, frames = done + 1, frames + extraction.num_frames
            parent = usage("self")
            samples.append(
                Sample(
                    time.monotonic() - began, done, frames, *usage(detector.child_pid), parent[0], parent[2]
                )
            )
            if time.monotonic() - told > 60 or done == 1:
                told = time.monotonic()
                show(samples[-1])
        print(f"events: {dict(detector.events)}")
    return samples


def show(s: Sample) -> None:
    child = f"{s.rss_mb:6.1f} MiB {s.threads:3d} threads {s.files:3d} files"
    parent = f"{s.parent_rss_mb:6.1f} MiB {s.parent_files:3d} files"
    done = f"{s.seconds / 60:6.1f} min  {s.clips:6,} clips  {s.frames:8,} frames"
    print(f"{done}   child: {child}   parent: {parent}", flush=True)


def verdict(samples: list[Sample]) -> bool:
    total = samples[-1].seconds
    start = [s for s in samples if _WARM_UP <= s.seconds / total <= _WARM_UP + _WINDOW]
    end = [s for s in samples if s.seconds / total >= 1 - _WINDOW]
    flat = True
    for name in ("rss_mb", "threads", "files", "parent_rss_mb", "parent_files"):
        before, after = (statistics.median(getattr(s, name) for s in some) for some in (start, end))
        grown = after > before * _LIMIT
        flat &= not grown
        print(f"{name:14} {before:8.1f} -> {after:8.1f}  {after / before:.3f}{'  GREW' if grown else ''}")
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--refresh-clips", type=int, default=5)
    parser.add_argument("--frames", help="folder of clips; a portrait that pans and zooms by default")
    parser.add_argument("--engine", default=default_engine())
    parser.add_argument("--delegate", default="cpu")
    parser.add_argument("--model", default="")
    args = parser.parse_args()
    options = DetectorOptions(engine=args.engine, delegate=args.delegate, model=args.model)
    with tempfile.TemporaryDirectory() as folder:
        if args.frames is None:
            make_demo_clips(folder, num_frames=20)
        clips = list(discover_tree(args.frames or folder).clips)
        samples = soak(clips, options, args.minutes, args.refresh_clips)
    return 0 if verdict(samples) else 1


if __name__ == "__main__":
    sys.exit(main())
