"""Samples and batches for PyTorch: clips of about equal length together, the rest padded and masked."""

import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from extraction.errors import JobError
from storage.clip_index import ABOUT
from storage.signals import batches_by_length

Sample = dict[str, Any]
"""``points``: float32 (T, N, 3); ``mask``: bool (T, N), where there is a point; ``clip_id``, ``split``,
``num_frames``, and the columns of :data:`storage.clip_index.ABOUT`, None where unknown."""


def pytorch() -> Any:
    """The module torch, an extra of this project.

    Raises:
        JobError: If it is not installed.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise JobError(
            "reading clips into tensors needs PyTorch, which is not installed here: pip install torch "
            "(storage.clip_index reads into NumPy arrays without it)"
        ) from error


class LengthBatchSampler:
    """Batches of clips of about equal length, in another order each epoch: ``batch_sampler`` of a DataLoader.

    Args:
        lengths: Frames of each clip: :attr:`LandmarkDataset.lengths`.
        batch_size: Clips a batch.
        seed: Of the order, together with the epoch.
        rank: Of this process.
        num_ranks: How many processes share the batches: the same number each, the last few left out of an
            epoch where they do not share evenly.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> None:
        self._lengths = list(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._num_ranks = rank, num_ranks
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses another order for the next time through."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self._batch_size) // self._num_ranks

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        batches = list(batches_by_length(self._lengths, self._batch_size, rng))
        return iter(batches[self._rank :: self._num_ranks][: len(self)])


def collate(samples: Sequence[Sample], fill: float = math.nan) -> Sample:
    """Clips of different lengths as one batch: ``collate_fn`` of a DataLoader.

    Args:
        samples: Of one layout.
        fill: What stands behind the end of shorter clips, and for what is absent; the mask says where. A
            network cannot take NaN: give ``functools.partial(collate, fill=0.0)``.

    Returns:
        ``points`` float32 (B, T, N, 3), ``mask`` bool (B, T, N), ``num_frames`` int64 (B,), and a list of B
        values for everything else.
    """
    torch = pytorch()
    longest = max(sample["num_frames"] for sample in samples)
    first = samples[0]["points"]
    points = torch.full((len(samples), longest, *first.shape[1:]), fill, dtype=first.dtype)
    mask = torch.zeros((len(samples), longest, first.shape[1]), dtype=torch.bool)
    for row, sample in enumerate(samples):
        points[row, : sample["num_frames"]] = sample["points"]
        mask[row, : sample["num_frames"]] = sample["mask"]
    batch: Sample = {name: [sample[name] for sample in samples] for name in ("clip_id", "split", *ABOUT)}
    batch["num_frames"] = torch.tensor([sample["num_frames"] for sample in samples])
    batch["points"] = points if math.isnan(fill) else points.nan_to_num(nan=fill)
    batch["mask"] = mask
    return batch
