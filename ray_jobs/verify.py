"""``landmarks verify``: whether a data set is whole and true, and whether two sources hold the same."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from extraction.errors import JobError

if TYPE_CHECKING:
    from extraction.clips import Clip
    from storage.dataset import Dataset
    from storage.verify import Verified
    from storage.verify_two import Comparison

_SHOWN = 20
_SAMPLE = 3
_CHECKED = "every page against its checksum, every row's lengths, masks and numbers, every planned clip"


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
    reextract: Annotated[
        bool, typer.Option("--reextract", help="Extract a sample again here, and compare bit for bit.")
    ] = False,
    sample: Annotated[int, typer.Option(help="Clips to extract again; 3 by default.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the chance by which they are chosen.")] = 0,
    tolerance: Annotated[
        float, typer.Option(help="With B: largest difference that counts as none, in fractions of the frame.")
    ] = 1e-6,
    splits: Annotated[str, typer.Option(help="With B: only these splits: train,dev.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> int:
    """Check a data set, or compare two sources: exit code 0 good or equal, 1 not, 2 could not be checked."""
    if b is not None:
        if frames or reextract or sample:
            raise JobError(
                "--frames, --reextract and --sample check one data set: leave them out, or leave out B"
            )
        return _compare(a, b, tolerance, splits, as_json)
    if splits:
        raise JobError("--splits goes with a second source, B: a data set alone is verified as a whole")
    if sample < 0 or (sample and not reextract):
        raise JobError("--sample N says how many clips --reextract extracts again: give both, N 1 or more")
    return _verify(a, frames, (sample or _SAMPLE) if reextract else 0, seed, as_json)


def _verify(out: str, frames: str | None, sample: int, seed: int, as_json: bool) -> int:
    from ray_jobs.counting_bar import counting_bar
    from storage.dataset import Dataset
    from storage.verify import verify as check

    dataset = Dataset.open(out)
    inputs = _inputs(dataset, frames) if frames else None
    with counting_bar("shards") as (on_start, on_shard):
        result = check(dataset, inputs, on_start, on_shard)
    if sample:
        _reextract(dataset, sample, seed, inputs, result)
    if as_json:
        problems = [asdict(problem) for problem in result.problems]
        _print_json({**_fields(result), "problems": problems, "is_good": result.is_good})
    else:
        _tell(result)
    return 0 if result.is_good else 1


def _inputs(dataset: "Dataset", frames: str) -> "Mapping[str, Clip]":
    """The clips of the input as they are found now, by the rules by which they were found then."""
    from ray_jobs.job import Inputs, discover

    options = dataset.config()["options"]
    assert isinstance(options, dict)
    if options.get("dataset"):
        # What was left out for want of an annotation is looked at as well: it may have had one then.
        found = discover(Inputs(frames=frames, dataset=str(options["dataset"]), unannotated=True))
    elif os.path.isdir(frames):
        found = discover(Inputs(frames=frames, split_from=str(options.get("split_from", "folder"))))
    else:
        found = discover(Inputs(manifest=frames))
    return {clip.clip_id: clip for clip in found.clips}


def _reextract(
    dataset: "Dataset", sample: int, seed: int, inputs: "Mapping[str, Clip] | None", result: "Verified"
) -> None:
    from ray_jobs.counting_bar import counting_bar
    from ray_jobs.reextract import reextract

    with counting_bar("clips extracted again") as (on_start, on_clip):
        on_start(sample)
        result.reextracted, found = reextract(dataset, sample, seed, inputs, on_clip)
    for clip_id, text in found:
        result.found("reextracted", clip_id, f"extracted again here: {text}")


def _tell(result: "Verified") -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{escape(result.location)}: {result.planned:,} clips planned: {result.done:,} done, "
        f"{result.failed:,} failed, {result.to_do:,} to do; {result.frames:,} frames in {result.shards:,} "
        "shards"
    )
    console.print(f"checked: {_CHECKED}")
    if result.inputs is not None:
        console.print(f"compared with the input: {result.inputs:,} clips, their frames and fingerprints")
    if result.new_inputs:
        console.print(f"note: {result.new_inputs:,} clips of the input were never planned")
    if result.without_checksums:
        console.print(
            f"note: {result.without_checksums:,} shards carry no checksums, as the first versions wrote "
            "them: a flipped bit in them may pass for a number"
        )
    if result.reextracted is not None:
        console.print(f"extracted again here: {result.reextracted:,} clips, compared bit for bit")
    for problem in result.problems[:_SHOWN]:
        console.print(f"[red]{problem.kind}[/red]: {escape(problem.where)}: {escape(problem.text)}")
    total = result.counts.total()
    if total > _SHOWN:
        console.print(f"and {total - _SHOWN:,} more; --json lists up to 1,000")
    if result.is_good:
        console.print("[green]good[/green]: nothing is wrong")
    else:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(result.counts.items()))
        console.print(f"[red]not good[/red]: {kinds}")


def _compare(a: str, b: str, tolerance: float, splits: str, as_json: bool) -> int:
    from ray_jobs.counting_bar import counting_bar
    from storage.imports.opening import open_source
    from storage.verify_two import compare

    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in splits.split(",")))))
    with counting_bar("clips") as (on_start, on_clip):
        result = compare(open_source(a), open_source(b), tolerance, names, on_start, on_clip)
    if as_json:
        means = {part: {**asdict(found), "mean": found.mean} for part, found in result.parts.items()}
        _print_json({**_fields(result), "parts": means, "is_equal": result.is_equal})
    else:
        _tell_comparison(result)
    return 0 if result.is_equal else 1


def _tell_comparison(result: "Comparison") -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(f"A: {escape(result.a)}\nB: {escape(result.b)}")
    of = f" of {', '.join(result.splits)}" if result.splits else ""
    console.print(
        f"in both: {result.clips:,} clips{escape(of)}, {result.frames:,} frames compared, "
        f"tolerance {result.tolerance:g}"
    )
    console.print(_table(result))
    for text in result.not_compared:
        console.print(f"not compared: {escape(text)}")
    for who, names in (("A", result.only_in_a), ("B", result.only_in_b)):
        if names:
            console.print(
                f"[red]only in {who}[/red]: {result.counts[f'only in {who}']:,} clips: {_some(names)}"
            )
    for name, in_a, in_b in result.frame_counts[:_SHOWN]:
        console.print(f"[red]frames[/red]: {escape(name)}: {in_a:,} in A, {in_b:,} in B")
    if len(result.frame_counts) > _SHOWN:
        console.print(f"and {result.counts['frame counts'] - _SHOWN:,} more clips of other lengths")
    for part, found in result.parts.items():
        if found.max_clip and found.beyond:
            console.print(f"[red]{part}[/red]: the largest difference is in {escape(found.max_clip)}")
    if result.differing:
        console.print(f"[red]clips that differ[/red]: {_some(result.differing)}")
    console.print("[green]equal[/green]" if result.is_equal else "[red]different[/red]")


def _table(result: "Comparison") -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("part", "points", "numbers", "max", "mean", "beyond", "only in A", "only in B"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, found in result.parts.items():
        counts = (f"{n:,}" for n in (found.beyond, found.only_in_a, found.only_in_b))
        table.add_row(
            part, str(found.points), f"{found.values:,}", f"{found.max:.3g}", f"{found.mean:.3g}", *counts
        )
    return table


def _some(names: list[str]) -> str:
    return escape(", ".join(names[:5]) + (", ..." if len(names) > 5 else ""))


def _fields(result: "Verified | Comparison") -> dict[str, object]:
    # Not asdict: up to Python 3.11 it makes a Counter one of pairs.
    return {field.name: getattr(result, field.name) for field in fields(result)}


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))
