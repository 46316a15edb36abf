"""What several commands take alike."""

from typing import Annotated

import typer

Out = Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def names(listed: str | None) -> tuple[str, ...]:
    """The names in an option like ``--splits train,dev``, each once, in order."""
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in (listed or "").split(",")))))
