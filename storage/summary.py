"""What stands in a data set, counted: progress, and detection rates by split and by clip."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from extraction.landmarks import ClipLandmarks, FrameStatus
from storage import running
from storage.dataset import NO_SPLIT, Dataset
from storage.plan import weights
from storage.rows import decode
from storage.schema import PER_CLIP_LISTS, has_masks, num_points, part_shapes


@dataclass(slots=True)
class SplitProgress:
    """Counts of one split. Frames are as planned: exact for folders, what the container claims for videos."""

    split: str
    clips: int = 0
    done: int = 0
    failed: int = 0
    to_do: int = 0
    frames: int = 0
    frames_to_do: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a data set is.

    Attributes:
        splits: Counts by split.
        job: The job at work on it: host, pid, started; None where there is none.
        workers: What each of its workers does.
        frames_per_second: Of all workers together, in their present shards; None where unknown.
        seconds_left: At that rate; None where unknown.
    """

    splits: tuple[SplitProgress, ...]
    job: dict[str, Any] | None
    workers: tuple[running.WorkerStatus, ...]
    frames_per_second: float | None
    seconds_left: float | None


def progress(dataset: Dataset) -> Progress:
    """Counts clips done, failed and to do; works while a job runs and after."""
    job = running.running_job(dataset.store)
    workers = tuple(running.reports(dataset.store)) if job else ()
    splits, _ = count_plan(dataset)
    done = dataset.done()
    active = [worker for worker in workers if worker.shard not in done]
    rate = sum(
        (w.frames - w.kept_frames) / (time.time() - w.shard_started)
        for w in active
        if time.time() > w.shard_started
    )
    left = sum(split.frames_to_do for split in splits) - sum(worker.frames for worker in active)
    return Progress(
        splits=splits,
        job=job,
        workers=tuple(active),
        frames_per_second=rate or None,
        seconds_left=max(left, 0) / rate if rate else None,
    )


def count_plan(dataset: Dataset) -> tuple[tuple[SplitProgress, ...], pa.Table]:
    """Counts clips done, failed and to do by split.

    Args:
        dataset: Whose.

    Returns:
        The counts, and the failures in their schema.

    Raises:
        JobError: If the plan is damaged, or missing although shards stand.
    """
    plan = dataset.plan()
    # In this order: of a shard that is finished in between, no failure is counted before its clips.
    failures = dataset.failures(plan)
    done = dataset.done()
    failed = Counter(pc.fill_null(failures["split"], NO_SPLIT).to_pylist())
    split = pc.fill_null(plan.table["split"], NO_SPLIT).combine_chunks().dictionary_encode()
    names = split.dictionary.to_pylist()
    frames = weights(plan.table)
    waits = ~np.isin(plan.table["shard"].to_numpy(), np.fromiter(done, np.int64, len(done)))

    def by_split(values: NDArray[Any]) -> list[int]:
        sums = np.bincount(split.indices.to_numpy(), values, len(names))
        return [int(one) for one in sums.tolist()]

    counts = zip(
        names,
        by_split(np.ones(len(frames))),
        by_split(waits),
        by_split(frames),
        by_split(frames * waits),
        strict=True,
    )
    return tuple(
        SplitProgress(name, clips, clips - to_do - failed[name], failed[name], to_do, planned, left)
        for name, clips, to_do, planned, left in sorted(counts)
    ), failures


@dataclass(slots=True)
class Detection:
    """What was found in a set of clips.

    Attributes:
        name: Of the split or clip.
        clips: Clips.
        frames: Frame positions.
        ok: Frames with somebody found.
        nobody: Frames that were read, with nobody found.
        unreadable: Frames that could not be read.
        present: Part name to the number of frames it was found in.
        retried: Clips that took more than one attempt.
        extract_ms: Time their extraction took, summed over workers.
    """

    name: str
    clips: int = 0
    frames: int = 0
    ok: int = 0
    nobody: int = 0
    unreadable: int = 0
    present: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    extract_ms: float = 0.0

    def rate(self, part: str) -> float:
        """Share of readable frames in which a part was found."""
        return self._share(self.present[part])

    def ok_rate(self) -> float:
        """Share of readable frames with somebody found: a part, or foreground in the mask."""
        return self._share(self.ok)

    def _share(self, frames: int) -> float:
        readable = self.frames - self.unreadable
        return frames / readable if readable else 0.0


