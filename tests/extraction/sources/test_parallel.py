import threading
import time

import pytest

from extraction.sources.parallel import run_tasks


def halve(number: int) -> tuple[int, list[int]]:
    return number, [number // 2] * 2 if number > 1 else []


@pytest.mark.parametrize("num_threads", [1, 2, 9])
def test_found_tasks_run_too(num_threads: int) -> None:
    assert sorted(run_tasks([8], halve, num_threads=num_threads)) == [1] * 8 + [2] * 4 + [4] * 2 + [8]
    assert list(run_tasks([], halve, num_threads=num_threads)) == []


def test_an_error_ends_the_run_and_the_threads() -> None:
    def step(number: int) -> tuple[int, list[int]]:
        return 1 // number, []

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(run_tasks([3, 2, 1, 0, *range(1, 1000)], step, num_threads=4, start_with=4))
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_waiting_brings_more_threads() -> None:
    names = set()

    def wait(_: int) -> tuple[None, list[int]]:
        names.add(threading.get_ident())
        time.sleep(0.01)
        return None, []

    list(run_tasks(range(100), wait, num_threads=8))
    assert len(names) > 1


def test_no_thread_is_no_number() -> None:
    with pytest.raises(ValueError, match="found 0"):
        list(run_tasks([1], halve, num_threads=0))
