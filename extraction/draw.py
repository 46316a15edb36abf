"""Landmarks and masks drawn on their frame, for a human eye."""

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from extraction.landmarks import FOREGROUND_FROM, ClipLandmarks, Floats, FrameLandmarks, FrameStatus
from extraction.topology import PARTS, REFINED_FACE, Edge, Part

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Hands as in mediapipe/python/solutions/drawing_styles.py, where left is orange and right is cyan.
# Its pose and face are both white; a green body keeps them apart.
COLOURS_RGB: Mapping[str, Colour] = MappingProxyType(
    {
        "face": (255, 255, 255),
        "pose": (48, 224, 48),
        "left_hand": (255, 138, 0),
        "right_hand": (0, 217, 231),
    }
)
"""Colours of the parts, in the order in which they are drawn: the hands come last, on top."""

OUTLINE_RGB: Colour = (16, 16, 16)
"""Around body and hands, so that they show on any background; it would fill the eyes of a small face."""

# mediapipe/python/solutions/drawing_utils.py leaves points below a visibility of 0.5 out altogether. Here
# opacity says how sure the model is: full from this visibility on, below it in steps of a quarter of that.
OPAQUE_FROM = 0.8
OPACITY_STEPS = 4

# A line is this wide on a picture whose shorter side is 480 px, and in proportion on all others.
LINE_WIDTH_PX = {"face": 1.0, "pose": 2.0, "left_hand": 1.5, "right_hand": 1.5}
DOT_RADIUS_PX = {"face": 0.0, "pose": 3.0, "left_hand": 2.5, "right_hand": 2.5}
WIDTHS_ARE_FOR_SIDE_PX = 480

# The pose's own few points of the face and the hands (nose to mouth; little finger, index finger, thumb)
# would cover the finer part, where that was found. Rows of topology.POSE_POINTS.
POSE_ROWS_SHOWN_BETTER_BY: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"face": tuple(range(11)), "left_hand": (17, 19, 21), "right_hand": (18, 20, 22)}
)

# OpenCV takes coordinates as integers of 1/16 px. Points this far out are never seen, and would overflow.
SUBPIXEL_BITS = 4
FARTHEST_PX = 1 << 20

# Of a mask's classes 1, 2, 3 and so on, over again from the seventh; a person is class 1. All of them are far
# from the parts' colours.
MASK_COLOURS_RGB: tuple[Colour, ...] = (
    (255, 64, 200),
    (255, 240, 0),
    (96, 64, 255),
    (128, 64, 16),
    (0, 112, 112),
    (208, 0, 48),
)
MASK_OPACITY = 0.35
MASK_LINE_WIDTH_PX = 1.5

# A long thin frame is enlarged no further than to this many times min_side_px on its longer side.
MAX_ASPECT = 4


