"""``landmarks datasets`` and ``landmarks check-dataset``; and what a job tells and keeps of annotations."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from extraction.clips import ANNOTATIONS, RANGE, Clip
from extraction.sources import Discovery
from extraction.sources.datasets.annotation import HOLE_KINDS, AnnotatedSet, HoleKind
from extraction.sources.datasets.layout import Expected, Layout
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import LAYOUTS, find_dataset
from ray_jobs.command_options import Json
from storage.annotations import About, summed_up, write_annotations
from storage.dataset import NO_SPLIT, Dataset
from storage.plan import Plan

_SHOWN = 5
_NOT_WHOLE: tuple[HoleKind, ...] = ("missing", "length", "found-twice")
"""Holes that a whole copy has none of; the others come with the data set."""


def store_annotations(dataset: Dataset, discovery: Discovery) -> None:
    """Keeps OUT/annotations.parquet up to date with what was found.

    Args:
        dataset: Whose.
        discovery: Of a data set that is known by name.
    """
    if discovery.annotated and discovery.annotated.annotations:
        rows = annotation_rows(discovery.annotated)
        write_annotations(dataset.store, rows, summed_up(about(discovery.annotated), rows))


def about(annotated: AnnotatedSet) -> About:
    """What stands beside the rows; counts are added from them."""
    return About(annotated.name, annotated.why, absent=list(annotated.absent), left_out=annotated.left_out)


def annotation_rows(annotated: AnnotatedSet, ids: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Rows of OUT/annotations.parquet: each annotated clip, then each input without annotation.

    Args:
        annotated: What was read, and found on the disk.
        ids: The data set's own id of a clip to the ``clip_id`` of its rows, where that is another: the clip
            was extracted without ``--dataset``.
    """
    ids = ids or {}
    holes: dict[str, list[tuple[str, str]]] = {}
    for hole in annotated.holes:
        holes.setdefault(hole.clip_id, []).append((hole.kind, hole.detail))
    rows = []
    for annotation in annotated.annotations:
        own = holes.pop(annotation.clip_id, [])
        rows.append(
            {
                "clip_id": ids.get(annotation.clip_id, annotation.clip_id),
                "dataset_id": annotation.clip_id,
                "split": annotation.split,
                "uri": annotated.uris.get(annotation.clip_id),
                **{name: getattr(annotation, name) for name in ANNOTATIONS},
                "num_frames": annotation.num_frames,
                "holes": [kind for kind, _ in own],
                "details": [detail for _, detail in own],
            }
        )
    for clip_id, own in holes.items():
        kinds, details = [kind for kind, _ in own], [detail for _, detail in own]
        uri = details[0] if "unannotated" in kinds else None
        rows.append({"clip_id": clip_id, "uri": uri, "holes": kinds, "details": details})
    return rows


def with_known(annotated: AnnotatedSet | None, found: pa.Table, clips: pa.Table, plan: Plan) -> pa.Table:
    """Clips with the annotations that the plan knows, wherever those who found them say nothing.

    A plain folder speaks of no annotation, annotations of the clips that stand in them; a manifest, or a
    table of one's own, only of the columns that it fills. Of the rest holds what `landmarks annotate` wrote.

    Args:
        annotated: What the annotations say.
        found: All clips that were found, in the schema of plans.
        clips: Some of them, to be given what is known.
        plan: As it stands.
    """
    if not plan.table.num_rows:
        return clips
    speaks_of_all = annotated is not None and not LAYOUTS[annotated.name].takes_all
    place = pc.index_in(clips["clip_id"], plan.table["clip_id"])
    is_known, is_unnamed = pc.is_valid(place), pa.scalar(False)
    if annotated is not None:
        named = pa.array([annotation.clip_id for annotation in annotated.annotations], pa.string())
        is_unnamed = pc.invert(pc.is_in(clips["clip_id"], named))
    for name in ANNOTATIONS:
        is_filled = speaks_of_all or found[name].null_count < found.num_rows
        keeps = pc.and_(is_known, is_unnamed) if is_filled else is_known
        said = pc.if_else(keeps, plan.table[name].take(place), clips[name])
        clips = clips.set_column(clips.schema.get_field_index(name), clips.schema.field(name), said)
    return clips


