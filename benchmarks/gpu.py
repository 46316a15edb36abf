"""What a GPU is worth: frames per second with 1, 2, 4, 8 detectors on GPU and CPU, and how results differ.

    python benchmarks/gpu.py [--engine tasks] [--model FILE] [--frames FOLDER]
                             [--detectors 1,2,4,8] [--delegates gpu,cpu] [--seconds 20]

Each detector is a process of its own, as in a job. All first do one clip, wait for each other, and then do
clips until the time is up; frames are decoded before that, so that only detectors are measured. Then the same
frames go once through either delegate, and what was found is compared. Without --frames it uses the demo's
two clips. With --engine holistic --delegates cpu it gives the rate of the legacy detector to compare with.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from extraction.detectors import DetectorOptions, create_detector, default_engine
from extraction.frames import Frame, FrameOptions, open_frames
from extraction.gl import Place, explain, worker_environment
from extraction.gl_probe import probe
from extraction.landmarks import FrameLandmarks
from extraction.sources import discover_tree
from ray_jobs.config import installed, usable_cores
from ray_jobs.demo_clips import make_demo_clips

START_S = 180.0
MAX_FRAMES = 300
"""Of a clip; they stay in memory."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default="tasks" if default_engine() == "tasks" else "segmenter")
    parser.add_argument("--model", default="")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--detectors", default="1,2,4,8")
    parser.add_argument("--delegates", default="gpu,cpu")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--demo-frames", type=int, default=60, help="of each clip, without --frames")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(json.loads(arguments.worker))
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.frames
        if folder is None:
            folder = Path(scratch, "demo")
            make_demo_clips(str(folder), arguments.demo_frames)
        task = {"engine": arguments.engine, "model": arguments.model, "frames": str(folder)}
        introduce(arguments)
        rates(task, arguments)
        if {"cpu", "gpu"} <= set(arguments.delegates.split(",")):
            differences(task, Path(scratch))
    return None


def introduce(arguments: argparse.Namespace) -> None:
    gl = probe()
    card = nvidia_smi("name,driver_version,memory.total")
    print(f"engine {arguments.engine}, mediapipe {installed('mediapipe')}, {usable_cores()} cores")
    print(f"card: {'; '.join(card) or 'none that nvidia-smi knows'}")
    print(f"OpenGL: {gl.renderer or gl.error}{f', {gl.version}' if gl.version else ''}")
    if gl.software:
        print("SOFTWARE GL: this shows that the benchmark runs; its gpu rows say nothing of a GPU's speed")


def rates(task: dict[str, Any], arguments: argparse.Namespace) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("delegate", "detectors", "frames/s", "each", "ms a frame", "ready after s", "card MiB used"):
        table.add_column(name, justify="right")
    for delegate in arguments.delegates.split(","):
        for count in map(int, arguments.detectors.split(",")):
            before = card_memory()
            workers = [
                Worker({**task, "delegate": delegate, "seconds": arguments.seconds}) for _ in range(count)
            ]
            try:
                for worker in workers:
                    worker.wait("ready", START_S)
                used = card_memory() - before
                for worker in workers:
                    worker.go()
                done = [worker.wait("done", arguments.seconds + START_S) for worker in workers]
            except RuntimeError as error:
                table.add_row(delegate, str(count), "failed")
                print(f"{delegate}, {count}: {told(error)}", flush=True)
                continue
            finally:
                for worker in workers:
                    worker.end()
            each = [result["frames"] / result["seconds"] for result in done]
            numbers = (f"{sum(each):.1f}", f"{sum(each) / count:.1f}", f"{1000 * count / sum(each):.1f}")
            ready = max(result["ready_s"] for result in done)
            table.add_row(delegate, str(count), *numbers, f"{ready:.1f}", f"{used:,}" if before else "-")
    Console(width=120).print(table)


def told(error: RuntimeError) -> str:
    """What a detector died of: what it means, and its last line."""
    return f"{explain(str(error), Place.EXCEPTION).means}\n    {str(error).splitlines()[-1][:400]}"


def differences(task: dict[str, Any], scratch: Path) -> None:
    """Runs both delegates over the same frames and compares what they found."""
    found: dict[str, list[tuple[tuple[int, int], FrameLandmarks]]] = {}
    for delegate in ("cpu", "gpu"):
        file = scratch / f"{delegate}.pickle"
        worker = Worker({**task, "delegate": delegate, "results": str(file)})
        try:
            worker.wait("done", START_S * 10)
        except RuntimeError as error:
            return print(f"no comparison, since {delegate} failed: {told(error)}")
        finally:
            worker.end()
        found[delegate] = pickle.loads(file.read_bytes())
    table = Table(box=None, pad_edge=False, title=f"cpu against gpu, {len(found['cpu'])} frames")
    for name in ("part", "both", "only cpu", "only gpu", "median px", "95% px", "max px"):
        table.add_column(name, justify="right")
    pairs = list(zip(found["cpu"], found["gpu"], strict=True))
    for part in sorted({part for frames in found.values() for _, frame in frames for part in frame.parts}):
        unit = " (m)" if part.endswith("_world") else ""
        table.add_row(part + unit, *compared(part, pairs))
    if table.rows:
        print()
        Console(width=120).print(table)
    if any(frame.mask_png for _, frame in found["cpu"]):
        tell_masks(pairs)
    return None


