"""One pass over the columns that hold no coordinates: everything a report counts over all clips."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from extraction.landmarks import FrameStatus
from storage.binning import binned
from storage.dataset import Dataset
from storage.report_records import (
    HANDS,
    MILLISECONDS,
    STRIP_CELLS,
    Doubles,
    Found,
    HandStrip,
    Ints,
    Scan,
    Timing,
    add,
)
from storage.schema import num_points
from storage.summary import Detection

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_ROWS_AT_ONCE = 4096
"""A row group holds 4 clips: too few for vectors to pay."""
_FILES_AT_ONCE = 256
_MAX_REASONS = 1000
_MAX_WORKERS = 10_000
_MAX_WORDS = 20
"""Reasons of losses kept by worker; there are eight or so."""
_SCALARS = (
    *("clip_id", "split", "signer", "fps", "width", "height", "num_frames", "first_frame", "engine"),
    *("mediapipe_version", "delegate", "attempts", "retry_reasons", "host", "worker", "frame_status"),
    *MILLISECONDS,
)
_SHARD = "__filename"


def scan(dataset: Dataset, keep: int, sample: int, seed: int) -> Scan:
    """Counts over all clips; memory holds some thousand rows, and two numbers a clip.

    Args:
        dataset: Whose.
        keep: How many clips of each kind that stands out.
        sample: How many clips to choose by chance, each as likely as any other.
        seed: The same one chooses the same clips.
    """
    clips = dataset.clips()
    parts = list(num_points(clips.schema))
    result, lengths, seconds = Scan(), [], []
    random = np.random.default_rng(seed)
    drawn: list[tuple[float, Found]] = []
    for table in _whole_clips(clips, parts):
        rows = _Rows(table, parts)
        _count_groups(result, rows)
        _count_workers(result, rows)
        _count_rest(result, rows)
        lengths.append(rows.frames)
        seconds.append(rows.frames / np.maximum(rows.numbers("fps"), 1e-9))
        _keep_outstanding(result, rows, keep)
        keys = random.random(rows.clips)
        chosen = np.argsort(keys, kind="stable")[:sample]
        drawn += [(float(keys[index]), rows.found(int(index), 0.0)) for index in chosen]
        drawn = sorted(drawn, key=lambda pair: pair[0])[:sample]
    if lengths:
        result.lengths_frames, result.lengths_s = np.concatenate(lengths), np.concatenate(seconds)
    result.sample = sorted((found for _, found in drawn), key=lambda found: (found.shard, found.clip_id))
    return result


def _whole_clips(clips: "pads.Dataset", parts: list[str]) -> Iterator[pa.Table]:
    """Tables of some thousand rows that no clip of several rows is cut by."""
    columns = [name for name in _SCALARS if name in clips.schema.names]
    columns += [f"{part}_present" for part in parts] + [_SHARD]
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in _batches(clips, columns):
        if rows >= _ROWS_AT_ONCE and batch.num_rows and batch.column("first_frame")[0].as_py() == 0:
            yield pa.Table.from_batches(held).combine_chunks()
            held, rows = [], 0
        held.append(batch)
        rows += batch.num_rows
    if rows:
        yield pa.Table.from_batches(held).combine_chunks()


def _batches(clips: "pads.Dataset", columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows in order. A reader keeps the metadata of all its files, 250 kB each: so it gets some."""
    import pyarrow.dataset as pads

    for first in range(0, len(clips.files), _FILES_AT_ONCE):
        some = pads.dataset(
            clips.files[first : first + _FILES_AT_ONCE],
            schema=clips.schema,
            format="parquet",
            filesystem=clips.filesystem,
            partition_base_dir="clips",
            partitioning=pads.partitioning(pa.schema([("split", pa.string())]), flavor="hive"),
        )
        yield from some.to_batches(columns=columns, batch_size=_ROWS_AT_ONCE)


