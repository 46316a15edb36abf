"""How far two sources are apart in their masks: pixel by pixel, and by the share that each class has."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.errors import JobError
from extraction.landmarks import FOREGROUND_FROM, ClipLandmarks
from storage.masks import Mask, read_mask

_VALUES = 256


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """One class of masks in two sources.

    Attributes:
        number: Of the class: 0 background, 1 person, or the model's own number.
        share_in_a: Of all pixels that were compared, those that have it in A.
        share_in_b: In B.
        overlap: Pixels that have it in both, as a share of those that have it in any (intersection over
            union).
        differ: Pixels that have it in one of them only.
    """

    number: int
    share_in_a: float
    share_in_b: float
    overlap: float
    differ: int


def _no_pixels() -> NDArray[np.int64]:
    return np.zeros((_VALUES, _VALUES), np.int64)


@dataclass(slots=True)
class MaskDifference:
    """How far apart two sources are in their masks.

    Attributes:
        kind: What masks hold: ``"category"`` (a class a pixel) or ``"confidence"`` (of the foreground).
        tolerance: Largest difference of two confidences that counts as none; classes are equal or not.
        only_in_a: Frames in which only A has a mask.
        only_in_b: Frames in which only B has one.
        other_size: Frames whose masks have other sizes.
        frames: Frames whose masks were compared.
        frames_differ: Of these, frames with a pixel that differs.
        worst: Clip and frame with most pixels that differ; "" where none does.
        worst_share: Which share of its pixels that is.
        confusion: int64 (256, 256): pixels by their values in A and in B.
    """

    kind: str
    tolerance: float
    only_in_a: int = 0
    only_in_b: int = 0
    other_size: int = 0
    frames: int = 0
    frames_differ: int = 0
    worst: str = ""
    worst_share: float = 0.0
    confusion: NDArray[np.int64] = field(default_factory=_no_pixels)

    @property
    def pixels(self) -> int:
        """That were compared."""
        return int(self.confusion.sum())

    @property
    def differ(self) -> int:
        """Pixels that differ: have another class, or a confidence that is farther off than the tolerance."""
        return int(self.confusion[self._apart() > self._limit()].sum())

    @property
    def max(self) -> float:
        """Largest difference of two confidences, in [0, 1]; of classes 1 where any differs."""
        apart = self._apart()[self.confusion > 0]
        return float(apart.max(initial=0) / self._unit())

    @property
    def mean(self) -> float:
        """Mean difference over all pixels; of classes the share that differs."""
        return float((self.confusion * self._apart()).sum() / self._unit() / max(self.pixels, 1))

    @property
    def classes(self) -> list[ClassDifference]:
        """Every class that is in any of them; of confidences background and foreground."""
        by_class = self.confusion
        if self.kind != "category":
            halves = np.add.reduceat(by_class, [0, FOREGROUND_FROM], axis=0)
            by_class = np.add.reduceat(halves, [0, FOREGROUND_FROM], axis=1)
        in_a, in_b, both = by_class.sum(axis=1), by_class.sum(axis=0), np.diagonal(by_class)
        total = max(self.pixels, 1)
        found = []
        for number in np.flatnonzero(in_a + in_b).tolist():
            a, b, common = int(in_a[number]), int(in_b[number]), int(both[number])
            overlap = common / (a + b - common)
            found.append(ClassDifference(number, a / total, b / total, overlap, a + b - 2 * common))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For machines: everything but the counts by value."""
        names = (
            *("kind", "frames", "pixels", "differ", "max", "mean", "frames_differ"),
            *("only_in_a", "only_in_b", "other_size", "worst", "worst_share"),
        )
        classes = [{name: getattr(one, name) for name in ClassDifference.__slots__} for one in self.classes]
        return {**{name: getattr(self, name) for name in names}, "classes": classes}

    def add(self, name: str, a: ClipLandmarks, b: ClipLandmarks) -> bool:
        """Compares the masks of a clip.

        Args:
            name: Of the clip.
            a: Its frames in A.
            b: As many frames in B.

        Returns:
            Whether they are the same.

        Raises:
            JobError: If a mask cannot be decoded.
        """
        is_same = True
        for frame in range(len(a)):
            is_same &= self._add_frame(name, frame, _mask(a, frame), _mask(b, frame))
        return is_same

    def _add_frame(
        self, name: str, frame: int, a: tuple[bytes, Any] | None, b: tuple[bytes, Any] | None
    ) -> bool:
        if a is None or b is None:
            self.only_in_a += a is not None
            self.only_in_b += b is not None
            return a is b
        mask_a = _read(*a, name, frame)
        mask_b = mask_a if a == b else _read(*b, name, frame)
        if mask_a.shape != mask_b.shape:
            self.other_size += 1
            return False
        pairs = mask_a.astype(np.int64).ravel() * _VALUES + mask_b.ravel()
        counted = np.bincount(pairs, minlength=_VALUES**2).reshape(_VALUES, _VALUES)
        self.confusion += counted
        self.frames += 1
        differ = int(counted[self._apart() > self._limit()].sum())
        if differ:
            self.frames_differ += 1
            if differ / mask_a.size > self.worst_share:
                self.worst, self.worst_share = f"{name}, frame {frame}", differ / mask_a.size
        return not differ

    def _apart(self) -> NDArray[np.int64]:
        """int64 (256, 256): how far each pair of values is apart."""
        values = np.arange(_VALUES)
        if self.kind == "category":
            return np.asarray(values[:, np.newaxis] != values, np.int64)
        return np.asarray(np.abs(values[:, np.newaxis] - values), np.int64)

    def _limit(self) -> float:
        return 0 if self.kind == "category" else self.tolerance * self._unit()

    def _unit(self) -> int:
        return 1 if self.kind == "category" else _VALUES - 1


def _mask(marks: ClipLandmarks, frame: int) -> tuple[bytes, tuple[int, int]] | None:
    png = None if marks.masks_png is None else marks.masks_png[frame]
    width, height = marks.frame_sizes_px[frame].tolist()
    return None if png is None else (png, (width, height))


def _read(png: bytes, size_px: tuple[int, int], name: str, frame: int) -> Mask:
    try:
        return read_mask(png, size_px)
    except ValueError as error:
        raise JobError(
            f"{name!r}: the mask of frame {frame} {error}: `landmarks verify` on this data set alone says "
            "more"
        ) from error
