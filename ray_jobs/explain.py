"""What ``landmarks explain`` prints: the meaning of one error, or of all the errors in a log."""

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from extraction import gl
from extraction.errors import JobError
from extraction.gl import Explanation, Meaning, Place
from ray_jobs.log_records import Record, read_lines, records

_WORST_FIRST = (
    Meaning.CONFIGURATION,
    Meaning.CALLER,
    Meaning.POISONED,
    Meaning.CONTEXT,
    Meaning.NO_EGL,
    Meaning.NO_GPU_IN_BUILD,
    Meaning.UNKNOWN,
    Meaning.NOISE,
)
_FEW = 5
_FILE_COLUMNS = 200
"""Width of tables that go to a file or another program, which know no width of their own."""

_explained = functools.lru_cache(maxsize=512)(gl.explain)


def explain(text_or_path: str, as_json: bool, as_log: bool = False) -> int:
    """Prints what an error means, or what the errors in a log mean.

    Args:
        text_or_path: A pasted error, the path of a log, or ``"-"`` for standard input.
        as_json: For machines.
        as_log: Take text that does not tell its place for lines of a log.

    Raises:
        JobError: If there is nothing to explain.
    """
    place = Place.LOG if as_log else None
    if text_or_path == "-":
        return _explain(read_lines(sys.stdin.buffer), "standard input", place, as_json)
    if os.path.isfile(text_or_path):
        try:
            with open(text_or_path, "rb") as file:
                return _explain(read_lines(file), text_or_path, Place.LOG, as_json, is_file=True)
        except OSError as error:
            raise JobError(f"{text_or_path} cannot be read: {error.strerror}") from None
    if os.path.isdir(text_or_path) or _looks_like_a_path(text_or_path):
        kind = "a folder" if os.path.isdir(text_or_path) else "no file of that name"
        raise JobError(f"expected an error's text, or a file with a log, found {kind}: {text_or_path}")
    return _explain(enumerate(text_or_path.splitlines(), 1), "the text", place, as_json, is_pasted=True)


def _looks_like_a_path(text: str) -> bool:
    return not any(map(str.isspace, text)) and (
        text.startswith(("/", "./", "../", "~/")) or text.endswith((".log", ".log.1", ".txt"))
    )


def _explain(
    lines: Iterable[tuple[int, str]],
    name: str,
    place: Place | None,
    as_json: bool,
    is_file: bool = False,
    is_pasted: bool = False,
) -> int:
    summary = _Summary()
    for record in records(lines, is_pasted):
        summary.add(record, place or Place.LOG)
    if not summary.num_lines:
        raise JobError(
            f"expected an error's text or a log, found nothing in {name}: landmarks explain "
            "'RuntimeError: ...', landmarks explain worker.log, or landmarks explain - for standard input"
        )
    only = None if is_file else summary.only
    if only is None:
        return _print_json(summary.told()) if as_json else _print_summary(summary, name)
    readings = _readings(only, place)
    if as_json:
        return _print_json({"readings": [dataclasses.asdict(r) for r in readings]})
    return _print_readings(readings)


def _readings(record: Record, place: Place | None) -> list[Explanation]:
    """What a text means; once for each place where it does not tell its own and that makes a difference."""
    given = record.place or place
    found = [gl.explain(record.text, p) for p in ([given] if given else [Place.LOG, Place.EXCEPTION])]
    return found if len({explanation.name for explanation in found}) > 1 else found[-1:]


@dataclass(slots=True)
class _Known:
    """All records in one place that one row of the catalogue explains."""

    explanation: Explanation
    first_line: int
    example: str
    count: int = 0

    def told(self) -> dict[str, object]:
        return {
            **dataclasses.asdict(self.explanation),
            "count": self.count,
            "first_line": self.first_line,
            "example": self.example,
        }


