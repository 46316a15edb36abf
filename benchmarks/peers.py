"""This package beside what people use today: the same clips, the same cores, in turn, in one run.

    python benchmarks/peers.py --frames FOLDER [--clips 40] [--mean-frames 115] [--rounds 3] [--json FILE]

Cuts --clips clips out of those in FOLDER (a portrait by default), as folders of frames and as videos of the
same frames, and has each way go through them, one after the other, --rounds times: `landmarks extract` from
frames, a bare loop over static halves (the physical limit), a multiprocessing pool with static chunks and
three detectors a frame (the scripts' way), `landmarks extract` from videos, and pose-format's
`videos_to_poses`. The peers have an environment of their own (--environment), which is made the first time.
Then each way is killed at half of its time, and started again. docs/peers.md says what is measured, and how.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from peers_inputs import Inputs, cut
from peers_report import markdown
from peers_watch import killed, watched
from peers_ways import Way, environment_of_peers, ways

REPO = Path(__file__).resolve().parents[1]
_PATIENCE_S = 30.0
"""For processes that were left alone to notice and end."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=Path, help="folder of clips to cut from; a portrait by default")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument(
        "--mean-frames", type=int, default=115, help="of a clip: PHOENIX's; they differ as sentences do"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--ways",
        default="ours,bare,pool,pool-kept,pool-static,ours-videos,poses",
        help="who takes part, in order",
    )
    parser.add_argument("--kill", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--environment", type=Path, default=REPO / ".venv-peers", help="of the peers")
    parser.add_argument("--scratch", type=Path, help="where inputs and outputs go meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="file for the tables that are printed")
    arguments = parser.parse_args()
    for name in ("clips", "mean_frames", "rounds", "workers"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected 1 or more, found {getattr(arguments, name)}")
    every = ways(environment_of_peers(arguments.environment.absolute()), arguments.workers)
    if unknown := set(arguments.ways.split(",")) - every.keys():
        parser.error(f"--ways: expected some of {','.join(every)}, found {','.join(sorted(unknown))}")
    taking_part = {name: every[name] for name in arguments.ways.split(",")}
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="peers-") as scratch:
        folder = Path(scratch)
        inputs = cut(folder, arguments.frames, arguments.clips, arguments.mean_frames, arguments.seed)
        print(f"{len(inputs.lengths)} clips, {inputs.num_frames} frames in {folder}", flush=True)
        found = compare(taking_part, inputs, folder, arguments)
    text = markdown(found, {name: way.name for name, way in taking_part.items()})
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def compare(
    taking_part: dict[str, Way], inputs: Inputs, folder: Path, arguments: argparse.Namespace
) -> dict[str, object]:
    rounds: list[dict[str, dict[str, object]]] = []
    kills: dict[str, dict[str, object]] = {}
    for number in range(arguments.rounds):
        rounds.append({})
        for name, way in taking_part.items():
            rounds[-1][name] = timed(way, inputs, folder / f"{name}-{number}", arguments.workers)
            print(f"round {number + 1}: {told(way, rounds[-1][name])}", flush=True)
    for name, way in taking_part.items() if arguments.kill else ():
        wall_s = statistics.median(float(each[name]["wall_s"]) for each in rounds)  # type: ignore[arg-type]
        kills[name] = interrupted(way, inputs, folder / f"{name}-killed", wall_s / 2, arguments.workers)
        print(f"killed: {way.name}: {kills[name]}", flush=True)
    return {
        "clips": len(inputs.lengths),
        "frames": inputs.num_frames,
        "source": str(arguments.frames or "portrait"),
        "workers": arguments.workers,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "rounds": rounds,
        "kills": kills,
    }


def timed(way: Way, inputs: Inputs, out: Path, workers: int) -> dict[str, object]:
    """One run to the end."""
    load = os.getloadavg()[0]
    command = way.command(inputs, out)
    began = time.time()
    seen = watched(command, environment(), out / "said", workers)
    if seen.code:
        sys.exit(f"{way.name} ended with {seen.code}:\n{seen.stderr[-3000:]}")
    rate = way.rate(inputs, seen, out)
    whole, broken = way.whole(inputs, out)
    first = min((path.stat().st_mtime for path in way.results(out)), default=None)
    shutil.rmtree(out)
    figures = {
        name: value for name, value in asdict(seen).items() if name not in ("stdout", "stderr", "busy")
    }
    return {
        **figures,
        "frames_per_s": rate,
        "first_result_s": first and first - began,
        "fixed_s": seen.wall_s - inputs.num_frames / rate,
        "whole": whole,
        "broken": broken,
        "load_before": load,
    }


def interrupted(way: Way, inputs: Inputs, out: Path, after_s: float, workers: int) -> dict[str, object]:
    """One run that is killed, and the same command again."""
    command = way.command(inputs, out)
    end = killed(command, environment(), out / "said", after_s, _PATIENCE_S)
    whole, broken = way.whole(inputs, out)
    again = watched(command, environment(), out / "said", workers)
    whole_then, broken_then = way.whole(inputs, out)
    shutil.rmtree(out)
    return {
        "after_s": end.after_s,
        "orphans": len(end.orphans),
        "whole": whole,
        "kept": way.kept(again),
        "broken": broken,
        "again_s": again.wall_s,
        "again_code": again.code,
        "whole_then": whole_then,
        "broken_then": broken_then,
    }


def environment() -> dict[str, str]:
    """What every command gets: nothing of this machine's cluster, and this checkout's code for ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    return {**kept, "PYTHONPATH": str(REPO), "RAY_USAGE_STATS_ENABLED": "0"}


def told(way: Way, run: dict[str, object]) -> str:
    figures = ("frames_per_s", "wall_s", "fixed_s", "cpu_s", "peak_mb", "tail_s", "load_before")
    return f"{way.name}: " + ", ".join(f"{name} {float(run[name]):.1f}" for name in figures)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
