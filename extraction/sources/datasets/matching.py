"""Annotations and what lies on the disk, brought together: clips, and what is missing on either side."""

import dataclasses
import os
import re

from extraction.clips import ANNOTATIONS, Clip, ClipKind, printable
from extraction.errors import JobError
from extraction.sources.datasets.annotation import (
    AnnotatedSet,
    Annotation,
    Hole,
    Source,
    expect_split,
    expect_text,
)
from extraction.sources.datasets.generic import KINDS
from extraction.sources.datasets.layout import Layout
from extraction.sources.datasets.locating import Located
from extraction.sources.datasets.tails import Tails
from extraction.sources.discovery import Discovery, OnProgress, in_order
from extraction.sources.inputs import part_of
from extraction.sources.manifest import expect_clip_id
from extraction.sources.tree import discover_tree


def annotations_of(located: Located) -> tuple[tuple[Annotation, ...], tuple[Hole, ...]]:
    """Reads the annotations of a data set; looks at no frame.

    Args:
        located: Where it was found.

    Returns:
        Every annotated clip once, and what is wrong with the annotations.

    Raises:
        JobError: If a file cannot be read or understood, naming the line.
    """
    first: dict[str, Annotation] = {}
    holes: list[Hole] = []
    for annotation in located.layout.read(located.files) if located.files else ():
        expect_clip_id(annotation.clip_id, annotation.where)
        expect_split(annotation.split, annotation.where)
        expect_text(annotation)
        known = first.setdefault(annotation.clip_id, annotation)
        if known is annotation:
            holes += annotation.holes
            if reason := located.layout.known_bad.get(annotation.clip_id):
                holes.append(Hole("known-bad", annotation.clip_id, reason))
        else:
            same = dataclasses.replace(annotation, where=known.where) == known
            how = "in the same words" if same else "in other words"
            holes.append(
                Hole("annotated-twice", annotation.clip_id, f"{how}: {known.where}; {annotation.where}")
            )
    return tuple(first.values()), tuple(holes)


def match(
    located: Located, takes_unannotated: bool = False, on_progress: OnProgress | None = None
) -> Discovery:
    """Looks for the frames of every annotation, and for an annotation of everything on the disk.

    Args:
        located: Where the data set was found.
        takes_unannotated: Whether inputs without an annotation are clips too.
        on_progress: Called with the counts so far.

    Returns:
        The clips to extract, with their annotations, and what is missing on either side.

    Raises:
        JobError: If there is no folder of clips, or annotations cannot be read.
    """
    layout = located.layout
    if located.media is None:
        raise JobError(
            f"--dataset {layout.name}: found {located.why}, but no folder of clips: expected {layout.lying}"
        )
    annotations, holes = annotations_of(located)
    tree = discover_tree(located.media, on_progress=on_progress)
    inputs = [clip for clip in tree.clips if is_input(layout, clip.clip_id, clip.kind)]
    tails = Tails((clip.clip_id, clip) for clip in inputs)
    clips: list[Clip] = []
    uris: dict[str, str] = {}
    found_holes = list(holes)
    for annotation in annotations:
        clip = _clip_of(annotation, tails, layout, found_holes)
        if clip is not None:
            clips.append(clip)
            uris[clip.clip_id] = clip.uri
    known = {clip.uri for a in annotations for source in a.sources for clip in tails.find(source.tail)}
    if layout.takes_all:  # another clip of the same name is a clip of its own
        known = set(uris.values())
    rest = [clip for clip in inputs if clip.uri not in known]
    if annotations:
        found_holes += [Hole("unannotated", clip.clip_id, clip.uri) for clip in rest]
    taken = rest if takes_unannotated or layout.takes_all else []
    if not clips and not taken:
        raise JobError(_no_match(located, annotations, inputs, len(tree.clips)))
    clips += [dataclasses.replace(clip, fps=clip.fps or _fps(layout, clip)) for clip in taken]
    said = AnnotatedSet(
        name=layout.name,
        why=located.why,
        annotations=annotations,
        uris=uris,
        holes=tuple(found_holes),
        absent=located.absent,
        left_out=len(rest) - len(taken),
    )
    return dataclasses.replace(tree, clips=in_order(clips), annotated=said)


