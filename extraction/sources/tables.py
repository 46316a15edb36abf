"""Tables of text, read exactly: the one reader of manifests and of annotations.

Nothing is guessed: ``null`` is a German word, a quote is a quote unless the table is one of comma-separated
values, spaces at the end of a cell belong to it, and only a line feed (with or without a carriage return
before it) ends a line.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from extraction.errors import JobError


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a table is written.

    Attributes:
        separator: Between cells: a pipe, a tab or a comma.
        is_quoted: Whether double quotes can enclose a cell; otherwise they are characters as any other.
        header: Names of the columns of a table without a header line; None where its first line names them.
    """

    separator: str
    is_quoted: bool = False
    header: tuple[str, ...] | None = None


PIPES = TableForm("|")
TABS = TableForm("\t")
COMMAS = TableForm(",", is_quoted=True)

_NAMES = {"|": "pipes", "\t": "tabs", ",": "commas"}


def read_text(path: str, what: str = "a table", data: bytes | None = None) -> str:
    """Reads a file of UTF-8, with or without a byte order mark.

    Args:
        path: A local file.
        what: What it should be, for messages.
        data: What stands in it, where it lies elsewhere and ``path`` is its name for messages only.

    Raises:
        JobError: If it cannot be read, or is not UTF-8, naming the line.
    """
    try:
        if data is None:
            with open(path, "rb") as file:
                data = file.read()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise JobError(f"{path}: expected {what}, found: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise JobError(f"{path}, line {line}: not UTF-8: {error.reason}. Save the file as UTF-8.") from error


def read_table(
    path: str,
    form: TableForm,
    columns: Sequence[str] = (),
    what: str = "a table",
    data: bytes | None = None,
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Reads the rows of a table; lines without a character are passed over.

    Args:
        path: A local file.
        form: How it is written.
        columns: Columns that it must have.
        what: What it should be, for messages.
        data: As for :func:`read_text`.

    Yields:
        The line on which a row begins, from 1, and its cells by column name.

    Raises:
        JobError: If it cannot be read, is not UTF-8 or not well-formed, lacks a column or names one twice, or
            a row is longer or shorter than the header.
    """
    text = read_text(path, what, data)
    rows = _quoted_rows(path, text, form) if form.is_quoted else _plain_rows(text, form)
    header = form.header
    for line, cells in rows:
        if header is None:
            header = tuple(cells)
            _expect_columns(path, header, columns, form)
            continue
        if len(cells) != len(header):
            advice = " A cell that holds a comma stands in double quotes." if form.is_quoted else ""
            raise JobError(f"{path}, line {line}: expected {len(header)} cells, found {len(cells)}.{advice}")
        yield line, dict(zip(header, cells, strict=True))
    if header is None:
        _expect_columns(path, (), columns, form)


def first_line(path: str) -> str:
    """The first line of a text, as far as it can be read; for recognising a file."""
    try:
        with open(path, "rb") as file:
            return file.readline(4096).decode("utf-8-sig", "replace").rstrip("\r\n")
    except OSError:
        return ""


def _plain_rows(text: str, form: TableForm) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line := line.removesuffix("\r"):
            yield number, line.split(form.separator)


def _quoted_rows(path: str, text: str, form: TableForm) -> Iterator[tuple[int, list[str]]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=form.separator)
    line = 1
    try:
        for cells in lines:
            if cells:
                yield line, cells
            line = lines.line_num + 1
    except csv.Error as error:
        raise JobError(f"{path}, line {lines.line_num}: not well-formed CSV: {error}.") from error


def _expect_columns(path: str, header: Sequence[str], columns: Sequence[str], form: TableForm) -> None:
    missing = [name for name in columns if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing or twice:
        what = f"lacks {missing}" if missing else f"has {twice} twice"
        raise JobError(
            f"{path}: expected the columns {list(columns)}, separated by {_NAMES[form.separator]}; the table "
            f"{what}: found {list(header)}."
        )
