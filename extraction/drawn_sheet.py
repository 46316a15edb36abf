"""Pictures put together from pictures: to a size, side by side, in a grid, and parts close up."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from extraction.draw import COLOURS_RGB, Image, draw
from extraction.landmarks import Floats, FrameLandmarks

BACKGROUND_RGB = (16, 16, 16)
"""Between pictures: dark, but not the black of a picture that is drawn on black."""

GAP_PX = 8
MARGIN = 0.25
"""Around a part that is seen close up, of the longer side of its box."""

_GRID_SHAPE = 4 / 3
"""Width to height that a grid comes close to: of screens and of pages on their side."""


def black(width_px: int, height_px: int) -> Image:
    """An empty frame, uint8 (H, W, 3)."""
    return np.zeros((height_px, width_px, 3), np.uint8)


def resized(picture: Image, longer_side_px: int) -> Image:
    """The picture in its own proportions.

    Args:
        picture: uint8 (H, W, 3).
        longer_side_px: The longer side it is to have, 1 or more.
    """
    height, width = picture.shape[:2]
    factor = longer_side_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return picture
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how), np.uint8)


def fitted(picture: Image, shape: tuple[int, ...]) -> Image:
    """The picture in the middle of another shape, no side cut off; itself where it has that shape.

    Args:
        picture: uint8 (H, W, 3).
        shape: (height, width, 3) of the result.
    """
    if picture.shape == shape:
        return picture
    factor = min(shape[0] / picture.shape[0], shape[1] / picture.shape[1])
    inner = resized(picture, max(1, int(max(picture.shape[:2]) * factor)))[: shape[0], : shape[1]]
    whole = black(shape[1], shape[0])
    top, left = (shape[0] - inner.shape[0]) // 2, (shape[1] - inner.shape[1]) // 2
    whole[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return whole


def evenly_spaced(total: int, count: int) -> list[int]:
    """Positions of frames over a whole clip.

    Args:
        total: Frames of the clip, 1 or more.
        count: How many are wanted.

    Returns:
        At most ``count`` different positions in order, each in the middle of its share of the clip.
    """
    count = min(count, total)
    return [int((2 * index + 1) * total / (2 * count)) for index in range(count)]


def side_by_side(pictures: Sequence[Image]) -> Image:
    """Pictures in a row, each in the middle of its height, with gaps between them."""
    return grid(pictures, columns=len(pictures), border=False, same_width=False)


def grid(
    pictures: Sequence[Image], columns: int | None = None, border: bool = True, same_width: bool = True
) -> Image:
    """Pictures in rows, each in the middle of its cell.

    Args:
        pictures: One or more, uint8 (H, W, 3), of any sizes.
        columns: How many in a row; by default what comes closest to four by three with few empty cells.
        border: Whether there is a gap around the whole as well.
        same_width: Whether all columns are as wide as the widest.

    Returns:
        uint8 (H, W, 3).
    """
    if not pictures:
        raise ValueError("expected one picture or more, found none")
    height = max(picture.shape[0] for picture in pictures)
    widest = max(picture.shape[1] for picture in pictures)
    columns = min(columns or _columns(len(pictures), widest, height), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    widths = [
        widest if same_width else max(p.shape[1] for p in pictures[column::columns])
        for column in range(columns)
    ]
    edge = GAP_PX if border else 0
    whole = np.empty(
        (
            rows * height + (rows - 1) * GAP_PX + 2 * edge,
            sum(widths) + (columns - 1) * GAP_PX + 2 * edge,
            3,
        ),
        np.uint8,
    )
    whole[:] = BACKGROUND_RGB
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        top = edge + row * (height + GAP_PX) + (height - picture.shape[0]) // 2
        left = edge + sum(widths[:column]) + column * GAP_PX + (widths[column] - picture.shape[1]) // 2
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole


def close_up(frame: Image, landmarks: FrameLandmarks, part: str, size_px: int) -> Image | None:
    """One part alone, so large that it fills a square picture.

    Args:
        frame: uint8 (H, W, 3), RGB.
        landmarks: What was found in it.
        part: Which part.
        size_px: Both sides of the picture.

    Returns:
        uint8 (size_px, size_px, 3); black beyond the frame. None where the part was not found.
    """
    points = landmarks.parts.get(part)
    if points is None or part not in COLOURS_RGB or np.isnan(points[:, :2]).any(axis=1).all():
        return None
    height, width = frame.shape[:2]
    left, top, side = _square(points, width, height)
    cut = _cut(frame, left, top, side)
    moved = points.copy()
    moved[:, 0] = (points[:, 0] * width - left) / side
    moved[:, 1] = (points[:, 1] * height - top) / side
    enlarged = resized(cut, size_px)
    alone = FrameLandmarks({part: moved}, landmarks.pose_visibility if part == "pose" else None)
    return draw(enlarged, alone, min_side_px=0, caption=part)


def _columns(count: int, width: int, height: int) -> int:
    def far(columns: int) -> float:
        rows = math.ceil(count / columns)
        # Empty cells are worse than another shape.
        return abs(math.log(columns * width / (rows * height) / _GRID_SHAPE)) + 2 * (
            1 - count / (rows * columns)
        )

    return min(range(1, count + 1), key=far)


def _square(points: Floats, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side in px of the square around a part, at most twice as large as the frame."""
    known = points[~np.isnan(points[:, :2]).any(axis=1), :2].astype(np.float64)
    limit = 2 * max(width, height)
    pixels = np.clip(known * (width, height), -limit / 2, limit)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    side = int(min(max(8, (high - low).max() * (1 + 2 * MARGIN)), limit))
    centre = (low + high) / 2
    return int(centre[0] - side / 2), int(centre[1] - side / 2), side


def _cut(frame: Image, left: int, top: int, side: int) -> Image:
    """A square of the frame, black where it lies outside."""
    height, width = frame.shape[:2]
    square = black(side, side)
    x, y = max(0, left), max(0, top)
    inside = frame[y : min(height, top + side), x : min(width, left + side)]
    if inside.size:
        square[y - top : y - top + inside.shape[0], x - left : x - left + inside.shape[1]] = inside
    return square