def told(
    annotated: AnnotatedSet | None, found: pa.Table, plan: Plan, finished: Collection[int]
) -> tuple[str, ...]:
    """Lines about the annotations of what was found, for the beginning of a job.

    Args:
        annotated: What the annotations say.
        found: The clips, in the schema of plans.
        plan: As the job made it; of finished clips it says what their rows say.
        finished: Shards that stand.
    """
    lines = _holes_told(annotated) if annotated else []
    if parts := pc.sum(reduce(pc.or_, [pc.is_valid(found[name]) for name in RANGE])).as_py():
        lines.append(f"{parts:,} clips are ranges of their inputs")
    done = plan.table.filter(pc.is_in(plan.table["shard"], pa.array(finished, pa.int32())))
    if outdated := _outdated(annotated, found, Plan.of(done)):
        lines.append(
            f"the annotations of {len(outdated):,} finished clips have changed since ({_some(outdated)}): "
            "`landmarks annotate OUT ROOT --dataset NAME` brings them up to date without extracting anything"
        )
    return tuple(lines)


def _outdated(annotated: AnnotatedSet | None, found: pa.Table, plan: Plan) -> list[str]:
    """Clips of which the plan, and with it their rows, say something else."""
    found = with_known(annotated, found, found, plan)
    place = pc.index_in(found["clip_id"], plan.table["clip_id"])
    found, place = found.filter(pc.is_valid(place)), place.drop_null()
    outdated: set[str] = set()
    for name in ANNOTATIONS:
        old, new = plan.table[name].take(place), found[name]
        differ = pc.coalesce(pc.not_equal(old, new), pc.xor(pc.is_null(old), pc.is_null(new)))
        outdated.update(found["clip_id"].filter(differ).to_pylist())
    return sorted(outdated)


def _holes_told(annotated: AnnotatedSet) -> list[str]:
    if not annotated.annotations:
        return [annotated.why]
    lines = [
        annotated.why,
        f"{len(annotated.annotations):,} annotated clips, {len(annotated.uris):,} of them on the disk",
    ]
    if annotated.absent:
        lines.append(f"not there: {', '.join(annotated.absent)}")
    for kind, meaning in HOLE_KINDS.items():
        ids = [hole.clip_id for hole in annotated.holes if hole.kind == kind]
        if ids:
            lines.append(f"{kind}: {len(ids):,} ({_some(ids)}): {meaning}")
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


