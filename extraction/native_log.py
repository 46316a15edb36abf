"""What native code writes: kept in a bounded file, counted by meaning, never on the terminal.

MediaPipe's own switches silence nothing, so the child's standard output and error end here.
"""

import contextlib
import logging
import os
import re
import time
from collections import Counter, deque
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import IO

from extraction.gl import Meaning, Place, classify

LAST_LINES = "; last lines it wrote:\n"
"""What stands in a failure's text before the lines of the native log."""

_LINE_BYTES = 2000
_TAIL_LINES = 40
# The head of a glog or absl line: severity, date, time, thread, file and line.
_HEAD = re.compile(r"^[IWEF]\d{4} [\d:.]+\s+\d+ ")


class NativeLog:
    """The output of one worker's children, one after the other.

    Args:
        path: The file; None for none. It is made with the first line. At ``max_bytes`` it becomes
            ``path.1`` in place of the one before.
        max_bytes: Of one of the two files.

    Attributes:
        counts: Lines by meaning, so far.
    """

    def __init__(self, path: str | None = None, max_bytes: int = 2 << 20) -> None:
        self.counts: Counter[str] = Counter()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._file = (
            _File(path, maxBytes=max_bytes, backupCount=1, delay=True, encoding="utf-8") if path else None
        )
        self._last, self._repeats = "", 0
        self._meaning = Meaning.UNKNOWN

    def read(self, stream: IO[bytes], pid: int) -> None:
        """Reads what a child writes until it ends; for a thread of its own.

        Args:
            stream: Its output.
            pid: Its process id, which stands before each line in the file.
        """
        # Bounded in line length too: a broken GL driver can write without end and without line feed.
        for raw in iter(lambda: stream.readline(_LINE_BYTES), b""):
            self._add(raw.decode("utf-8", "replace").rstrip(), pid)
        self._tell_repeats(pid)

    def tail(self) -> str:
        """The last lines of the present child that are no noise, for a failure's text; "" without any."""
        return LAST_LINES + "\n".join(self._tail) if self._tail else ""

    def begin(self) -> None:
        """Forgets the lines of the child before."""
        self._tail.clear()

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()

    def _add(self, line: str, pid: int) -> None:
        if not line:
            return
        words = _HEAD.sub("", line)
        if words == self._last:
            # The endless "Found unchecked GL error" of a lost driver must not push the rest out of the file.
            self._repeats += 1
            self.counts[self._meaning] += 1
            return
        self._tell_repeats(pid)
        self._last, self._meaning = words, classify(line, Place.LOG)
        self.counts[self._meaning] += 1
        if self._meaning is not Meaning.NOISE:
            self._tail.append(line)
        self._write(line, pid)

    def _tell_repeats(self, pid: int) -> None:
        if self._repeats:
            self._write(f"(the line above, {self._repeats} times more)", pid)
        self._last, self._repeats = "", 0

    def _write(self, line: str, pid: int) -> None:
        if self._file:
            now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            self._file.emit(logging.makeLogRecord({"msg": f"{now} {pid} {line}"}))


class _File(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Lets a line go that cannot be written: a full disk stops the job at the next shard, not here."""
        with contextlib.suppress(OSError):
            self.close()
