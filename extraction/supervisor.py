"""DetectorProcess: the long-lived child that holds the detector, and what happens when it is lost.

Native code can crash, abort, hang or leak. Here that costs one child process and one attempt of the
clip it had; the caller and every other clip go on.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import IO

from extraction import messages
from extraction.clips import Clip
from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.errors import ClipError, DetectorLostError, JobError
from extraction.frames import FrameOptions
from extraction.gl import worker_environment
from extraction.landmarks import ClipLandmarks
from extraction.messages import StageTimes

_STDERR_LINES = 40
_SPOOL_BYTES = 256 << 20
_CHILD = "from extraction.detector_child import main; main()"


@dataclass(frozen=True, slots=True)
class Policy:
    """When a detector counts as lost, and how often to try.

    Attributes:
        max_attempts: Tries a clip gets before it is given up.
        frame_timeout_s: A child that shows no progress for so long is killed.
        start_timeout_s: A detector that does not stand after so long is killed.
        max_starts: Tries in a row to make a detector before the job is stopped.
    """

    max_attempts: int = 2
    frame_timeout_s: float = 30.0
    start_timeout_s: float = 120.0
    max_starts: int = 3


class Pieces:
    """The pieces of one clip in order, kept as bytes, on disk beyond 256 MiB: a long video fits."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._lengths: list[int] = []

    def __del__(self) -> None:
        self._file.close()

    def append(self, pickled: bytes) -> None:
        """Adds one piece as the child pickled it."""
        self._file.write(pickled)
        self._lengths.append(len(pickled))

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[ClipLandmarks]:
        self._file.seek(0)
        for length in self._lengths:
            yield ForkingPickler.loads(self._file.read(length))


@dataclass(frozen=True, slots=True)
class Extraction:
    """A finished clip.

    Attributes:
        pieces: Its landmarks, one piece or, for a long video, several.
        num_frames: Frame positions in all pieces.
        num_unreadable: Of these, frames that could not be read.
        info: The detector that found them.
        fingerprint: Of the input as it was read.
        times: Where the time of the successful attempt went.
        attempts: Attempts it took.
    """

    pieces: Pieces
    num_frames: int
    num_unreadable: int
    info: DetectorInfo
    fingerprint: str
    times: StageTimes
    attempts: int


class DetectorProcess:
    """One detector in a child process, made once and reused; made again when it is lost.

    For one thread. Ends its child in :meth:`close`, and the child ends by itself when the thread or
    process that made it dies.

    Args:
        detector: What the detector is to be.
        frames: How frames are read.
        policy: When it counts as lost.
        max_frames_per_piece: Length of the pieces that a long clip comes in.
    """

    def __init__(
        self,
        detector: DetectorOptions,
        frames: FrameOptions | None = None,
        policy: Policy | None = None,
        max_frames_per_piece: int = 10_000,
    ) -> None:
        self._setup = messages.Setup(detector, frames or FrameOptions(), max_frames_per_piece)
        self._policy = policy or Policy()
        self._child: _Child | None = None

    def __enter__(self) -> "DetectorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def launch(self) -> None:
        """Starts the child without waiting for its detector, so that both can get on with their work."""
        if self._child is None:
            self._child = _Child(self._setup)

    def start(self) -> DetectorInfo:
        """Waits until the detector stands.

        Raises:
            JobError: If it cannot be made on this machine, or did not come up in several tries.
        """
        for attempt in range(self._policy.max_starts):
            if attempt:
                time.sleep(0.5 * 2**attempt)
            self.launch()
            assert self._child is not None
            try:
                return self._child.wait_ready(self._policy.start_timeout_s)
            except DetectorLostError as error:
                last = error
                self.close()
        raise JobError(
            f"the detector did not come up in {self._policy.max_starts} tries on this machine; "
            f"the last one: {last}"
        ) from last

    def extract(self, clip: Clip, on_progress: Callable[[int], None] | None = None) -> Extraction:
        """Extracts one clip, from its first frame again after each loss of the detector.

        Args:
            clip: What to extract.
            on_progress: Called after the clip's first frame, then about twice a second, with the number of
                its frames done.

        Raises:
            ClipError: If the clip fails; ``attempts`` of it stands in ``error.attempts``.
            JobError: If no detector can be made.
        """
        for attempt in range(1, self._policy.max_attempts + 1):
            info = self.start()
            assert self._child is not None
            try:
                pieces, done = self._child.extract(clip, self._policy.frame_timeout_s, on_progress)
            except ClipError as error:
                error.attempts = attempt
                raise
            except DetectorLostError as error:
                self.close()
                lost = error
            else:
                return Extraction(
                    pieces, done.num_frames, done.num_unreadable, info, done.fingerprint, done.times, attempt
                )
        failure = ClipError("detect", lost.reason, str(lost))
        failure.attempts = self._policy.max_attempts
        raise failure from lost

    @property
    def child_pid(self) -> int | None:
        """Process id of the living child."""
        return None if self._child is None else self._child.process.pid

    def close(self) -> None:
        """Ends the child at once; it holds nothing that needs a farewell."""
        if self._child is not None:
            self._child.kill()
            self._child = None


