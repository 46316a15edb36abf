"""``landmarks verify``: whether a data set is whole and true, and whether two sources hold the same."""

import json
import math
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

import typer

from extraction.clips import printable
from extraction.errors import JobError
from ray_jobs.command_options import Json, names
from ray_jobs.verify_told import tell, tell_comparison

if TYPE_CHECKING:
    from ray_jobs.reextract import Sample
    from storage.dataset import Dataset
    from storage.verified import Verified
    from storage.verify_input import InputClips
    from storage.verify_two import Comparison

_SAMPLE = 3
_MANIFESTS = (".csv", ".parquet")


def verify(
    a: Annotated[str, typer.Argument(metavar="OUT", help="The data set; or with B, any of the formats.")],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]", help="Compare with this: a data set, .pose files, or the older scripts' pickles."
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Compare with the input too: FRAMES, or the manifest, that the data set was made from."
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="With --frames: where the annotations lie, if elsewhere than when it was made."),
    ] = None,
    reextract: Annotated[
        bool, typer.Option("--reextract", help="Extract a sample again here, and compare bit for bit.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option(help="With --reextract: clips to extract again; 3 by default.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --reextract: of the chance by which they are chosen.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --reextract: the model, if it is not the engine's own.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="With --reextract: the data set's engine, where it is code of your own (MODULE:FUNCTION), "
            "which is run only if you name it, too."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="With B: largest difference that counts as none, 1e-6 by default: of coordinates in "
            "fractions of the frame (metres for parts in the world), of masks in fractions of full "
            "confidence. Classes of masks are equal or not."
        ),
    ] = None,
    splits: Annotated[str, typer.Option(help="With B: only these splits: train,dev.")] = "",
    as_json: Json = False,
) -> int:
    """Check a data set, or compare two sources: exit code 0 good or equal, 1 not, 2 could not be checked."""
    if b is not None:
        if frames or annotations or reextract or sample is not None or seed is not None or model or engine:
            raise JobError(
                "--frames, --annotations, --reextract, --sample, --seed, --model and --engine check one data "
                "set: leave them out, or leave out B"
            )
        return _compare(a, b, tolerance, splits, as_json)
    if splits or tolerance is not None:
        raise JobError(
            "--splits and --tolerance go with a second source, B: a data set alone is verified as a whole"
        )
    if annotations and not frames:
        raise JobError("--annotations says how to read --frames FRAMES: give both")
    if not reextract and (sample is not None or seed is not None or model or engine):
        raise JobError("--sample, --seed, --model and --engine say what --reextract does: give it, too")
    if sample is not None and sample < 1:
        raise JobError(f"--sample N: expected 1 or more, found {sample}")
    if seed is not None and seed < 0:
        raise JobError(f"--seed: expected 0 or more, found {seed}")
    wanted = None
    if reextract:
        from ray_jobs.reextract import Sample

        place = frames if frames and "://" in frames else ""
        wanted = Sample(_SAMPLE if sample is None else sample, seed or 0, model or "", place, engine or "")
    return _verify(a, frames, annotations, wanted, as_json)


def _verify(
    out: str, frames: str | None, annotations: str | None, sample: "Sample | None", as_json: bool
) -> int:
    from ray_jobs.counting_bar import counting_bar
    from storage.dataset import Dataset
    from storage.verify import verify as check

    dataset = Dataset.open(out)
    inputs = _inputs(dataset, frames, annotations) if frames else None
    with counting_bar("shards") as (on_start, on_shard):
        result = check(dataset, inputs, on_start, on_shard)
    if sample and result.counts["damaged"]:
        # Nor could it be: of a footer that contradicts itself pyarrow ends the process.
        result.found("reextracted", result.location, "was not tried: mend what is damaged first")
    elif sample:
        try:
            _reextract(dataset, sample, inputs, result)
        except JobError as error:
            if result.is_good:
                raise
            result.found("reextracted", result.location, f"could not be extracted again: {error}")
    if as_json:
        problems = [asdict(problem) for problem in result.problems]
        _print_json({**_fields(result), "problems": problems, "is_good": result.is_good})
    else:
        tell(result)
    return 0 if result.is_good else 1


def _inputs(dataset: "Dataset", frames: str, annotations: str | None) -> "InputClips":
    """The clips of the input as they are found now, by the rules by which they were found then."""
    from ray_jobs.job import Inputs, discover
    from storage.verify_input import InputClips

    config, hint = dataset.config(), ""
    options = config["options"]
    assert isinstance(options, dict)
    if options.get("dataset"):
        where = annotations or _annotations_then(dataset, config.get("annotations"))
        # What was left out for want of an annotation is looked at as well: it may have had one then.
        wanted = Inputs(frames=frames, dataset=str(options["dataset"]), annotations=where, unannotated=True)
        hint = "" if where else "; if a table of annotations named it, say with --annotations where it lies"
    elif annotations:
        raise JobError(
            f"--annotations: {dataset.store.location} was made without --dataset NAME, its clips are found "
            "without annotations: leave it out"
        )
    elif os.path.isfile(frames) or ("://" in frames and frames.lower().endswith(_MANIFESTS)):
        # The one that the data set was made from: what it may name was decided then.
        wanted = Inputs(manifest=frames, allow_outside=True)
    else:
        wanted = Inputs(frames=frames, split_from=str(options.get("split_from", "folder")))
    source = config.get("source")
    found = discover(wanted).clips
    return InputClips(found, source if isinstance(source, str) else "", wanted.source, hint)


def _annotations_then(dataset: "Dataset", said: object) -> str | None:
    """Where the annotations lay when the data set was made; None for in FRAMES, or unknown."""
    if not isinstance(said, str) or not said:
        return None
    if not os.path.exists(said):
        raise JobError(
            f"{dataset.store.location}: was made with the annotations in {printable(said)!r}, where nothing "
            "is any more: say with --annotations where they lie now"
        )
    return said


def _reextract(dataset: "Dataset", sample: "Sample", inputs: "InputClips | None", result: "Verified") -> None:
    from ray_jobs.counting_bar import counting_bar
    from ray_jobs.reextract import reextract

    with counting_bar("clips extracted again") as (on_start, on_clip):
        result.reextracted, found = reextract(dataset, sample, inputs, on_start, on_clip)
    for clip_id, text in found:
        result.found("reextracted", clip_id, text)


def _compare(a: str, b: str, tolerance: float | None, splits: str, as_json: bool) -> int:
    from ray_jobs.counting_bar import counting_bar
    from storage.imports.opening import open_source
    from storage.verify_two import TOLERANCE, compare

    with counting_bar("clips") as (on_start, on_clip):
        limit = TOLERANCE if tolerance is None else tolerance
        result = compare(open_source(a), open_source(b), limit, names(splits), on_start, on_clip)
    if as_json:
        means = {part: {**asdict(found), "mean": found.mean} for part, found in result.parts.items()}
        masks = result.masks.as_dict() if result.masks else None
        _print_json({**_fields(result), "parts": means, "masks": masks, "is_equal": result.is_equal})
    else:
        tell_comparison(result)
    return 0 if result.is_equal else 1


def _fields(result: "Verified | Comparison") -> dict[str, object]:
    # Not asdict: up to Python 3.11 it makes a Counter one of pairs.
    return {field.name: getattr(result, field.name) for field in fields(result)}


def _print_json(value: object) -> None:
    print(json.dumps(_plain(value), indent=2, default=str))


def _plain(value: object) -> object:
    """JSON has no infinity and no NaN: null, and ``beyond`` says that there was one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
