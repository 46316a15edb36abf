"""A bar on a terminal for work whose amount is known when it starts; nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counting_bar(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Shows how far the body is.

    Args:
        what: Is counted: ``"clips"``.

    Yields:
        What starts it, given how many there are, and what moves it by one.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda total: progress.update(task, total=total), lambda: progress.advance(task)
