"""What ``landmarks report`` takes."""

from typing import Annotated

import typer


def report(
    out: Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")],
    to: Annotated[
        str | None, typer.Option(help="File of the page; by default OUT's name and -report.html, here.")
    ] = None,
    sample: Annotated[
        int, typer.Option(help="Clips whose coordinates are read, for hand size and jitter.")
    ] = 300,
    seed: Annotated[int, typer.Option(help="Of the chance by which they are chosen.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for machines; a page only with --to.")
    ] = False,
) -> int:
    """Make one self-contained HTML page about a data set: what is in it, how good, what stands out."""
    from ray_jobs.report import report as make

    return make(out, to, sample, seed, as_json)
