"""Whether two sources of landmarks, in whatever formats, hold the same: what both have, point by point."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, Floats
from storage.imports.source import VISIBILITY, Source, SourceClip
from storage.verify_masks import MaskDifference
from storage.verify_names import Pair, match_clips

TOLERANCE = 1e-6
"""Largest difference that counts as none, in fractions of the frame (metres for parts in the world), of masks
in fractions of full confidence. Float32 resolves 6e-8 near 1; pixels and back cost as much again."""
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
        masks: How far apart their masks are; None where not both have them.
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
    masks: MaskDifference | None = None
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
    matched = match_clips(a, b, splits)
    result.counts.update({"only in A": len(matched.only_in_a)} if matched.only_in_a else {})
    result.counts.update({"only in B": len(matched.only_in_b)} if matched.only_in_b else {})
    result.only_in_a, result.only_in_b = list(matched.only_in_a[:_KEPT]), list(matched.only_in_b[:_KEPT])
    if not matched.pairs:
        raise JobError(
            f"nothing could be compared: no clip is in both. A ({a.about.location}) has "
            f"{_some(a.clips())}; B ({b.about.location}) has {_some(b.clips())}"
        )
    on_start(len(matched.pairs))
    for pair in matched.pairs:
        _compare_clip(pair, a, b, rows, result)
        on_clip()
    compared = [part.values for part in result.parts.values()]
    if result.is_equal and not any((*compared, result.masks.pixels if result.masks else 0)):
        what = [*result.parts, *(["a mask"] if result.masks else [])]
        raise JobError(
            f"nothing could be compared: in the {result.clips:,} clips that are in both, {result.frames:,} "
            f"frames, neither has found any of {', '.join(what)}"
        )
    return result


def _common_points(a: Source, b: Source, result: Comparison) -> dict[str, NDArray[np.int64]]:
    """Part name to the rows of it that both know; notes what else can be compared, and what cannot."""
    rows = {}
    for part in dict.fromkeys((*a.about.points, *b.about.points)):
        in_a, in_b = set(a.about.points.get(part, ())), set(b.about.points.get(part, ()))
        if both := sorted(in_a & in_b):
            rows[part] = np.array(both)
            result.parts[part] = PartDifference(len(both))
        for who, extra in (("A", in_a - in_b), ("B", in_b - in_a)):
            if extra:
                result.not_compared.append(f"only {who} knows {len(extra)} of the points of {part}")
    if a.about.masks and a.about.masks == b.about.masks:
        result.masks = MaskDifference(a.about.masks, result.tolerance)
    elif a.about.masks and b.about.masks:
        result.not_compared.append(
            f"the masks of A hold {_HOLDS[a.about.masks]}, of B {_HOLDS[b.about.masks]}"
        )
    elif a.about.masks or b.about.masks:
        result.not_compared.append(f"only {'A' if a.about.masks else 'B'} has masks")
    if not rows and not result.masks:
        why = "; ".join(
            result.not_compared[-1:] if a.about.masks and b.about.masks else ["no point is in both"]
        )
        raise JobError(
            f"nothing could be compared: A ({a.about.location}) has {_what(a)}, "
            f"B ({b.about.location}) has {_what(b)}: {why}"
        )
    return rows


_HOLDS = {"category": "classes", "confidence": "confidences"}


def _what(source: Source) -> str:
    return ", ".join([*source.about.points, *(["masks"] if source.about.masks else [])]) or "no part"


def _compare_clip(
    pair: Pair, a: Source, b: Source, rows: Mapping[str, NDArray[np.int64]], result: Comparison
) -> None:
    name = pair.name
    marks_a, marks_b = a.read(pair.a).landmarks, b.read(pair.b).landmarks
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
    if result.masks:
        is_same_mask = result.masks.add(name, marks_a, marks_b)
        result.counts.update({} if is_same_mask else {"mask pixels": 1})
        is_same &= is_same_mask
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


def _some(clips: Sequence[SourceClip]) -> str:
    names = [clip.clip_id for clip in clips[:3]]
    more = ", ..." if len(clips) > 3 else ""
    return f"{len(clips):,} clips ({', '.join(names)}{more})" if names else "no clip"