def draw(
    frame: Image,
    landmarks: FrameLandmarks,
    *,
    classes: Image | None = None,
    min_side_px: int = 480,
    caption: str | None = None,
) -> Image:
    """Draws body, hands and face outlines on a frame, above the classes of a mask.

    Left out are points that are NaN, ``pose_world``, which is no place in the picture, and parts of
    other names; a line to a point outside ends at the border. The less visible a point of the pose, the
    fainter it is drawn; its points of the face or a hand only where that part itself was not found.

    Args:
        frame: uint8 (H, W, 3), RGB; not changed.
        landmarks: What was found in this frame.
        classes: uint8 (H, W), 0 where background, as :func:`read_classes` gives it; each class gets a
            translucent colour and an outline.
        min_side_px: A frame whose shorter side is below this is enlarged by a whole number first.
        caption: One line for the lower left corner; what is not ASCII shows as a question mark.

    Returns:
        New uint8 (k*H, k*W, 3) array, RGB, with k = 1 for a frame that is large enough.

    Raises:
        ValueError: If the frame, the classes or a part have an unexpected shape or type.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise ValueError(f"expected a uint8 (H, W, 3) frame, found {frame.dtype} {frame.shape}")
    picture = _enlarged(frame, min_side_px)
    if classes is not None:
        picture = _with_classes(picture, classes, frame.shape[:2])
    for name in COLOURS_RGB:
        if name in landmarks.parts:
            part = _part(name, landmarks.parts[name])
            pixels = _to_pixels(landmarks.parts[name], picture)
            if name == "pose":
                pixels[_covered_rows(landmarks)] = np.nan
            picture = _with_part(picture, part, pixels, _steps(part, landmarks.pose_visibility))
    if caption:
        _write_caption(picture, caption)
    return picture


def frame_landmarks(clip: ClipLandmarks, position: int) -> FrameLandmarks:
    """One frame of a clip, as the detector gave it.

    Args:
        clip: T frames.
        position: 0 to T - 1.

    Returns:
        The parts found there, read-only, and the mask; none where the frame is unreadable or nobody is in
        it.

    Raises:
        IndexError: If the position is not in the clip.
    """
    if not 0 <= position < len(clip):
        raise IndexError(f"expected a position from 0 to {len(clip) - 1}, found {position}")
    parts = {name: points[position] for name, points in clip.parts.items() if clip.present(name)[position]}
    visibility = clip.pose_visibility[position]
    mask = clip.masks_png[position] if clip.masks_png is not None else None
    # Whether the mask has foreground is not kept: the status says it, for engines of masks alone.
    found = mask is not None and bool(clip.frame_status[position] == FrameStatus.OK)
    return FrameLandmarks(parts, None if np.isnan(visibility).all() else visibility, mask, found)


def read_classes(mask_png: bytes, mask: str) -> Image:
    """Reads which class each pixel of a mask belongs to.

    Args:
        mask_png: As in :class:`extraction.landmarks.FrameLandmarks`.
        mask: What it holds: ``"category"`` or ``"confidence"``.

    Returns:
        uint8 (H, W), 0 where background; of a confidence mask 1 where it is
        :data:`extraction.landmarks.FOREGROUND_FROM` or more.

    Raises:
        ValueError: If the bytes are no such PNG.
    """
    values = cv2.imdecode(np.frombuffer(mask_png, np.uint8), cv2.IMREAD_UNCHANGED) if mask_png else None
    if values is None or values.dtype != np.uint8 or values.ndim != 2:
        found = "no picture" if values is None else f"{values.dtype} {values.shape}"
        raise ValueError(f"expected a mask as a PNG of 8 bits and one channel, found {found}")
    return np.asarray(values if mask == "category" else values >= FOREGROUND_FROM, np.uint8)


def _enlarged(frame: Image, min_side_px: int) -> Image:
    """A C-ordered copy, enlarged by a whole number where the frame is small."""
    height, width = frame.shape[:2]
    wanted = -(-min_side_px // min(height, width))
    factor = max(1, min(wanted, MAX_ASPECT * min_side_px // max(height, width)))
    copy = np.array(frame, order="C")
    if factor == 1:
        return copy
    size = (width * factor, height * factor)
    return np.asarray(cv2.resize(copy, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _with_classes(picture: Image, classes: Image, frame_shape: tuple[int, ...]) -> Image:
    """The picture with a mask on it: each class of the frame in its colour, its outline on a dark rim."""
    if classes.dtype != np.uint8 or classes.shape != frame_shape:
        raise ValueError(f"expected uint8 {frame_shape} classes, found {classes.dtype} {classes.shape}")
    height, width = picture.shape[:2]
    scale = min(height, width) / WIDTHS_ARE_FOR_SIDE_PX
    line, rim = max(1, round(MASK_LINE_WIDTH_PX * scale)), 2 * max(1, round(scale))
    for index in np.unique(classes[classes > 0]):
        colour = MASK_COLOURS_RGB[(int(index) - 1) % len(MASK_COLOURS_RGB)]
        # Enlarged as grey values and cut at their half, the outline has no steps.
        grey = np.where(classes == index, 255, 0).astype(np.uint8)
        inside = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR) > 127
        blended = picture[inside] * (1 - MASK_OPACITY) + np.array(colour) * MASK_OPACITY
        picture[inside] = blended.round().astype(np.uint8)
        contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for thickness, paint in ((line + rim, OUTLINE_RGB), (line, colour)):
            cv2.drawContours(picture, contours, -1, paint, thickness, cv2.LINE_AA)
    return picture


def _part(name: str, points: Floats) -> Part:
    """The part's table that fits the array: a face may or may not have its irises."""
    for part in (PARTS[name], REFINED_FACE):
        if part.name == name and points.shape == (part.num_points, 3):
            return part
    raise ValueError(f"{name}: expected a ({PARTS[name].num_points}, 3) array, found {points.shape}")