@dataclass(slots=True)
class _Summary:
    """Counts records by meaning; holds one example of each text, however long the log.

    Attributes:
        num_lines: Lines that are not empty.
        num_ordinary: Those of them that are no error.
        texts: Name of the catalogue's row, and place, to what it explains.
        unknown: The first few errors that nobody knows.
    """

    num_lines: int = 0
    num_ordinary: int = 0
    texts: dict[tuple[str, Place], _Known] = field(default_factory=dict)
    unknown: list[Record] = field(default_factory=list)
    _errors: list[Record] = field(default_factory=list)
    _others: list[Record] = field(default_factory=list)

    @property
    def only(self) -> Record | None:
        """The only error, or the only record where none is an error; None where there are several."""
        candidates = self._errors or self._others
        return candidates[0] if len(candidates) == 1 else None

    def add(self, record: Record, place: Place) -> None:
        """Counts a record; ``place`` counts where it does not tell its own."""
        explanation = _explained(record.text, record.place or place)
        is_known = explanation.meaning is not Meaning.UNKNOWN
        self.num_lines += record.num_lines
        seen = self._errors if is_known or record.alarming else self._others
        if len(seen) < 2:
            seen.append(record)
        if not is_known and not record.alarming:
            self.num_ordinary += record.num_lines
            return
        if not is_known and len(self.unknown) < _FEW:
            self.unknown.append(record)
        key = explanation.name, explanation.place
        known = self.texts.setdefault(key, _Known(explanation, record.line, record.example))
        known.count += record.times

    def by_meaning(self) -> list[tuple[Meaning, list[_Known]]]:
        """Meanings, worst first, each with its texts, most frequent first."""
        texts = sorted(self.texts.values(), key=lambda known: -known.count)
        groups = [(m, [known for known in texts if known.explanation.meaning is m]) for m in _WORST_FIRST]
        return [(meaning, group) for meaning, group in groups if group]

    def told(self) -> dict[str, object]:
        return {
            "lines": self.num_lines,
            "ordinary_lines": self.num_ordinary,
            "meanings": [
                {
                    "meaning": meaning,
                    "count": sum(known.count for known in group),
                    "texts": [known.told() for known in group],
                }
                for meaning, group in self.by_meaning()
            ],
            "unknown": [{"line": record.line, "text": record.example} for record in self.unknown],
        }


def _print_readings(readings: list[Explanation]) -> int:
    console = _console()
    for explanation in readings:
        if len(readings) > 1:
            title = "as a line in a log" if explanation.place is Place.LOG else "inside an exception"
            console.print(f"[bold]{title}[/bold]")
        _print_explanation(console, explanation)
    if len(readings) > 1:
        console.print("Which it was this text does not tell; the whole line, or the whole traceback, does.")
    return 0


def _print_explanation(console: Console, explanation: Explanation, briefly: bool = False) -> None:
    rows = {
        "meaning": f"{explanation.meaning} ({explanation.name})",
        "that is": explanation.means,
        "results affected": explanation.affected,
        "the software": "" if briefly else explanation.does,
        "you can": explanation.advice,
        "codes": ", ".join(explanation.codes),
        "source": "" if briefly else explanation.source,
    }
    for title, value in rows.items():
        if value:
            console.print(f"  {title:<16}  {escape(value)}")


def _print_summary(summary: _Summary, name: str) -> int:
    console = _console()
    console.print(
        f"{_printable(console, name)}: {summary.num_lines:,} lines, {summary.num_ordinary:,} of them no error"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("meaning", min_width=16)
    table.add_column("times", justify="right")
    table.add_column("line", justify="right")
    table.add_column("for example", no_wrap=True, overflow="ellipsis")
    groups = summary.by_meaning()
    for meaning, group in groups:
        first = min(group, key=lambda known: known.first_line)
        times = sum(known.count for known in group)
        table.add_row(meaning, f"{times:,}", f"{first.first_line:,}", _printable(console, first.example))
    if groups:
        console.print(table)
    for known in (k for meaning, group in groups if meaning is not Meaning.NOISE for k in group):
        how_often = f"{known.count:,} times, first" if known.count > 1 else "once,"
        form = "an exception" if known.explanation.place is Place.EXCEPTION else "a line of the log"
        console.print(f"\n{form}, {how_often} in line {known.first_line:,}")
        _print_explanation(console, known.explanation, briefly=True)
    if summary.unknown:
        console.print("\nthe first that are not known:")
    for record in summary.unknown:
        console.print(f"  line {record.line:,}: {_printable(console, record.example)}")
    return 0


def _printable(console: Console, text: str) -> str:
    """Text of strangers: no control characters, no markup, nothing that the terminal cannot show."""
    shown = text if text.isprintable() else repr(text)[1:-1]
    return escape(shown.encode(console.encoding, "backslashreplace").decode(console.encoding))


def _console() -> Console:
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_COLUMNS)
    return console


def _print_json(value: object) -> int:
    print(json.dumps(value, indent=2))
    return 0
