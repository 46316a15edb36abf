"""``landmarks holes``: every clip of which annotations and disk do not agree, or that is known to be bad."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.clips import printable
from extraction.errors import JobError
from extraction.sources.datasets.annotation import HOLE_KINDS
from ray_jobs.command_options import Json
from storage.annotations import read_about, read_annotations
from storage.dataset import Dataset


def holes(
    out: Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")],
    kind: Annotated[str | None, typer.Option(help="Only these: missing, unannotated, length ...")] = None,
    as_json: Json = False,
) -> int:
    """List clips without frames, frames without annotation, and what else is not as it should be."""
    dataset = Dataset.open(out)
    about = read_about(dataset.store)
    if about is None:
        raise JobError(
            f"{dataset.store.location}: it has no annotations, so no hole is known of: extract with "
            "--dataset NAME, or give it some with `landmarks annotate`"
        )
    if kind is not None and kind not in {*HOLE_KINDS, *about.holes}:
        raise JobError(f"--kind must be {', '.join(HOLE_KINDS)}, found {kind!r}")
    found = [hole for hole in _all(dataset) if kind in (None, hole["kind"])]
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for name in dict.fromkeys(str(hole["kind"]) for hole in found):
        own = [hole for hole in found if hole["kind"] == name]
        meaning = HOLE_KINDS.get(name, "")  # type: ignore[call-overload]
        console.print(f"[bold]{escape(name)}[/bold] {len(own):,}" + (f": {meaning}" if meaning else ""))
        for hole in own:
            more = f"  {printable(str(hole['detail']))}" if hole["detail"] else ""
            console.print(escape(f"  {_quoted(str(hole['clip_id']))}{more}"))
    console.print(f"{len(found):,} holes in {escape(about.name)}" + (f" of kind {kind}" if kind else ""))
    return 0


def _all(dataset: Dataset) -> Iterator[dict[str, object]]:
    """In the order of their kinds, then of the annotations."""
    table = read_annotations(dataset.store).select(["clip_id", "split", "holes", "details"])
    listed = [
        {"kind": kind, "clip_id": row["clip_id"], "split": row["split"], "detail": detail}
        for row in table.to_pylist()
        for kind, detail in zip(row["holes"] or (), row["details"] or (), strict=False)
    ]
    order = {kind: place for place, kind in enumerate(HOLE_KINDS)}
    yield from sorted(listed, key=lambda hole: order.get(hole["kind"], len(order)))


def _quoted(name: str) -> str:
    return name if name.isprintable() else repr(name)
