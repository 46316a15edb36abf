"""What a job will take, and cost, on 8, 64, 512 cores: from costs measured here, checked by jobs here.

    python benchmarks/scaling_model.py [--frames FOLDER] [--hd FOLDER] [--price 0.045] [--out costs.json]
    python benchmarks/scaling_model.py --costs costs.json       the tables again, without measuring

First the costs: one process, then as many as there are cores at once, each with a detector of its own,
extract and write the clips of FOLDER (the demo's without one), and say what a frame, a clip and a shard took.
A tiny job says what starting takes. From these the model predicts two larger jobs, with 1 worker and with
one a core; then these run, and both figures are printed. Last the predictions for whole data sets.
`benchmarks/scaling_model.md` says what is assumed.
"""

import argparse
import heapq
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pyarrow import RecordBatch
from rich.console import Console
from rich.table import Table

from extraction.clips import Clip
from extraction.detectors import Detector, DetectorOptions, create_detector, default_engine
from extraction.extract import ClipExtraction
from extraction.frames import FrameOptions
from extraction.sources import discover_tree
from ray_jobs.config import usable_cores
from ray_jobs.demo_clips import make_demo_clips
from storage.cutting import cut
from storage.files import Store
from storage.rows import Provenance, encode
from storage.shards import write_shard

