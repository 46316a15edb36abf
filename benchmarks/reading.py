"""Clips per second into tensors, and bytes a frame: this Parquet, .pose files, npz and the old pickle.

    python benchmarks/reading.py [--source OUT] [--clips 2000] [--frames 60] [--rounds 7] [--threads 2]
                                 [--cold] [--json]

--source is a data set of this project; without it, the sample clips beside the checkout. Its clips are cut
into windows, each moved, turned and scaled at random (and half of them played backwards), so that no two
share a byte pattern that a compressor could find; motion and precision stay those of real landmarks. All
formats hold the same clips. A pass reads some of them, in the order they are stored, into a float32 tensor
(T, N, 3) with NaN where absent and a mask (T, N): once pose and hands, once all parts. Readers take turns,
--rounds times; the figure is the median, the ratio the median of each round's ratio to .pose. One thread is
measured by its CPU time, which other work on the machine disturbs little, several by the clock. Files are
in the page cache; with --cold they are dropped from it before each pass, and all is measured by the clock.
The decoded cache stands before the first pass; what filling it takes is told beside it. Needs torch.
"""

import argparse
import json
import os
import pickle
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import torch
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
from pose_format.utils.holistic import holistic_components
from rich.console import Console
from rich.table import Table

from extraction.clips import Clip
from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.filling import fill_cache
from storage.layout import point_layout
from storage.plan import Plan, revise
from storage.rows import Provenance, encode
from storage.shards import write_shard
from storage.signals import found
from storage.stored import stored_clips
from storage.torch import LandmarkDataset, LandmarkIterableDataset

REPO = Path(__file__).resolve().parents[1]
POINTS = {"pose": 33, "face": 468, "left_hand": 21, "right_hand": 21, "pose_world": 33}
"""In the order of a .pose file."""
CHOICES = {"pose+hands": ("pose", "left_hand", "right_hand"), "all parts": tuple(POINTS)}
COMPONENTS = {part: f"{part.upper()}_LANDMARKS" for part in POINTS}
MADE = Provenance("holistic", "0.10.21", "0f" * 8, "cpu", 1, 900.0, 100.0, 700.0, "host", "0f" * 8)
SEED_B = point_layout("face68+hands+pose")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pass-clips", type=int, default=300)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = Dataset.open(arguments.source or sample_dataset(folder / "sample"))
        clips = list(moved_windows(source, arguments.clips, arguments.frames))
        write_all(folder, clips)
        filling = fill(folder, len(clips))
        frames = sum(len(clip) for clip in clips)
        names = [f"clip{number:05}" for number in range(min(arguments.pass_clips, len(clips)))]
        del clips
        sizes = {path.name: size(path) / frames for path in sorted(folder.iterdir()) if path.name != "sample"}
        results = {
            choice: measure(folder, names, choice, arguments.rounds, arguments.threads, arguments.cold)
            for choice in CHOICES
        }
    if arguments.json:
        print(json.dumps({"bytes_a_frame": sizes, "filling": filling, "clips_a_second": results}, indent=2))
    else:
        show(sizes, results)
        print("decoding into the cache, CPU ms a clip:", *(f"{k} {v:.3f}" for k, v in filling.items()))


def fill(folder: Path, clips: int) -> dict[str, float]:
    """CPU milliseconds a clip that the cache costs once: pose and hands, then the other parts."""
    taken = {}
    for choice, parts in CHOICES.items():
        began = time.process_time()
        fill_cache(folder / "parquet float32", folder / "decoded cache", parts)
        taken[choice if not taken else "the rest"] = 1000 * (time.process_time() - began) / clips
    return taken


def sample_dataset(out: Path) -> str:
    sys.path.insert(0, str(REPO / "tests/support"))
    from real_dataset import make_dataset

    return make_dataset(out, REPO.parent / "shared/clips").store.location


