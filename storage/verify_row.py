"""What must hold inside one row of a data set: lengths, masks, finite and plausible numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extraction.landmarks import FOREGROUND_FROM, FrameStatus
from storage.masks import read_mask
from storage.schema import PER_CLIP_LISTS, has_masks, part_shapes
from storage.verified import Finding

LARGEST = 100.0
"""Of a coordinate: a hundred frames beside the frame, or a hundred metres. What MediaPipe guesses outside of
a frame stays below 10; a flipped bit of an exponent does not."""
_NEVER_NULL = ("engine", "mediapipe_version", "delegate", "attempts", "host")
_SEGMENTER = "segmenter"
"""The engine that finds nothing but masks, so that they say what a frame's status must be."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a data set's own configuration says of its rows.

    Attributes:
        options_hash: That each row must have.
        known: Part name to the only points of it that are known; all where a part is not named.
        is_imported: Whether sizes of frames and visibility may be unknown.
        mask: What masks hold: ``"category"`` or ``"confidence"``.
    """

    options_hash: str
    known: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    is_imported: bool = False
    mask: str = "category"


def check_row(row: pa.Table, rules: Rules) -> Iterator[Finding]:
    """Checks one row by itself.

    Args:
        row: A table of one row, with all its columns.
        rules: What it is held to.

    Yields:
        What is wrong.
    """
    length = row["num_frames"][0].as_py()
    if length is None or length < 1:
        yield "length", f"num_frames is {length}, expected 1 or more"
        return
    wrong = list(_lengths(row, length))
    yield from wrong
    if wrong:
        return
    if (found := row["options_hash"][0].as_py()) != rules.options_hash:
        yield (
            "options",
            f"options_hash is {found!r}, dataset.json says {rules.options_hash!r}: its options are not those "
            "of this data set",
        )
    if nulls := [name for name in _NEVER_NULL if not row[name][0].is_valid]:
        yield "options", f"without {', '.join(nulls)}: nothing says how the row came to be"
    yield from _times(row)
    status = _values(row, "frame_status")
    yield from _parts(row, length, status, rules)
    yield from _frames(row, status, rules)
    if has_masks(row.schema):
        yield from _masks(row, status, rules)


def _lengths(row: pa.Table, length: int) -> Iterator[Finding]:
    shapes = part_shapes(row.schema)
    for column in row.schema:
        if not pa.types.is_list(column.type) or column.name in PER_CLIP_LISTS:
            continue
        count, dims = shapes.get(column.name, (1, 1))
        count = 33 if column.name == "pose_visibility" else count
        values = row[column.name][0].values
        found = None if values is None else len(values)
        if found != length * count * dims:
            yield "length", f"{column.name} has {found} values, expected {length * count * dims}"
        elif values.null_count and column.name not in ("frame_errors", "mask_png"):
            yield "length", f"{column.name} has {values.null_count} nulls, expected none"


def _times(row: pa.Table) -> Iterator[Finding]:
    fps = row["fps"][0].as_py()
    if fps is None or not 0 < fps < float("inf"):
        yield "plausible", f"fps is {fps}, expected a number above 0"
    times = _values(row, "timestamps_ms")
    if not np.isfinite(times).all() or (np.diff(times) < 0).any() or (times < 0).any():
        yield "plausible", "timestamps_ms are expected to be finite, 0 or more, and never to fall"


def _parts(row: pa.Table, length: int, status: NDArray[Any], rules: Rules) -> Iterator[Finding]:
    anything = np.zeros(length, np.bool_)
    for part, (count, dims) in part_shapes(row.schema).items():
        points = _values(row, part).reshape(length, count, dims)
        present = _values(row, f"{part}_present").astype(np.bool_)
        anything |= present
        yield from _mask_against_points(part, points, present, rules.known.get(part))
        yield from _plausible(part, points, (0.0, 1.0) if dims == 1 else (-LARGEST, LARGEST))
    if "pose_visibility" in row.schema.names:
        yield from _visibility(row, length)
    if not has_masks(row.schema) and part_shapes(row.schema):
        if wrong := _first(anything != (status == FrameStatus.OK)):
            yield (
                "mask",
                f"frame_status of {wrong} does not fit what was found: 0 where a part was, else 1 or 2",
            )
    elif wrong := _first(anything & (status != FrameStatus.OK)):
        yield "mask", f"a part is marked as found in {wrong}, whose frame_status is not 0"


def _mask_against_points(
    part: str, points: NDArray[Any], present: NDArray[Any], known: tuple[int, ...] | None
) -> Iterator[Finding]:
    missing = np.isnan(points).any(axis=2)
    expected = np.broadcast_to(~present[:, np.newaxis], missing.shape)
    if known is not None:
        expected = expected.copy()
        expected[:, [row for row in range(points.shape[1]) if row not in set(known)]] = True
    if wrong := _first((missing != expected).any(axis=1) & present):
        yield "mask", f"{part} is marked as found in {wrong}, where a point of it is NaN, or not to be known"
    if wrong := _first(~np.isnan(points).all(axis=(1, 2)) & ~present):
        yield "mask", f"{part} is marked as not found in {wrong}, where it has numbers"


def _plausible(name: str, values: NDArray[Any], bounds: tuple[float, float]) -> Iterator[Finding]:
    if wrong := _first(np.isinf(values).any(axis=(1, 2))):
        yield "finite", f"{name} is infinite in {wrong}"
    with np.errstate(invalid="ignore"):
        beyond = ((values < bounds[0]) | (values > bounds[1])) & np.isfinite(values)
    if wrong := _first(beyond.any(axis=(1, 2))):
        worst = float(values[beyond][np.abs(values[beyond]).argmax()])
        yield "plausible", f"{name} in {wrong} is {worst:g}, expected {bounds[0]:g} to {bounds[1]:g}"


def _visibility(row: pa.Table, length: int) -> Iterator[Finding]:
    values = _values(row, "pose_visibility").reshape(length, 33, 1)
    yield from _plausible("pose_visibility", values, (0.0, 1.0))
    if "pose_present" in row.schema.names:
        present = _values(row, "pose_present").astype(np.bool_)
        known = ~np.isnan(values[:, :, 0])
        partly = known.any(axis=1) & ~known.all(axis=1)
        if wrong := _first((known.any(axis=1) & ~present) | partly):
            yield "mask", f"pose_visibility of {wrong} does not fit pose_present"


def _frames(row: pa.Table, status: NDArray[Any], rules: Rules) -> Iterator[Finding]:
    if wrong := _first(~np.isin(status, [int(value) for value in FrameStatus])):
        yield "mask", f"frame_status of {wrong} is none of 0, 1, 2"
    unreadable = status == FrameStatus.UNREADABLE
    told = row["frame_errors"][0].values.is_valid().to_numpy(zero_copy_only=False)
    if wrong := _first(told != unreadable):
        yield "mask", f"frame_errors and frame_status of {wrong} disagree about whether it was readable"
    widths, heights = _values(row, "frame_widths"), _values(row, "frame_heights")
    if not rules.is_imported and (wrong := _first(((widths > 0) & (heights > 0)) == unreadable)):
        yield "mask", f"the size of {wrong} does not fit its frame_status: above 0 where it was readable"
    sized = np.flatnonzero((widths > 0) & (heights > 0))
    expected = (int(widths[sized[0]]), int(heights[sized[0]])) if len(sized) else (None, None)
    if (found := (row["width"][0].as_py(), row["height"][0].as_py())) != expected:
        yield "mask", f"width and height are {found}, its first readable frame's are {expected}"


def _masks(row: pa.Table, status: NDArray[Any], rules: Rules) -> Iterator[Finding]:
    values = row["mask_png"][0].values
    has_mask = values.is_valid().to_numpy(zero_copy_only=False)
    if wrong := _first(has_mask != (status != FrameStatus.UNREADABLE)):
        yield "mask", f"mask_png of {wrong} does not fit its frame_status: null where it was unreadable"
    sizes = np.stack([_values(row, "frame_widths"), _values(row, "frame_heights")], axis=1).tolist()
    foreground = np.zeros(len(status), np.bool_)
    broken: list[tuple[int, ValueError]] = []
    for position, png in enumerate(values):
        if not png.is_valid:
            continue
        try:
            mask = read_mask(png.as_py(), tuple(sizes[position]))
        except ValueError as error:
            broken.append((position, error))
            continue
        foreground[position] = mask.max() >= (1 if rules.mask == "category" else FOREGROUND_FROM)
    if broken:
        more = f" (and those of {len(broken) - 1} more frames)" if len(broken) > 1 else ""
        yield "mask", f"mask_png of frame {broken[0][0]} {broken[0][1]}{more}"
    elif row["engine"][0].as_py() == _SEGMENTER and not part_shapes(row.schema):
        known = has_mask & (status != FrameStatus.UNREADABLE)
        if wrong := _first((foreground != (status == FrameStatus.OK)) & known):
            yield "mask", f"frame_status of {wrong} does not fit its mask: 0 where it has foreground, else 1"


def _values(row: pa.Table, name: str) -> NDArray[Any]:
    return np.asarray(row[name][0].values.to_numpy(zero_copy_only=False))


def _first(wrong: NDArray[Any]) -> str:
    """``"frame 12 (and 3 more)"``; "" where nothing is wrong."""
    where = np.flatnonzero(wrong)
    if not len(where):
        return ""
    return f"frame {where[0]}" + (f" (and {len(where) - 1} more)" if len(where) > 1 else "")