def detections(dataset: Dataset, by_clip: bool = False) -> list[Detection]:
    """Counts what was found by split, or by clip; reads no coordinates."""
    groups: dict[str, Detection] = {}
    for batch, part_names in _presence_batches(dataset):
        keys = batch.column("clip_id" if by_clip else "split").dictionary_encode()
        by_key = partial(_summed, keys.indices.to_numpy(), len(keys.dictionary))
        status = _counts_by_row(batch, "frame_status", len(FrameStatus))
        # What is known of a clip stands in each of its rows.
        is_first = batch.column("first_frame").to_numpy() == 0
        retried = is_first & (batch.column("attempts").to_numpy() > 1)
        sums = {
            "clips": by_key(is_first),
            "frames": by_key(status.sum(axis=1)),
            **{state.name.lower(): by_key(status[:, state]) for state in FrameStatus},
            "retried": by_key(retried),
        }
        extract_ms = by_key(batch.column("extract_ms").to_numpy() * is_first)
        present = {part: by_key(_counts_by_row(batch, f"{part}_present", 2)[:, 1]) for part in part_names}
        for index, key in enumerate(keys.dictionary.to_pylist()):
            group = groups.setdefault(key, Detection(key))
            for name, values in sums.items():
                setattr(group, name, getattr(group, name) + int(values[index]))
            group.extract_ms += float(extract_ms[index])
            group.present.update({part: int(values[index]) for part, values in present.items()})
    return sorted(groups.values(), key=lambda group: group.name)


def _summed(group: NDArray[np.int64], num_groups: int, values: NDArray[Any]) -> NDArray[Any]:
    """The sum of the values of each group: float64 (num_groups,)."""
    return np.bincount(group, values, num_groups)


def _presence_batches(dataset: Dataset) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    clips = dataset.clips()
    parts = list(num_points(clips.schema))
    columns = ["clip_id", "split", "first_frame", "attempts", "extract_ms", "frame_status"]
    columns += [f"{part}_present" for part in parts]
    for batch in clips.to_batches(columns=columns, batch_size=1024):
        yield batch, parts


def _counts_by_row(batch: pa.RecordBatch, name: str, num_values: int) -> NDArray[np.int64]:
    """How often each value 0 .. num_values-1 occurs in each row's list: int64 (rows, num_values)."""
    column = batch.column(name)
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(column)), lengths)
    return np.bincount(rows * num_values + values, minlength=len(column) * num_values).reshape(-1, num_values)


def missing_stretches(landmarks: ClipLandmarks, part: str) -> list[tuple[int, int]]:
    """Runs of frames in which a part was not found.

    Args:
        landmarks: Of a clip.
        part: Which part.

    Returns:
        First and last position of each run, counted from the clip's first frame.
    """
    absent = np.concatenate([[False], ~landmarks.present(part), [False]]).astype(np.int8)
    starts = np.flatnonzero(np.diff(absent) == 1) + landmarks.first_frame
    ends = np.flatnonzero(np.diff(absent) == -1) - 1 + landmarks.first_frame
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class ClipDescription:
    """What stands in the rows of one clip.

    Attributes:
        clip_id: Of the clip.
        num_frames: Frame positions in all its rows.
        num_rows: Its rows: one, or several for a long video.
        columns: Name and value of every column that has one entry a clip, from its first row.
        frame_status: Status name to number of frames.
        shapes: Part name to the shape of its array.
        detection_rates: Part name to the share of readable frames in which it was found.
        missing: Part name to first and last position of each run of frames without it.
        masks: Number of frames with a segmentation mask; None where the engine makes none.
        frame_errors: Name and error of each unreadable frame.
    """

    clip_id: str
    num_frames: int
    num_rows: int
    columns: dict[str, Any]
    frame_status: dict[str, int]
    shapes: dict[str, tuple[int, int, int]]
    detection_rates: dict[str, float]
    missing: dict[str, list[tuple[int, int]]]
    masks: int | None
    frame_errors: list[tuple[str, str]]


def describe(dataset: Dataset, clip_id: str) -> ClipDescription:
    """Describes one clip.

    Raises:
        JobError: If it is not there, saying what became of it.
    """
    table = dataset.read_clip(clip_id)
    pieces = [decode(table, index) for index in range(table.num_rows)]
    parts = part_shapes(table.schema)
    frames = sum(map(len, pieces))
    status = {s.name.lower(): sum(int((p.frame_status == s).sum()) for p in pieces) for s in FrameStatus}
    readable = max(frames - status["unreadable"], 1)
    named_errors = (zip(p.frame_names, p.frame_errors, strict=True) for p in pieces)
    return ClipDescription(
        clip_id=clip_id,
        num_frames=frames,
        num_rows=len(pieces),
        columns={
            f.name: table[f.name][0].as_py()
            for f in table.schema
            if f.name in PER_CLIP_LISTS or not pa.types.is_list(f.type)
        },
        frame_status=status,
        shapes={part: (frames, *shape) for part, shape in parts.items()},
        detection_rates={part: sum(int(p.present(part).sum()) for p in pieces) / readable for part in parts},
        missing={part: _joined(missing_stretches(piece, part) for piece in pieces) for part in parts},
        masks=(
            sum(mask is not None for piece in pieces for mask in piece.masks_png or ())
            if has_masks(table.schema)
            else None
        ),
        frame_errors=[(name, error) for pairs in named_errors for name, error in pairs if error],
    )


def _joined(runs_by_piece: Iterable[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Runs of all pieces; one that goes on in the next piece is one run."""
    joined: list[tuple[int, int]] = []
    for runs in runs_by_piece:
        for first, last in runs:
            if joined and joined[-1][1] == first - 1:
                first = joined.pop()[0]
            joined.append((first, last))
    return joined
