"""Two extractions of the same frame compared: where their points lie apart, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from extraction.draw import COLOURS_RGB, FARTHEST_PX, SUBPIXEL_BITS, WIDTHS_ARE_FOR_SIDE_PX, Image, draw
from extraction.landmarks import FrameLandmarks
from extraction.topology import PARTS

APART_RGB = (255, 48, 96)
"""The lines from where a point lies in the one to where it lies in the other; no part's colour."""

_FAINT, _DIMMED = 0.4, 0.4
"""Opacity of both skeletons below those lines, and what is left of the frame's light."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two extractions of one frame are apart.

    Attributes:
        mean_px: Part name to mean distance of the points that both have, in px of the frame.
        max_px: Part name to the greatest such distance.
        only_one: Parts that only one of them has.
    """

    mean_px: Mapping[str, float]
    max_px: Mapping[str, float]
    only_one: tuple[str, ...]

    def in_words(self) -> str:
        """One short line: the mean distance by part, in px."""
        said = [f"{_short(part)} {value:.1f}" for part, value in self.mean_px.items()]
        return (
            "  ".join([*said, *(f"{_short(part)} in one" for part in self.only_one)]) or "nothing in either"
        )


def difference(one: FrameLandmarks, other: FrameLandmarks, size_px: tuple[int, int]) -> Difference:
    """Measures in the picture's plane.

    Args:
        one: What one extraction found.
        other: What the other found in the same frame.
        size_px: Width and height of the frame.
    """
    mean, most, only = {}, {}, []
    for part in COLOURS_RGB:
        if (part in one.parts) != (part in other.parts):
            only.append(part)
        elif part in one.parts:
            rows = min(len(one.parts[part]), len(other.parts[part]))  # a face with irises and one without
            apart = one.parts[part][:rows, :2].astype(np.float64) - other.parts[part][:rows, :2]
            distances = np.hypot(apart[:, 0] * size_px[0], apart[:, 1] * size_px[1])
            if np.isfinite(distances).any():
                known = distances[np.isfinite(distances)]
                mean[part], most[part] = float(known.mean()), float(known.max())
    return Difference(mean, most, tuple(only))


def draw_difference(
    frame: Image, one: FrameLandmarks, other: FrameLandmarks, caption: str | None = None
) -> Image:
    """Both skeletons, faintly, and a line from each point to where the other extraction has it.

    Args:
        frame: uint8 (H, W, 3), RGB, as large as the picture is to be.
        one: What one extraction found.
        other: What the other found.
        caption: As in :func:`extraction.draw.draw`.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    dimmed = np.asarray(frame * _DIMMED, np.uint8)
    both = draw(draw(dimmed, one, min_side_px=0), other, min_side_px=0)
    picture = np.asarray(cv2.addWeighted(both, _FAINT, dimmed, 1 - _FAINT, 0), np.uint8)
    height, width = frame.shape[:2]
    thickness = max(1, round(1.5 * min(height, width) / WIDTHS_ARE_FOR_SIDE_PX))
    scale = 1 << SUBPIXEL_BITS
    for part in COLOURS_RGB:
        if part in one.parts and part in other.parts:
            # Of a face the contours are enough: 468 lines would hide it.
            rows = sorted({row for edge in PARTS[part].edges for row in edge})
            for start, end in zip(one.parts[part][rows], other.parts[part][rows], strict=True):
                ends = (np.stack([start[:2], end[:2]]).astype(np.float64) * (width, height) - 0.5) * scale
                if (np.abs(ends) < FARTHEST_PX * scale).all():
                    first, last = (tuple(int(v) for v in point.round()) for point in ends)
                    cv2.line(picture, first, last, APART_RGB, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return draw(picture, FrameLandmarks({}), min_side_px=0, caption=caption)


def _short(part: str) -> str:
    return part.removesuffix("_hand")
