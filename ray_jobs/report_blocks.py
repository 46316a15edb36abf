"""Pieces of the report's HTML: text, commands and tables."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

MAX_ROWS = 40
"""Of a table; what is beyond is one row more."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        key: Its id.
        short: Its name in the links at the top.
        title: Its heading.
        body: HTML below that.
    """

    key: str
    short: str
    title: str
    body: str


def text(value: object) -> str:
    """Any text as HTML; what is not printable is shown as Python writes it."""
    shown = str(value)
    return escape(shown if shown.isprintable() else repr(shown), quote=True)


def shell(argument: str) -> str:
    """An argument as a POSIX shell reads it; bash where it is not printable."""
    if argument.isprintable():
        return shlex.quote(argument)
    return "$'" + "".join(f"\\x{byte:02x}" for byte in argument.encode()) + "'"


def command(verb: str, *names: str, options: Sequence[str] = ()) -> str:
    """A command to copy.

    Args:
        verb: Of ``landmarks``.
        names: Its arguments: a data set, and perhaps a clip.
        options: Behind them; before them where a name looks like an option itself.
    """
    words = [*names, *options]
    if any(name.startswith("-") for name in names):
        words = [*options, "--", *names]
    return f"<code>{escape(' '.join(shell(word) for word in ('landmarks', verb, *words)))}</code>"


def rate(part: str, share: float) -> str:
    """A share in words and as a bar in the part's colour."""
    width = f"width:{100 * share:.1f}%"
    return f'{share:.1%}<span class="rate {text(part)}" aria-hidden="true"><i style="{width}"></i></span>'


def alarming(number: int) -> str:
    """A number that had better be 0."""
    return f'<span class="bad">{number:,}</span>' if number else "0"


def card(table: str, above: str = "") -> str:
    """A table on its own ground."""
    return f'<div class="card">{above}{table}</div>'


def note(words: str) -> str:
    """A remark below a table."""
    return f'<div class="note">{words}</div>'


def table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    foot: Sequence[Sequence[str]] = (),
    words: Collection[int] = (),
) -> str:
    """A table; it scrolls by itself where the page is narrow.

    Args:
        title: Its caption.
        head: Names of the columns.
        rows: HTML of each cell.
        foot: Rows at the end that sum up the others.
        words: Columns of text rather than numbers.
    """

    def cell(index: int, content: str, tag: str, more: str = "") -> str:
        kind = ' class="words"' if index in words else ""
        return f"<{tag}{more}{kind}>{content}</{tag}>"

    def line(cells: Sequence[str]) -> str:
        rest = (cell(index, content, "td") for index, content in enumerate(cells[1:], start=1))
        return f'<tr><th scope="row">{cells[0]}</th>{"".join(rest)}</tr>'

    heads = "".join(
        cell(index, name, "th", ' scope="col"') if name else "<td></td>" for index, name in enumerate(head)
    )
    body = "".join(line(row) for row in rows)
    end = f"<tfoot>{''.join(line(row) for row in foot)}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>'
        f"<caption>{title}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>{end}</table></div>"
    )
