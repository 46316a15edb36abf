"""Which clip of one source is which of another: by names that mean the same in both, and never by a guess."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from extraction.errors import JobError
from storage.exports.inventory import file_name
from storage.imports.source import Source, SourceClip

_Name = Callable[[SourceClip], str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One clip in both sources.

    Attributes:
        name: That both have.
        a: The clip in A.
        b: The clip in B.
    """

    name: str
    a: SourceClip
    b: SourceClip


@dataclass(frozen=True, slots=True)
class Matched:
    """What two sources have in common.

    Attributes:
        pairs: Clips in both, in the order of A.
        only_in_a: Names of clips that only A has, sorted.
        only_in_b: Likewise.
    """

    pairs: tuple[Pair, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]


def match_clips(a: Source, b: Source, splits: Sequence[str] = ()) -> Matched:
    """Finds the clips that are in both.

    Two clips are one if they have the same split and name; else if they have the same id; else if one
    source says nothing of splits and the name without the other's split is the same.

    Args:
        a: One.
        b: The other.
        splits: Only these; all where empty.

    Raises:
        JobError: If a split is not there, or a name may mean two clips.
    """
    all_a, all_b = a.clips(), b.clips()
    clips_a, clips_b = _with_splits(all_a, all_b), _with_splits(all_b, all_a)
    knows = [any(clip.split for _, clip in clips) for clips in (clips_a, clips_b)]
    for source, clips, known in ((a, clips_a, knows[0]), (b, clips_b, knows[1])):
        _expect_splits(source, [clip for _, clip in clips], splits, known)
    rest_a = [pair for pair in clips_a if not splits or pair[1].split_name in splits]
    rest_b = [pair for pair in clips_b if not splits or pair[1].split_name in splits]
    ways: list[_Name] = [_full_name, lambda clip: clip.clip_id, _as_file]
    if knows[0] != knows[1]:
        ways.append(lambda clip: clip.base_name)
    pairs: list[Pair] = []
    for way in ways:
        found = _paired(rest_a, rest_b, way, (a, b))
        pairs += found
        taken_a, taken_b = {id(pair.a) for pair in found}, {id(pair.b) for pair in found}
        rest_a = [pair for pair in rest_a if id(pair[0]) not in taken_a]
        rest_b = [pair for pair in rest_b if id(pair[0]) not in taken_b]
    order = {id(clip): position for position, clip in enumerate(all_a)}
    pairs.sort(key=lambda pair: order[id(pair.a)])
    only = [tuple(sorted(_full_name(clip) for _, clip in rest)) for rest in (rest_a, rest_b)]
    return Matched(tuple(pairs), *only)


_Known = tuple[SourceClip, SourceClip]
"""A clip as its source has it, and the same with a split that the other source names."""


def _with_splits(clips: Sequence[SourceClip], others: Sequence[SourceClip]) -> list[_Known]:
    """A folder of files knows the usual splits by name; which others there are, the other source may know."""
    names = {clip.split for clip in others if clip.split}
    found = []
    for clip in clips:
        first, slash, _ = clip.clip_id.partition("/")
        is_split = clip.split is None and slash and first in names
        found.append((clip, replace(clip, split=first) if is_split else clip))
    return found


def _expect_splits(
    source: Source, clips: Sequence[SourceClip], splits: Sequence[str], knows_splits: bool
) -> None:
    there = {clip.split_name for clip in clips}
    if missing := sorted(set(splits) - there):
        has = (", ".join(sorted(there)) if knows_splits else "no splits at all") if there else "no clip"
        raise JobError(
            f"nothing could be compared: {source.about.location} has no split {', '.join(missing)}, it "
            f"has {has}"
        )


def _paired(
    clips_a: Sequence[_Known], clips_b: Sequence[_Known], way: _Name, sources: tuple[Source, Source]
) -> list[Pair]:
    """The clips that one way to name them brings together.

    Raises:
        JobError: If it gives one name to two clips of a source, and the other source has it.
    """
    named_a, named_b = (_by_name(clips, way) for clips in (clips_a, clips_b))
    pairs = []
    for name, in_a in named_a.items():
        in_b = named_b.get(name, [])
        if not in_b:
            continue
        for source, found in zip(sources, (in_a, in_b), strict=True):
            if len(found) > 1:
                raise JobError(
                    f"nothing could be compared: {source.about.location} has {len(found)} clips that may be "
                    f"{name!r} of the other ({', '.join(_full_name(clip) for clip in found[:3])}): give "
                    "sources whose names tell them apart, such as the folder above"
                )
        pairs.append(Pair(name, in_a[0], in_b[0]))
    return pairs


def _by_name(clips: Sequence[_Known], way: _Name) -> dict[str, list[SourceClip]]:
    found: dict[str, list[SourceClip]] = {}
    for clip, with_split in clips:
        found.setdefault(way(with_split), []).append(clip)
    return found


def _full_name(clip: SourceClip) -> str:
    return f"{clip.split}/{clip.base_name}" if clip.split else clip.clip_id


def _as_file(clip: SourceClip) -> str:
    """An id as an export names its files, which cannot bear every character."""
    return file_name(clip.clip_id, "")
