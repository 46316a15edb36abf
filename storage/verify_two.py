"""Whether two sources of landmarks, in whatever formats, hold the same: what both have, point by point."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, Floats
from storage.imports.source import VISIBILITY, Source, SourceClip

TOLERANCE = 1e-6
"""Largest difference that counts as none, in fractions of the frame (metres for parts in the world). Float32
resolves 6e-8 near 1; pixels and back cost as much again."""
_KEPT = 1000
"""Names that are told one by one; beyond them only counted."""


@dataclass(slots=True)
class PartDifference:
    """How far apart two sources are in one part.

    Attributes:
        points: Number of points a frame that both sources know.
        values: Numbers that were compared.
        max: Largest difference; 0 where nothing was compared.
        max_clip: Clip and frame it is in; "" where there is none.
        beyond: Numbers that differ by more than the tolerance, or are NaN on one side.
        only_in_a: Frames in which only A has the part.
        only_in_b: Frames in which only B has it.
        total: Sum of all differences.
    """

    points: int
    values: int = 0
    max: float = 0.0
    max_clip: str = ""
    beyond: int = 0
    only_in_a: int = 0
    only_in_b: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """Mean difference over what was compared."""
        return self.total / self.values if self.values else 0.0


@dataclass(slots=True)
class Comparison:
    """What two sources have in common, and what not.

    Attributes:
        a: What A is, in words.
        b: What B is.
        tolerance: As asked for.
        splits: That were compared; all where empty.
        clips: Clips in both.
        frames: Frames that were compared.
        only_in_a: Clips that only A has: the first of them.
        only_in_b: Likewise.
        frame_counts: Clip, and its number of frames in A and B, where they differ: the first of them.
        parts: Part name to how far apart they are.
        not_compared: What only one of them knows, a sentence each.
        counts: Of differences, by kind.
        differing: Clips whose points or masks differ: the first of them.
    """

    a: str
    b: str
    tolerance: float
    splits: tuple[str, ...]
    clips: int = 0
    frames: int = 0
    only_in_a: list[str] = field(default_factory=list)
    only_in_b: list[str] = field(default_factory=list)
    frame_counts: list[tuple[str, int, int]] = field(default_factory=list)
    parts: dict[str, PartDifference] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.counts


def compare(
    a: Source,
    b: Source,
    tolerance: float = TOLERANCE,
    splits: Sequence[str] = (),
    on_start: Callable[[int], None] = lambda _: None,
    on_clip: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compares two sources; memory holds a clip of each, and all of a format that is read at once.

    Args:
        a: One.
        b: The other.
        tolerance: Largest difference that counts as none.
        splits: Only these; all where empty.
        on_start: Called with the number of clips in both.
        on_clip: Called after each.

    Raises:
        JobError: If they could not be compared: nothing in common, a split that is not there, a damaged file.
    """
    if not tolerance >= 0:
        raise JobError(f"--tolerance: expected 0 or more, found {tolerance}")
    result = Comparison(_said(a), _said(b), tolerance, tuple(splits))
    rows = _common_points(a, b, result)
    clips_a, clips_b = _named(a, b, splits)
    for name in clips_a.keys() - clips_b.keys():
        result.counts["only in A"] += 1
        result.only_in_a.append(name)
    for name in clips_b.keys() - clips_a.keys():
        result.counts["only in B"] += 1
        result.only_in_b.append(name)
    result.only_in_a = sorted(result.only_in_a)[:_KEPT]
    result.only_in_b = sorted(result.only_in_b)[:_KEPT]
    common = [name for name in clips_a if name in clips_b]
    if not common:
        raise JobError(
            f"nothing could be compared: no clip is in both. A ({a.about.location}) has "
            f"{_some(clips_a)}; B ({b.about.location}) has {_some(clips_b)}"
        )
    on_start(len(common))
    for name in common:
        _compare_clip(name, a, clips_a[name], b, clips_b[name], rows, result)
        on_clip()
    if result.is_equal and not any(part.values for part in result.parts.values()):
        raise JobError(
            f"nothing could be compared: in the {result.clips:,} clips that are in both, {result.frames:,} "
            f"frames, neither has found any of {', '.join(result.parts)}"
        )
    return result


def _common_points(a: Source, b: Source, result: Comparison) -> dict[str, NDArray[np.int64]]:
    """Part name to the rows of it that both know."""
    rows = {}
    for part in dict.fromkeys((*a.about.points, *b.about.points)):
        in_a, in_b = set(a.about.points.get(part, ())), set(b.about.points.get(part, ()))
        if both := sorted(in_a & in_b):
            rows[part] = np.array(both)
            result.parts[part] = PartDifference(len(both))
        for who, extra in (("A", in_a - in_b), ("B", in_b - in_a)):
            if extra:
                result.not_compared.append(f"only {who} knows {len(extra)} of the points of {part}")
    if not rows:
        raise JobError(
            "nothing could be compared: "
            f"A ({a.about.location}) has {', '.join(a.about.points) or 'no part'}, "
            f"B ({b.about.location}) has {', '.join(b.about.points) or 'no part'}: no point is in both"
        )
    return rows


