"""``landmarks annotate``: new annotations for a data set that stands; nothing is extracted again."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from extraction.clips import ANNOTATIONS, Clip
from extraction.errors import JobError
from extraction.sources import Discovery
from extraction.sources.datasets.annotation import HOLES_ON_DISK, AnnotatedSet, Annotation, Hole
from extraction.sources.datasets.layout import Layout
from extraction.sources.datasets.locating import Located
from extraction.sources.datasets.matching import annotated, annotations_of, is_input, match, other_length
from extraction.sources.datasets.registry import find_dataset
from extraction.sources.datasets.tails import Tails
from extraction.sources.frame_folder import natural_order
from ray_jobs.command_options import Json
from ray_jobs.datasets import about, annotation_rows
from storage.annotations import Said, read_about, read_annotations, summed_up, write_annotations
from storage.annotations import annotate as annotate_rows
from storage.dataset import Dataset
from storage.running import JobMark

_SHOWN = 5
_COPIES_SHOWN = 3


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
    as_json: Json = False,
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
    matched, copies = matching(planned, said, located.layout)
    if not matched:
        raise JobError(_none_matched(target, planned, said, copies))
    looked = _look(target, planned, said, located)
    mark = JobMark(target.store)
    mark.take()
    try:
        target.store.sweep()  # what a killed job or annotate left

        def still_ours() -> None:
            mark.check()
            mark.renew()

        changes = annotate_rows(target, _said_of(matched, planned, located), before_commit=still_ours)
        kept = looked.annotated if looked else _with_what_lay_there(target, located, said, holes)
        assert kept is not None
        rows = _rows(_with_copies(kept, copies), planned, matched)
        still_ours()
        write_annotations(target.store, rows, summed_up(about(kept), rows))
    finally:
        mark.release()
    splits = {c.clip_id: matched[c.clip_id].split for c in planned if c.clip_id in matched}
    if located.layout.takes_all:  # its table need not speak of splits
        splits = {clip_id: split for clip_id, split in splits.items() if split is not None}
    moved = [c.clip_id for c in planned if splits.get(c.clip_id, c.split) != c.split]
    cut = [c.clip_id for c in planned if c.clip_id in matched and _is_another_range(c, matched[c.clip_id])]
    told = {
        "dataset": located.layout.name,
        "matched": len(matched),
        "without_annotation": len(planned) - len(matched),
        "clips": changes.clips,
        "shards": changes.shards,
        "other_split": moved,
        "other_range": cut,
        "found_twice": [hole.clip_id for hole in copies],
        "holes": dict(Counter(hole.kind for hole in (*holes, *copies))),
    }
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _tell(Console(soft_wrap=True, highlight=False), target, located, told)
    return 0


def _look(
    target: Dataset, planned: Sequence[Clip], said: Sequence[Annotation], located: Located
) -> Discovery | None:
    """Looks at the frames where they say more than the ids and the last look; None where they do not."""
    if located.media is None or located.layout.takes_all:
        return None
    named = {annotation.clip_id for annotation in said}
    with suppress(JobError):  # a damaged table is about to be written anew
        before = read_about(target.store)
        if before and before.name == located.layout.name and all(clip.clip_id in named for clip in planned):
            return None
    try:
        return match(located)
    except JobError:  # the frames are no longer there
        return None


def matching(
    clips: Sequence[Clip], said: Sequence[Annotation], layout: Layout
) -> tuple[Mapping[str, Annotation], tuple[Hole, ...]]:
    """Finds the annotation of each clip of a data set of landmarks; looks at no frame.

    A clip whose id is not annotated may have been extracted without ``--dataset``: it is known by the end of
    its id, or of its uri, as frames on the disk are: of several the nearest to the top, then the first in
    natural order. Of a table of one's own, whose ids may be short, an end has to be that of one clip alone. A
    clip that is not the annotated range of its video is not the annotated clip.

    Args:
        clips: Of the data set.
        said: The annotations.
        layout: Of which they are.

    Returns:
        Clip id, in the data set, to annotation, each annotation once; and a hole for each that has several.
    """
    by_id = {annotation.clip_id: annotation for annotation in said}
    own = {clip.clip_id: clip for clip in clips if clip.clip_id in by_id}
    matched = {clip_id: by_id[clip_id] for clip_id in own}
    others = {
        clip.clip_id: clip
        for clip in clips
        if clip.clip_id not in own and is_input(layout, clip.clip_id, clip.kind)
    }
    rest, holes = [others[clip_id] for clip_id in natural_order(others)], []
    ends = (Tails((clip.clip_id, clip) for clip in rest), Tails((_stem(clip), clip) for clip in rest))
    for annotation in said if rest else ():
        if annotation.clip_id in own and layout.takes_all:
            continue  # named in full
        fits = _fitting(annotation, ends, layout)
        if annotation.clip_id in own:
            fits = [own[annotation.clip_id], *fits]
        if len(fits) > 1:
            shown = "; ".join(clip.uri for clip in fits[:_COPIES_SHOWN])
            holes.append(Hole("found-twice", annotation.clip_id, shown))
        if len(fits) == 1 or (fits and not layout.takes_all):
            matched.setdefault(fits[0].clip_id, annotation)
    return matched, tuple(holes)


def _fitting(annotation: Annotation, ends: Sequence[Tails[Clip]], layout: Layout) -> list[Clip]:
    for source in annotation.sources:
        for tails in ends:
            fits = [
                clip
                for clip in tails.find(source.tail)
                if clip.span
                == (source.span if clip.is_part else annotated(annotation, source, clip, layout).span)
            ]
            if fits:
                return fits
    return []


def _stem(clip: Clip) -> str:
    """Where a clip lies, as annotations name it: a video without its extension."""
    stem = os.path.splitext(clip.uri)[0] if clip.kind == "video" else clip.uri.removesuffix("/1")
    return stem.lstrip("/")


def _rows(
    kept: AnnotatedSet, planned: Sequence[Clip], matched: Mapping[str, Annotation]
) -> list[dict[str, Any]]:
    """Rows of the table of annotations, under the ids of the data set's clips wherever they have rows."""
    clip_ids = {annotation.clip_id: clip_id for clip_id, annotation in matched.items()}
    by_uri = {clip.uri: clip.clip_id for clip in planned if clip.clip_id not in matched}
    uris = {matched[c.clip_id].clip_id: c.uri for c in planned if c.clip_id in matched}
    holes = []
    for hole in kept.holes:
        if hole.kind == "unannotated":
            holes.append(replace(hole, clip_id=by_uri.get(hole.detail, hole.clip_id)))
        elif hole.kind not in ("missing", "length") or hole.clip_id not in uris:
            holes.append(hole)
    for clip in planned:  # what was extracted is not missing, and as long as it is
        holes += other_length(matched[clip.clip_id], clip) if clip.clip_id in matched else ()
    return annotation_rows(replace(kept, uris={**kept.uris, **uris}, holes=tuple(holes)), clip_ids)


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
    named = {annotation.clip_id: annotation for annotation in said}
    by_tail = {source.tail: annotation for annotation in reversed(said) for source in annotation.sources}
    of_disk: list[Hole] = []
    uris: dict[str, str] = {}
    for row in known:
        annotation = named.get(row["dataset_id"])
        old = dict(zip(row["holes"], row["details"], strict=True))
        if "unannotated" in old and (annotation := _by_end(row["clip_id"], by_tail)) is None:
            of_disk.append(Hole("unannotated", row["clip_id"], old["unannotated"]))
        if annotation is None:
            continue
        if row["uri"]:
            uris[annotation.clip_id] = row["uri"]
        if row["num_frames"] != annotation.num_frames:
            old.pop("length", None)  # of what the annotation was then
        of_disk += [
            Hole(k, annotation.clip_id, old[k]) for k in HOLES_ON_DISK if k in old and k != "unannotated"
        ]
    return replace(kept, uris=uris, holes=tuple(dict.fromkeys((*holes, *of_disk))), left_out=about.left_out)


