"""Reads logs and pasted text as records: which lines belong together, and where they come from."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from extraction.gl import Place

_LINE_BYTES = 1 << 14
_RECORD_LINES = 50
_EXAMPLE_CHARACTERS = 160

# What a log holds, and how its lines tell their place.
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What the worker's log and Ray put before each line of a worker.
_WORKER = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d+ |\(.{0,120}?\bpid=\d+[^)]{0,60}\) )")
_REPEATS = re.compile(r"^\(the line above, (\d+) times more\)$")
# glog and absl: severity, date, time and thread, before file and line.
_GLOG = re.compile(r"^([IWEF])\d{4,8} [\d:.]+ +\d+ ")
# A glog line without its head, and TensorFlow Lite's own form.
_LOG_SHAPE = re.compile(r"^(?:[\w./-]{1,200}\.(?:cc|cpp|h):\d+(?:\]|\s)|(?:INFO|WARNING|ERROR): )")
_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_RAISED = re.compile(r"^[A-Za-z_][\w.]{0,200}(?:\(\w+\))?(?:: |:?$)")
_EXCEPTION = re.compile(r"(?:^|[\s(>|])(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?:\(\w+\))?: ")
# The native call stack and what goes on from the line above.
_STACK = re.compile(
    r"^\s*(?:@ +0x|Stack trace:$|=== Source Location Trace|\*\*\* Check failure stack|third_party/\S+:\d+$)"
)
_GOES_ON = re.compile(r"^(?:Calculator::|; |\w*Calculator\w*: )")
# Of lines whose form tells nothing. Counts ("0 failed", "no errors", "failures: 3") are no errors.
_ALARM = re.compile(
    r"\b(?:(?<!no )error|fatal|abort(?:ed)?|exception|core dumped|segmentation fault|killed"
    r"|(?<!\d )(?<!no )(?:errors|failed|failures?)(?![:=]? ?\d))\b",
    re.IGNORECASE,
)


def read_lines(stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; of an overlong one only the beginning, of a progress bar each state."""
    number = 0
    while raw := stream.readline(_LINE_BYTES):
        number += 1
        rest = raw
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(_LINE_BYTES)
        for part in raw.decode("utf-8", "replace").rstrip("\r\n").split("\r"):
            yield number, part


@dataclass(slots=True)
class Record:
    """Lines that belong together: one message with what goes on in further lines, or one traceback.

    Attributes:
        line: Number of the first.
        place: What its form tells; None where it tells nothing.
        alarming: It has the form of an error, known or not.
        is_whole: All further lines without a form of their own belong to it.
        lines: Those that say something: no frames of a traceback, no native call stack.
        in_frames: Within a traceback, before its exception.
        num_lines: All of them but empty ones.
        times: How often it was repeated.
    """

    line: int
    place: Place | None
    alarming: bool
    is_whole: bool
    lines: list[str]
    in_frames: bool = False
    num_lines: int = 1
    times: int = 1

    @property
    def text(self) -> str:
        """What it says, without time and thread, so that repetitions are equal."""
        return _GLOG.sub("", "\n".join(self.lines))[:_LINE_BYTES]

    @property
    def example(self) -> str:
        """Its most telling line, cut."""
        telling = (line for line in self.lines if _TRACEBACK not in line)
        return next(telling, self.lines[0])[:_EXAMPLE_CHARACTERS]

    def takes(self, line: str) -> bool:
        """Adds a line if it belongs to this record."""
        if repeats := _REPEATS.match(line):
            self.times += int(repeats[1])
        elif self.in_frames:
            if _GLOG.match(line) or len(self.lines) >= _RECORD_LINES:
                return False
            if line and not line[0].isspace():
                self.in_frames = not _RAISED.match(line)
                self.lines.append(line)
        elif line.startswith(_CHAINED):
            self.in_frames = True
        elif not line.strip():
            return self.place is Place.EXCEPTION or self.is_whole
        elif _GLOG.match(line) or _LOG_SHAPE.match(line) or _TRACEBACK in line or _EXCEPTION.search(line):
            return False
        elif self._goes_on_with(line):
            self.lines.append(line)
        elif not _STACK.match(line):
            return False
        self.num_lines += bool(line.strip())
        return True

    def _goes_on_with(self, line: str) -> bool:
        if _STACK.match(line) or len(self.lines) >= _RECORD_LINES:
            return False
        unfinished = self.alarming and self.lines[-1].rstrip().endswith((":", "failed."))
        return self.is_whole or unfinished or _GOES_ON.match(line) is not None


def records(lines: Iterable[tuple[int, str]], is_pasted: bool) -> Iterator[Record]:
    """Puts together the lines that belong together.

    Args:
        lines: Each with its number.
        is_pasted: They are one person's paste, where a line without a form of its own is the wrapped rest of
            the one before; in a log it is another program's.
    """
    record: Record | None = None
    for number, raw in lines:
        line = _WORKER.sub("", _ANSI.sub("", raw) if "\x1b" in raw else raw)
        if record is not None and record.takes(line):
            continue
        if record is not None:
            yield record
        record = _begin(number, line, is_pasted) if line.strip() else None
    if record is not None:
        yield record


def _begin(number: int, line: str, is_pasted: bool) -> Record:
    if head := _GLOG.match(line):
        return Record(number, Place.LOG, head[1] != "I", is_pasted, [line])
    if _TRACEBACK in line:
        return Record(number, Place.EXCEPTION, True, is_pasted, [line], in_frames=True)
    if _EXCEPTION.search(line):
        return Record(number, Place.EXCEPTION, True, is_pasted, [line])
    place = Place.LOG if _LOG_SHAPE.match(line) else None
    return Record(number, place, _ALARM.search(line) is not None, is_pasted, [line])
