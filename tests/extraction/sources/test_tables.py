"""Text arrives as it stands in the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.errors import JobError
from extraction.sources.tables import COMMAS, PIPES, TABS, TableForm, first_line, read_table


def rows(path: Path, data: str | bytes, form: TableForm = PIPES, columns: tuple[str, ...] = ()):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_table(str(path), form, columns))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "text",
    ["null", "NA", "nan", "", '"', '""', 'a "b" c', "'", "trailing  ", "  leading", "grün ß 手話", "a,b",
     "\\n", "\u2028", "\x85", "\x0b", "\x0c", "x\ry", "#no", "1.0", "0001", "-", "\ufeffx", "é", "e\u0301"],
)  # fmt: skip
def test_a_cell_is_what_it_is(tmp_path, text, mark, end):
    data = f"{mark}name|said|last{end}a|{text}|{text}{end}b||x{end}"
    (line, first), (_, second) = rows(tmp_path / "t", data)
    assert (line, first) == (2, {"name": "a", "said": text, "last": text})
    assert second == {"name": "b", "said": "", "last": "x"}


cells = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(cells, cells).filter(any), min_size=1))
def test_whatever_is_written_comes_back(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("t") / "t.tsv"
    text = "".join(f"{a}\t{b}\n" for a, b in [("a", "b"), *table])
    assert [tuple(row.values()) for _, row in rows(path, text, TABS)] == table


def test_a_table_without_an_end_of_its_last_line_or_a_header(tmp_path):
    form = TableForm(",", header=("name", "class"))
    found = rows(tmp_path / "t", "a,1\r\n\r\nb,2", form)
    assert found == [(1, {"name": "a", "class": "1"}), (3, {"name": "b", "class": "2"})]


def test_quotes_enclose_where_values_are_separated_by_commas(tmp_path):
    found = rows(tmp_path / "t", 'a,b\n"x, ""y""\nz",null\n\nlast, \n', COMMAS)
    assert found == [(2, {"a": 'x, "y"\nz', "b": "null"}), (5, {"a": "last", "b": " "})]


@pytest.mark.parametrize(
    ("data", "form", "columns", "words"),
    [
        ("a|b\nx\n", PIPES, (), "line 2: expected 2 cells, found 1"),
        ("a|b\n\nx|y|z\n", PIPES, (), "line 3: expected 2 cells, found 3"),
        ("a;b\n", PIPES, ("a",), r"expected the columns \['a'\], separated by pipes; .* lacks \['a'\]"),
        ("a\ta\n", TABS, ("a",), r"separated by tabs; the table has \['a'\] twice"),
        ("", TABS, ("a",), "lacks"),
        (b"a|b\nx|caf\xe9\n", PIPES, (), "line 2: not UTF-8"),
        ("a\tb\n".encode("utf-16"), TABS, ("a",), "line 1: not UTF-8"),
        ('a,b\n"x,y\n', COMMAS, (), "not well-formed CSV"),
    ],
)
def test_a_table_that_cannot_be_meant(tmp_path, data, form, columns, words):
    with pytest.raises(JobError, match=words) as caught:
        rows(tmp_path / "t", data, form, columns)
    assert str(tmp_path / "t") in str(caught.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(JobError, match="expected a corpus file, found: No such file"):
        list(read_table(str(tmp_path / "none"), PIPES, what="a corpus file"))
    assert first_line(str(tmp_path / "none")) == ""
