"""``make demo``: the main job on real input, and what it made.

Without a folder of your own it makes two short clips of a real person, by panning and zooming over the
portrait that matplotlib ships.
"""

import argparse
import os
import sys

from rich.console import Console
from rich.markup import escape

from extraction.errors import JobError
from ray_jobs import views
from ray_jobs.cli import guarded
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs
from storage import summary
from storage.dataset import Dataset
from storage.running import process_began

_FOLDER = "demo-out"


def main() -> int:
    """Runs the demo; returns the exit code of the job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", help="your own folder of clips")
    parser.add_argument("--out", help="where the data set is to be")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    return guarded(lambda: _demo(arguments.frames, arguments.out, console))


def _demo(frames: str | None, out: str | None, console: Console) -> int:
    from ray_jobs.demo_clips import make_demo_clips
    from ray_jobs.run import run

    own = frames is not None
    if frames is None:
        if out is not None:
            raise JobError("OUT is for a folder of your own: give FRAMES too, or neither")
        frames = os.path.join(_FOLDER, "frames")
        make_demo_clips(frames)
    out = os.path.abspath(out or ("out" if own else os.path.join(_FOLDER, "landmarks")))
    # The demo's own clips are done anew each time; a folder of your own goes on where it stopped.
    result = run(JobConfig(out), Inputs(frames), overwrite=not own, began=process_began(), console=console)
    found = summary.detections(Dataset.open(out))
    views.view(out, None, detailed=False, as_json=False)
    console.print(f"Parquet:  {escape(out)}/clips")
    if found:
        console.print(f"picture:  {escape(_picture(out))}")
    rate = (
        f"{result.frames_per_second:.1f} frames/s" if result.frames_per_second else "nothing was left to do"
    )
    console.print(
        f"total:    {sum(d.clips for d in found):,} clips, {sum(d.frames for d in found):,} frames; {rate}"
    )
    return result.exit_code


def _picture(out: str) -> str:
    from ray_jobs.pictures import draw_clip

    clips = summary.detections(Dataset.open(out), by_clip=True)
    best = max(clips, key=lambda clip: sum(clip.present.values()) / max(clip.frames, 1))
    return os.path.abspath(draw_clip(out, best.name, None, [], _FOLDER)[0])


if __name__ == "__main__":
    sys.exit(main())