@dataclass(frozen=True, slots=True)
class SplitCensus:
    """One split of a data set, as it is and as it should be.

    Attributes:
        split: Its name.
        annotated: Clips that annotations name.
        on_disk: Of these, clips whose frames are there.
        frames: Frames of these; of videos what their containers claim.
        expected_clips: Clips that it should have; None where nobody has said so.
        expected_frames: Frames likewise.
    """

    split: str
    annotated: int
    on_disk: int
    frames: int
    expected_clips: int | None
    expected_frames: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is as it should be, as far as that is known."""
        right = self.expected_clips in (None, self.annotated)
        return right and self.on_disk == self.annotated and self.expected_frames in (None, self.frames)


def census(found: Discovery, layout: Layout) -> list[SplitCensus]:
    """Counts clips and frames by split.

    Args:
        found: The data set on the disk.
        layout: What it should be.
    """
    assert found.annotated is not None
    annotated: dict[str, int] = {}
    for annotation in found.annotated.annotations:
        if layout.takes_all and annotation.clip_id in found.annotated.uris:
            continue  # counted with all that lies there
        split = annotation.split or NO_SPLIT
        annotated[split] = annotated.get(split, 0) + 1
    clips: dict[str, list[Clip]] = {}
    for clip in found.clips:
        if clip.clip_id in found.annotated.uris or layout.takes_all:
            clips.setdefault(clip.split or NO_SPLIT, []).append(clip)
    names = dict.fromkeys((*layout.expected, *annotated, *clips))
    counts = []
    for name in names:
        expected, members = layout.expected.get(name, Expected()), clips.get(name, [])
        number = annotated.get(name, 0) + (len(members) if layout.takes_all else 0)
        frames = sum(clip.num_frames for clip in members)
        counts.append(SplitCensus(name, number, len(members), frames, expected.clips, expected.frames))
    return counts


def datasets(
    as_json: Json = False,
) -> int:
    """List the data sets that are known by name: how they lie on disk, what they hold, their terms."""
    if as_json:
        print(json.dumps([_described(layout) for layout in LAYOUTS.values()], indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for layout in LAYOUTS.values():
        console.print(f"[bold]{layout.name}[/bold]  {escape(layout.title)}")
        for line in layout.lies:
            console.print(f"  {escape(line)}")
        if layout.expected or layout.counts_from:
            counts = ", ".join(_count(split, of) for split, of in layout.expected.items())
            console.print(f"  clips: {escape(counts or 'unknown by split')} ({escape(layout.counts_from)})")
        for clip_id, reason in layout.known_bad.items():
            console.print(f"  known bad: {escape(clip_id)}: {escape(reason)}")
        console.print(f"  terms: {escape(layout.licence)}{f': {layout.home}' if layout.home else ''}")
    return 0


def _count(split: str, expected: Expected) -> str:
    frames = f" ({expected.frames:,} frames)" if expected.frames else ""
    return f"{split} {expected.clips:,}{frames}"


def _described(layout: Layout) -> dict[str, Any]:
    return {
        "name": layout.name,
        "title": layout.title,
        "layout": layout.lies,
        "expected": {split: asdict(of) for split, of in layout.expected.items()},
        "counts_from": layout.counts_from,
        "known_bad": dict(layout.known_bad),
        "terms": layout.licence,
        "home": layout.home,
    }


def check_dataset(
    name: Annotated[str, typer.Argument(help="As `landmarks datasets` names it, or 'auto'.")],
    root: Annotated[str, typer.Argument(help="The folder that was unpacked.")],
    annotations: Annotated[str | None, typer.Option(help="Where its annotations lie, if elsewhere.")] = None,
    as_json: Json = False,
) -> int:
    """Compare a data set on disk with what it should hold, before an hour is spent; exit code 0 or 1."""
    located = find_dataset(name, root, annotations)
    found = match(located)
    counts = census(found, located.layout)
    assert found.annotated is not None
    bad = [hole for hole in found.annotated.holes if hole.kind in _NOT_WHOLE]
    is_whole = all(split.is_whole for split in counts) and not bad and not found.unreadable
    if as_json:
        value = {
            "dataset": located.layout.name,
            "why": located.why,
            "whole": is_whole,
            "splits": [{**asdict(split), "whole": split.is_whole} for split in counts],
            "holes": [asdict(hole) for hole in found.annotated.holes],
            "absent": located.absent,
            "unreadable": found.unreadable,
        }
        print(json.dumps(value, indent=2))
        return 0 if is_whole else 1
    _print_census(found, located.layout, counts)
    print("whole" if is_whole else "not whole")
    return 0 if is_whole else 1


def _print_census(found: Discovery, layout: Layout, counts: Sequence[SplitCensus]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    assert found.annotated is not None
    for line in _holes_told(found.annotated):
        console.print(escape(line))
    for path, reason in found.unreadable:
        console.print(f"[yellow]warning:[/yellow] {escape(path)}: cannot be listed: {escape(reason)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("split", "annotated", "expected", "on disk", "frames", "expected", ""):
        table.add_column(column, justify="left" if column in ("split", "") else "right")
    for split in counts:
        table.add_row(
            escape(split.split),
            *map(_number, (split.annotated, split.expected_clips, split.on_disk)),
            *map(_number, (split.frames, split.expected_frames)),
            "" if split.is_whole else "differs",
        )
    console.print(table)
    if layout.counts_from:
        console.print(f"expected: {escape(layout.counts_from)}")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