CORES = (8, 64, 512)
_TIMES = 3
_EMPTY_SHARDS = 10
_SAID = {
    "decode": "decode a frame",
    "detect": "detect a frame, to arrays",
    "write": "encode and write a frame",
    "clip": "a clip beyond its frames",
    "shard": "a shard beyond its clips",
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one worker, in milliseconds, with so many at work on the machine at once.

    Attributes:
        decode: A frame.
        detect: A frame, conversion to arrays included.
        write: A frame: encoding, compressing, writing.
        clip: A clip beyond its frames: opening, clearing the detector, its slower first frame.
        shard: A shard beyond its clips: making the file, syncing it, its name.
    """

    decode: float
    detect: float
    write: float
    clip: float
    shard: float

    @property
    def frame(self) -> float:
        """All of a frame."""
        return self.decode + self.detect + self.write


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured here; each can be changed by an option of the same name.

    Attributes:
        price: Of a vCPU and hour.
        node_start_s: From a request to the autoscaler to a node that works.
        idle_s: That a node lives on after its work, and is paid.
        cores_per_node: All paid together.
        request_ms: Of the object store.
        requests_per_shard: To it, one after the other.
        task_ms: Of the driver for each shard.
        listing_us: Of the driver for each frame while it looks for clips.
    """

    price: float = 0.045
    node_start_s: float = 240.0
    idle_s: float = 300.0
    cores_per_node: int = 16
    request_ms: float = 50.0
    requests_per_shard: int = 12
    task_ms: float = 9.0
    listing_us: float = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """A data set to be extracted.

    Attributes:
        name: Of it.
        clips: That it has.
        frames: Of all clips.
        hd: Whether its frames are large: their costs are those of ``--hd``.
    """

    name: str
    clips: int
    frames: int
    hd: bool = False


DATA_SETS = (
    Job("PHOENIX-2014-T", 8_257, 947_756),
    Job("How2Sign", 35_191, 5_700_000, hd=True),
    Job("YouTube scale", 333_000, 100_000_000, hd=True),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of a job.

    Attributes:
        seconds: From the first worker's first frame to the last shard.
        whole_s: From the command to its end, nodes that have to come included.
        busy: Share of the workers' time that is work.
        dollars: For the nodes.
    """

    seconds: float
    whole_s: float
    busy: float
    dollars: float


def predict(
    job: Job,
    shards: Sequence[tuple[float, float]],
    costs: Costs,
    start_s: float,
    cores: int,
    given: Assumptions,
    remote: bool,
) -> Prediction:
    """What a job takes on so many cores.

    Args:
        job: Which.
        shards: Frames and clips of each.
        costs: With all cores of a machine at work.
        start_s: From the command to the first frame.
        cores: One worker each.
        given: What is assumed.
        remote: Whether nodes have to come, and OUT is an object store.
    """
    shard_ms = costs.shard + (given.request_ms * given.requests_per_shard if remote else 0.0)
    times = [(frames * costs.frame + clips * costs.clip + shard_ms) / 1000 for frames, clips in shards]
    # The driver hands out one shard after the other: where that is slower than the workers, it is the limit.
    seconds = max(makespan(times, cores), len(shards) * given.task_ms / 1000)
    # A video is one file; of a folder every frame is listed.
    listing_s = (job.clips if job.hd else job.frames) * given.listing_us / 1e6
    nodes_s = given.node_start_s + given.idle_s if remote else 0.0
    node = min(given.cores_per_node, cores)
    paid = math.ceil(cores / node) * node
    return Prediction(
        seconds=seconds,
        whole_s=start_s + listing_s + seconds + (given.node_start_s if remote else 0.0),
        busy=sum(times) / (seconds * cores),
        dollars=paid * (seconds + nodes_s) / 3600 * given.price,
    )


def shards_of(job: Job, cores: int) -> list[tuple[float, float]]:
    """Frames and clips of each shard, as a job would cut clips of the data set's mean length."""
    length = job.frames / job.clips
    cuts = cut(np.full(job.clips, round(length)), np.zeros(job.clips, np.int64), cores)
    return [(len(shard) * length, len(shard)) for shard in cuts]


def makespan(lengths: Sequence[float], workers: int) -> float:
    """Until the last worker is done where each takes the longest shard left."""
    ends = [0.0] * workers
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def main() -> None:
    """Measures, checks, predicts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=Path, help="folder of clips")
    parser.add_argument(
        "--hd", type=Path, help="folder of clips of 1280x720, for the data sets that have such"
    )
    parser.add_argument("--repeat", type=int, default=24, help="times each clip is in the jobs that check")
    parser.add_argument("--costs", type=Path, help="measured before, by --out")
    parser.add_argument("--out", type=Path, help="file for what is measured")
    parser.add_argument("--one-loop", nargs="+", help=argparse.SUPPRESS)
    for name, value in asdict(Assumptions()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    if arguments.one_loop:
        print(json.dumps(asdict(one_loop(arguments.one_loop))))
        return
    given = Assumptions(**{name: getattr(arguments, name) for name in asdict(Assumptions())})
    if arguments.costs:
        found = json.loads(arguments.costs.read_text())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(arguments.frames, Path(scratch), arguments.repeat, given)
        if arguments.hd:
            paths = [clip.path for clip in discover_tree(str(arguments.hd)).clips]
            found["costs_hd"] = asdict(loops(paths, usable_cores()))
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=2))
    show(found, given)


def measure(frames: Path | None, scratch: Path, repeat: int, given: Assumptions) -> dict[str, Any]:
    """Costs, start and end of a job, and the jobs that check the model."""
    if frames is None:
        frames = scratch / "demo"
        make_demo_clips(str(frames), num_frames=60)
    clips = discover_tree(str(frames)).clips
    lengths = [clip.num_frames or 1 for clip in clips]
    costs = {copies: loops([clip.path for clip in clips], copies) for copies in sorted({1, usable_cores()})}
    one_clip = link(clips[:1], scratch / "in", 1)
    run_job(one_clip, scratch / "out-cold", 1)  # the first start after a pause is slower than the next
    tiny = run_job(one_clip, scratch / "out", 1)
    start_s = tiny["seconds_to_first_frame"]
    first_ms = costs[1].frame + costs[1].clip  # of the start a part already
    stop_s = tiny["whole_s"] - start_s - (lengths[0] * costs[1].frame + costs[1].clip - first_ms) / 1000
    check = Job("check", len(clips) * repeat, sum(lengths) * repeat)
    jobs = []
    for workers, cost in costs.items():
        positions = cut(np.array(lengths * repeat), np.zeros(check.clips, np.int64), workers)
        shards = [(sum(lengths[i % len(clips)] for i in shard), len(shard)) for shard in positions]
        told = predict(check, shards, cost, start_s, workers, given, remote=False)
        done = run_job(link(clips, scratch / f"in{workers}", repeat), scratch / f"out{workers}", workers)
        jobs.append({"workers": workers, "predicted_s": told.whole_s + stop_s, "measured_s": done["whole_s"]})
    return {
        "costs": {str(copies): asdict(cost) for copies, cost in costs.items()},
        "start_s": start_s,
        "stop_s": stop_s,
        "check": {"clips": check.clips, "frames": check.frames, "jobs": jobs},
    }


def loops(folders: list[str], copies: int) -> Costs:
    """The costs where so many loops run at once: their means."""
    command = [sys.executable, __file__, "--one-loop", *folders]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(copies)
    ]
    found = [json.loads(process.communicate()[0]) for process in running]
    return Costs(**{name: statistics.fmean(each[name] for each in found) for name in found[0]})


def one_loop(paths: Sequence[str]) -> Costs:
    """Extracts and writes each clip a few times, in this process, as one shard."""
    detector = create_detector(DetectorOptions(engine=default_engine()))
    kinds: dict[str, Literal["frames", "video"]] = {
        path: "frames" if os.path.isdir(path) else "video" for path in paths
    }
    clips = [Clip(f"{n}-{i}", path, kinds[path]) for n in range(_TIMES) for i, path in enumerate(paths)]
    points = detector.info.num_points
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        # What is loaded and made once does not count.
        write_shard(store, _EMPTY_SHARDS + 1, None, points, [_Seen().rows(clips[0], detector)])
        seen = _Seen()
        begun = time.perf_counter()
        for shard in range(_EMPTY_SHARDS):
            write_shard(store, shard, None, points, ())
        shard_ms = (time.perf_counter() - begun) * 1000 / _EMPTY_SHARDS
        begun = time.perf_counter()
        write_shard(store, _EMPTY_SHARDS, None, points, (seen.rows(clip, detector) for clip in clips))
        whole_ms = (time.perf_counter() - begun) * 1000
    return seen.costs(whole_ms - shard_ms, shard_ms)


@dataclass(slots=True)
class _Seen:
    """Times of the clips so far, in milliseconds."""

    frames: int = 0
    clips: int = 0
    extract: float = 0.0
    decode: float = 0.0
    first: float = 0.0
    later: float = 0.0

    def rows(self, clip: Clip, detector: Detector) -> Iterator[RecordBatch]:
        """The rows of a clip, which is extracted now."""
        ends: list[float] = []
        begun = time.perf_counter()
        extraction = ClipExtraction(
            clip, detector, FrameOptions(), on_frame=lambda _: ends.append(time.perf_counter())
        )
        pieces = list(extraction)
        self.extract += (time.perf_counter() - begun) * 1000
        self.frames += len(ends)
        self.clips += 1
        self.decode += extraction.times.decode_ms
        self.first += (ends[0] - begun) * 1000
        self.later += (ends[-1] - ends[0]) * 1000
        about = Provenance("", "", "", "cpu", 1, 0.0, 0.0, 0.0, "", extraction.fingerprint)
        return (encode(clip, piece, about) for piece in pieces)

    def costs(self, whole_ms: float, shard_ms: float) -> Costs:
        """What is left of a clip when its frames have their mean is its own: its first frame is slower."""
        frame = self.later / (self.frames - self.clips)
        decode = self.decode / self.frames
        return Costs(
            decode=decode,
            detect=frame - decode,
            write=(whole_ms - self.extract) / self.frames,
            clip=(self.extract - frame * self.frames) / self.clips,
            shard=shard_ms,
        )


def link(clips: Sequence[Clip], folder: Path, repeat: int) -> Path:
    """A folder with each clip so many times."""
    folder.mkdir()
    for number in range(repeat):
        for position, clip in enumerate(clips):
            name = f"{number:03d}-{position}{Path(clip.path).suffix}"
            (folder / name).symlink_to(os.path.realpath(clip.path))
    return folder


def run_job(frames: Path, out: Path, workers: int) -> dict[str, Any]:
    """Runs a job as a user does; returns its summary, and ``whole_s``, its time by the clock."""
    command = [sys.executable, "-m", "ray_jobs.cli", "extract", str(frames), str(out), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, f"--workers={workers}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return {**json.loads(done.stdout), "whole_s": time.perf_counter() - begun}


def show(found: dict[str, Any], given: Assumptions) -> None:
    """Prints what was measured, whether the model holds here, and what it says of whole data sets."""
    costs = {int(copies): Costs(**cost) for copies, cost in found["costs"].items()}
    large = Costs(**found.get("costs_hd", found["costs"][str(max(costs))]))
    columns = {str(copies): cost for copies, cost in costs.items()}
    if "costs_hd" in found:
        columns[f"{max(costs)}, --hd"] = large
    table = _table("Costs of one worker, ms", "with so many at work", *columns)
    for name in asdict(large):
        table.add_row(_SAID[name], *(f"{getattr(cost, name):.2f}" for cost in columns.values()))
    table.add_row("all of a frame", *(f"{cost.frame:.2f}" for cost in columns.values()))
    Console().print(table)
    print(f"command to first frame {found['start_s']:.1f} s, last shard to the end {found['stop_s']:.1f} s\n")
    check = found["check"]
    table = _table(
        f"Checked here: {check['clips']:,} clips, {check['frames']:,} frames",
        "workers", "predicted, s", "measured, s", "measured / predicted",
    )  # fmt: skip
    for job in check["jobs"]:
        ratio = job["measured_s"] / job["predicted_s"]
        table.add_row(
            str(job["workers"]), f"{job['predicted_s']:.1f}", f"{job['measured_s']:.1f}", f"{ratio:.3f}"
        )
    Console().print(table)
    table = _table(
        f"Predicted, at {given.price:g} dollars a vCPU and hour",
        "data set", "cores", "shards", "hours", "of the time at work", "dollars",
    )  # fmt: skip
    for data_set in DATA_SETS:
        for cores in CORES:
            shards = shards_of(data_set, cores)
            cost = large if data_set.hd else costs[max(costs)]
            told = predict(data_set, shards, cost, found["start_s"], cores, given, remote=True)
            is_too_little = data_set.hd and "costs_hd" not in found
            name = data_set.name + " (of small frames: too little)" * is_too_little
            table.add_row(
                name, str(cores), f"{len(shards):,}", f"{told.whole_s / 3600:.2f}",
                f"{told.busy:.1%}", f"{told.dollars:,.2f}",
            )  # fmt: skip
    Console().print(table)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    main()