def _by_end(clip_id: str, by_tail: Mapping[str, Annotation]) -> Annotation | None:
    """The annotation that speaks of an input, by the end of its path."""
    parts = clip_id.split("/")
    tails = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((by_tail[tail] for tail in tails if tail in by_tail), None)


def _with_copies(kept: AnnotatedSet, copies: Sequence[Hole]) -> AnnotatedSet:
    """With holes of clips that stand in the data set twice, unless the look at their frames told that."""
    known = {hole.clip_id for hole in kept.holes if hole.kind == "found-twice"}
    return replace(kept, holes=(*kept.holes, *(hole for hole in copies if hole.clip_id not in known)))


def _none_matched(
    target: Dataset, planned: Sequence[Clip], said: Sequence[Annotation], copies: Sequence[Hole]
) -> str:
    first = planned[0].clip_id if planned else ""
    text = (
        f"{target.store.location}: none of its {len(planned):,} clips, such as {first!r}, is one of "
        f"{len(said):,} annotated ones, such as {said[0].clip_id!r}: is it this data set?"
    )
    if copies:
        text += (
            f" {len(copies):,} could each be one of several, such as {copies[0].clip_id!r} ("
            f"{copies[0].detail}): write the clips' whole ids"
        )
    if any(source.is_part for annotation in said for source in annotation.sources):
        text += (
            " A whole video is not an annotated part of it: extract with --dataset NAME into a new folder to "
            "have these"
        )
    return text


def _is_another_range(clip: Clip, annotation: Annotation) -> bool:
    return clip.is_part and clip.span not in {source.span for source in annotation.sources}


def _tell(console: Console, target: Dataset, located: Located, told: Mapping[str, Any]) -> None:
    console.print(escape(located.why))
    console.print(
        f"{told['matched']:,} clips of {escape(target.store.location)} are annotated, "
        f"{told['without_annotation']:,} are not; {told['clips']:,} finished clips changed, in "
        f"{told['shards']:,} shards"
    )
    if copies := told["found_twice"]:
        nearest = "the nearest to the top is annotated, of two the first by name"
        how = "none of them is annotated: write the whole id" if located.layout.takes_all else nearest
        console.print(f"{len(copies):,} annotations fit several clips ({escape(_some(copies))}): {how}")
    for what, ids in (("in another split", told["other_split"]), ("another range", told["other_range"])):
        if ids:
            console.print(
                f"{len(ids):,} clips are now {what} ({escape(_some(ids))}): they stay as they were; "
                "extract into a new folder to change that"
            )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
