"""``landmarks annotate``: new annotations for a data set that stands; nothing is extracted again."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.clips import ANNOTATIONS, Clip
from extraction.errors import JobError
from extraction.sources.datasets.annotation import HOLES_ON_DISK, AnnotatedSet, Annotation, Hole
from extraction.sources.datasets.locating import Located
from extraction.sources.datasets.matching import annotations_of, match
from extraction.sources.datasets.registry import find_dataset
from ray_jobs.datasets import about, annotation_rows
from storage.annotations import Said, read_about, read_annotations, summed_up, write_annotations
from storage.annotations import annotate as annotate_rows
from storage.dataset import Dataset
from storage.running import JobMark

_SHOWN = 5


def annotate(
    out: Annotated[str, typer.Argument(help="The data set: a folder, or a URI.")],
    root: Annotated[
        str | None,
        typer.Argument(help="The folder that was unpacked; its frames need not be there any more."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="As `landmarks datasets` names it, or 'auto'.")] = "auto",
    annotations: Annotated[
        str | None, typer.Option(help="Where its annotations lie, if not in ROOT.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> int:
    """Bring the annotation columns of a data set up to date; landmarks stay as they are, bit for bit."""
    if root is None and annotations is None:
        raise JobError("expected ROOT, the folder that was unpacked, or --annotations DIR")
    target = Dataset.open(out)
    JobMark(target.store).expect_free()
    located = find_dataset(dataset, root, annotations)
    said, holes = annotations_of(located)
    if not said:
        raise JobError(f"--dataset {located.layout.name}: found no annotation: give --annotations FILE")
    planned = target.plan().clips
    matched = matching(planned, said, located)
    if not matched:
        raise JobError(
            f"{target.store.location}: none of its {len(planned):,} clips, such as {_first_id(planned)!r}, "
            f"is one of {len(said):,} annotated ones, such as {said[0].clip_id!r}: is it this data set?"
        )
    mark = JobMark(target.store)
    mark.take()
    try:
        target.store.sweep()  # what a killed job or annotate left

        def still_ours() -> None:
            mark.check()
            mark.renew()

        changes = annotate_rows(target, _said_of(matched, planned, located), before_commit=still_ours)
        kept = _with_what_lay_there(target, located, said, holes)
        uris = {matched[c.clip_id].clip_id: c.uri for c in planned if c.clip_id in matched}
        kept = replace(kept, uris={**kept.uris, **uris})
        rows = annotation_rows(kept)
        still_ours()
        write_annotations(target.store, rows, summed_up(about(kept), rows))
    finally:
        mark.release()
    splits = {c.clip_id: matched[c.clip_id].split for c in planned if c.clip_id in matched}
    if located.layout.takes_all:  # its table need not speak of splits
        splits = {clip_id: split for clip_id, split in splits.items() if split is not None}
    moved = [c.clip_id for c in planned if splits.get(c.clip_id, c.split) != c.split]
    told = {
        "dataset": located.layout.name,
        "matched": len(matched),
        "without_annotation": len(planned) - len(matched),
        "clips": changes.clips,
        "shards": changes.shards,
        "other_split": moved,
        "holes": dict(Counter(hole.kind for hole in holes)),
    }
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _tell(Console(soft_wrap=True, highlight=False), target, located, told, moved)
    return 0


def matching(clips: Sequence[Clip], said: Sequence[Annotation], located: Located) -> Mapping[str, Annotation]:
    """Finds the annotation of each clip of a data set.

    A clip whose id is not annotated may have been extracted without ``--dataset``: it is known by where its
    input lies.

    Args:
        clips: Of the data set.
        said: The annotations.
        located: Where they are from.

    Returns:
        Clip id, in the data set, to annotation.
    """
    by_id = {annotation.clip_id: annotation for annotation in said}
    matched = {clip.clip_id: by_id[clip.clip_id] for clip in clips if clip.clip_id in by_id}
    rest = [clip for clip in clips if clip.clip_id not in matched]
    if not rest or located.media is None or located.layout.takes_all:
        return matched
    try:
        found = match(located)
    except JobError:  # the frames are no longer there
        return matched
    by_input = {(c.uri, c.span): by_id[c.clip_id] for c in found.clips if c.clip_id in by_id}
    for clip in rest:
        if annotation := by_input.get((clip.uri, clip.span)):
            matched[clip.clip_id] = annotation
    return matched


def _said_of(matched: Mapping[str, Annotation], planned: Sequence[Clip], located: Located) -> dict[str, Said]:
    """What is to stand; a column of which a table of the user's own says nothing stays as it is."""
    names = set(ANNOTATIONS)
    if located.layout.takes_all:
        names = {name for name in ANNOTATIONS if any(getattr(a, name) is not None for a in matched.values())}
    return {
        clip.clip_id: {
            name: getattr(matched[clip.clip_id] if name in names else clip, name) for name in ANNOTATIONS
        }
        for clip in planned
        if clip.clip_id in matched
    }


def _with_what_lay_there(
    target: Dataset, located: Located, said: tuple[Annotation, ...], holes: tuple[Hole, ...]
) -> AnnotatedSet:
    """The annotations, with what was found of their frames when somebody looked for them last."""
    kept = AnnotatedSet(located.layout.name, located.why, said, {}, holes, located.absent, 0)
    try:
        about, known = read_about(target.store), read_annotations(target.store).to_pylist()
    except JobError:  # damaged, and about to be written anew
        return kept
    if about is None or about.name != located.layout.name:
        return kept
    named = {annotation.clip_id for annotation in said}
    of_disk = [
        Hole(kind, row["clip_id"], detail)
        for row in known
        for kind, detail in zip(row["holes"], row["details"], strict=True)
        if kind in HOLES_ON_DISK and (row["clip_id"] in named) != (kind == "unannotated")
    ]
    uris = {row["clip_id"]: row["uri"] for row in known if row["uri"] is not None and row["clip_id"] in named}
    return replace(kept, uris=uris, holes=tuple(dict.fromkeys((*holes, *of_disk))), left_out=about.left_out)


def _first_id(clips: Sequence[Clip]) -> str:
    return clips[0].clip_id if clips else ""


def _tell(
    console: Console, target: Dataset, located: Located, told: Mapping[str, object], moved: Sequence[str]
) -> None:
    console.print(escape(located.why))
    console.print(
        f"{told['matched']:,} clips of {escape(target.store.location)} are annotated, "
        f"{told['without_annotation']:,} are not; {told['clips']:,} finished clips changed, in "
        f"{told['shards']:,} shards"
    )
    if moved:
        more = ", ..." if len(moved) > _SHOWN else ""
        console.print(
            f"{len(moved):,} clips are now in another split ({escape(', '.join(moved[:_SHOWN]))}{more}): "
            "they stay where they are; extract into a new folder to move them"
        )
