"""Time, memory and size of `landmarks report` of a made-up data set: benchmarks/report.py --clips 100000.

Its clips are few frames of smooth, noisy hands in several splits, with signers, hosts, retries and failures.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extraction.clips import Clip
from storage.annotations import ANNOTATION_SCHEMA, About, summed_up, write_annotations
from storage.dataset import Dataset
from storage.plan import Plan
from storage.schema import ROWS_PER_GROUP, clip_schema, parquet_options
from storage.shards import Failure, failures_name, shard_name, write_shard

POINTS = {"pose": 33, "left_hand": 21, "right_hand": 21}
SPLITS = ("train", "dev", "test")
CLIPS_PER_SHARD = 64
FAILED_OF = 200
"""One clip of so many failed."""


def lists(values: np.ndarray, lengths: np.ndarray, dtype: pa.DataType) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values.reshape(-1), dtype.value_type), type=dtype
    )


def shard_table(random: np.random.Generator, first: int, count: int, frames: int) -> pa.Table:
    """Clips in one table; all columns at once, since a million single rows would take hours."""
    schema = clip_schema(POINTS)
    lengths = np.maximum(1, random.gamma(6, frames / 6, count)).astype(np.int64)
    total = int(lengths.sum())
    signer, worker = random.integers(0, 9, count), random.integers(0, 16, count)
    ok = random.random(total) > 0.002
    values: dict[str, object] = {
        "clip_id": [f"clip_{number:07d}" for number in range(first, first + count)],
        "uri": [f"/in/clip_{number:07d}" for number in range(first, first + count)],
        "signer": [f"Signer{number + 1:02d}" for number in signer],
        "fps": np.full(count, 25.0),
        "width": np.full(count, 210, np.int32),
        "height": np.full(count, 260, np.int32),
        "num_frames": lengths.astype(np.int32),
        "first_frame": np.zeros(count, np.int32),
        "timestamps_ms": np.arange(total) * 40.0,
        "frame_names": [f"{number}.png" for number in range(total)],
        "frame_status": np.where(ok, 0, 2).astype(np.int8),
        "frame_errors": [None] * total,
        "frame_widths": np.where(ok, 210, 0).astype(np.int32),
        "frame_heights": np.where(ok, 260, 0).astype(np.int32),
        "engine": ["holistic"] * count,
        "mediapipe_version": ["0.10.21"] * count,
        "options_hash": ["0f"] * count,
        "delegate": ["cpu"] * count,
        "attempts": np.where(random.random(count) < 0.01, 2, 1).astype(np.int32),
        "extract_ms": lengths * 27.0,
        "decode_ms": lengths * 3.0,
        "detect_ms": lengths * 22.5,
        "write_ms": lengths * 0.4,
        "host": [f"node-{number}" for number in worker // 4],
        "worker": [f"node-{number // 4}-{1000 + number}" for number in worker],
        "input_fingerprint": ["f"] * count,
    }
    places = np.cumsum(random.normal(0, 0.01, (total, 1, 2)), axis=0) % 0.5 + 0.25
    for part, points in POINTS.items():
        shape = random.normal(0, 0.05 if part != "pose" else 0.15, (1, points, 3))
        xyz = (shape + random.normal(0, 0.002, (total, points, 3))).astype(np.float32)
        xyz[:, :, :2] += places
        rate = np.repeat(0.95 - 0.04 * signer * (part != "pose") * (1 + (part == "left_hand")), lengths)
        found = ok & (random.random(total) < rate)
        xyz[~found] = np.nan
        values[part], values[f"{part}_present"] = xyz, found
    values["pose_visibility"] = random.random((total, 33)).astype(np.float32)
    columns = []
    for field in schema:
        if field.name == "retry_reasons":
            again = [["context-lost: 0x300e"] if tries > 1 else [] for tries in values["attempts"]]
            columns.append(pa.array(again, field.type))
        elif pa.types.is_list(field.type):
            own = values[field.name]
            per_frame = POINTS.get(field.name, 0) * 3 or (33 if field.name == "pose_visibility" else 1)
            columns.append(
                lists(
                    np.asarray(own, object if isinstance(own, list) else None),
                    lengths * per_frame,
                    field.type,
                )
            )
        else:
            columns.append(pa.array(values.get(field.name, [None] * count), field.type))
    return pa.table(columns, schema=schema)


def make(folder: str, clips: int, frames: int) -> Dataset:
    random = np.random.default_rng(0)
    dataset = Dataset(folder)
    options = {"engine": "holistic", "static": False, "delegate": "cpu", "refine_face": False, "smooth": True}
    dataset.create(options, "0f", {"source": "/in", "mediapipe_version": "0.10.21"})
    planned, shards = [], []
    for shard, first in enumerate(range(0, clips, CLIPS_PER_SHARD)):
        count = min(CLIPS_PER_SHARD, clips - first)
        split = SPLITS[0 if shard % 10 < 8 else shard % 10 - 7]
        table = shard_table(random, first, count, frames)
        names = table["clip_id"].to_pylist()
        failed = [name for number, name in enumerate(names, first) if number % FAILED_OF == 7]
        if failed:
            # Failures by the project's own writer, the rest of its rows in its place.
            losses = [
                Failure(n, n, split, "decode", "no-readable-frame", "no frame can be read", 1) for n in failed
            ]
            write_shard(dataset.store, shard, split, POINTS, losses)
            assert dataset.store.exists(failures_name(shard))
            metadata = pq.read_metadata(os.path.join(folder, shard_name(shard, split))).metadata
            keep = pa.array([name not in failed for name in names])
            table = table.filter(keep).replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
        path = os.path.join(folder, shard_name(shard, split))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        options = parquet_options(clip_schema(POINTS))
        with pq.ParquetWriter(path, table.schema, **options) as writer:
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            writer.add_key_value_metadata({k: v for k, v in table.schema.metadata.items() if b"failed" in k})
        planned += [Clip(name, f"/in/{name}", "frames", split, frames) for name in names]
        shards += [shard] * count
    dataset.write_plan(Plan(tuple(planned), tuple(shards)))
    nothing = dict.fromkeys(ANNOTATION_SCHEMA.names)
    rows = [
        {**nothing, "clip_id": clip.clip_id, "uri": clip.uri, "holes": holes, "details": holes}
        for number, clip in enumerate(planned)
        for holes in [["length"] if number % FAILED_OF == 9 else []]
    ]
    write_annotations(dataset.store, rows, summed_up(About("phoenix-2014-t", "made up"), rows))
    return dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=5, help="of a clip, on average")
    parser.add_argument(
        "--folder", help="made, and kept, instead of one that is deleted; used if it is there"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or tempfile.mkdtemp(prefix="landmarks-report-")
    try:
        if not os.path.exists(os.path.join(folder, "plan.parquet")):
            began = time.monotonic()
            make(folder, arguments.clips, arguments.frames)
            print(f"made {arguments.clips:,} clips in {time.monotonic() - began:.0f} s")
        page = Path(folder).with_name(Path(folder).name + "-report.html")
        began = time.monotonic()
        command = [sys.executable, "-m", "ray_jobs.cli", "report", folder, "--to", str(page)]
        subprocess.run(command, check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        seconds, size = time.monotonic() - began, page.stat().st_size
        print(f"report: {seconds:.1f} s, peak {peak:,.0f} MB, page {size:,} bytes")
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
