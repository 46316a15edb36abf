"""The plan: which clip goes into which shard, decided before any work and kept for every later run.

It is a table from end to end, since there may be a million clips: a clip becomes an object where it is
found and where it is extracted, and not in between.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from extraction.clips import Clip
from storage.cutting import cut
from storage.schema import PLAN_SCHEMA

UNKNOWN_VIDEO_FRAMES = 250
"""Weight of a video whose container does not say how long it is."""

_COLUMNS = [field.name for field in fields(Clip)]
_CLIP_SCHEMA = pa.schema([PLAN_SCHEMA.field(name) for name in _COLUMNS])
_SHARD = PLAN_SCHEMA.field("shard")


class Plan:
    """Every clip of the data set with its shard, sorted by shard.

    Args:
        clips: All clips.
        shards: The shard of each.

    Attributes:
        table: The same in the schema of plans.
    """

    __slots__ = ("table",)

    def __init__(self, clips: Sequence[Clip] = (), shards: Sequence[int] = ()) -> None:
        self.table: pa.Table = tabulated(clips).append_column(_SHARD, pa.array(shards, _SHARD.type))

    @classmethod
    def of(cls, table: pa.Table) -> "Plan":
        """The plan that a table in the schema of plans is."""
        plan = cls.__new__(cls)
        plan.table = table
        return plan

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and bool(self.table.equals(other.table))

    __hash__ = None  # type: ignore[assignment]

    @property
    def clips(self) -> tuple[Clip, ...]:
        """All clips as objects, made anew each time: a million take 10 s and most of a gigabyte."""
        return tuple(to_clips(self.table))

    @property
    def shards(self) -> tuple[int, ...]:
        """The shard of each clip."""
        return tuple(self.table["shard"].to_pylist())

    def shard_of(self) -> dict[str, int]:
        """Clip id to shard."""
        return dict(zip(self.table["clip_id"].to_pylist(), self.shards, strict=True))

    def by_shard(self) -> dict[int, list[Clip]]:
        """Shard to its clips, in order."""
        members: dict[int, list[Clip]] = {}
        for clip, shard in zip(self.clips, self.shards, strict=True):
            members.setdefault(shard, []).append(clip)
        return members


@dataclass(frozen=True, slots=True)
class Revision:
    """A plan brought up to date.

    Attributes:
        plan: To be written before any work.
        to_do: Shards that this run has to make, the longest first.
        changed: Ids of finished clips whose input is no longer what was extracted.
        clips_to_do: Clips in the shards to make.
        frames_to_do: Frames to reckon with for them.
    """

    plan: Plan
    to_do: tuple[int, ...]
    changed: tuple[str, ...]
    clips_to_do: int
    frames_to_do: int


def revise(
    plan: Plan,
    clips: Sequence[Clip] | pa.Table,
    done: Collection[int],
    retry: Collection[str] = (),
    workers: int = 1,
) -> Revision:
    """Brings a plan up to date with what this run is to do.

    A clip in a shard that stands stays there. A clip that waits keeps its shard, with the input as it is
    now; only where a run takes some clips of a waiting shard and not others is that shard dissolved, so
    that its file can never stand for clips that are not in it, and where its clips now belong to several
    splits. New clips, and failed clips to be tried again, get new shards. Numbers are never used twice.

    Args:
        plan: As it stands; empty at first.
        clips: What this run is to extract, in natural order, each id once; or these as a table.
        done: Shards that stand.
        retry: Ids of failed clips to try again although their shard stands.
        workers: How many share the work; it is cut for them.

    Returns:
        The plan to write, and what to do.
    """
    old, now = plan.table.select(_COLUMNS), clips if isinstance(clips, pa.Table) else tabulated(clips)
    shards = plan.table["shard"].to_numpy()
    row_now = _positions(old["clip_id"], now["clip_id"])
    wanted = row_now >= 0
    stands = np.isin(shards, np.fromiter(done, np.int64, len(done)))
    whole, idle = _waiting_shards(shards, wanted, row_now, now)
    to_retry = _is_in(old["clip_id"], retry)
    again = stands & to_retry & wanted
    updated = whole & ~stands
    dissolved = ~(stands | whole | idle)
    kept = np.flatnonzero((stands & ~again) | (~stands & (whole | idle)))

    is_new = np.ones(now.num_rows, np.bool_)
    is_new[row_now[wanted]] = False
    fresh = np.concatenate([row_now[again | (dissolved & wanted)], np.flatnonzero(is_new)])
    postponed = np.flatnonzero(dissolved & ~wanted)
    # Rows of the two tables one behind the other, in the order of the new plan.
    both, behind = pa.concat_tables([old, now]), old.num_rows
    rows, numbers = [np.where(updated[kept], behind + row_now[kept], kept)], [shards[kept]]
    first_fresh = max(int(shards.max(initial=-1)), max(done, default=-1)) + 1
    first_postponed = first_fresh + _add_shards(rows, numbers, both, behind + fresh, first_fresh, workers)
    _add_shards(rows, numbers, both, postponed, first_postponed, workers)

    table = both.take(pa.array(np.concatenate(rows)))
    shard = np.concatenate(numbers)
    revised = Plan.of(table.append_column(_SHARD, pa.array(shard, _SHARD.type)))
    to_do = np.isin(shard, shards[updated]) | ((shard >= first_fresh) & (shard < first_postponed))
    frames = weights(table)[to_do]
    finished = np.flatnonzero(stands & wanted & ~to_retry)
    before = old["fingerprint"].take(pa.array(finished))
    is_changed = pc.not_equal(before, now["fingerprint"].take(pa.array(row_now[finished])))
    return Revision(
        revised,
        _longest_first(shard[to_do], frames),
        tuple(old["clip_id"].take(pa.array(finished)).filter(is_changed).to_pylist()),
        int(to_do.sum()),
        int(frames.sum()),
    )


def _waiting_shards(
    shards: NDArray[np.int32], wanted: NDArray[np.bool_], row_now: NDArray[np.int64], now: pa.Table
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether all clips of a row's shard are wanted and of one split now, and whether none is wanted."""
    _, group = np.unique(shards, return_inverse=True)
    size, taken = np.bincount(group), np.bincount(group, wanted)
    lowest, highest = np.full(len(size), np.iinfo(np.int64).max), np.full(len(size), -1)
    split = _codes(now["split"])[row_now[wanted]]
    np.minimum.at(lowest, group[wanted], split)
    np.maximum.at(highest, group[wanted], split)
    return ((taken == size) & (lowest == highest))[group], (taken == 0)[group]


