"""Data sets for PyTorch, straight from the Parquet: by clip, or as a stream over workers and ranks.

torch is an extra: importing this module does not need it, making a data set does.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.batches import LengthBatchSampler, Sample, collate, expect_count, own_rank, pytorch
from storage.clip_index import ClipIndex, ClipPlace, PointReader, read_index
from storage.dataset import Dataset
from storage.decoded_cache import CachedReader
from storage.layout import Choice, PointLayout, point_layout
from storage.signals import Floats, found

Transform = Callable[[Floats, dict[str, Any]], Floats]
"""Gets float32 (T, N, 3) with NaN where absent, and the rest of the sample, to which it may add; returns such
an array, whatever its T."""

_POOL_GROUPS = 16
"""Row groups that are shuffled together: some 64 clips, 4 MB of pose and hands of 60 frames each."""


class _Source:
    """The clips of a data set and how a sample is made of one: what both kinds of data set share."""

    def __init__(
        self,
        location: str | os.PathLike[str],
        points: Choice,
        splits: Sequence[str],
        transform: Transform | None,
        fill: float | None,
        cache: str | os.PathLike[str] | None,
    ) -> None:
        self.location = os.fspath(location)
        dataset = Dataset.open(self.location)
        # On an object store they cost requests, and ids, which come along with what is read, do instead.
        wanted = cache is not None or dataset.store.is_local
        self.index: ClipIndex = read_index(dataset, splits, with_fingerprints=wanted)
        self.layout: PointLayout = point_layout(points, self.index.num_points)
        self.transform = transform
        self.fill = fill
        self._cached = (
            None if cache is None else CachedReader(self.location, self.layout, self.index, os.fspath(cache))
        )

    @property
    def clip_ids(self) -> list[str]:
        """Ids of the clips, in the order in which they are stored."""
        return [place.clip_id for place in self.index.places]

    @property
    def lengths(self) -> list[int]:
        """Frames of each clip, in the same order."""
        return [place.num_frames for place in self.index.places]

    def column(self, name: str) -> list[Any]:
        """What is known of each clip, in the same order; see :data:`storage.clip_index.ABOUT`."""
        return [place.about[name] for place in self.index.places]

    def _reader(self) -> PointReader | CachedReader:
        """For one thread."""
        return self._cached or PointReader(self.location, self.layout, fingerprints=self.index.fingerprints)

    def _sample(self, place: ClipPlace, points: Floats) -> Sample:
        torch = pytorch()
        sample: Sample = {"clip_id": place.clip_id, "split": place.split, **place.about}
        if self.transform is not None:
            points = np.require(self.transform(points, sample), np.float32, ["C", "W"])
        mask = found(points)
        if self.fill is not None:
            points = np.where(np.isnan(points), np.float32(self.fill), points)
        sample["fill"] = math.nan if self.fill is None else self.fill
        sample["num_frames"] = len(points)
        sample["points"] = torch.from_numpy(points)
        sample["mask"] = torch.from_numpy(mask)
        return sample


class LandmarkDataset(_Source):
    """Clips by position or id, in any order: a map-style data set for ``torch.utils.data.DataLoader``.

    A clip is read with the row group it stands in, some four clips, and of that only the parts asked for.

    Args:
        location: OUT of ``landmarks extract``: a folder, or a URI such as ``s3://bucket/folder``.
        points: Which points; see :data:`storage.layout.Choice`.
        splits: Only these; all where empty.
        transform: Applied to each clip before it becomes a tensor.
        fill: What stands for absent; NaN if None. The mask says where, either way.
        cache: A folder on a local disk for decoded clips: each shard is decoded when it is first asked for,
            by whichever process, and never again; see :func:`storage.filling.fill_cache`.

    Attributes:
        layout: Where each point stands.

    Raises:
        JobError: If there is no such data set, split, part or point, or no PyTorch.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        points: Choice = "pose+hands",
        splits: Sequence[str] = (),
        transform: Transform | None = None,
        fill: float | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        pytorch()
        super().__init__(location, points, splits, transform, fill, cache)
        self._points = self._reader()
        self._position_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.index.places)

    def __getitem__(self, key: int | str) -> Sample:
        place = self.index.places[self._position(key) if isinstance(key, str) else key]
        return self._sample(place, self._points.points(place))

    def _position(self, clip_id: str) -> int:
        if not self._position_of:
            self._position_of = {place.clip_id: n for n, place in enumerate(self.index.places)}
        if clip_id not in self._position_of:
            raise KeyError(f"{clip_id}: no such clip among the {len(self)} here")
        return self._position_of[clip_id]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Clips that are read together: the row groups in which they begin, and the order in which they come."""

    units: list[range]
    order: list[int]


class LandmarkStream(_Source):
    """What :class:`LandmarkIterableDataset` does; that one is this with torch's class as its base.

    Each clip comes once an epoch, whatever the numbers of workers and ranks: row groups are dealt out to the
    workers of all ranks. How many clips a rank gets is therefore not always the same.

    Args:
        location: OUT of ``landmarks extract``: a folder, or a URI such as ``s3://bucket/folder``.
        points: Which points; see :data:`storage.layout.Choice`.
        splits: Only these; all where empty.
        transform: Applied to each clip before it becomes a tensor.
        fill: What stands for absent; NaN if None. The mask says where, either way.
        shuffle: Row groups in random order, and the clips of 16 of them at a time; else as they are stored.
        seed: Of that order, together with the epoch.
        rank: Of this process; what torch.distributed says if None, 0 where that is not in use.
        num_ranks: How many processes share the clips; as for ``rank``.
        read_threads: Threads that read ahead; 0 reads in the one that asks.
        cache: As for :class:`LandmarkDataset`.

    Attributes:
        layout: Where each point stands.
        num_clips: Of all ranks together.

    Raises:
        JobError: If there is no such data set, split, part or point, or no PyTorch; if a number makes no
            sense.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        points: Choice = "pose+hands",
        splits: Sequence[str] = (),
        transform: Transform | None = None,
        fill: float | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        num_ranks: int | None = None,
        read_threads: int = 0,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        torch = pytorch()
        expect_count("seed", seed, 0)
        expect_count("read_threads", read_threads, 0)
        own_rank(rank, num_ranks)
        super().__init__(location, points, splits, transform, fill, cache)
        self.shuffle = shuffle
        self.seed = int(seed)
        self._ranks = rank, num_ranks
        self._read_threads = read_threads
        self._units = self.index.by_row_group()
        # Shared, so that set_epoch reaches workers that live for several epochs.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._yielded = 0
        self._behind: tuple[int, int] | None = None
        """Epoch, and how many clips of it the next time through leaves out."""

    def __getstate__(self) -> dict[str, Any]:
        # Workers that are started afresh know nothing of torch.distributed.
        return {**self.__dict__, "_ranks": own_rank(*self._ranks)}

    @property
    def num_clips(self) -> int:
        """Clips of all ranks together."""
        return len(self.index.places)

    def set_epoch(self, epoch: int) -> None:
        """Chooses another order for the next time through; call it on every rank with the same number.

        Raises:
            JobError: If it is negative.
        """
        expect_count("epoch", epoch, 0)
        self._epoch.fill_(int(epoch))
        self._yielded = self._to_skip()

    def state_dict(self) -> dict[str, int]:
        """How far this process is; a worker's own where its data loader asks its workers."""
        return {"epoch": int(self._epoch), "yielded": self._yielded}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Makes the next time through begin behind what was yielded, without reading that again.

        That is so in the epoch that the state is of; one that :meth:`set_epoch` chooses instead comes whole.
        """
        self._behind = int(state["epoch"]), int(state["yielded"])
        self.set_epoch(state["epoch"])

    def _to_skip(self) -> int:
        # Looked up when it matters: workers are told of an epoch by the shared tensor alone.
        return self._behind[1] if self._behind and self._behind[0] == int(self._epoch) else 0

    def __iter__(self) -> Iterator[Sample]:
        skip, self._behind = self._to_skip(), None
        self._yielded = 0
        pools = deque(self._pools())
        while pools and skip - self._yielded >= len(pools[0].order):
            self._yielded += len(pools.popleft().order)
        units = self._read([unit for pool in pools for unit in pool.units])
        for pool in pools:
            points_of = {
                position: points for unit in islice(units, len(pool.units)) for position, points in unit
            }
            again = max(skip - self._yielded, 0)
            self._yielded += again
            for position in pool.order[again:]:
                self._yielded += 1
                yield self._sample(self.index.places[position], points_of.pop(position))

    def _pools(self) -> Iterator[_Pool]:
        """What this worker reads, in the order of its turn."""
        part, parts = self._share()
        epoch = int(self._epoch)
        order = np.arange(len(self._units))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        mine = [self._units[unit] for unit in order[part::parts]]
        rng = np.random.default_rng([self.seed, epoch, part, parts])
        size = _POOL_GROUPS if self.shuffle else 1
        for begin in range(0, len(mine), size):
            units = mine[begin : begin + size]
            clips = [position for unit in units for position in unit]
            yield _Pool(units, rng.permutation(clips).tolist() if self.shuffle else clips)

    def _share(self) -> tuple[int, int]:
        rank, num_ranks = own_rank(*self._ranks)
        worker = pytorch().utils.data.get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        return rank * count + number, num_ranks * count

    def _read(self, units: Sequence[range]) -> Iterator[list[tuple[int, Floats]]]:
        """Position and points of the clips of each row group, in order; threads read ahead of who asks."""
        readers = local()

        def read(unit: range) -> list[tuple[int, Floats]]:
            if not hasattr(readers, "reader"):
                readers.reader = self._reader()
            return [(position, readers.reader.points(self.index.places[position])) for position in unit]

        if not self._read_threads:
            yield from map(read, units)
            return
        waiting: deque[Future[list[tuple[int, Floats]]]] = deque()
        with ThreadPoolExecutor(self._read_threads) as threads:
            for unit in units:
                waiting.append(threads.submit(read, unit))
                if len(waiting) > 2 * self._read_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


@cache
def _iterable_class() -> type[LandmarkStream]:
    """:class:`LandmarkStream` with the base by which a DataLoader knows that it is no map-style data set."""
    bases = (LandmarkStream, pytorch().utils.data.IterableDataset)
    about = {"__module__": __name__, "__doc__": LandmarkStream.__doc__}
    return type("LandmarkIterableDataset", bases, about)


if TYPE_CHECKING:
    LandmarkIterableDataset = LandmarkStream


def __getattr__(name: str) -> Any:
    if name == "LandmarkIterableDataset":
        return _iterable_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "LandmarkDataset",
    "LandmarkIterableDataset",
    "LandmarkStream",
    "LengthBatchSampler",
    "Sample",
    "Transform",
    "collate",
]
