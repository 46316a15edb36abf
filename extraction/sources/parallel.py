"""Many small waits at once: listing and stat release the GIL, and a network file system is all waiting."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    tasks: Iterable[Task],
    step: Callable[[Task], tuple[Result, Sequence[Task]]],
    *,
    num_threads: int,
) -> Iterator[Result]:
    """Runs tasks that may find further tasks, until none is left.

    The threads are daemons: a hung network file system does not keep an interrupted program alive.

    Args:
        tasks: The first tasks; None is not a task.
        step: Called in a thread with one task; returns its result and the tasks it found.
        num_threads: How many run at once, 1 or more.

    Yields:
        The results, in the order in which they come.

    Raises:
        ValueError: If there would be no thread.
        BaseException: Whatever a step raised; what was waiting is then dropped.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads must be 1 or more, found {num_threads}")
    waiting: SimpleQueue[Task | None] = SimpleQueue()
    finished: SimpleQueue[tuple[Result, Sequence[Task]] | BaseException] = SimpleQueue()

    def work() -> None:
        while (task := waiting.get()) is not None:
            try:
                finished.put(step(task))
            except BaseException as error:
                finished.put(error)

    for _ in range(num_threads):
        threading.Thread(target=work, name="sources", daemon=True).start()
    try:
        num_unfinished = _put_all(waiting, tasks)
        while num_unfinished:
            outcome = finished.get()
            if isinstance(outcome, BaseException):
                raise outcome
            result, found = outcome
            num_unfinished += _put_all(waiting, found) - 1
            yield result
    finally:
        _stop(waiting, num_threads)


def _put_all(waiting: "SimpleQueue[Task | None]", tasks: Iterable[Task]) -> int:
    number = 0
    for task in tasks:
        waiting.put(task)
        number += 1
    return number


def _stop(waiting: "SimpleQueue[Task | None]", num_threads: int) -> None:
    try:
        while True:
            waiting.get_nowait()
    except Empty:
        for _ in range(num_threads):
            waiting.put(None)