class _Child:
    """One child process and the parent's end of its socket."""

    def __init__(self, setup: messages.Setup) -> None:
        self._started = time.monotonic()
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
                    **worker_environment("cpu"),
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
            )
        self._connection = Connection(ours.detach())
        self._last_lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        self._info: DetectorInfo | None = None
        self._setup: messages.Setup | None = setup

    def wait_ready(self, timeout_s: float) -> DetectorInfo:
        if self._info is None:
            if self._setup is not None:
                self._send(self._setup)
                self._setup = None
            left_s = self._started + timeout_s - time.monotonic()
            message = self._receive(max(left_s, 0.0), f"the detector did not stand after {timeout_s:g} s")[0]
            if isinstance(message, messages.NotReady):
                raise JobError(message.text)
            if not isinstance(message, messages.Ready):
                raise DetectorLostError(
                    "protocol", f"expected the detector to stand, found {type(message).__name__}"
                )
            self._info = message.info
        elif self.process.poll() is not None:
            raise self._lost()
        return self._info

    def extract(
        self, clip: Clip, timeout_s: float, on_progress: Callable[[int], None] | None
    ) -> tuple[Pieces, messages.Done]:
        self._send(clip)
        pieces = Pieces()
        while True:
            message, data = self._receive(timeout_s, f"no frame was finished for {timeout_s:g} s")
            match message:
                case messages.Progress():
                    if on_progress:
                        on_progress(message.num_frames)
                case ClipLandmarks():
                    pieces.append(data)
                case messages.Done():
                    return pieces, message
                case messages.Failed():
                    raise message.error
                case messages.Broken():
                    raise DetectorLostError("exception", message.text)
                case _:
                    raise DetectorLostError(
                        "protocol", f"unexpected {type(message).__name__} from the detector"
                    )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._connection.close()
        self._reader.join(timeout=1)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise self._lost() from None

    def _receive(self, timeout_s: float, complaint: str) -> tuple[object, bytes]:
        try:
            if self._connection.poll(timeout_s):
                data = self._receive_whole(timeout_s)
                return ForkingPickler.loads(data), data
        except (EOFError, OSError):
            raise self._lost() from None
        self.process.kill()
        raise DetectorLostError("timeout", f"{complaint}; its process was killed{self._tail()}")

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
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal without a name"
            return DetectorLostError(
                "signal", f"the detector's process died by {name} (signal {-code}){self._tail()}"
            )
        return DetectorLostError("exit", f"the detector's process ended with exit code {code}{self._tail()}")

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        # Bounded in lines and in line length: a broken GL driver can write without end.
        for line in iter(lambda: self.process.stdout.readline(2000), b""):  # type: ignore[union-attr]
            self._last_lines.append(line.decode("utf-8", "replace").rstrip())

    def _tail(self) -> str:
        self._reader.join(timeout=1)
        return "; last lines it wrote:\n" + "\n".join(self._last_lines) if self._last_lines else ""