class _Rows:
    """Some rows, counted by clip."""

    def __init__(self, table: pa.Table, parts: list[str]) -> None:
        first = table["first_frame"].to_numpy() == 0
        first[0] = True
        self.starts = np.flatnonzero(first)
        self.clips = len(self.starts)
        lists = table["frame_status"].combine_chunks()
        offsets = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))])
        self._bounds = np.append(offsets[self.starts], offsets[-1])
        self.status = lists.flatten().to_numpy(zero_copy_only=False)
        self.heads = table.take(pa.array(self.starts)) if self.clips < table.num_rows else table
        self.frames = np.diff(self._bounds)
        self.by_status = {status: self.sums(self.status == status) for status in FrameStatus}
        self.readable = self.frames - self.by_status[FrameStatus.UNREADABLE]
        self.presence = {
            part: table[f"{part}_present"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            for part in parts
        }
        self.present = {part: self.sums(flags) for part, flags in self.presence.items()}

    def sums(self, flags: NDArray[np.bool_]) -> Ints:
        """How many flags of its frames each clip has: int64 (clips,)."""
        running = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
        return np.asarray(running[self._bounds[1:]] - running[self._bounds[:-1]], np.int64)

    def frames_of(self, index: int) -> slice:
        """Where the frames of a clip lie in the arrays of frames."""
        return slice(int(self._bounds[index]), int(self._bounds[index + 1]))

    def numbers(self, column: str) -> Doubles:
        """A column of numbers by clip, 0 where it is null or missing: float64 (clips,)."""
        if column not in self.heads.column_names:
            return np.zeros(self.clips)
        return np.nan_to_num(np.asarray(self.heads[column].cast(pa.float64()), np.float64))

    def names(self, column: str) -> tuple[list[str | None], Ints]:
        """The different entries of a column of text, and which one each clip has."""
        if column not in self.heads.column_names:
            return [None], np.zeros(self.clips, np.int64)
        coded = pc.dictionary_encode(self.heads[column], null_encoding="encode").combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
        return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)

    def found(self, index: int, value: float) -> Found:
        """A clip by its place here."""
        clip_id, split, shard = (self.heads[name][index].as_py() for name in ("clip_id", "split", _SHARD))
        return Found(clip_id, split, shard, value, int(self.frames[index]))


def _count_groups(result: Scan, rows: _Rows) -> None:
    tried_again = rows.numbers("attempts") > 1
    milliseconds = rows.numbers("extract_ms")
    for column, groups in (("split", result.splits), ("signer", result.signers)):
        names, which = rows.names(column)
        clips = np.bincount(which, minlength=len(names))

        def of(values: NDArray[np.generic], which: Ints = which, names: list[str | None] = names) -> Doubles:
            sums = np.bincount(which, weights=values.astype(np.float64), minlength=len(names))
            return np.asarray(sums, np.float64)

        counts = {
            "frames": of(rows.frames),
            "retried": of(tried_again),
            **{status.name.lower(): of(number) for status, number in rows.by_status.items()},
        }
        present = {part: of(number) for part, number in rows.present.items()}
        spent = of(milliseconds)
        for index, name in enumerate(names):
            if name is None or not clips[index]:
                continue
            found = Detection(
                name,
                int(clips[index]),
                **{key: int(values[index]) for key, values in counts.items()},
                present=Counter({part: int(values[index]) for part, values in present.items()}),
                extract_ms=float(spent[index]),
            )
            add(groups.setdefault(name, Detection(name)), found)