def compared(part: str, pairs: list[Any]) -> list[str]:
    counts, distances = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}, []
    for (size, cpu), (_, gpu) in pairs:
        counts[part in cpu.parts, part in gpu.parts] += 1
        if part in cpu.parts and part in gpu.parts:
            difference = cpu.parts[part][:, :2] - gpu.parts[part][:, :2]
            # World coordinates are metres and blend shapes plain numbers: neither has pixels.
            scale = (1.0, 1.0) if part.endswith("_world") or difference.shape[1] < 2 else size
            distances.append(np.hypot.reduce(difference * np.array(scale[: difference.shape[1]]), axis=1))
    numbers = [str(counts[key]) for key in ((True, True), (True, False), (False, True))]
    if not distances:
        return [*numbers, "-", "-", "-"]
    all_of_them = np.concatenate(distances)
    return [*numbers, *(f"{np.percentile(all_of_them, q):.4g}" for q in (50, 95, 100))]


def tell_masks(pairs: list[Any]) -> None:
    differing, overlaps = [], []
    for (_, cpu), (_, gpu) in pairs:
        one, other = (
            cv2.imdecode(np.frombuffer(f.mask_png, np.uint8), cv2.IMREAD_UNCHANGED) > 0 for f in (cpu, gpu)
        )
        differing.append(np.mean(one != other))
        union = np.sum(one | other)
        overlaps.append(np.sum(one & other) / union if union else 1.0)
    print(
        f"\nmasks of {len(pairs)} frames: {np.mean(differing):.3%} of the pixels differ between cpu and gpu "
        f"(at most {np.max(differing):.3%} of a frame); intersection over union {np.mean(overlaps):.4f}, "
        f"at least {np.min(overlaps):.4f}"
    )


class Worker:
    """One detector in a process of its own, with the environment that a job gives it."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **worker_environment(task["delegate"])},
            text=True,
        )

    def wait(self, word: str, timeout_s: float) -> dict[str, Any]:
        """Waits for a message; native code may print between them."""
        timer = threading.Timer(timeout_s, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout or ():
                if line.startswith(f"{word} "):
                    return dict(json.loads(line.removeprefix(word)))
        finally:
            timer.cancel()
        self._errors.seek(0)
        text = self._errors.read()[-2000:].decode("utf-8", "replace").strip()
        raise RuntimeError(text or f"the detector's process ended with {self._process.wait()}")

    def go(self) -> None:
        """Lets it begin."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def work(task: dict[str, Any]) -> None:
    """What runs in the process of a detector."""
    began = time.monotonic()
    cv2.setNumThreads(1)
    clips = [frames for clip in discover_tree(task["frames"]).clips if (frames := read(clip))]
    detector = create_detector(
        DetectorOptions(engine=task["engine"], model=task["model"], delegate=task["delegate"])
    )
    if "results" in task:
        results = []
        for number, frames in enumerate(clips):
            results += [(frame.image.shape[1::-1], found) for frame, found in run(detector, number, frames)]
        Path(task["results"]).write_bytes(pickle.dumps(results))
        return print("done {}", flush=True)
    list(run(detector, 0, clips[0]))
    ready_s = time.monotonic() - began
    print("ready {}", flush=True)
    sys.stdin.readline()
    began, frames_done, number = time.monotonic(), 0, 0
    while (seconds := time.monotonic() - began) < task["seconds"]:
        number += 1
        for _ in run(detector, number, clips[number % len(clips)]):
            frames_done += 1
            if (seconds := time.monotonic() - began) >= task["seconds"]:
                break
    print("done", json.dumps({"frames": frames_done, "seconds": seconds, "ready_s": ready_s}), flush=True)
    os._exit(0)


def read(clip: Any) -> list[Any]:
    frames: list[Frame] = []
    for frame in open_frames(clip, FrameOptions()).frames:
        if frame.image is not None:
            frames.append(frame)
        if len(frames) == MAX_FRAMES:
            break
    return frames


def run(detector: Any, number: int, frames: list[Any]) -> Any:
    detector.begin_clip(f"clip-{number}")
    for frame in frames:
        yield frame, detector.detect(frame.image, frame.timestamp_ms)


def nvidia_smi(query: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def card_memory() -> int:
    """MiB in use on all cards."""
    return sum(int(line) for line in nvidia_smi("memory.used") if line.strip().isdigit())


if __name__ == "__main__":
    main()
