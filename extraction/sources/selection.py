"""Which of the clips to take."""

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import translate

from extraction.clips import Clip
from extraction.errors import JobError


def select(
    clips: Sequence[Clip],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    splits: Sequence[str] = (),
    max_clips_per_split: int | None = None,
) -> tuple[Clip, ...]:
    """Takes some of the clips, in the order in which they stand.

    Patterns are globs on the whole clip id, in which case counts and ``*`` crosses ``/``:
    ``train/*`` takes all of a split, ``*tagesschau*`` whatever has the word in its path. A clip's id
    itself always matches it, brackets and all.

    Args:
        clips: The clips to choose from.
        include: Patterns of which one must match; empty takes all.
        exclude: Patterns of which none may match.
        splits: Splits to take; empty takes all clips, also those without a split.
        max_clips_per_split: How many to take of each split, the first ones; clips without a split
            count as one split of their own. None takes all.

    Returns:
        The clips that are left.

    Raises:
        JobError: If a split does not exist, the maximum is below 1, or no clip is left.
    """
    _expect_splits(clips, splits)
    if max_clips_per_split is not None and max_clips_per_split < 1:
        raise JobError(f"max_clips_per_split must be 1 or more, found {max_clips_per_split}.")
    in_splits = [clip for clip in clips if not splits or clip.split in splits]
    wanted, unwanted = _Patterns(include), _Patterns(exclude)
    included = [clip for clip in in_splits if not include or wanted.match(clip.clip_id)]
    left = [clip for clip in included if not unwanted.match(clip.clip_id)]
    if not left:
        raise JobError(
            f"no clip is left of {len(clips)}: splits={list(splits)} left {len(in_splits)}, "
            f"include={list(include)} then left {len(included)}, exclude={list(exclude)} then left 0."
            + (f" Clip ids look like {clips[0].clip_id!r}." if clips else "")
        )
    return tuple(_first_of_each_split(left, max_clips_per_split))


class _Patterns:
    """Several globs, of which one has to match."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._ids = frozenset(patterns)
        globs = [translate(pattern) for pattern in self._ids if re.search(r"[*?\[]", pattern)]
        self._globs = re.compile("|".join(globs)) if globs else None

    def match(self, clip_id: str) -> bool:
        return clip_id in self._ids or bool(self._globs and self._globs.match(clip_id))


def _first_of_each_split(clips: Sequence[Clip], maximum: int | None) -> list[Clip]:
    taken: Counter[str | None] = Counter()
    first = []
    for clip in clips:
        taken[clip.split] += 1
        if maximum is None or taken[clip.split] <= maximum:
            first.append(clip)
    return first


def _expect_splits(clips: Sequence[Clip], splits: Sequence[str]) -> None:
    existing = sorted({clip.split for clip in clips if clip.split is not None})
    unknown = [split for split in splits if split not in existing]
    if unknown:
        found = f"the splits {existing}" if existing else "no split at all"
        raise JobError(f"expected the splits {list(splits)}, but {unknown} do not exist: found {found}.")
