"""What needs coordinates, measured on some clips: how large the hands are, how fast, and how shaky."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extraction.landmarks import Floats
from storage.dataset import Dataset
from storage.pieces import rows_of_clip
from storage.report_records import HANDS, Found
from storage.schema import part_shapes

MAX_FRAMES = 10_000
"""Of a clip that are measured, from its beginning."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HandMeasures:
    """The hands of one clip; NaN where no hand was found in enough frames.

    Attributes:
        found: Which clip.
        size_px: Longer side of the box around a hand, median over frames and hands.
        speed: Of the wrist, in such sizes a second, median.
        jitter: Second difference of the points from frame to frame, in such sizes, median: about 0 for a
            hand that moves evenly, the larger the more its points jump to and fro.
    """

    found: Found
    size_px: float
    speed: float
    jitter: float


def measure(dataset: Dataset, clips: Sequence[Found]) -> Iterator[HandMeasures]:
    """Measures the hands of clips, one after another; of a long clip the first frames.

    Args:
        dataset: Whose.
        clips: Which.

    Raises:
        JobError: If a shard is damaged.
    """
    shapes = part_shapes(dataset.clips().schema)
    hands = [hand for hand in HANDS if shapes.get(hand) == (21, 3)]
    if not hands:
        return
    columns = ["num_frames", "fps", "frame_widths", "frame_heights", *hands]
    for found, _ in groupby(clips):
        sizes: list[Doubles] = []
        speeds: list[Doubles] = []
        jitters: list[Doubles] = []
        frames = 0
        for row in rows_of_clip(dataset, found.shard, found.clip_id, columns):
            for hand in hands:
                measured = measure_hand(*_hand(row, hand))
                for kept, values in zip((sizes, speeds, jitters), measured, strict=True):
                    kept.append(values)
            frames += row["num_frames"][0].as_py()
            if frames >= MAX_FRAMES:
                break
        yield HandMeasures(found, *(_median(kept) for kept in (sizes, speeds, jitters)))


def _hand(row: pa.Table, hand: str) -> tuple[Floats, NDArray[np.int32], float]:
    values = [row[name][0].values.to_numpy(zero_copy_only=False) for name in (hand, "frame_widths")]
    heights = row["frame_heights"][0].values.to_numpy(zero_copy_only=False)
    length = row["num_frames"][0].as_py()
    sizes_px = np.stack([values[1], heights], axis=1)
    return values[0].reshape(length, 21, 3), sizes_px, row["fps"][0].as_py() or 0.0


def measure_hand(points: Floats, sizes_px: NDArray[np.int32], fps: float) -> tuple[Doubles, Doubles, Doubles]:
    """Size, speed and jitter of a hand.

    Args:
        points: float32 (T, 21, 3), x and y as fractions of the frame; NaN where it was not found.
        sizes_px: (T, 2), width and height of the frames.
        fps: Frames per second.

    Returns:
        Values of the frames that have them: size in px, speed in sizes a second, jitter in sizes.
    """
    pixels = points[:, :, :2].astype(np.float64) * sizes_px[:, None, :]
    seen = ~np.isnan(pixels).any(axis=(1, 2))
    boxes = (pixels[seen].max(axis=1) - pixels[seen].min(axis=1)).max(axis=1) if seen.any() else np.zeros(0)
    size = float(np.median(boxes)) if len(boxes) else 0.0
    if size <= 0:
        return boxes[:0], boxes[:0], boxes[:0]
    steps = np.linalg.norm(np.diff(pixels[:, 0], axis=0), axis=1) * fps / size
    bends = np.linalg.norm(np.diff(pixels, n=2, axis=0), axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of frames where all of them are NaN
        bends = np.nanmedian(bends, axis=1) / size if len(bends) else np.zeros(0)
    return boxes, steps[~np.isnan(steps)], bends[~np.isnan(bends)]


def _median(kept: list[Doubles]) -> float:
    values = np.concatenate(kept) if kept else np.zeros(0)
    return float(np.median(values)) if len(values) else float("nan")
