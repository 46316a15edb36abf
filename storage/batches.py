"""Samples and batches for PyTorch: clips of about equal length together, the rest padded and masked."""

import importlib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from extraction.errors import JobError
from storage.signals import batches_by_length

Sample = dict[str, Any]
"""``points``: float32 (T, N, 3); ``mask``: bool (T, N), where there is a point; ``fill``: what stands for
absent; ``clip_id``, ``split``, ``num_frames``, and the columns of :data:`storage.clip_index.ABOUT`, None
where unknown."""


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


def own_rank(rank: int | None, num_ranks: int | None) -> tuple[int, int]:
    """Which of how many processes this is: as it was said, or else as torch.distributed knows; 0 of 1 alone.

    Raises:
        JobError: If rank and number do not fit together.
    """
    if rank is None and num_ranks is None:
        distributed = pytorch().distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    if rank is None or num_ranks is None or not 0 <= rank < num_ranks:
        raise JobError(
            f"expected rank below num_ranks, or neither, found {rank} and {num_ranks}: count ranks from 0"
        )
    return rank, num_ranks


def expect_count(name: str, value: object, least: int) -> None:
    """Makes sure that a number is a whole one, and large enough.

    Raises:
        JobError: If it is not.
    """
    try:
        is_good = not isinstance(value, bool) and operator.index(value) >= least  # type: ignore[arg-type]
    except TypeError:
        is_good = False
    if not is_good:
        raise JobError(f"{name}: expected a whole number, {least} or more, found {value!r}: mend it")


UNEVEN = ("drop", "repeat", "keep")


