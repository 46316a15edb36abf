"""Inputs by the ends of their paths: how an annotation finds its frames at any depth."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Tails(Generic[T]):
    """Things that lie in a tree, to be asked for by the last parts of their paths.

    Args:
        items: POSIX path of each, relative to the tree's root, and the thing; in natural order.
    """

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        # Of several with one end, the nearest to the top is the original: a copy lies in a folder of its own.
        self._items = sorted(items, key=lambda item: item[0].count("/"))
        self._by_tail: dict[int, dict[str, list[T]]] = {}

    def find(self, tail: str) -> list[T]:
        """The things whose path ends so: the nearest to the top first, then in natural order."""
        depth = tail.count("/") + 1
        if depth not in self._by_tail:
            by_tail: dict[str, list[T]] = {}
            for path, item in self._items:
                by_tail.setdefault("/".join(path.split("/")[-depth:]), []).append(item)
            self._by_tail[depth] = by_tail
        return self._by_tail[depth].get(tail, [])