def moved_windows(source: Dataset, count: int, frames: int) -> Iterator[ClipLandmarks]:
    whole = [clip.landmarks for clip in stored_clips(source)]
    rng = np.random.default_rng(0)
    for _ in range(count):
        clip = whole[rng.integers(len(whole))]
        first = rng.integers(max(len(clip) - frames, 0) + 1)
        window = slice(first, first + frames)
        step = rng.choice([1, -1])
        angle, scale = rng.uniform(-0.2, 0.2), rng.uniform(0.8, 1.2)
        turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        shift = np.append(rng.uniform(-0.1, 0.1, 2), 0)
        parts = {
            part: ((clip.parts[part][window] @ (scale * turn)) + shift).astype(np.float32)[::step].copy()
            for part in POINTS
        }
        visibility = clip.pose_visibility[window] * np.float32(rng.uniform(0.9, 1))
        yield replace(
            clip,
            first_frame=0,
            timestamps_ms=clip.timestamps_ms[window] - clip.timestamps_ms[window][0],
            frame_names=clip.frame_names[window],
            frame_status=clip.frame_status[window],
            frame_errors=clip.frame_errors[window],
            frame_sizes_px=clip.frame_sizes_px[window],
            parts=parts,
            pose_visibility=visibility,
        )


def write_all(folder: Path, clips: list[ClipLandmarks]) -> None:
    for precision in ("float32", "float16"):
        write_parquet(Dataset(str(folder / f"parquet {precision}")), clips, precision)
    for name in ("pose", "npz", "npz deflate"):
        (folder / name).mkdir()
    header = PoseHeader(0.2, PoseHeaderDimensions(210, 260, 1000), holistic_components("XYZC", 0))
    pickled = {}
    for number, clip in enumerate(clips):
        name = f"clip{number:05}"
        joined = np.concatenate([clip.parts[part] for part in POINTS], axis=1)[:, None]
        body = NumPyPoseBody(clip.fps, np.nan_to_num(joined), found(joined).astype(np.float32))
        with open(folder / "pose" / f"{name}.pose", "wb") as file:
            Pose(header, body).write(file)
        arrays = {part: clip.parts[part] for part in POINTS}
        np.savez(folder / "npz" / f"{name}.npz", **arrays)
        np.savez_compressed(folder / "npz deflate" / f"{name}.npz", **arrays)
        keypoint = torch.from_numpy(np.nan_to_num(SEED_B.join(arrays)).astype(np.float64))
        pickled[name] = {
            "keypoint": keypoint, "name": name, "gloss": "", "num_frames": len(clip), "text": ""
        }  # fmt: skip
    (folder / "seed B").mkdir()
    with open(folder / "seed B" / "keypoints.train", "wb") as file:
        pickle.dump(pickled, file)


def write_parquet(dataset: Dataset, landmarks: list[ClipLandmarks], precision: str) -> None:
    dataset.create({"engine": "holistic"}, "0f" * 8, {})
    clips = [
        Clip(f"clip{number:05}", f"/in/train/{number}", "frames", "train", len(clip), "f")
        for number, clip in enumerate(landmarks)
    ]
    plan = revise(Plan(), clips, ()).plan
    dataset.write_plan(plan)
    of = dict(zip((clip.clip_id for clip in clips), landmarks, strict=True))
    for shard, members in plan.by_shard().items():
        rows = ([encode(clip, of[clip.clip_id], MADE, precision)] for clip in members)
        write_shard(dataset.store, shard, "train", POINTS, rows)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.*"))


Tensors = tuple[torch.Tensor, torch.Tensor]


def tensors(points: np.ndarray) -> Tensors:
    return torch.from_numpy(points), torch.from_numpy(found(points))


def read_pose(file: IO[bytes], choice: str) -> Tensors:
    """With pose-format alone: its reader, its choice of components, its masked arrays."""
    pose = Pose.read(file.read())
    if choice != "all parts":
        pose = pose.get_components([COMPONENTS[part] for part in CHOICES[choice]])
    points = pose.body.data.filled(np.nan)[:, 0]
    return torch.from_numpy(points), torch.from_numpy(pose.body.confidence[:, 0] > 0)


def read_pose_only(file: IO[bytes], _: str) -> Tensors:
    """As far as its masked array of all parts."""
    body = Pose.read(file.read()).body
    return torch.from_numpy(body.data.data[:, 0]), torch.from_numpy(body.confidence[:, 0])


def read_npz(file: IO[bytes], choice: str) -> Tensors:
    with np.load(file) as arrays:
        return tensors(np.concatenate([arrays[part] for part in CHOICES[choice]], axis=1))


MAPPING: list[LandmarkDataset | LandmarkIterableDataset] = []
"""Those with a cache."""
Reader = Callable[[], int]
"""Reads clips and says how many."""


def of_files(folder: Path, suffix: str, names: list[str], read: Callable[[IO[bytes], str], Tensors],
             choice: str, threads: int) -> Reader:  # fmt: skip
    def one(name: str) -> int:
        with open(folder / f"{name}.{suffix}", "rb") as file:
            points, mask = read(file, choice)
        return int(len(points) == len(mask))

    def all_of_them() -> int:
        if threads == 1:
            return sum(map(one, names))
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(one, names))

    return all_of_them


