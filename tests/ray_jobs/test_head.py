import signal
import socket
import time
from collections.abc import Iterator

import pytest

from extraction.errors import JobError
from ray_jobs.head import head_watched


@pytest.fixture
def head() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture(autouse=True)
def _stopped_by_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def address_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_head_that_goes_ends_the_job_with_a_sentence(head):
    address = address_of(head)
    began = time.monotonic()

    def work() -> None:
        with head_watched(address, look_s=0.05, gone_s=0.5):
            head.close()
            time.sleep(30)

    with pytest.raises(JobError, match=rf"{address}, has not answered .* run the same command again"):
        work()
    assert 0.5 < time.monotonic() - began < 5


def test_a_head_that_comes_back_in_time_is_waited_for(head):
    address, port = address_of(head), head.getsockname()[1]
    with head_watched(address, look_s=0.05, gone_s=2):
        head.close()
        time.sleep(0.8)
        with socket.create_server(("127.0.0.1", port)):
            time.sleep(2)


def test_one_who_stops_the_job_is_not_told_of_a_head(head):
    with pytest.raises(KeyboardInterrupt), head_watched(address_of(head), look_s=0.05, gone_s=0.2):
        raise KeyboardInterrupt


def test_nobody_looks_any_more_when_the_job_is_over(head):
    with head_watched(address_of(head), look_s=0.05, gone_s=0.1):
        pass
    head.close()
    time.sleep(0.5)  # a signal would end this
