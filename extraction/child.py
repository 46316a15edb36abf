"""One child process that holds a detector, seen from its parent; its far side is `detector_child`."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import NoReturn

from extraction import messages
from extraction.clips import Clip
from extraction.detectors import DetectorInfo
from extraction.errors import DetectorLostError, JobError
from extraction.gl import Place, classify, worker_environment
from extraction.landmarks import ClipLandmarks
from extraction.memory import num_threads, oom_kills, rss_mb
from extraction.native_log import NativeLog
from extraction.pieces import Pieces

_CHILD = "from extraction.detector_child import main; main()"
_LOOK_S = 1.0
_REAP_S = 10.0
"""How often a child at work is looked at for its memory."""

IDLE = "idle"
"""Reason of a loss that is none: the child ended because it had no clip for long."""


class Child:
    """One child process and the parent's end of its socket; for one thread.

    Args:
        setup: What it is to be.
        log: Gets what it writes.

    Attributes:
        process: It.
        delegate: What its detector runs on.
        clips: Clips that its present detector has done.
        made_at: Monotonic time at which its present detector was asked for.
    """

    def __init__(self, setup: messages.Setup, log: NativeLog) -> None:
        self._log = log
        log.begin()
        self._oom_kills = oom_kills()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # -P: the current folder's files must not shadow this project's modules.
                [sys.executable, "-P", "-X", "faulthandler", "-c", _CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **worker_environment(setup.detector.delegate),
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
            )
        self._connection = Connection(ours.detach())
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        self._info: DetectorInfo | None = None
        self._setup: messages.Setup | None = setup
        self._ends = False
        self.delegate = setup.detector.delegate
        self.clips, self.made_at = 0, time.monotonic()

    def wait_ready(self, timeout_s: float) -> DetectorInfo:
        """Waits until the detector stands.

        Args:
            timeout_s: From when it was asked for.

        Raises:
            JobError: If it can never be made on this machine.
            DetectorLostError: If it was not made.
        """
        if self._info is not None:
            if self.process.poll() is not None:
                raise self._lost()
            return self._info
        if self._setup is not None:
            self._send(self._setup)
            self._setup = None
        left_s = max(self.made_at + timeout_s - time.monotonic(), 0.0)
        message = self._receive(left_s, f"the detector did not stand after {timeout_s:g} s")[0]
        match message:
            case messages.Ready():
                self._info = message.info
                return self._info
            case messages.NotReady():
                raise JobError(message.text)
            case messages.Broken():
                self._raise_broken(message)
        raise _unexpected(message)

    def remake(self) -> bool:
        """Asks for a new detector in the same process; returns False where that cannot be had."""
        if self._ends or self.process.poll() is not None:
            return False
        try:
            self._connection.send(messages.Remake())
        except OSError:
            return False
        self._info, self.clips, self.made_at = None, 0, time.monotonic()
        return True

    def extract(
        self,
        clip: Clip,
        timeout_s: float,
        max_rss_mb: float,
        on_progress: Callable[[int], None] | None,
    ) -> tuple[Pieces, messages.Done]:
        """Has one clip done.

        Args:
            clip: What to extract.
            timeout_s: Longest time without progress.
            max_rss_mb: Memory at which the child is killed; 0 for no limit.
            on_progress: Called with the number of frames done.

        Raises:
            ClipError: If the clip fails, whatever detector it gets.
            DetectorLostError: If the detector was lost on the way.
        """
        self._send(clip)
        self.clips += 1
        pieces = Pieces()
        while True:
            message, data = self._receive(timeout_s, f"no frame was finished for {timeout_s:g} s", max_rss_mb)
            match message:
                case messages.Progress():
                    self._expect_below(max_rss_mb)
                    if on_progress:
                        on_progress(message.num_frames)
                case ClipLandmarks():
                    pieces.append(data)
                case messages.Done():
                    return pieces, message
                case messages.Failed():
                    raise message.error
                case messages.Broken():
                    self._raise_broken(message)
                case _:
                    raise _unexpected(message)

    def rss_mb(self) -> float:
        """Memory that the child holds now, in MiB; 0 where it has ended."""
        return rss_mb(self.process.pid)

    def num_threads(self) -> int:
        """Threads that the child has now; 0 where it has ended."""
        return num_threads(self.process.pid)

    def kill(self) -> None:
        """Ends the child at once; it holds nothing that needs a farewell."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in a driver: it goes when the driver lets it
            self.process.wait(timeout=_REAP_S)
        self._connection.close()
        self._reader.join(timeout=1)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()

    def _raise_broken(self, message: messages.Broken) -> NoReturn:
        self._ends = message.ends
        raise DetectorLostError(
            classify(message.text, Place.EXCEPTION), f"{message.text}{self._tail(ended=False)}"
        )

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise self._lost() from None

    def _receive(self, timeout_s: float, complaint: str, max_rss_mb: float = 0) -> tuple[object, bytes]:
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                left_s = deadline - time.monotonic()
                if self._connection.poll(min(max(left_s, 0.0), _LOOK_S)):
                    data = self._receive_whole(timeout_s)
                    return ForkingPickler.loads(data), data
                if left_s <= 0:
                    break
                self._expect_below(max_rss_mb)
        except (EOFError, OSError):
            raise self._lost() from None
        self.process.kill()
        raise DetectorLostError("timeout", f"{complaint}; its process was killed{self._tail()}")

    def _expect_below(self, max_rss_mb: float) -> None:
        if max_rss_mb and (found_mb := self.rss_mb()) > max_rss_mb:
            self.process.kill()
            raise DetectorLostError(
                "memory",
                f"the detector's process held {found_mb:,.0f} MiB, the limit is {max_rss_mb:,.0f} "
                f"(--max-worker-rss-mb); it was killed{self._tail()}",
            )

    def _receive_whole(self, timeout_s: float) -> bytes:
        """Reads a message that has begun to come; a child that stops in the middle of it is killed."""
        timer = threading.Timer(timeout_s, self.process.kill)
        timer.start()
        try:
            return self._connection.recv_bytes()
        finally:
            timer.cancel()

    def _lost(self) -> DetectorLostError:
        """Says how the child died."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return DetectorLostError("hung-up", f"the detector's process closed its socket{self._tail()}")
        if code == messages.IDLE_EXIT_CODE:
            return DetectorLostError(IDLE, "the detector's process ended because it had no clip for long")
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return DetectorLostError(
                "memory",
                "the kernel killed the detector's process because memory ran out: fewer --workers, or a "
                f"machine with more memory, would help{self._tail()}",
            )
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal without a name"
            return DetectorLostError(
                "signal", f"the detector's process died by {name} (signal {-code}){self._tail()}"
            )
        return DetectorLostError("exit", f"the detector's process ended with exit code {code}{self._tail()}")

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        self._log.read(self.process.stdout, self.process.pid)

    def _tail(self, ended: bool = True) -> str:
        if ended:
            self._reader.join(timeout=1)
        return self._log.tail()


def _unexpected(message: object) -> DetectorLostError:
    return DetectorLostError("protocol", f"unexpected {type(message).__name__} from the detector's process")
