"""What a clip costs beside its extraction, from a thousand clips to a million.

    python benchmarks/scale.py --clips 1000 10000 100000 1000000
    python benchmarks/scale.py --clips 1000 10000 --extract        # a whole job with Ray, too
    python benchmarks/scale.py --clips 1000000 --tasks             # Ray with a task for each finished shard

Every clip is a row of a manifest that names one and the same folder of two tiny frames, so that a shard
has the 64 clips that it would have at 100 frames a clip. Left out is what grows with frames, not with clips:
looking at 98 more files a folder (benchmarks/discovery.py), decoding and detecting. The detector is a
stand-in that finds nothing in no time; all else is the real thing. The finished data set is written directly,
a clip in a thousand failed. Each line is a process of its own, as each command is.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.landmarks import FrameLandmarks
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, discover, job
from ray_jobs.summary import sum_up
from ray_jobs.tally import Tally
from storage.dataset import Dataset
from storage.schema import clip_schema, parquet_options
from storage.shards import Failure, shard_name, write_shard

FRAMES = 2
POINTS = {"left_hand": 21}
FAILED_OF = 1000
CONFIG = DetectorOptions(engine="scale:zero_cost")


Measured = tuple[float, float, float]
"""Seconds, seconds of the processor, and the most memory so far in MB."""


class ZeroCost:
    """Finds nothing, in no time."""

    info = DetectorInfo("zero_cost", "0", "cpu", POINTS)

    def begin_clip(self, clip_id: str) -> None:
        """Has no state."""

    def detect(self, image: NDArray[np.uint8], timestamp_ms: float) -> FrameLandmarks:  # noqa: ARG002
        """Finds nothing."""
        return FrameLandmarks({})

    def close(self) -> None:
        """Holds nothing."""


def zero_cost(options: DetectorOptions) -> ZeroCost:  # noqa: ARG001
    """The engine ``scale:zero_cost``."""
    return ZeroCost()


def make_manifest(folder: Path, num_clips: int, form: str) -> Path:
    """Writes a manifest of clips that all lie in one folder of tiny frames."""
    (folder / "tiny").mkdir(exist_ok=True)
    for frame in range(FRAMES):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"tiny/{frame:06d}.png")
    numbers = np.arange(num_clips)
    table = pa.table(
        {
            "clip_id": [f"{number // 1000:04d}/sentence-{number:07d}" for number in numbers],
            "uri": ["tiny"] * num_clips,
            "split": np.where(numbers % 10 == 0, "dev", "train"),
            "text": [f"what is said in sentence number {number}" for number in numbers],
        }
    )
    path = folder / f"clips-{num_clips}.{form}"
    pq.write_table(table, path) if form == "parquet" else pyarrow.csv.write_csv(table, path)
    return path


class Stages:
    """Times and memory of what happens one after another in this process."""

    def __init__(self) -> None:
        self.measured: dict[str, Measured] = {}
        self._last = time.perf_counter(), time.process_time()

    def done(self, name: str) -> None:
        """Ends a stage."""
        now = time.perf_counter(), time.process_time()
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.measured[name] = now[0] - self._last[0], now[1] - self._last[1], rss_mb
        self._last = now

    def tell(self, **more: object) -> None:
        """Prints what was measured, as a line of JSON."""
        print(json.dumps({"measured": self.measured, **more}))


def run_job(manifest: str, out: str) -> None:
    """A job all but Ray: finds clips, plans or resumes, sums up."""
    stages = Stages()
    config, inputs = JobConfig(out, CONFIG, workers=2), Inputs(manifest=manifest)
    dataset = Dataset(out)
    found = [discover(inputs)]
    stages.done("manifest")
    with job(dataset, config, inputs, found.pop()) as prepared:
        stages.done("plan")
        to_do = prepared.revision
        tally = Tally(to_do.clips_to_do, to_do.frames_to_do, config.max_failures)
        summary = sum_up(dataset, prepared, tally, time.time())
        stages.done("summary")
    stages.done("end")
    stages.tell(
        to_do=to_do.clips_to_do,
        shards=len(to_do.to_do),
        splits=[[split.split, split.done, split.failed, split.to_do] for split in summary.splits],
        plan_row_groups=dataset.store.load("plan.parquet", pq.read_metadata).num_row_groups,
    )


def finish(out: str) -> None:
    """Writes all shards of a planned data set, as empty as the stand-in would leave them."""
    dataset = Dataset(out)
    clips, schema = dataset.plan().table, clip_schema(POINTS)
    failed = np.arange(clips.num_rows) % FAILED_OF == FAILED_OF // 2
    shards, first = np.unique(clips["shard"].to_numpy(), return_index=True)
    for shard, begin, end in zip(shards, first, [*first[1:], clips.num_rows], strict=True):
        members = clips.slice(begin, end - begin)
        split, rows = members["split"][0].as_py(), _rows(members, schema)
        name = shard_name(shard, split)
        if failed[begin:end].any():
            outcomes = [
                Failure(c["clip_id"], c["uri"], c["split"], "decode", "no-readable-frame", "broken", 1)
                if failed[begin + index]
                else rows.slice(index, 1).to_batches()
                for index, c in enumerate(members.select(["clip_id", "uri", "split"]).to_pylist())
            ]
            write_shard(dataset.store, int(shard), split, POINTS, outcomes)
        else:
            path = Path(dataset.store.root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, path, **parquet_options(schema))


def _rows(clips: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of clips in which nobody was found."""
    count = clips.num_rows
    offsets = pa.array(np.arange(0, count * FRAMES + 1, FRAMES, np.int32))

    def column(field: pa.Field) -> pa.Array:
        if field.name in clips.column_names and field.name != "fps":
            return clips[field.name].combine_chunks().cast(field.type)
        if field.name == "retry_reasons":
            return pa.array([[]] * count, field.type)
        if not pa.types.is_list(field.type):
            text = pa.types.is_string(field.type)
            return pa.array([""] * count if text else np.zeros(count), pa.string() if text else None).cast(
                field.type
            )
        width = int((field.metadata or {}).get(b"num_points", 0)) * 3 or 1
        values = pa.array(np.full(count * FRAMES * width, np.nan if width > 1 else 0.0, np.float32))
        if pa.types.is_string(field.type.value_type):
            values = pa.array([None] * len(values), pa.string())
        wide = pa.array(np.arange(0, len(values) + 1, FRAMES * width, np.int32)) if width > 1 else offsets
        return pa.ListArray.from_arrays(wide, values.cast(field.type.value_type), type=field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def make_tasks(out: str) -> None:
    """Ray with one task for each shard, all of which stand: what a task and reading its clips cost."""
    from ray_jobs.extract import make_shards
    from storage.running import JobMark

    stages = Stages()
    dataset = Dataset(out)
    shards = sorted(dataset.done())
    mark = JobMark(dataset.store)
    mark.take()
    receipts = list(make_shards(JobConfig(out, CONFIG, workers=2), mark.job_id, shards))
    mark.release()
    stages.done("tasks")
    assert not any(receipt.clips for receipt in receipts)
    stages.tell(shards=len(receipts))


def command(*arguments: str) -> tuple[Measured, str]:
    """Runs a command of its own; returns what it took, without its children, and what it printed."""
    here = str(Path(__file__).parent)
    paths = [here, str(Path(here).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=printed)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    seconds = time.perf_counter() - began
    return (seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), text


def _tell(num_clips: int, rows: dict[str, Measured]) -> None:
    for name, (seconds, cpu_s, rss_mb) in rows.items():
        each = cpu_s / num_clips * 1e6
        print(
            f"| {num_clips:,} | {name} | {seconds:.2f} | {cpu_s:.2f} | {each:.1f} | {rss_mb:,.0f} |",
            flush=True,
        )


def _stages(name: str, told: dict[str, Any], whole: Measured | None = None) -> dict[str, Measured]:
    stages = {f"{name}: {stage}": measured for stage, measured in told["measured"].items()}
    return {**stages, f"{name}: in all": whole} if whole else stages


def measure(folder: Path, num_clips: int, form: str, with_job: bool, with_tasks: bool) -> None:
    """Prints the lines of one number of clips."""
    manifest, out = str(make_manifest(folder, num_clips, form)), str(folder / f"out-{num_clips}-{form}")
    whole, text = command(__file__, "--as", "job", manifest, out)
    told = json.loads(text)
    _tell(num_clips, _stages(f"new ({form})", told, whole))
    print(
        f"| {num_clips:,} | {told['shards']:,} shards, {told['plan_row_groups']} row groups of the plan ||||"
    )
    if with_job:
        arguments = ("--manifest", manifest, f"{out}-real", "--engine", "scale:zero_cost", "--workers", "2")
        whole, _ = command("-m", "ray_jobs.cli", "extract", *arguments, "--json")
        _tell(num_clips, {"landmarks extract, 2 workers": whole})
        done = Dataset(f"{out}-real").done()
        groups = sum(pq.ParquetFile(Path(f"{out}-real", name)).num_row_groups for name in done.values())
        print(f"| {num_clips:,} | {len(done):,} shards, {groups:,} row groups in them ||||")
    command(__file__, "--as", "finish", "", out)
    whole, text = command(__file__, "--as", "job", manifest, out)
    assert json.loads(text)["to_do"] == 0
    _tell(num_clips, _stages("resume", json.loads(text), whole))
    clip_id = Dataset(out).plan().table["clip_id"][num_clips // 2 // FAILED_OF * FAILED_OF].as_py()
    for words in (("progress", out), ("failures", out), ("view", out, clip_id)):
        whole, _ = command("-m", "ray_jobs.cli", *words, "--json")
        _tell(num_clips, {f"landmarks {words[0]}{' CLIP' if len(words) > 2 else ''}": whole})
    if with_tasks:
        _, text = command(__file__, "--as", "tasks", "", out)
        _tell(num_clips, _stages("Ray", json.loads(text)))
    shutil.rmtree(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="of the manifest")
    parser.add_argument("--extract", action="store_true", help="run a whole job with two workers, too")
    parser.add_argument("--tasks", action="store_true", help="run Ray over the finished shards, too")
    parser.add_argument("--as", dest="role", choices=("job", "finish", "tasks"), help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "job":
        run_job(*args.places)
    elif args.role:
        {"finish": finish, "tasks": make_tasks}[args.role](args.places[1])
    else:
        print(f"load {os.getloadavg()[0]:.1f} at the beginning\n")
        print("| clips | stage | s | CPU s | CPU µs a clip | most MB |\n|---:|---|---:|---:|---:|---:|")
        with tempfile.TemporaryDirectory() as folder:
            for num_clips in args.clips:
                measure(Path(folder), num_clips, args.format, args.extract, args.tasks)
        print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
