"""What a report says of a data set: counted over all clips, measured on some; data, not a page."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage import summary
from storage.annotations import About, read_about
from storage.dataset import Dataset
from storage.pieces import find_pieces
from storage.report_records import HANDS, Found, Scan
from storage.report_sample import HandMeasures, measure
from storage.report_scan import scan
from storage.schema import has_masks, num_points

WORST = 24
"""Clips in the heat strip of missing hands, and candidates of each other kind."""
CARDS_OF_A_KIND = 3
MAX_BARS = 40
_MANY = 100
_UNREADABLE_FROM, _NO_HAND_FROM = 0.05, 0.5
"""Shares of a clip's frames from which it stands out."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Clips that failed in the same way.

    Attributes:
        stage: Where: ``"open"``, ``"decode"``, ``"detect"`` or ``"write"``.
        reason: Why, in a word.
        clips: How many.
        example: Id of one of them.
        error: The first line of its error.
    """

    stage: str
    reason: str
    clips: int
    example: str
    error: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fall into equal bins.

    Attributes:
        edges: N + 1 ascending values.
        counts: N numbers.
        beyond: Values above the last edge.
        median: Of all values.
        p05: Five in a hundred are below it.
        p95: Five in a hundred are above it.
        total: Values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int
    median: float
    p05: float
    p95: float
    total: int


@dataclass(frozen=True, slots=True)
class Outlier:
    """A clip worth looking at.

    Attributes:
        clip_id: Which.
        split: Where it belongs.
        shard: Name of the file it stands in.
        frames: Frame positions.
        why: What stands out, one line each.
    """

    clip_id: str
    split: str
    shard: str
    frames: int
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says.

    Attributes:
        location: Of the data set.
        made: When, UTC.
        config: What ``dataset.json`` says.
        parts: Part name to number of points.
        has_masks: Whether there are masks.
        splits: Clips done, failed and to do by split.
        scan: What was counted over all clips.
        failures: Kinds of failures, the commonest first.
        histograms: ``clip_length_frames``, ``clip_length_s`` of all clips; ``hand_size_px``, ``hand_speed``
            and ``hand_jitter`` of the sample. One without values is left out.
        sampled: Clips whose coordinates were read.
        sampled_without_hands: Of these, clips in which no hand could be measured.
        seed: By which they were chosen.
        outliers: Clips worth looking at.
        annotations: What they are and where they and the clips do not agree; None without any.
    """

    location: str
    made: datetime.datetime
    config: Mapping[str, Any]
    parts: Mapping[str, int]
    has_masks: bool
    splits: tuple[summary.SplitProgress, ...]
    scan: Scan
    failures: tuple[FailureKind, ...]
    histograms: Mapping[str, Histogram]
    sampled: int
    sampled_without_hands: int
    seed: int
    outliers: tuple[Outlier, ...]
    annotations: About | None = None


def build(dataset: Dataset, sample: int = 300, seed: int = 0) -> Report:
    """Counts and measures a data set.

    Args:
        dataset: Which.
        sample: Clips whose coordinates are read.
        seed: By which they are chosen.

    Raises:
        JobError: If the number is below 0, or the data set is damaged.
    """
    if sample < 0:
        raise JobError(f"--sample must be 0 or more, found {sample}")
    if seed < 0:
        raise JobError(f"--seed must be 0 or more, found {seed}")
    schema = dataset.clips().schema
    splits, failures = summary.count_plan(dataset)
    found = scan(dataset, WORST, sample, seed)
    hands = list(measure(dataset, found.sample))
    measured = [hand for hand in hands if not np.isnan(hand.size_px)]
    values = {
        "clip_length_frames": found.lengths_frames.astype(np.float64),
        "clip_length_s": found.lengths_s,
        "hand_size_px": np.array([hand.size_px for hand in measured]),
        "hand_speed": np.array([hand.speed for hand in measured]),
        "hand_jitter": np.array([hand.jitter for hand in measured]),
    }
    made = {name: histogram(numbers) for name, numbers in values.items()}
    return Report(
        location=dataset.store.location,
        made=datetime.datetime.now(datetime.UTC),
        config=dataset.config(),
        parts=num_points(schema),
        has_masks=has_masks(schema),
        splits=splits,
        scan=found,
        failures=_failures(failures),
        histograms={name: one for name, one in made.items() if one is not None},
        sampled=len(hands),
        sampled_without_hands=len(hands) - len(measured),
        seed=seed,
        outliers=_outliers(found, measured),
        annotations=read_about(dataset.store),
    )