def readers(folder: Path, names: list[str], choice: str, threads: int) -> dict[str, Reader]:
    parts = CHOICES[choice]
    made: dict[str, Reader] = {}
    for precision in ("float32", "float16"):
        location = folder / f"parquet {precision}"
        stream = LandmarkIterableDataset(location, parts, read_threads=0 if threads == 1 else threads)
        stream._units = [unit for unit in stream._units if unit.stop <= len(names)]
        made[f"parquet {precision}"] = lambda stream=stream: sum(1 for _ in stream)
    cache = folder / "decoded cache"
    location = folder / "parquet float32"
    stream = LandmarkIterableDataset(
        location, parts, read_threads=0 if threads == 1 else threads, cache=cache
    )
    stream._units = [unit for unit in stream._units if unit.stop <= len(names)]
    MAPPING.append(stream)
    made["decoded cache"] = lambda stream=stream: sum(1 for _ in stream)
    files = [("pose", "pose", read_pose), ("npz", "npz", read_npz), ("npz deflate", "npz", read_npz)]
    if threads == 1:
        dataset = LandmarkDataset(folder / "parquet float32", parts)
        cached = LandmarkDataset(location, parts, cache=cache)
        MAPPING.append(cached)
        at_random = random.Random(0).sample(names, len(names))
        made["parquet float32, at random"] = lambda: sum(1 for name in at_random if dataset[name])
        made["decoded cache, at random"] = lambda: sum(1 for name in at_random if cached[name])
        files.append(("pose", "pose", read_pose_only))
    for name, suffix, read in files:
        label = "pose, not into tensors" if read is read_pose_only else name
        made[label] = of_files(folder / name, suffix, names, read, choice, threads)
    if threads == 1 and choice == "pose+hands":
        made["seed B (143 points), file loaded for it"] = lambda: seed_b(folder)
    return made


def seed_b(folder: Path) -> int:
    """The whole file, as its consumers do; its zeros are both absent and 0."""
    wanted = [position for part in CHOICES["pose+hands"] for position in
              range(len(SEED_B))[SEED_B.slice_of(part)]]  # fmt: skip
    with open(folder / "seed B" / "keypoints.train", "rb") as file:
        clips = pickle.load(file)
    return sum(len(clip["keypoint"][:, wanted].float()) == clip["num_frames"] for clip in clips.values())


def measure(
    folder: Path, names: list[str], choice: str, rounds: int, threads: int, cold: bool
) -> dict[str, dict[str, dict[str, float]]]:
    results = {}
    for count in sorted({1, threads}):
        clock = time.process_time if count == 1 and not cold else time.perf_counter
        made = readers(folder, names, choice, count)
        rates: dict[str, list[float]] = {name: [] for name in made}
        for number in range(rounds + 1):
            for name, read in made.items():
                if cold:
                    drop(folder)
                began = clock()
                clips = read()
                rate = clips / (clock() - began)
                if number:  # the first round warms up
                    rates[name].append(rate)
        results[f"{count} thread{'s' * (count > 1)}"] = {
            name: {
                "clips_a_second": statistics.median(of),
                "ratio_to_pose": statistics.median(a / b for a, b in zip(of, rates["pose"], strict=True)),
            }
            for name, of in rates.items()
        }
    return results


def drop(folder: Path) -> None:
    """Has the kernel forget every file."""
    for dataset in MAPPING:  # what is mapped cannot be forgotten
        dataset._cached._maps.clear()
    os.sync()
    for path in folder.rglob("*.*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def show(sizes: dict[str, float], results: dict[str, dict[str, dict[str, dict[str, float]]]]) -> None:
    console = Console()
    table = Table("files", "bytes a frame")
    for name, value in sizes.items():
        table.add_row(name, f"{value:,.0f}")
    console.print(table)
    for choice, by_threads in results.items():
        for threads, rows in by_threads.items():
            table = Table("reader", "clips/s", "ms a clip", "against .pose", title=f"{choice}, {threads}")
            for name, row in rows.items():
                rate = row["clips_a_second"]
                table.add_row(name, f"{rate:,.0f}", f"{1000 / rate:.3f}", f"{row['ratio_to_pose']:.2f}")
            console.print(table)


if __name__ == "__main__":
    main()
