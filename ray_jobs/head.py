"""The head of the Ray cluster, watched by the driver."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from extraction.errors import JobError

_LOOK_S = 5.0
_GONE_S = 45.0
"""Ray itself ends a process that has not reached the head for 60 s: without a word, and with exit code 1,
which here says that the job is finished. Shorter than that; long enough for a head that is started anew."""


@contextmanager
def head_watched(address: str, look_s: float = _LOOK_S, gone_s: float = _GONE_S) -> Iterator[None]:
    """Stops the body, as SIGTERM does, where the head of its cluster is gone for good.

    For the main thread, with a handler of SIGTERM that raises KeyboardInterrupt.

    Args:
        address: Of the head, host and port.
        look_s: Time between two looks, and longest wait for an answer.
        gone_s: A head that has not answered for so long is gone.

    Raises:
        JobError: If it is.
    """
    stop, gone, deciding = threading.Event(), threading.Event(), threading.Lock()

    def watch() -> None:
        seen = time.monotonic()
        while not stop.wait(look_s):
            if _answers(address, look_s):
                seen = time.monotonic()
            elif time.monotonic() - seen > gone_s:
                with deciding:
                    if not stop.is_set():
                        gone.set()
                        os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if not gone.is_set():
            raise
        raise JobError(
            f"the head of the Ray cluster, {address}, has not answered for {gone_s:.0f} s. All shards that "
            "stand are whole: run the same command again when the cluster is up"
        ) from None
    finally:
        with deciding:
            stop.set()


def _answers(address: str, timeout_s: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except OSError:
        return False
    return True
