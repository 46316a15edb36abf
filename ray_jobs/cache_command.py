"""``landmarks cache``: decodes a data set once, for training that reads it for many epochs."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.errors import JobError
from ray_jobs.command_options import Json, names
from ray_jobs.counting_bar import counting_bar


def cache(
    out: Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")],
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="On a local disk; cache= of LandmarkDataset is the same.")
    ],
    points: Annotated[
        str, typer.Option(help="pose+hands, face68+hands+pose, hands, or parts: pose,face.")
    ] = "pose+hands",
    splits: Annotated[str, typer.Option(help="Only these splits: train,dev.")] = "",
    threads: Annotated[int, typer.Option(help="Shards at a time; 0: as many as there are cores.")] = 0,
    as_json: Json = False,
) -> int:
    """Decode clips into DIR before the first epoch, and clear out of it what OUT holds no more."""
    from storage.filling import fill_cache
    from storage.layout import PRESETS

    if threads < 0:
        raise JobError(f"--threads: expected 0 or more, found {threads}")
    chosen = points if points in PRESETS else names(points)
    with counting_bar("shards") as (on_start, on_shard):
        done = fill_cache(out, folder, chosen, names(splits), threads, on_start, on_shard)
    if as_json:
        print(json.dumps({"points": points, **asdict(done)}, indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{done.frames:,} frames in {done.shards:,} shards: {done.num_bytes:,} bytes, {done.bytes_a_frame:,} "
        f"a frame, {done.new_bytes:,} decoded now: {escape(done.folder)}"
    )
    if done.deleted:
        console.print(f"deleted {done.deleted:,} files of what {escape(out)} holds no more")
    return 0