def histogram(values: NDArray[np.float64]) -> Histogram | None:
    """Counts values in equal bins from the least up to the 99th percentile of 100 or more; the rest is told.

    Args:
        values: Any shape; what is not finite is left out. Whole numbers get bins of whole numbers.

    Returns:
        None where no value is finite.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    bins = int(min(MAX_BARS, max(8, 2 * len(values) ** 0.5)))
    low, high, top = (
        float(values.min()),
        float(np.percentile(values, 99, method="lower")),
        float(values.max()),
    )
    # Neither a little above the 99th percentile nor one of a few values is a tail worth cutting off.
    high = top if len(values) < _MANY or top <= high + 0.25 * (high - low) else high
    if bool((values == np.round(values)).all()):
        width = max(1, int(np.ceil((high - low + 1) / bins)))
        edges = np.arange(low, high + width + 0.5, width) - 0.5
    else:
        edges = np.linspace(low, high if high > low else low + max(abs(low), 1) * 0.1, bins + 1)
    counts, _ = np.histogram(values, edges)
    p05, median, p95 = (float(v) for v in np.percentile(values, [5, 50, 95]))
    return Histogram(
        tuple(edges.tolist()),
        tuple(counts.tolist()),
        int((values > edges[-1]).sum()),
        *(median, p05, p95, len(values)),
    )


def _failures(table: pa.Table) -> tuple[FailureKind, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], tuple[str, str]] = {}
    columns = (table[name].to_pylist() for name in ("stage", "reason", "clip_id", "error"))
    for stage, reason, clip_id, error in zip(*columns, strict=True):
        counts[stage, reason] += 1
        examples.setdefault((stage, reason), (clip_id, (error or "").partition("\n")[0]))
    return tuple(FailureKind(*kind, number, *examples[kind]) for kind, number in counts.most_common())


def _outliers(found: Scan, hands: Sequence[HandMeasures]) -> tuple[Outlier, ...]:
    """Some clips of each kind; one that stands out twice is one clip with two reasons."""
    why: dict[str, tuple[Found, list[str]]] = {}

    def note(clips: Sequence[Found], text: str) -> None:
        for clip in clips:
            why.setdefault(clip.clip_id, (clip, []))[1].append(text.format(clip.value))

    hands_missing = [strip.found for strip in found.worst_hands if strip.found.value >= _NO_HAND_FROM]
    note(hands_missing[:CARDS_OF_A_KIND], "no hand in {:.0%} of its frames")
    if len(hands) >= 2 * CARDS_OF_A_KIND:
        shaky = sorted((h for h in hands if h.jitter > 0), key=lambda hand: -hand.jitter)
        small = sorted(hands, key=lambda hand: hand.size_px)
        note([_valued(h.found, h.jitter) for h in shaky[:CARDS_OF_A_KIND]], "shaky hands: jitter {:.3f}")
        note([_valued(h.found, h.size_px) for h in small[:CARDS_OF_A_KIND]], "small hands: {:.0f} px")
    note(
        [f for f in found.least_readable if f.value >= _UNREADABLE_FROM][:CARDS_OF_A_KIND],
        "{:.0%} of its frames unreadable",
    )
    if len(found.lengths_frames) >= 2 * CARDS_OF_A_KIND:
        note(found.longest[:2], "among the longest: {:,.0f} frames")
        note(found.shortest[:2], "among the shortest: {:,.0f} frames")
    return tuple(
        Outlier(clip.clip_id, clip.split, clip.shard, clip.frames, tuple(texts))
        for clip, texts in why.values()
    )


def _valued(found: Found, value: float) -> Found:
    return Found(found.clip_id, found.split, found.shard, value, found.frames)


def fullest_frame(dataset: Dataset, clip_id: str) -> tuple[ClipLandmarks, int]:
    """The row of a clip, and the place in it, where most parts were found; the first of equals.

    Raises:
        JobError: If the clip is not there.
    """
    best: tuple[int, ClipLandmarks, int] | None = None
    for piece in find_pieces(dataset, clip_id):
        counts = sum((piece.present(part).astype(np.int64) for part in piece.parts), np.zeros(len(piece)))
        place = int(np.argmax(counts))
        if best is None or counts[place] > best[0]:
            best = (int(counts[place]), piece, place)
    if best is None:
        raise JobError(f"{clip_id!r}: has no row in {dataset.store.location}")
    return best[1], best[2]


__all__ = ["HANDS", "FailureKind", "Histogram", "Outlier", "Report", "build", "fullest_frame", "histogram"]
