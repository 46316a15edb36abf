"""Charts of the report as SVG that takes its colours from the page, so that it fits light and dark."""

import io
import re
from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from extraction.landmarks import ClipLandmarks, Floats
from extraction.topology import PARTS
from storage.report import Histogram
from storage.report_records import HANDS, HandStrip

# At this size a chart stands on a phone as it is: its text is never scaled down.
_WIDTH_PX, _HEIGHT_PX = 336, 190
_POINTS_AN_INCH = 72

# matplotlib knows no style sheet: it draws in colours that nothing else has, and these become the page's.
_STAND_INS = {
    "#010101": "currentColor",
    "#020202": "var(--bar)",
    "#030303": "var(--faint)",
    "#040404": "var(--text)",
}
_SOFT, _BAR, _FAINT, _TEXT = _STAND_INS

_LANE_PX, _LANE_GAP_PX = 10, 3
_FAINTEST = 0.25


def histogram_svg(name: str, values: Histogram, unit: str) -> str:
    """A histogram.

    Args:
        name: Of the chart, for its ids.
        values: What to draw.
        unit: Of the values, below the axis.

    Returns:
        An ``<svg>`` element, hidden from screen readers: say in words what it shows.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11, "text.parse_math": False}
    ):
        figure = Figure(figsize=(_WIDTH_PX / _POINTS_AN_INCH, _HEIGHT_PX / _POINTS_AN_INCH))
        axes = figure.add_axes((0.115, 0.25, 0.865, 0.705))
        edges = np.array(values.edges)
        axes.bar(edges[:-1], values.counts, np.diff(edges) * 0.92, align="edge", color=_BAR, linewidth=0)
        axes.axvline(values.median, color=_TEXT, linewidth=1.2, linestyle=(0, (3, 2)), zorder=3)
        axes.margins(x=0.015)
        axes.set_xlabel(unit, color=_SOFT, fontsize=12)
        axes.grid(axis="y", color=_FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_FAINT)
        axes.tick_params(colors=_SOFT, length=0, labelsize=12)
        axes.tick_params(axis="x", pad=6)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(stream.getvalue(), name)


def compact(value: float) -> str:
    """A number in a few characters: ``1.2k``, ``3M``, ``0.04``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _themed(svg: str, name: str) -> str:
    """What matplotlib wrote as an element of the page: own ids, the page's colours and letters."""
    svg = svg[svg.index("<svg") :]
    # Its style sheet is meant for a file of its own: here it would hold for the whole page.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    for stand_in, colour in _STAND_INS.items():
        svg = svg.replace(stand_in, colour)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    head = (
        f'<svg class="chart" viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}" aria-hidden="true" focusable="false" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return re.sub(r"\s*\n\s*", "\n", head + svg[svg.index(">") + 1 :]).strip()


def strip_svg(strip: HandStrip) -> str:
    """Where the hands of a clip are missing: a lane for each, from the first frame to the last.

    Returns:
        An ``<svg>`` element, hidden from screen readers.
    """
    count = max(len(strip.unreadable), 1)
    height = 2 * _LANE_PX + _LANE_GAP_PX
    shapes = []
    for lane, hand in enumerate(HANDS):
        top = lane * (_LANE_PX + _LANE_GAP_PX)
        shapes.append(f'<rect class="lane" x="0" y="{top}" width="{count}" height="{_LANE_PX}"/>')
        for name, shares in ((hand, strip.missing[hand]), ("unreadable", strip.unreadable)):
            shapes += [
                f'<rect class="{name}" x="{first}" y="{top}" width="{length}" height="{_LANE_PX}"'
                + ("/>" if share == 1 else f' opacity="{share:.2f}"/>')
                for first, length, share in _runs(shares)
            ]
    return (
        f'<svg class="strip" viewBox="0 0 {count} {height}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{"".join(shapes)}</svg>'
    )


def _runs(shares: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """Equal neighbours as one: first cell, number of cells, their share; without those of 0."""
    runs: list[tuple[int, int, float]] = []
    for index, share in enumerate(shares):
        if runs and runs[-1][2] == share:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, share)
        else:
            runs.append((index, 1, share))
    return [run for run in runs if run[2] > 0]


def skeleton_svg(landmarks: ClipLandmarks, position: int, label: str) -> str:
    """A skeleton as the pictures of ``landmarks draw`` show it, on black.

    Args:
        landmarks: Of some frames.
        position: Which of them.
        label: What a screen reader says.
    """
    width, height = (int(v) for v in landmarks.frame_sizes_px[position])
    if width <= 0 or height <= 0:
        width = height = 480
    unit = max(width, height) / 100
    shapes = []
    for part in ("face", "pose", "left_hand", "right_hand"):
        points = landmarks.parts[part][position] if part in landmarks.parts else np.zeros((0, 3))
        # A face with irises has more points than are drawn; an engine of somebody's own may have fewer.
        if len(points) >= PARTS[part].num_points and landmarks.present(part)[position]:
            visibility = landmarks.pose_visibility[position] if part == "pose" else None
            shapes += _paths(part, points, visibility, (width / unit, height / unit))
    return (
        f'<svg class="skeleton" viewBox="0 0 {width / unit:.1f} {height / unit:.1f}" role="img" '
        f'aria-label="{escape(label, quote=True)}">{"".join(shapes)}</svg>'
    )


def _paths(
    part: str, points: NDArray[np.generic], visibility: Floats | None, size: tuple[float, float]
) -> list[str]:
    """One path for all edges of the same opacity; coordinates in hundredths of the longer side."""
    by_opacity: dict[float, list[str]] = {}
    for start, end in PARTS[part].edges:
        ends = points[[start, end], :2].astype(np.float64) * size
        if not (np.abs(ends) < 1e4).all():  # nor NaN
            continue
        if part == "pose" and max(start, end) <= 10:  # its few points of the face
            continue
        opacity = 1.0 if visibility is None else _opacity(min(visibility[start], visibility[end]))
        (x1, y1), (x2, y2) = ends.round(1).tolist()
        by_opacity.setdefault(opacity, []).append(f"M{x1:g} {y1:g}L{x2:g} {y2:g}")
    return [
        f'<path class="{part}"{"" if opacity == 1 else f" opacity={chr(34)}{opacity:g}{chr(34)}"} '
        f'd="{"".join(lines)}"/>'
        for opacity, lines in sorted(by_opacity.items())
    ]


def _opacity(visibility: float) -> float:
    if np.isnan(visibility):
        return 1.0
    return float(min(1.0, max(_FAINTEST, round(float(visibility) * 5) / 4)))


def share_bar(shares: Mapping[str, float]) -> str:
    """Shares of a whole beside one another; the words stand elsewhere.

    Args:
        shares: Class of the style sheet to share in [0, 1].
    """
    pieces = "".join(
        f'<span class="{name}" style="width:{100 * min(max(share, 0), 1):.1f}%"></span>'
        for name, share in shares.items()
    )
    return f'<span class="shares" aria-hidden="true">{pieces}</span>'
