"""``landmarks import``: finished landmarks of another format, so that nobody has to extract them again."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.errors import JobError
from ray_jobs.command_options import Json


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of .pose files, a .pose file, a pickle, or the base name of pickles BASE.train, "
            "BASE.dev ...",
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Where the data set is to be.")],
    fps: Annotated[float, typer.Option(help="Of pickles, which do not say.")] = 25.0,
    as_json: Json = False,
) -> int:
    """Turn .pose files or the older scripts' pickles into a data set; run again, it goes on."""
    from ray_jobs.counting_bar import counting_bar
    from storage.dataset import Dataset
    from storage.imports.importing import import_source
    from storage.imports.opening import open_source
    from storage.imports.stored_source import StoredSource

    if not 0 < fps < float("inf"):
        raise JobError(f"--fps: expected a number above 0, found {fps:g}")
    opened = open_source(source, fps)
    if isinstance(opened, StoredSource):
        raise JobError(f"{source}: is a data set already: use it as it is")
    with counting_bar("clips") as (on_start, on_clip):
        done = import_source(opened, Dataset(out), fps, on_start, on_clip)
    code = 1 if done.failed else 0
    if as_json:
        print(json.dumps({**asdict(done), "exit_code": code}, indent=2))
        return code
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{escape(done.format)}: {done.clips:,} clips, of which {done.new:,} written now, {done.frames:,} "
        f"frames: {escape(done.location)}"
    )
    console.print("not known of them, and said so in dataset.json:")
    for text in done.unknown:
        console.print(f"  - {escape(text)}")
    if done.failed:
        console.print(
            f"{done.failed:,} clips could not be read; see them with: landmarks failures {escape(out)}"
        )
    return code
