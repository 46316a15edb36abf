"""How fast clips are found: makes a tree of small frame folders and times discovery on it.

    python benchmarks/discovery.py --clips 2000 --frames 50
    python benchmarks/discovery.py --clips 2000 --frames 50 --latency-ms 5

The files were just written, so the operating system has them at hand: this is the cost of our own
work. ``--latency-ms`` adds a wait to every folder, as a network file system does.
"""

import argparse
import os
import tempfile
import time

from extraction.sources import FrameFolder, discover_tree
from extraction.sources.discovery import DEFAULT_NUM_THREADS
from extraction.sources.places import DISK, Disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=50, help="frames in each clip")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait added to each folder")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, DEFAULT_NUM_THREADS])
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        make_tree(root, args.clips, args.frames)
        for num_threads in args.threads:
            seconds = min(time_once(root, num_threads, args.latency_ms) for _ in range(args.repeats))
            print(
                f"{num_threads:3d} threads: {seconds:8.3f} s  {args.clips / seconds:10,.0f} clips/s  "
                f"{args.clips * args.frames / seconds:12,.0f} frames/s"
            )


def make_tree(root: str, num_clips: int, num_frames: int) -> None:
    for clip in range(num_clips):
        folder = os.path.join(root, "train", f"01April_2010_Thursday_heute-{clip}")
        os.makedirs(folder)
        for frame in range(1, num_frames + 1):
            with open(os.path.join(folder, f"images{frame:04d}.png"), "wb"):
                pass


def time_once(root: str, num_threads: int, latency_ms: float) -> float:
    class LateDisk(Disk):
        def read_folder(self, path: str) -> FrameFolder:
            time.sleep(latency_ms / 1000)
            return super().read_folder(path)

    start_s = time.perf_counter()
    discover_tree(root, num_threads=num_threads, places=LateDisk() if latency_ms else DISK)
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()
