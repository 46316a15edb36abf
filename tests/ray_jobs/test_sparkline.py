import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.cli import main
from ray_jobs.sparkline import BLOCKS, PLAIN, sparkline


def test_only_nothing_and_all_have_the_first_and_the_last_mark():
    assert sparkline([0, 1e-9, 0.5, 1 - 1e-9, 1]) == "▁▂▅▇█"
    assert sparkline([0, 0.01, 0.5, 0.99, 1], encoding="ascii") == "_.=*#"
    assert sparkline([1], encoding="of-no-terminal") == PLAIN[-1]


@given(st.lists(st.floats(0, 1), max_size=50))
def test_a_greater_share_never_has_a_lower_mark(shares):
    marks = [BLOCKS.index(mark) for mark in sparkline(sorted(shares))]
    assert marks == sorted(marks)
    assert len(marks) == len(shares)


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_view_shows_presence_no_wider_than_the_terminal(columns, real_dataset, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, whose width counts
    assert main(["view", real_dataset.store.location, "train/wave"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0]: line for line in lines if set(line.split()[-1]) <= set(BLOCKS) and line.strip()}
    assert list(shown) == ["pose", "left_hand", "right_hand", "face"]
    assert all(len(line) <= columns for line in shown.values())
    marks = {part: line.split()[-1] for part, line in shown.items()}
    assert set(marks["left_hand"]) == {"▁"}  # never found
    assert len(marks["pose"]) == min(58, columns - 15)
    assert marks["pose"].startswith("█████")


def test_view_as_json_has_presence(real_dataset, capsys):
    assert main(["view", real_dataset.store.location, "train/wave", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["presence"]
    assert set(found) == {"pose", "left_hand", "right_hand", "face"}
    assert found["left_hand"] == [0.0] * 58
    assert found["pose"][-2:] == [0.0, 1.0]  # the last frame but one is unreadable
