"""Many small waits at once: what a network file system takes is time, not work."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# A local folder is listed fastest by one thread: each stat gives the GIL away for a microsecond and
# waits far longer to get it back; 16 threads took twice as long (benchmarks/discovery.py). A network
# folder leaves the processor idle, and more threads hide the wait.
_LOOK_EVERY_S = 0.05
_IDLE_BELOW = 0.5


def run_tasks(
    tasks: Iterable[Task],
    step: Callable[[Task], tuple[Result, Sequence[Task]]],
    *,
    num_threads: int,
    start_with: int = 1,
) -> Iterator[Result]:
    """Runs tasks that may find further tasks, until none is left.

    The threads double in number as long as this process uses less than half a core. They are
    daemons: a hung network file system does not keep an interrupted program alive.

    Args:
        tasks: The first tasks; None is not a task.
        step: Called in a thread with one task; returns its result and the tasks it found.
        num_threads: How many run at once at most, 1 or more.
        start_with: How many run at once at the beginning; all of them is right for steps that work
            without the GIL.

    Yields:
        The results, in the order in which they come.

    Raises:
        ValueError: If there would be no thread.
        BaseException: Whatever a step raised; what was waiting is then dropped.
    """
    crew = _Crew(step, num_threads, start_with)
    try:
        num_unfinished = crew.add(tasks)
        while num_unfinished:
            outcome = crew.finished.get()
            if isinstance(outcome, BaseException):
                raise outcome
            result, found = outcome
            num_unfinished += crew.add(found) - 1
            crew.grow_if_idle()
            yield result
    finally:
        crew.stop()


class _Crew(Generic[Task, Result]):
    """Threads that take tasks from one queue and put their outcomes on another."""

    def __init__(
        self, step: Callable[[Task], tuple[Result, Sequence[Task]]], num_threads: int, start_with: int
    ) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads must be 1 or more, found {num_threads}")
        self.finished: SimpleQueue[tuple[Result, Sequence[Task]] | BaseException] = SimpleQueue()
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()
        self._step = step
        self._num_threads = num_threads
        self._num_started = 0
        self._looked_at_s, self._worked_s = time.monotonic(), time.process_time()
        self._start(start_with)

    def add(self, tasks: Iterable[Task]) -> int:
        """Takes on tasks and says how many they are."""
        number = 0
        for task in tasks:
            self._waiting.put(task)
            number += 1
        return number

    def grow_if_idle(self) -> None:
        """Doubles the number of threads if most of the time went by waiting."""
        if self._num_started == self._num_threads:
            return
        elapsed_s = time.monotonic() - self._looked_at_s
        if elapsed_s < _LOOK_EVERY_S:
            return
        if time.process_time() - self._worked_s < _IDLE_BELOW * elapsed_s and not self._waiting.empty():
            self._start(self._num_started)
        self._looked_at_s, self._worked_s = time.monotonic(), time.process_time()

    def stop(self) -> None:
        """Drops what is waiting and lets each thread end after its present task."""
        try:
            while True:
                self._waiting.get_nowait()
        except Empty:
            for _ in range(self._num_started):
                self._waiting.put(None)

    def _start(self, number: int) -> None:
        for _ in range(min(number, self._num_threads - self._num_started)):
            threading.Thread(target=self._work, name="sources", daemon=True).start()
            self._num_started += 1

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                self.finished.put(self._step(task))
            except BaseException as error:
                self.finished.put(error)
