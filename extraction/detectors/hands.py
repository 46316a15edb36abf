"""Left and right of the hands that a detector of hands alone has found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from extraction.landmarks import Floats


@dataclass(frozen=True, slots=True)
class Hand:
    """One hand that was found.

    Attributes:
        side: ``"left"`` or ``"right"``, the person's own.
        score: Of the side, in [0.5, 1].
        points: float32 (21, 3) of x, y, z.
        world: float32 (21, 3) in metres.
    """

    side: str
    score: float
    points: Floats
    world: Floats


def one_of_each_side(hands: Iterable[Hand]) -> dict[str, Hand]:
    """At most one hand of each side: of two that are said to be of the same one, the surer.

    The other is dropped. It may be the other hand, or the same hand found twice; nothing says which, and a
    wrong side is worse for training than a missing hand.

    Args:
        hands: As they were found.

    Returns:
        Side to hand.
    """
    return {hand.side: hand for hand in sorted(hands, key=lambda hand: hand.score)}


def hand_parts(hands: Iterable[Hand], num_points: Mapping[str, int]) -> dict[str, Floats]:
    """The hands as parts of a frame.

    Args:
        hands: As they were found.
        num_points: The parts that are wanted.
    """
    parts = {}
    for side, hand in one_of_each_side(hands).items():
        parts[f"{side}_hand"] = hand.points
        if f"{side}_hand_world" in num_points:
            parts[f"{side}_hand_world"] = hand.world
    return parts
