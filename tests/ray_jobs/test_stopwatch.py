import time

import pytest

from ray_jobs.stopwatch import Stopwatch


def test_only_what_lies_between_start_and_stop_counts():
    watch = Stopwatch()
    watch.stop()  # nothing runs yet
    assert watch.take_ms() == 0
    spent = 0.0
    for _ in range(2):
        began = time.perf_counter()
        watch.start()
        time.sleep(0.01)
        watch.stop()
        spent += (time.perf_counter() - began) * 1000
        time.sleep(0.02)
    assert 20 <= watch.take_ms() <= spent
    assert watch.take_ms() == pytest.approx(0)
