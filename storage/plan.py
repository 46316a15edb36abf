"""The plan: which clip goes into which shard, decided before any work and kept for every later run."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import pyarrow as pa

from extraction.clips import Clip
from storage.schema import PLAN_SCHEMA

MAX_FRAMES_PER_SHARD = 7_000
"""About three minutes of one core at 25 ms a frame: what a kill can cost, and far above a task's 9 ms."""
MIN_FRAMES_PER_SHARD = 50
MAX_CLIPS_PER_SHARD = 64
SHARDS_PER_WORKER = 4
"""In small inputs: enough for the last shards to even out."""
UNKNOWN_VIDEO_FRAMES = 250
"""Weight of a video whose container does not say how long it is."""

_COLUMNS = [field.name for field in fields(Clip)]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every clip of the data set with its shard, sorted by shard.

    Attributes:
        clips: All clips.
        shards: The shard of each.
    """

    clips: tuple[Clip, ...] = ()
    shards: tuple[int, ...] = ()

    def shard_of(self) -> dict[str, int]:
        """Clip id to shard."""
        return {clip.clip_id: shard for clip, shard in zip(self.clips, self.shards, strict=True)}

    def by_shard(self) -> dict[int, list[Clip]]:
        """Shard to its clips, in order."""
        pairs = zip(self.shards, self.clips, strict=True)
        return {
            shard: [clip for _, clip in group] for shard, group in groupby(pairs, key=lambda pair: pair[0])
        }


@dataclass(frozen=True, slots=True)
class Revision:
    """A plan brought up to date.

    Attributes:
        plan: To be written before any work.
        to_do: Shards that this run has to make, the longest first.
        changed: Ids of finished clips whose input is no longer what was extracted.
    """

    plan: Plan
    to_do: tuple[int, ...]
    changed: tuple[str, ...]


def revise(
    plan: Plan, clips: Sequence[Clip], done: Collection[int], retry: Collection[str] = (), workers: int = 1
) -> Revision:
    """Brings a plan up to date with what this run is to do.

    A clip in a shard that stands stays there. A clip that waits keeps its shard, with the input as it is
    now; only where a run takes some clips of a waiting shard and not others is that shard dissolved, so
    that its file can never stand for clips that are not in it, and where its clips now belong to several
    splits. New clips, and failed clips to be tried again, get new shards. Numbers are never used twice.

    Args:
        plan: As it stands; empty at first.
        clips: What this run is to extract, in natural order.
        done: Shards that stand.
        retry: Ids of failed clips to try again although their shard stands.
        workers: How many share the work; small inputs are cut finer for them.

    Returns:
        The plan to write, and what to do.
    """
    wanted = {clip.clip_id: clip for clip in clips}
    kept: list[tuple[int, Clip]] = []
    fresh: list[Clip] = []
    postponed: list[Clip] = []
    changed: list[str] = []
    to_do: set[int] = set()
    for shard, members in plan.by_shard().items():
        if shard in done:
            for clip in members:
                now = wanted.pop(clip.clip_id, None)
                if clip.clip_id in retry and now:
                    fresh.append(now)
                    continue
                kept.append((shard, clip))
                if now and clip.fingerprint != now.fingerprint and clip.clip_id not in retry:
                    changed.append(clip.clip_id)
            continue
        taken = [wanted.pop(clip.clip_id, None) for clip in members]
        if not any(taken):
            kept += [(shard, clip) for clip in members]
        elif all(taken) and len({now.split for now in taken if now}) == 1:
            kept += [(shard, now) for now in taken if now]
            to_do.add(shard)
        else:
            fresh += [now for now in taken if now]
            postponed += [clip for clip, now in zip(members, taken, strict=True) if not now]
    fresh += wanted.values()
    next_shard = max([*plan.shards, *done], default=-1) + 1
    for group in _group(fresh, workers):
        kept += [(next_shard, clip) for clip in group]
        to_do.add(next_shard)
        next_shard += 1
    for group in _group(postponed, workers):
        kept += [(next_shard, clip) for clip in group]
        next_shard += 1
    kept.sort(key=lambda pair: pair[0])
    revised = Plan(tuple(clip for _, clip in kept), tuple(shard for shard, _ in kept))
    weights = {
        shard: sum(map(weight, members)) for shard, members in revised.by_shard().items() if shard in to_do
    }
    order = sorted(weights, key=lambda shard: (-weights[shard], shard))
    return Revision(revised, tuple(order), tuple(changed))


def weight(clip: Clip) -> int:
    """Frames to reckon with for a clip."""
    return clip.num_frames or (UNKNOWN_VIDEO_FRAMES if clip.kind == "video" else 1)


def _group(clips: Sequence[Clip], workers: int) -> Iterator[list[Clip]]:
    """Cuts clips into shards: one split each, in order, about equal in frames."""
    total = sum(map(weight, clips))
    target = min(max(total // (workers * SHARDS_PER_WORKER), MIN_FRAMES_PER_SHARD), MAX_FRAMES_PER_SHARD)
    by_split: dict[str | None, list[Clip]] = {}
    for clip in clips:
        by_split.setdefault(clip.split, []).append(clip)
    for members in by_split.values():
        long = [clip for clip in members if weight(clip) >= target]
        yield from ([clip] for clip in long)
        yield from _cut([clip for clip in members if weight(clip) < target], target)


def _cut(clips: Sequence[Clip], target: int) -> Iterator[list[Clip]]:
    group: list[Clip] = []
    frames = 0
    for clip in clips:
        if group and (frames + weight(clip) > target or len(group) == MAX_CLIPS_PER_SHARD):
            yield group
            group, frames = [], 0
        group.append(clip)
        frames += weight(clip)
    if group:
        yield group


def to_table(plan: Plan) -> pa.Table:
    """A plan as a table; inverse of :func:`from_table`."""
    columns = {name: [getattr(clip, name) for clip in plan.clips] for name in _COLUMNS}
    return pa.table({**columns, "shard": list(plan.shards)}, schema=PLAN_SCHEMA)


def from_table(table: pa.Table) -> Plan:
    """A plan from its table."""
    clips = to_clips(table)
    return Plan(tuple(clips), tuple(table.column("shard").to_pylist()))


def to_clips(table: pa.Table) -> list[Clip]:
    """The clips in rows of a plan table."""
    return [Clip(**row) for row in table.select(_COLUMNS).to_pylist()]


__all__ = ["Plan", "Revision", "from_table", "revise", "to_clips", "to_table", "weight"]