def _add_shards(
    rows: list[NDArray[np.int64]],
    numbers: list[NDArray[np.int64]],
    clips: pa.Table,
    chosen: NDArray[np.int64],
    first: int,
    workers: int,
) -> int:
    """Cuts some clips into new shards from a number on; returns how many."""
    members = clips.select(["kind", "num_frames", "split"]).take(pa.array(chosen))
    cuts = cut(weights(members), _codes(members["split"]), workers)
    rows += [chosen[positions] for positions in cuts]
    numbers += [np.full(len(positions), first + index) for index, positions in enumerate(cuts)]
    return len(cuts)


def _longest_first(shard: NDArray[np.int64], frames: NDArray[np.int64]) -> tuple[int, ...]:
    numbers, group = np.unique(shard, return_inverse=True)
    return tuple(numbers[np.argsort(-np.bincount(group, frames), kind="stable")].tolist())


def weights(clips: pa.Table) -> NDArray[np.int64]:
    """Frames to reckon with for each clip of a table in the schema of plans: int64 (N,)."""
    frames = clips["num_frames"].to_numpy()
    is_video = pc.equal(clips["kind"], "video").to_numpy()
    return np.where(frames > 0, frames, np.where(is_video, UNKNOWN_VIDEO_FRAMES, 1)).astype(np.int64)


def tabulated(clips: Sequence[Clip]) -> pa.Table:
    """Clips as rows of a plan's table, all but their shards; inverse of :func:`to_clips`."""
    columns = [pa.array(list(map(attrgetter(f.name), clips)), f.type) for f in _CLIP_SCHEMA]
    return pa.Table.from_arrays(columns, schema=_CLIP_SCHEMA)


def to_clips(table: pa.Table) -> list[Clip]:
    """The clips in rows of a plan's table."""
    return [Clip(**row) for row in table.select(_COLUMNS).to_pylist()]


def expect_sound(table: pa.Table) -> None:
    """Makes sure that a table in the schema of plans is a plan.

    Raises:
        ValueError: If shards are not in order, a clip stands twice, or a row is no clip.
        TypeError: The same, where a value is missing.
    """
    shards = table["shard"]
    if shards.null_count or (np.diff(shards.to_numpy(), prepend=0) < 0).any():
        raise ValueError("shards are not numbered in order")
    # Whatever is not plainly sound the clip itself judges, in its own words.
    to_clips(table.filter(~pc.coalesce(_plainly_sound(), False)))
    if pc.count_distinct(table["clip_id"]).as_py() != table.num_rows:
        raise ValueError("a clip is planned twice")


def _plainly_sound() -> pc.Expression:
    """What :class:`Clip` asks of itself, of a million at once."""
    names = (pc.utf8_length(pc.field("clip_id")) > 0) & (pc.utf8_length(pc.field("uri")) > 0)
    kind = pc.field("kind").isin(["frames", "video"]) & (pc.field("num_frames") >= 0)
    fps = pc.coalesce((pc.field("fps") > 0) & (pc.field("fps") < np.inf), pc.field("fps").is_null())
    frames, no_frames = _sound_range("start_frame", "end_frame")
    times, no_times = _sound_range("start_ms", "end_ms")
    return names & kind & fps & frames & times & (no_frames | no_times)


def _sound_range(start: str, end: str) -> tuple[pc.Expression, pc.Expression]:
    """Whether a range begins at 0 or later and ends behind its beginning, and whether there is none."""
    first, last = pc.coalesce(pc.field(start), 0), pc.field(end)
    is_sound = (first >= 0) & (first < np.inf) & (last.is_null() | ((last > first) & (last < np.inf)))
    return is_sound, pc.field(start).is_null() & last.is_null()


def _positions(ids: pa.ChunkedArray, among: pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each id stands among others, -1 where it does not: int64 (N,)."""
    positions: NDArray[np.int64] = pc.fill_null(pc.index_in(ids, among), -1).to_numpy().astype(np.int64)
    return positions


def _is_in(ids: pa.ChunkedArray, some: Collection[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(ids, pa.array(list(some), pa.string())).to_numpy()
    return found


def _codes(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """Numbers of equal names, null among them, from 0 in the order in which they come: int64 (N,)."""
    encoded = names.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


__all__ = ["Plan", "Revision", "expect_sound", "revise", "tabulated", "to_clips", "weights"]
