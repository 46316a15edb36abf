"""Frames per second of a whole job against bare loops over the same frames, in turn, in one run.

    python benchmarks/throughput.py [--frames FOLDER] [--workers 2] [--rounds 3] [--repeat 16]

Without --frames it uses the demo's two clips. Each clip of the folder is linked --repeat times, so that the
steady state lasts. A round is one job through the command line and then one bare loop (`bare_loop.py`: a
process a worker that decodes and detects, and does nothing else). Rates count from each process's first
frame to its end; the start is reported apart. Then the stages of one frame, measured one by one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from extraction.clips import Clip
from extraction.detectors import DetectorOptions, create_detector
from extraction.frames import FrameOptions, open_frames
from extraction.sources import discover_tree
from ray_jobs.demo_clips import make_demo_clips
from storage.dataset import Dataset
from storage.summary import detections

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = link_clips(arguments.frames, folder, arguments.repeat)
        rounds = []
        for number in range(arguments.rounds):
            out = folder / f"out{number}"
            rounds.append(
                (run_job(folder / "in", out, arguments.workers), run_bare(clips, arguments.workers))
            )
            job, bare = rounds[-1]
            print(f"round {number + 1}: job {job['rate']:.1f}, bare loop {bare:.1f} frames/s", flush=True)
        report(rounds, arguments.workers)
        stages([Path(os.path.realpath(clip)) for clip in clips[:4]], folder / "out0")


def link_clips(frames: Path | None, folder: Path, repeat: int) -> list[Path]:
    if frames is None:
        frames = folder / "demo"
        make_demo_clips(str(frames))
    found = [Path(clip.path) for clip in discover_tree(str(frames)).clips if clip.kind == "frames"]
    links = [folder / "in" / f"{n:03d}-{i}" for n in range(repeat) for i in range(len(found))]
    (folder / "in").mkdir()
    for link in links:
        link.symlink_to(found[int(link.name.rpartition("-")[2])])
    return links


def run_job(frames: Path, out: Path, workers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "ray_jobs.cli", "extract", str(frames), str(out), "--json"]
    # The same plan for every machine: as many frames a shard as there are clips to share.
    done = subprocess.run([*command, "--workers", str(workers)], stdout=subprocess.PIPE, check=True)
    summary = json.loads(done.stdout)
    rate = sum(worker["frames"] / worker["seconds"] for worker in summary["workers"])
    return {"rate": rate, "start_s": summary["seconds_to_first_frame"], "seconds": summary["seconds"]}


def run_bare(clips: list[Path], workers: int) -> float:
    shares = [[str(clip) for clip in clips[i::workers]] for i in range(workers)]
    command = [sys.executable, str(HERE / "bare_loop.py")]
    running = [
        subprocess.Popen([*command, *share], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for share in shares
    ]
    rate = 0.0
    for process in running:
        frames, first, last = map(float, process.communicate()[0].split())
        rate += frames / (last - first)
    return rate


def report(rounds: list[tuple[dict[str, float], float]], workers: int) -> None:
    jobs, bares = [job["rate"] for job, _ in rounds], [bare for _, bare in rounds]
    table = Table(title=f"{workers} workers, {len(rounds)} rounds in turn", title_justify="left")
    for column in ("", "median", "min", "max"):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in (
        ("job, frames/s", jobs),
        ("bare loop, frames/s", bares),
        ("job / bare loop", [job / bare for job, bare in zip(jobs, bares, strict=True)]),
        ("command to first frame, s", [job["start_s"] for job, _ in rounds]),
    ):
        table.add_row(name, *(f"{f(values):.3g}" for f in (statistics.median, min, max)))
    Console().print(table)


def stages(clips: list[Path], out: Path) -> None:
    """One worker's time a frame, stage by stage: alone on the machine, then as the job's rows tell it."""
    detector = create_detector(DetectorOptions())
    graph = detector._graph  # type: ignore[attr-defined]
    times = {"decode": 0.0, "detector": 0.0, "convert": 0.0}
    frames = 0
    for clip in clips:
        detector.begin_clip(clip.name)
        stream = open_frames(Clip(clip.name, str(clip), "frames"), FrameOptions()).frames
        while True:
            started = time.perf_counter()
            frame = next(stream, None)
            if frame is None or frame.image is None:
                break
            decoded = time.perf_counter()
            with Stopwatch(graph) as native:
                detector.detect(frame.image, frame.timestamp_ms)
            times["decode"] += decoded - started
            times["detector"] += native.seconds
            times["convert"] += time.perf_counter() - decoded - native.seconds
            frames += 1
    total = sum(times.values())
    for name, seconds in times.items():
        print(f"{name:>9}: {seconds / frames * 1000:6.2f} ms a frame, {seconds / total:5.1%}")
    dataset = Dataset.open(str(out))
    table = dataset.clips().to_table(columns=["extract_ms", "decode_ms", "detect_ms", "num_frames"])
    extract, decode, detect = (sum(table[f"{n}_ms"].to_pylist()) for n in ("extract", "decode", "detect"))
    count = sum(table["num_frames"].to_pylist())
    assert count == sum(group.frames for group in detections(dataset))
    print(
        f"in the job: {extract / count:.2f} ms a frame in the detector's process, of these "
        f"decode {decode / extract:.1%}, detect and convert {detect / extract:.1%}, "
        f"all else {1 - (decode + detect) / extract:.1%}"
    )


class Stopwatch:
    """Times the native calls of one detection by wrapping the solution's process()."""

    def __init__(self, graph: object) -> None:
        self._graph, self.seconds = graph, 0.0

    def __enter__(self) -> "Stopwatch":
        process = type(self._graph).process

        def timed(image: object) -> object:
            started = time.perf_counter()
            try:
                return process(self._graph, image)
            finally:
                self.seconds = time.perf_counter() - started

        self._graph.process = timed  # type: ignore[attr-defined]
        return self

    def __exit__(self, *_: object) -> None:
        del self._graph.process  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