class LengthBatchSampler:
    """Batches of clips of about equal length, in another order each epoch: ``batch_sampler`` of a DataLoader.

    Of one process every clip comes exactly once an epoch, in a last batch that may be smaller.

    Args:
        lengths: Frames of each clip: :attr:`LandmarkDataset.lengths`.
        batch_size: Clips a batch.
        seed: Of the order, together with the epoch; the same on every rank.
        rank: Of this process; what torch.distributed says if None, 0 where that is not in use.
        num_ranks: How many processes share the batches; as for ``rank``.
        drop_last: Leaves out the batch that is smaller than the others.
        uneven: What becomes of the last batches where ranks cannot share them evenly: ``"drop"`` leaves them
            out, others in each epoch; ``"repeat"`` gives some ranks a batch that another one has too; both
            give each rank equally many, as DistributedDataParallel needs. ``"keep"`` gives some ranks one
            more: every clip exactly once, as an evaluation needs.

    Raises:
        JobError: If a number or word makes no sense, or no rank would get a batch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        num_ranks: int | None = None,
        drop_last: bool = False,
        uneven: str = "drop",
    ) -> None:
        expect_count("batch_size", batch_size, 1)
        expect_count("seed", seed, 0)
        if uneven not in UNEVEN:
            raise JobError(f"uneven: expected one of {', '.join(UNEVEN)}, found {uneven!r}: mend it")
        self._lengths = list(lengths)
        self._batch_size = int(batch_size)
        self._seed = int(seed)
        self._rank, self._num_ranks = own_rank(rank, num_ranks)
        self._drop_last = drop_last
        self._uneven = uneven
        self._epoch = 0
        if not self._num_shared():
            raise self._without_batches()

    def set_epoch(self, epoch: int) -> None:
        """Chooses another order for the next time through; call it on every rank with the same number.

        Raises:
            JobError: If it is negative.
        """
        expect_count("epoch", epoch, 0)
        self._epoch = int(epoch)

    def __len__(self) -> int:
        return len(range(self._rank, self._num_shared(), self._num_ranks))

    def _num_shared(self) -> int:
        """Batches that all ranks have together."""
        clips, size, ranks = len(self._lengths), self._batch_size, self._num_ranks
        batches = clips // size if self._drop_last else math.ceil(clips / size)
        if self._uneven == "drop":
            return batches // ranks * ranks
        return math.ceil(batches / ranks) * ranks if self._uneven == "repeat" else batches

    def _without_batches(self) -> JobError:
        clips, size, ranks = len(self._lengths), self._batch_size, self._num_ranks
        if not clips:
            return JobError("lengths: expected those of one clip or more, found none: read another split")
        if self._drop_last and clips < size:
            return JobError(
                f"batch_size {size} with drop_last: expected {size} clips or more, found {clips}, which make "
                "no whole batch: lower batch_size, or leave drop_last out"
            )
        batches = clips // size if self._drop_last else math.ceil(clips / size)
        return JobError(
            f"expected a batch or more for each of {ranks} ranks, found {batches} of up to {size} clips "
            f"(there are {clips}), so that every epoch would be empty: lower batch_size, use fewer ranks, or "
            'give uneven="repeat"'
        )

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        batches = list(batches_by_length(self._lengths, self._batch_size, rng))
        if self._drop_last:
            batches = [batch for batch in batches if len(batch) == self._batch_size]
        own = range(self._rank, self._num_shared(), self._num_ranks)
        return (batches[position % len(batches)] for position in own)


def collate(samples: Sequence[Sample], fill: float | None = None) -> Sample:
    """Clips of different lengths as one batch: ``collate_fn`` of a DataLoader.

    Args:
        samples: Of one layout.
        fill: What stands behind the end of shorter clips, and for what is absent; the mask says where. The
            ``fill`` of the data set if None. A network cannot take NaN: give the data set ``fill=0.0``, or
            ``functools.partial(collate, fill=0.0)`` here.

    Returns:
        ``points`` float32 (B, T, N, 3), ``mask`` bool (B, T, N), ``num_frames`` int64 (B,), ``fill``, and a
        list of B values for everything else. Of arrays and tensors that a transform added to its sample,
        those with an entry a frame are padded as the points are, whole numbers with 0, and those of one
        shape are stacked.

    Raises:
        ValueError: If there is no sample, or they are of several layouts.
    """
    torch = pytorch()
    _expect_one_layout(samples)
    own = float(samples[0].get("fill", math.nan)) if fill is None else float(fill)
    lengths = [len(sample["points"]) for sample in samples]
    batch: Sample = {"fill": own}
    for name in dict.fromkeys(name for sample in samples for name in sample if name != "fill"):
        batch[name] = _joined([sample.get(name) for sample in samples], lengths, own)
    batch["num_frames"] = torch.tensor(lengths)
    if fill is not None:
        absent = batch["points"].isnan() | ~batch["mask"][..., None]
        batch["points"] = batch["points"].masked_fill(absent, own)
    return batch


def _expect_one_layout(samples: Sequence[Sample]) -> None:
    shapes = sorted({tuple(sample["points"].shape[1:]) for sample in samples})
    if len(shapes) != 1:
        raise ValueError(
            f"expected samples of one layout, found {', '.join(map(str, shapes)) or 'no sample'}: collate "
            "those of one data set"
        )


def _joined(values: list[Any], lengths: list[int], fill: float) -> Any:
    """One value a sample as a tensor (B, ...) where they are arrays that fit, else as they are."""
    torch = pytorch()
    if not all(isinstance(value, torch.Tensor | np.ndarray) and value.ndim for value in values):
        return values
    if any(isinstance(value, np.ndarray) and value.dtype.kind not in "biuf" for value in values):
        return values
    tensors = [torch.tensor(v) if isinstance(v, np.ndarray) else v for v in values]
    first = tensors[0]
    if any(tensor.shape[1:] != first.shape[1:] or tensor.dtype != first.dtype for tensor in tensors):
        return values
    if [len(tensor) for tensor in tensors] == lengths:
        padding = fill if first.is_floating_point() or first.is_complex() else 0
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=padding)
    return torch.stack(tensors) if all(len(tensor) == len(first) for tensor in tensors) else values