def _covered_rows(landmarks: FrameLandmarks) -> list[int]:
    """Rows of the pose that a finer part of this frame shows better."""
    found = [name for name, points in landmarks.parts.items() if not np.isnan(points).all()]
    return [row for name in found for row in POSE_ROWS_SHOWN_BETTER_BY.get(name, ())]


def _steps(part: Part, pose_visibility: Floats | None) -> NDArray[np.int64]:
    """Opacity of N points, int64 (N,) of 1 to :data:`OPACITY_STEPS`."""
    if part.name != "pose" or pose_visibility is None:
        return np.full(part.num_points, OPACITY_STEPS)
    # What was not measured is drawn in full: a point of it is NaN as well, or there is nothing to doubt it.
    share = np.nan_to_num(pose_visibility.astype(np.float64), nan=1.0) / OPAQUE_FROM
    return np.asarray(np.clip(np.ceil(share * OPACITY_STEPS), 1, OPACITY_STEPS), np.int64)


def _to_pixels(points: Floats, picture: Image) -> NDArray[np.float64]:
    """Fractions of the frame as float64 (N, 2) of x, y in OpenCV's pixels; NaN where never to be seen.

    A fraction counts from the picture's edge, OpenCV from the centre of the first pixel: hence the half.
    """
    height, width = picture.shape[:2]
    pixels = points[:, :2].astype(np.float64) * (width, height) - 0.5
    # NaN is not below anything either, so this holds for it as well.
    pixels[~(np.abs(pixels) < FARTHEST_PX).all(axis=1)] = np.nan
    return pixels


def _with_part(picture: Image, part: Part, pixels: NDArray[np.float64], steps: NDArray[np.int64]) -> Image:
    """The picture with one part on it, the faintest below; an edge is as faint as the fainter of its ends."""
    steps = np.where(np.isnan(pixels[:, 0]), 0, steps)
    edge_steps = [min(steps[start], steps[end]) for start, end in part.edges]
    for step in np.unique(steps[steps > 0]):
        edges = [edge for edge, own in zip(part.edges, edge_steps, strict=True) if own == step]
        layer = picture if step == OPACITY_STEPS else picture.copy()
        _paint(layer, part.name, pixels, edges, steps == step)
        if layer is not picture:
            opacity = float(step) / OPACITY_STEPS
            picture = np.asarray(cv2.addWeighted(layer, opacity, picture, 1 - opacity, 0), np.uint8)
    return picture


def _paint(
    picture: Image, name: str, pixels: NDArray[np.float64], edges: list[Edge], shown: NDArray[np.bool_]
) -> None:
    """Draws edges and the shown points, the outline below both."""
    scale = min(picture.shape[:2]) / WIDTHS_ARE_FOR_SIDE_PX
    width = max(1, round(LINE_WIDTH_PX[name] * scale))
    radius = DOT_RADIUS_PX[name] * scale
    rim = max(1, round(scale))
    dots = pixels[shown] if radius else pixels[:0]
    if radius:
        _paint_shapes(picture, pixels, edges, width + 2 * rim, dots, radius + rim, OUTLINE_RGB)
    _paint_shapes(picture, pixels, edges, width, dots, radius, COLOURS_RGB[name])


def _paint_shapes(
    picture: Image,
    pixels: NDArray[np.float64],
    edges: list[Edge],
    width: int,
    dots: NDArray[np.float64],
    radius: float,
    colour: Colour,
) -> None:
    one = 1 << SUBPIXEL_BITS
    for start, end in edges:
        ends = [(round(x * one), round(y * one)) for x, y in (pixels[start], pixels[end])]
        cv2.line(picture, ends[0], ends[1], colour, width, cv2.LINE_AA, SUBPIXEL_BITS)
    for x, y in dots:
        centre = (round(x * one), round(y * one))
        cv2.circle(picture, centre, round(radius * one), colour, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _write_caption(picture: Image, caption: str) -> None:
    """White on a dark rim; OpenCV's fonts hold ASCII only."""
    scale = min(picture.shape[:2]) / WIDTHS_ARE_FOR_SIDE_PX
    text = caption.encode("ascii", "replace").decode("ascii")
    corner = (round(8 * scale), picture.shape[0] - round(10 * scale))
    width = max(1, round(scale))
    for colour, thickness in ((OUTLINE_RGB, 4 * width), ((255, 255, 255), width)):
        cv2.putText(
            picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, colour, thickness, cv2.LINE_AA
        )
