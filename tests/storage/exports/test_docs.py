"""docs/exports.md says of each format, and of each of the 133 points, what the code says."""

from collections import Counter
from pathlib import Path

import pytest

from extraction.topology import HAND_POINTS, POSE_POINTS
from storage.exports.protocol import Format
from storage.exports.registry import formats
from storage.exports.wholebody import TABLE, Row

TEXT = (Path(__file__).resolve().parents[3] / "docs/exports.md").read_text(encoding="utf-8")


def section(known: Format) -> str:
    """What the page must say of a format."""
    lines = [
        f"### `{known.name}`",
        "",
        f"- Read by: {known.consumer}",
        f"- Structure: `{known.structure}`",
        f"- Points: {known.layout}",
        f"- Units: {known.units}",
        f"- Missing: {known.missing}",
        *([f"- Differs: {known.differs}"] if known.differs else []),
        "",
    ]
    # Outside of code an angle bracket would be HTML.
    return "\n".join(line if "`" in line else line.replace("<", "&lt;") for line in lines)


def table_line(number: int, row: Row) -> str:
    where = "none"
    if row.part:
        names = {"pose": POSE_POINTS, "left_hand": HAND_POINTS, "right_hand": HAND_POINTS}
        name = f" ({names[row.part][row.point]})" if row.part in names else ""
        where = f"{row.part} {row.point}{name}"
    return f"| {number} | {row.name} | {where} | {row.match.value} |"


@pytest.mark.parametrize("name", formats())
def test_every_format_has_its_section_and_its_command(name):
    assert section(formats()[name]) in TEXT
    assert f"--format {name} --to " in TEXT


def test_the_table_of_133_points():
    written = [line for line in TEXT.splitlines() if line.count("|") == 5 and line[2].isdigit()]
    assert written == [table_line(number, row) for number, row in enumerate(TABLE)]
    count = Counter(row.match.value for row in TABLE)
    said = (
        f"Exact in {count['exact']} points, approximate in {count['approximate']}, none in {count['none']}."
    )
    assert said in TEXT
