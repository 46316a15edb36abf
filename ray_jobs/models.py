"""What ``landmarks models list`` and ``landmarks models fetch`` print."""

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from extraction import models


def list_models(as_json: bool) -> int:
    """Prints every model: whether it is on this machine and where, its licence and source."""
    described = [_describe(model) for model in models.MODELS.values()]
    if as_json:
        return _print_json(described)
    console = _console()
    for model in described:
        size = f", {model['bytes']:,} bytes" if model["bytes"] else ""
        console.print(
            f"[bold]{model['name']}[/bold]  {model['state']}{size}, {model['licence']}, for {model['use']}"
        )
        console.print(f"  {escape(str(model['file']))}")
        console.print(f"  from {escape(str(model['source']))}")
    return 0


def fetch(name: str, base_url: str | None, as_json: bool, to: str | None = None) -> int:
    """Fetches a model unless it is there, and prints where it lies, its licence and source.

    Args:
        name: Of the model.
        base_url: Of a mirror of the bucket; None for the bucket itself.
        as_json: Print JSON for machines.
        to: File to make; None for the cache.

    Raises:
        JobError: As :func:`extraction.models.fetch_model` does.
    """
    fetched = models.fetch_model(name, base_url, to)
    described = {**_describe(fetched.model, fetched.file, base_url), "downloaded": fetched.downloaded}
    if as_json:
        return _print_json({**described, "replaced_sha256": fetched.replaced_sha256})
    console = _console()
    if fetched.replaced_sha256:
        console.print(f"the file that was there was damaged (SHA-256 {fetched.replaced_sha256})")
    verb = "fetched" if fetched.downloaded else "is there already, not fetched again"
    console.print(f"[bold]{name}[/bold] {verb}: {escape(str(fetched.file))}")
    console.print(f"  source {escape(str(described['source']))}")
    console.print(f"  SHA-256 {fetched.model.sha256}, verified")
    console.print(f"  licence {models.LICENCE}; model card {' '.join(fetched.model.model_cards)}")
    return 0


def _describe(
    model: models.Model, file: Path | None = None, base_url: str | None = None
) -> dict[str, object]:
    file = file or models.cache_folder() / model.file_name
    state = "absent"
    if file.is_file():
        state = "present" if models.digest(file) == model.sha256 else "damaged"
    return {
        "name": model.name,
        "state": state,
        "file": str(file),
        "bytes": file.stat().st_size if state != "absent" else None,
        "licence": models.LICENCE,
        "model_cards": model.model_cards,
        "source": models.source_url(model, base_url),
        "sha256": model.sha256,
        "sources_of_sha256": model.sources,
        "use": model.use,
    }


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _print_json(value: object) -> int:
    print(json.dumps(value, indent=2))
    return 0
