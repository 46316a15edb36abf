"""Annotations and what lies on the disk, brought together: clips, and what is missing on either side."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator

from extraction.clips import ANNOTATIONS, Clip
from extraction.errors import JobError
from extraction.sources.datasets.annotation import AnnotatedSet, Annotation, Hole, HoleKind, Source
from extraction.sources.datasets.generic import KINDS
from extraction.sources.datasets.layout import Layout
from extraction.sources.datasets.locating import Located
from extraction.sources.discovery import Discovery, OnProgress, in_order
from extraction.sources.inputs import part_of
from extraction.sources.manifest import expect_clip_id
from extraction.sources.tree import discover_tree

_SPLIT = re.compile(r"[A-Za-z0-9_.-]+")


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
        if annotation.split is not None and not _SPLIT.fullmatch(annotation.split):
            raise JobError(
                f"{annotation.where}: split may hold A-Z a-z 0-9 _ . - only, found {annotation.split!r}"
            )
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
            f"--dataset {layout.name}: found {located.why}, but no folder of clips: expected "
            f"{'; '.join(layout.lies)}"
        )
    annotations, holes = annotations_of(located)
    tree = discover_tree(located.media, on_progress=on_progress)
    inputs = [clip for clip in tree.clips if _is_input(layout, clip)]
    index = _Index(inputs)
    clips: list[Clip] = []
    uris: dict[str, str] = {}
    found_holes = list(holes)
    for annotation in annotations:
        clip = _clip_of(annotation, index, layout, found_holes)
        if clip is not None:
            clips.append(clip)
            uris[clip.clip_id] = clip.uri
    known = index.used | index.named(source.tail for a in annotations for source in a.sources)
    rest = [clip for clip in inputs if clip.uri not in known]
    if annotations:
        found_holes += [Hole("unannotated", clip.clip_id, clip.uri) for clip in rest]
    taken = rest if takes_unannotated or layout.takes_all else []
    if not clips and not taken:
        raise JobError(_no_match(located, annotations, inputs))
    clips += [dataclasses.replace(clip, fps=clip.fps or _fps(layout, clip)) for clip in taken]
    annotated = AnnotatedSet(
        name=layout.name,
        why=located.why,
        annotations=annotations,
        uris=uris,
        holes=tuple(found_holes),
        absent=located.absent,
        left_out=len(rest) - len(taken),
    )
    return dataclasses.replace(tree, clips=in_order(clips), annotated=annotated)


class _Index:
    """Inputs by the ends of their paths."""

    def __init__(self, inputs: Iterable[Clip]) -> None:
        self._inputs = tuple(inputs)
        self._by_tail: dict[int, dict[str, list[Clip]]] = {}
        self.used: set[str] = set()

    def find(self, tail: str) -> list[Clip]:
        """The inputs whose path ends so, in natural order."""
        depth = tail.count("/") + 1
        if depth not in self._by_tail:
            by_tail: dict[str, list[Clip]] = {}
            for clip in self._inputs:
                by_tail.setdefault("/".join(clip.clip_id.split("/")[-depth:]), []).append(clip)
            self._by_tail[depth] = by_tail
        return self._by_tail[depth].get(tail, [])

    def named(self, tails: Iterable[str]) -> set[str]:
        """Where the inputs lie that any annotation speaks of."""
        return {clip.uri for tail in tails for clip in self.find(tail)}


def _clip_of(annotation: Annotation, index: _Index, layout: Layout, holes: list[Hole]) -> Clip | None:
    """The clip that an annotation speaks of; None where it is not on the disk."""
    for source in annotation.sources:
        found = index.find(source.tail)
        if not found:
            continue
        if len(found) > 1:
            shown = "; ".join(clip.uri for clip in found[:3])
            holes.append(Hole("found-twice", annotation.clip_id, shown))
        index.used.add(found[0].uri)
        clip = _annotated(annotation, source, found[0], layout)
        holes += _other_length(annotation, clip)
        return clip
    tails = " or ".join(source.tail for source in annotation.sources)
    holes.append(Hole("missing", annotation.clip_id, f"{annotation.where}: {tails} not found"))
    return None


def _annotated(annotation: Annotation, source: Source, found: Clip, layout: Layout) -> Clip:
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


def _other_length(annotation: Annotation, clip: Clip) -> Iterator[Hole]:
    if annotation.num_frames is not None and clip.num_frames != annotation.num_frames:
        yield _hole("length", clip, f"annotated {annotation.num_frames} frames, found {clip.num_frames}")
    elif clip.end_frame is not None and clip.num_frames < clip.end_frame - (clip.start_frame or 0):
        wanted = clip.end_frame - (clip.start_frame or 0)
        yield _hole("length", clip, f"annotated {wanted} frames, the input ends after {clip.num_frames}")


def _hole(kind: HoleKind, clip: Clip, detail: str) -> Hole:
    return Hole(kind, clip.clip_id, detail)


def _is_input(layout: Layout, clip: Clip) -> bool:
    if clip.kind != KINDS.get(layout.name, clip.kind):
        return False
    return not layout.ignores or not re.fullmatch(layout.ignores, os.path.basename(clip.clip_id))


def _no_match(located: Located, annotations: tuple[Annotation, ...], inputs: list[Clip]) -> str:
    wanted = f"{annotations[0].sources[0].tail!r}" if annotations else f"a clip of kind {located.layout.name}"
    there = f"such as {inputs[0].clip_id!r}" if inputs else "none"
    return (
        f"--dataset {located.layout.name}: none of {len(annotations):,} annotated clips, such as {wanted}, "
        f"lies below {located.media!r}; found {len(inputs):,} folders of frames and videos there, {there}: "
        "check ROOT"
    )