def _clip_of(annotation: Annotation, tails: Tails[Clip], layout: Layout, holes: list[Hole]) -> Clip | None:
    """The clip that an annotation speaks of; None where it is not on the disk."""
    for source in annotation.sources:
        found = tails.find(source.tail)
        if not found:
            continue
        if len(found) > 1:
            shown = "; ".join(clip.uri for clip in found[:3])
            holes.append(Hole("found-twice", annotation.clip_id, shown))
            if layout.takes_all:  # these are no copies of each other, but clips of one name
                found = [clip for clip in found if clip.clip_id == source.tail]
        if not found:
            return None
        clip = annotated(annotation, source, found[0], layout)
        holes += other_length(annotation, clip)
        return clip
    wanted = " or ".join(source.tail for source in annotation.sources)
    holes.append(Hole("missing", annotation.clip_id, f"{annotation.where}: {wanted} not found"))
    return None


def annotated(annotation: Annotation, source: Source, found: Clip, layout: Layout) -> Clip:
    """The clip of an annotation.

    Args:
        annotation: What is said of it.
        source: Which of the annotation's sources was found.
        found: The clip of the whole input.
        layout: Of which data set.
    """
    spoken = {name: getattr(annotation, name) for name in ("clip_id", "split", *ANNOTATIONS)}
    if layout.takes_all and annotation.split is None:
        spoken["split"] = found.split  # the table need not say what the tree does
    clip = dataclasses.replace(found, **spoken, fps=_fps(layout, found))
    if source.may_be_cut and not _can_be_whole(source, found):
        return clip
    part = dataclasses.replace(
        clip,
        start_frame=source.start_frame,
        end_frame=source.end_frame,
        start_ms=source.start_ms,
        end_ms=source.end_ms,
    )
    return part_of(part, found)


def _can_be_whole(source: Source, found: Clip) -> bool:
    """Whether a file is long enough to hold the range where it is said to lie, and was not cut to it."""
    needed = source.end_frame or (source.start_frame or 0) + 1
    return found.num_frames >= needed


def _fps(layout: Layout, clip: Clip) -> float | None:
    return layout.fps if clip.kind == "frames" else None


def other_length(annotation: Annotation, clip: Clip) -> tuple[Hole, ...]:
    """A hole where a clip has not as many frames as its annotation says.

    Args:
        annotation: What is said of the clip.
        clip: As it was found.
    """
    if annotation.num_frames is not None:
        wanted, is_right = annotation.num_frames, clip.num_frames == annotation.num_frames
    elif clip.end_frame is not None:
        wanted = clip.end_frame - (clip.start_frame or 0)
        is_right = clip.num_frames >= wanted
    else:
        return ()
    detail = f"annotated {wanted} frames, found {clip.num_frames}"
    return () if is_right else (Hole("length", annotation.clip_id, detail),)


def is_input(layout: Layout, clip_id: str, kind: ClipKind) -> bool:
    """Whether an input of a tree can be a clip of a data set.

    Args:
        layout: Of which data set.
        clip_id: Of the input, in its tree.
        kind: Of the input.
    """
    if kind != KINDS.get(layout.name, kind):
        return False
    return not layout.ignores or not re.fullmatch(layout.ignores, os.path.basename(clip_id))


def _no_match(located: Located, annotations: tuple[Annotation, ...], inputs: list[Clip], others: int) -> str:
    name, where = located.layout.name, printable(located.media or "")
    if not annotations:
        other = "videos" if name == "frames" else "frames"
        return (
            f"--dataset {name}: expected {located.layout.lies[0]} below {where!r}, found none, but "
            f"{others:,} clips of {other}: use --dataset {other}, or check ROOT"
        )
    there = f"such as {inputs[0].clip_id!r}" if inputs else "none"
    return (
        f"--dataset {name}: none of {len(annotations):,} annotated clips, such as "
        f"{annotations[0].sources[0].tail!r}, lies below {where!r}; found {len(inputs):,} folders of frames "
        f"and videos there, {there}: check ROOT"
    )
