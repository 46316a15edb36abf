"""Frames per second of a job that reads its frames from S3, against the same job on the local disk, in turn.

    python benchmarks/remote.py --frames FOLDER [--latency-ms 50] [--rounds 3] [--repeat 8] [--workers 1]

The server is moto's, a process of its own in which every request waits for ``--latency-ms``. It answers with
far more work a request than a real store takes from the reader's machine; so it gets the last core to itself,
and the jobs, local and remote alike, get the others. Rates count from each worker's first frame to its end.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from extraction.sources import discover_tree
from ray_jobs.demo_clips import make_demo_clips
from storage.files import Store

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=Path, help="folder of clips; by default the demo's")
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=8, help="how often each clip stands there")
    parser.add_argument("--workers", type=int, default=max(len(os.sched_getaffinity(0)) - 1, 1))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    if arguments.serve:
        serve(arguments.latency_ms)
        return
    *cores, last = sorted(os.sched_getaffinity(0))
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--latency-ms", str(arguments.latency_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.sched_setaffinity(server.pid, {last})
        assert server.stdout is not None
        at_once, late = server.stdout.readline().split()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            clips = link_clips(arguments.frames, folder, arguments.repeat)
            upload(clips, folder / "in", uri(at_once))
            compare(folder, uri(late), set(cores) or {last}, arguments)
    finally:
        server.kill()


def serve(latency_ms: float) -> None:
    """Serves one bucket on two ports, at once and late, until its parent kills it."""
    import logging

    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # connections stay, as those of any store do
    app = DomainDispatcherApplication(create_backend_app)

    def late(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(latency_ms / 1000)
        return app(environ, start_response)  # type: ignore[no-any-return]

    servers = [make_server("127.0.0.1", 0, each, threaded=True) for each in (app, late)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{servers[0].server_port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="bucket")
    print(*(server.server_port for server in servers), flush=True)
    sys.stdin.read()


def uri(port: str) -> str:
    return f"s3://bucket/in?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


def link_clips(frames: Path | None, folder: Path, repeat: int) -> list[Path]:
    if frames is None:
        frames = folder / "demo"
        make_demo_clips(str(frames))
    found = [Path(clip.path) for clip in discover_tree(str(frames)).clips if clip.kind == "frames"]
    (folder / "in").mkdir()
    links = [folder / "in" / f"{n:03d}-{i}" for n in range(repeat) for i in range(len(found))]
    for link in links:
        link.symlink_to(found[int(link.name.rpartition("-")[2])])
    return links


def upload(clips: list[Path], root: Path, to: str) -> None:
    store = Store(to)
    for clip in clips:
        for file in clip.iterdir():
            store.write(f"{clip.relative_to(root)}/{file.name}", file.read_bytes())


def compare(folder: Path, remote: str, cores: set[int], arguments: argparse.Namespace) -> None:
    ratios = []
    for number in range(arguments.rounds):
        here = rate(str(folder / "in"), folder / f"here{number}", cores, arguments.workers)
        there = rate(remote, folder / f"there{number}", cores, arguments.workers)
        ratios.append(there / here)
        print(
            f"round {number + 1}: local {here:.1f}, S3 at {arguments.latency_ms:g} ms {there:.1f} frames/s, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(
        f"S3 / local: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}; "
        f"{arguments.workers} workers on {len(cores)} cores, load {os.getloadavg()[0]:.1f}"
    )


def rate(frames: str, out: Path, cores: set[int], workers: int) -> float:
    """Frames per second of a job's workers together, in their steady state."""
    command = [sys.executable, "-m", "ray_jobs.cli", "extract", frames, str(out), "--json"]
    done = subprocess.run(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=True,
    )
    summary = json.loads(done.stdout)
    return float(sum(worker["frames"] / worker["seconds"] for worker in summary["workers"]))


if __name__ == "__main__":
    main()