def _count_workers(result: Scan, rows: _Rows) -> None:
    (hosts, on_host), (workers, of_worker) = rows.names("host"), rows.names("worker")
    # Every worker has the name of its machine in its own, but a stranger's file need not.
    pairs, which = np.unique(on_host * len(workers) + of_worker, return_inverse=True)
    sums = {
        name: np.bincount(which, weights=values, minlength=len(pairs))
        for name, values in (
            ("frames", rows.frames.astype(np.float64)),
            ("retried", (rows.numbers("attempts") > 1).astype(np.float64)),
            *((name, rows.numbers(name)) for name in MILLISECONDS),
        )
    }
    clips = np.bincount(which, minlength=len(pairs))
    lost = _lost(rows, which)
    for index, pair in enumerate(pairs.tolist()):
        key = hosts[pair // len(workers)] or "", workers[pair % len(workers)] or ""
        if key not in result.workers and len(result.workers) >= _MAX_WORKERS:
            key = "others", ""
        known = result.workers.setdefault(key, Timing(*key, workers=int(bool(key[1]))))
        one = Timing(*key, clips=int(clips[index]), lost=lost[index])
        for name, values in sums.items():
            setattr(one, name, values[index].item())
        one.frames, one.retried = int(one.frames), int(one.retried)
        known.take_in(one)


def _lost(rows: _Rows, which: Ints) -> dict[int, Counter[str]]:
    """Why detectors were lost, in a word, by the number of a worker."""
    lost: dict[int, Counter[str]] = defaultdict(Counter)
    if "retry_reasons" in rows.heads.column_names:
        lists = rows.heads["retry_reasons"].combine_chunks()
        workers = np.repeat(
            which, np.nan_to_num(lists.value_lengths().to_numpy(zero_copy_only=False)).astype(int)
        )
        for worker, reason in zip(workers.tolist(), lists.flatten().to_pylist(), strict=True):
            word = str(reason).removeprefix("start:").partition(":")[0]
            lost[worker][word if word in lost[worker] or len(lost[worker]) < _MAX_WORDS else "others"] += 1
    return lost


def _count_rest(result: Scan, rows: _Rows) -> None:
    keys = [name for name in ("engine", "mediapipe_version", "delegate") if name in rows.heads.column_names]
    for row in rows.heads.group_by(keys).aggregate([([], "count_all")]).to_pylist():
        made = tuple(str(row.get(name) or "") for name in ("engine", "mediapipe_version", "delegate"))
        result.made_with[made[0], made[1], made[2]] += row["count_all"]
    values, counts = np.unique(rows.numbers("attempts").astype(np.int64), return_counts=True)
    result.attempts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    if "retry_reasons" in rows.heads.column_names:
        reasons = pc.value_counts(pc.list_flatten(rows.heads["retry_reasons"])).to_pylist()
        _count_bounded(result.retry_reasons, {r["values"]: r["counts"] for r in reasons}, "others")
    sizes = np.stack([rows.numbers("width"), rows.numbers("height")], axis=1).astype(np.int64)
    pairs, counts = np.unique(sizes, axis=0, return_counts=True)
    found = {(int(w), int(h)): int(n) for (w, h), n in zip(pairs, counts, strict=True)}
    _count_bounded(result.sizes_px, found, (0, 0))


def _count_bounded(counter: Counter, more: Mapping, other: object) -> None:  # type: ignore[type-arg]
    """Adds to a counter; what would make it too long goes to one common entry."""
    for key, number in more.items():
        counter[key if key in counter or len(counter) < _MAX_REASONS else other] += number


def _keep_outstanding(result: Scan, rows: _Rows, keep: int) -> None:
    frames = rows.frames.astype(np.float64)
    unreadable = rows.by_status[FrameStatus.UNREADABLE] / np.maximum(frames, 1)
    for kept, values, sign in (
        (result.longest, frames, 1),
        (result.shortest, frames, -1),
        (result.least_readable, unreadable, 1),
    ):
        best = _top(sign * values, keep)
        kept += [rows.found(int(i), float(values[i])) for i in best if sign < 0 or values[i] > 0]
        kept.sort(key=lambda found: (-sign * found.value, found.clip_id))
        del kept[keep:]
    if not all(hand in rows.presence for hand in HANDS):
        return
    left, right = (rows.presence[hand] for hand in HANDS)
    seen = rows.status != FrameStatus.UNREADABLE
    without, with_one = rows.sums(seen & ~left & ~right), rows.sums(seen & (left ^ right))
    result.frames_without_hand += int(without.sum())
    result.frames_with_one_hand += int(with_one.sum())
    none, one = (number / np.maximum(rows.readable, 1) for number in (without, with_one))
    # Shares first, then how many frames they are of, so that a long clip comes before a short one.
    order = none + 1e-3 * one + 1e-6 * np.minimum(frames / 1e4, 1)
    worst = [int(index) for index in _top(order, keep) if none[index] + one[index] > 0]
    result.worst_hands += [_strip(rows, index, float(none[index]), float(one[index])) for index in worst]
    result.worst_hands.sort(key=lambda s: (-s.found.value, -s.one_missing, -s.found.frames, s.found.clip_id))
    del result.worst_hands[keep:]


def _top(values: Doubles, count: int) -> Ints:
    """Places of the greatest values, the greatest first; of equals the first."""
    if len(values) > 4 * count:
        values_kept = np.argpartition(-values, count)[: 2 * count]
        return np.asarray(values_kept[np.argsort(-values[values_kept], kind="stable")][:count], np.int64)
    return np.asarray(np.argsort(-values, kind="stable")[:count], np.int64)


def _strip(rows: _Rows, index: int, none: float, one: float) -> HandStrip:
    where = rows.frames_of(index)
    unreadable = rows.status[where] == FrameStatus.UNREADABLE
    missing = {hand: _cells(~rows.presence[hand][where] & ~unreadable) for hand in HANDS}
    return HandStrip(rows.found(index, none), one, missing, _cells(unreadable))


def _cells(flags: NDArray[np.bool_]) -> tuple[float, ...]:
    """As short as a page with thousands of them has them."""
    return tuple(round(share, 3) for share in binned(flags, STRIP_CELLS))