def _named(
    a: Source, b: Source, splits: Sequence[str]
) -> tuple[dict[str, SourceClip], dict[str, SourceClip]]:
    """The clips of both under names that mean the same in both: ``split/name`` where both know splits."""
    clips_a, clips_b = a.clips(), b.clips()
    knows = [any(clip.split for clip in clips) for clips in (clips_a, clips_b)]
    for source, clips, known in ((a, clips_a, knows[0]), (b, clips_b, knows[1])):
        there = {clip.split_name for clip in clips}
        if missing := sorted(set(splits) - there):
            has = ", ".join(sorted(there)) if known else "no splits at all"
            raise JobError(
                f"nothing could be compared: {source.about.location} has no split {', '.join(missing)}, it "
                f"has {has or 'no clip'}"
            )
    with_split = knows[0] == knows[1]
    return (
        _by_name(a, (c for c in clips_a if not splits or c.split_name in splits), with_split),
        _by_name(b, (c for c in clips_b if not splits or c.split_name in splits), with_split),
    )


def _by_name(source: Source, clips: Iterable[SourceClip], with_split: bool) -> dict[str, SourceClip]:
    found: dict[str, SourceClip] = {}
    for clip in clips:
        name = f"{clip.split}/{clip.base_name}" if with_split and clip.split else clip.base_name
        if name in found:
            raise JobError(f"nothing could be compared: {source.about.location} has two clips named {name!r}")
        found[name] = clip
    return found


def _compare_clip(
    name: str,
    a: Source,
    clip_a: SourceClip,
    b: Source,
    clip_b: SourceClip,
    rows: Mapping[str, NDArray[np.int64]],
    result: Comparison,
) -> None:
    marks_a, marks_b = a.read(clip_a).landmarks, b.read(clip_b).landmarks
    result.clips += 1
    if len(marks_a) != len(marks_b):
        result.counts["frame counts"] += 1
        if len(result.frame_counts) < _KEPT:
            result.frame_counts.append((name, len(marks_a), len(marks_b)))
        return
    result.frames += len(marks_a)
    is_same = True
    for part, of_part in rows.items():
        points_a, points_b = (_points(marks, part, name)[:, of_part] for marks in (marks_a, marks_b))
        is_same &= _compare_part(name, points_a, points_b, result, part)
    knows_status = a.about.has_status and b.about.has_status
    if knows_status and (marks_a.frame_status != marks_b.frame_status).any():
        result.counts["frame status"] += 1
        is_same = False
    if not is_same and len(result.differing) < _KEPT:
        result.differing.append(name)


def _points(marks: ClipLandmarks, part: str, name: str) -> Floats:
    """float32 (T, N, D) of a part, or of the visibility of the pose's points."""
    if part == VISIBILITY:
        return marks.pose_visibility[:, :, np.newaxis]
    # The shards of one data set need not be of one engine.
    if part not in marks.parts:
        raise JobError(f"{name!r}: expected {part} as in other clips, found none: verify that data set alone")
    return marks.parts[part]


def _compare_part(name: str, a: NDArray[Any], b: NDArray[Any], result: Comparison, part: str) -> bool:
    found = result.parts[part]
    has_a, has_b = (~np.isnan(points).all(axis=(1, 2)) for points in (a, b))
    only_a, only_b = int((has_a & ~has_b).sum()), int((has_b & ~has_a).sum())
    found.only_in_a += only_a
    found.only_in_b += only_b
    both = has_a & has_b
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where(x == y, 0.0, np.abs(x - y))  # of two infinities the difference is NaN
    neither = np.isnan(x) & np.isnan(y)
    difference[np.isnan(difference)] = np.inf
    difference[neither] = 0.0
    beyond = int((difference > result.tolerance).sum())
    found.values += int((~neither).sum())
    found.beyond += beyond
    found.total += float(difference.sum())
    if difference.size and difference.max() > found.max:
        found.max = float(difference.max())
        frame = np.flatnonzero(both)[np.unravel_index(difference.argmax(), difference.shape)[0]]
        found.max_clip = f"{name}, frame {frame}"
    result.counts.update(
        {kind: 1 for kind, wrong in (("masks", only_a + only_b), ("points", beyond)) if wrong}
    )
    return not (only_a or only_b or beyond)


def _said(source: Source) -> str:
    return f"{source.about.format}: {source.about.location}"


def _some(clips: Mapping[str, SourceClip]) -> str:
    names = list(clips)[:3]
    return (
        f"{len(clips):,} clips ({', '.join(names)}{', ...' if len(clips) > 3 else ''})"
        if names
        else "no clip"
    )
