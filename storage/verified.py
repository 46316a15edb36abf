"""What a verification found: every problem with its place, and counts of what was looked at."""

from collections import Counter
from dataclasses import dataclass, field

_KEPT = 1000
"""Problems that are told one by one; beyond them only counted."""

Finding = tuple[str, str]
"""Kind of a problem, and what was expected and found."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        kind: A short stable word for counting.
        where: The clip or file.
        text: What was expected and what was found.
    """

    kind: str
    where: str
    text: str


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found wrong.

    Attributes:
        location: The data set's.
        planned: Clips in the plan.
        done: Clips with rows.
        failed: Clips whose failure is recorded.
        to_do: Clips whose shard does not stand.
        frames: Frame positions that were looked at.
        masks: Of these, frames whose mask was decoded.
        shards: Files that were looked at.
        without_checksums: Of these, files whose pages carry none: a flipped bit may look like a number.
        inputs: Clips that were compared with their input; None where no input was given.
        new_inputs: Clips of the input that were never planned; they are no problem.
        reextracted: Clips that were extracted again; None where that was not asked for.
        problems: The first of them.
        counts: All of them, by kind.
    """

    location: str
    planned: int = 0
    done: int = 0
    failed: int = 0
    to_do: int = 0
    frames: int = 0
    masks: int = 0
    shards: int = 0
    without_checksums: int = 0
    inputs: int | None = None
    new_inputs: int = 0
    reextracted: int | None = None
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts

    def found(self, kind: str, where: str, text: str) -> None:
        """Notes a problem."""
        self.counts[kind] += 1
        if len(self.problems) < _KEPT:
            self.problems.append(Problem(kind, where, text))
