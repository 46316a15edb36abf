"""``landmarks export``: the data set in the formats that other training code reads."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.errors import JobError
from ray_jobs.command_options import Json, names
from ray_jobs.counting_bar import counting_bar


def export(
    out: Annotated[
        str | None, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")
    ] = None,
    format_name: Annotated[
        str, typer.Option("--format", metavar="F", help="Which format; --list says which there are.")
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="PATH", help="File, or folder for formats with a file a clip.")
    ] = "",
    splits: Annotated[str, typer.Option(help="Only these splits: train,dev.")] = "",
    parts: Annotated[
        str, typer.Option(help="Only these parts, where the format leaves the choice: pose,left_hand.")
    ] = "",
    drop_empty_frames: Annotated[
        bool, typer.Option("--drop-empty-frames", help="Without frames in which nothing was found.")
    ] = False,
    tensors: Annotated[
        str, typer.Option(help="'torch', 'numpy', or 'auto': torch where it is installed.")
    ] = "auto",
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats, and do nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Write the clips of OUT as other training code reads them; run again, it goes on where it stopped."""
    from storage.exports.registry import format_named, formats

    if list_formats:
        return _list(as_json)
    if not (out and format_name and to):
        missing = ", ".join(
            name
            for name, value in (("OUT", out), ("--format F", format_name), ("--to PATH", to))
            if not value
        )
        raise JobError(
            f"expected {missing}: landmarks export OUT --format F --to PATH; F is one of "
            f"{', '.join(formats())}"
        )
    from storage.dataset import Dataset
    from storage.exports.protocol import ExportOptions
    from storage.exports.writing import export as write

    known = format_named(format_name)
    options = ExportOptions(names(splits), drop_empty_frames, names(parts), tensors)
    with counting_bar("clips") as (on_start, on_clip):
        done = write(Dataset.open(out), known, to, options, on_start, on_clip)
    if as_json:
        print(json.dumps({"format": known.name, **asdict(done)}, indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for split, counts in done.splits.items():
        console.print(f"{escape(split)}: clips {counts['clips']:,}, frames {counts['frames']:,}")
    stood = done.files - done.written
    console.print(
        f"files {done.files:,}, of which {done.written:,} written now"
        + (f" and {stood:,} stood already" if stood else "")
        + f"; {done.bytes:,} bytes: {escape(done.location)}"
    )
    for note in done.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    console.print(f"what they are, with checksums: {escape(done.manifest)}")
    return 0


def _list(as_json: bool) -> int:
    from storage.exports.registry import formats

    texts = ("name", "consumer", "structure", "layout", "units", "missing", "differs")
    if as_json:
        rows = [{name: getattr(known, name) for name in texts} for known in formats().values()]
        print(json.dumps(rows, indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for known in formats().values():
        console.print(f"[bold]{known.name}[/bold]  {escape(known.consumer)}\n  {escape(known.structure)}")
    return 0
