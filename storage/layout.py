"""Which points of which parts a trainer gets, chosen by name, and where each stands in its array."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.topology import EXTRA_PARTS, PARTS, REFINED_FACE, Part, num_dims
from storage.face68 import FACE_INDICES

Choice = str | Sequence[str] | Mapping[str, Sequence[str | int] | None]
"""A preset's name; parts; or part to its points by name or row, None for all of them."""

PRESETS: Mapping[str, Mapping[str, Sequence[str | int] | None]] = {
    "pose+hands": {"pose": None, "left_hand": None, "right_hand": None},
    "face68+hands+pose": {"face": FACE_INDICES, "left_hand": None, "right_hand": None, "pose": None},
    "hands": {"left_hand": None, "right_hand": None},
}
"""75 points; the 143 of the scripts this project follows, in their order; 42 points."""


@dataclass(frozen=True, slots=True)
class PointLayout:
    """The order of the points in an array (T, N, 3).

    Attributes:
        parts: Names of the parts, in order.
        rows: For each part, the rows of its points that are taken; None for all.
        names: N pairs of part and point.
    """

    parts: tuple[str, ...]
    rows: tuple[tuple[int, ...] | None, ...]
    names: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.names)

    def slice_of(self, part: str) -> slice:
        """Where the points of a part stand.

        Raises:
            JobError: If none of it was chosen.
        """
        found = [position for position, (owner, _) in enumerate(self.names) if owner == part]
        if not found:
            raise JobError(f"part {part!r}: not among those that were chosen: {', '.join(self.parts)}")
        return slice(found[0], found[-1] + 1)

    def index(self, part: str, *points: str) -> tuple[int, ...]:
        """Positions of points by name, such as ``index("pose", "left_shoulder", "right_shoulder")``.

        Raises:
            JobError: If one was not chosen.
        """
        positions = {name: position for position, name in enumerate(self.names)}
        missing = [point for point in points if (part, point) not in positions]
        if missing:
            raise JobError(f"{part}: point {missing[0]!r} is not among those that were chosen")
        return tuple(positions[part, point] for point in points)

    def join(self, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The chosen points of all parts side by side.

        Args:
            arrays: Part name to float32 (T, N of the part, 3).

        Returns:
            A new float32 (T, N, 3) array.
        """
        length = len(arrays[self.parts[0]])
        joined = np.empty((length, len(self), 3), np.float32)
        begin = 0
        for part, rows in zip(self.parts, self.rows, strict=True):
            points = arrays[part] if rows is None else arrays[part][:, rows]
            joined[:, begin : begin + points.shape[1]] = points
            begin += points.shape[1]
        return joined


def point_layout(choice: Choice = "pose+hands", num_points: Mapping[str, int] | None = None) -> PointLayout:
    """Resolves a choice of parts and points.

    Args:
        choice: A name of :data:`PRESETS`, parts, or part to points.
        num_points: Part name to its number of points in the data set; those of the default engine if None.

    Raises:
        JobError: If a preset, part or point does not exist, naming those that do.
    """
    there = {part.name: part.num_points for part in PARTS.values()} if num_points is None else num_points
    chosen = _chosen(choice)
    rows: list[tuple[int, ...] | None] = []
    names: list[tuple[str, str]] = []
    for part, points in chosen.items():
        if part not in there:
            raise JobError(f"part {part!r}: the data set has {', '.join(there) or 'none'}")
        if num_dims(part) != 3:
            raise JobError(f"part {part!r}: has scores, not points of three values: read its column itself")
        known = _point_names(part, there[part])
        taken = None if points is None else tuple(_row(part, known, point) for point in points)
        rows.append(taken)
        names += [(part, known[row]) for row in (range(len(known)) if taken is None else taken)]
    if not names:
        raise JobError("expected at least one point, none was chosen")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise JobError(f"{twice[0]}: point {twice[1]!r} is chosen twice")
    return PointLayout(tuple(chosen), tuple(rows), tuple(names))


def _chosen(choice: Choice) -> Mapping[str, Sequence[str | int] | None]:
    if isinstance(choice, str):
        if choice not in PRESETS:
            raise JobError(f"points {choice!r}: expected parts, or one of {', '.join(PRESETS)}")
        return PRESETS[choice]
    return choice if isinstance(choice, Mapping) else dict.fromkeys(choice)


def _point_names(part: str, count: int) -> tuple[str, ...]:
    known: Part | None = {**PARTS, **EXTRA_PARTS}.get(part)
    if part == "face" and count == REFINED_FACE.num_points:
        known = REFINED_FACE
    if known is not None and known.num_points == count:
        return known.point_names
    return tuple(map(str, range(count)))  # of an engine of somebody's own


def _row(part: str, known: Sequence[str], point: str | int) -> int:
    if isinstance(point, str) and point in known:
        return known.index(point)
    if isinstance(point, int) and 0 <= point < len(known):
        return point
    raise JobError(f"{part}: no point {point!r}: expected one of {', '.join(known[:40])}, or its row")
