import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.sources import natural_order, read_frame_folder
from extraction.sources.frame_folder import fingerprint, media_kind

NAMES = st.lists(
    st.one_of(
        st.from_regex(r"\A[a-c]{0,2}[0-9]{1,4}([-_][0-9]{1,3})?\.png\Z"),
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12),
    ),
    max_size=12,
    unique=True,
)


def write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("frame2.png", "frame10.png"),
        ("images0009.png", "images0010.png"),
        ("x.avi_pid0_fn000009-0.png", "x.avi_pid0_fn000010-0.png"),
        ("a9b10", "a10b9"),
        ("a01", "a1"),
    ],
)
def test_names_stand_as_a_person_counts(first: str, second: str) -> None:
    assert natural_order([second, first]) == [first, second]


@given(NAMES, st.randoms(use_true_random=False))
def test_order_depends_on_nothing_but_the_names(names: list[str], random) -> None:
    shuffled = names.copy()
    random.shuffle(shuffled)
    assert natural_order(shuffled) == natural_order(names)
    assert sorted(natural_order(names)) == sorted(names)


@given(st.lists(st.from_regex(r"\A[a-c]{0,2}[0-9]{1,4}([a-c-][0-9]{1,3})?\Z"), max_size=12, unique=True))
def test_order_is_that_of_text_and_numbers_in_turn(names: list[str]) -> None:
    def chunks(name: str) -> tuple[list[str | int], str]:
        return [int(c) if i % 2 else c for i, c in enumerate(re.split("([0-9]+)", name))], name

    assert natural_order(names) == sorted(names, key=chunks)


@given(st.integers(1, 5), st.lists(st.integers(0, 99999), min_size=1, max_size=9, unique=True))
def test_names_of_one_shape_take_the_short_way_to_the_same_order(width: int, numbers: list[int]) -> None:
    names = [f"v2_{n:0{width}d}-{n % 7}.png" for n in numbers]
    assert natural_order(names) == [f"v2_{n:0{width}d}-{n % 7}.png" for n in sorted(numbers)]


@given(st.lists(st.tuples(st.text("ab1", min_size=1), st.integers(0), st.integers()), unique=True))
def test_fingerprint_does_not_depend_on_the_order(files: list[tuple[str, int, int]]) -> None:
    assert fingerprint(files) == fingerprint(reversed(files))
    assert len(fingerprint(files)) == (32 if files else 0)


@pytest.mark.parametrize("change", ["name", "size", "time", "more", "less"])
def test_fingerprint_changes_with_every_frame(tmp_path: Path, change: str) -> None:
    write(tmp_path, "a1.png", "a2.png")
    os.utime(tmp_path / "a1.png", ns=(0, 5_000_000_001))
    before = read_frame_folder(str(tmp_path)).fingerprint
    write(tmp_path, "notes.txt")
    assert read_frame_folder(str(tmp_path)).fingerprint == before
    if change == "name":
        (tmp_path / "a1.png").rename(tmp_path / "a3.png")
    elif change == "size":
        (tmp_path / "a1.png").write_bytes(b"xy")
        os.utime(tmp_path / "a1.png", ns=(0, 5_000_000_001))
    elif change == "time":
        os.utime(tmp_path / "a1.png", ns=(0, 5_000_000_002))
    elif change == "more":
        write(tmp_path, "a3.png")
    else:
        (tmp_path / "a2.png").unlink()
    assert read_frame_folder(str(tmp_path)).fingerprint != before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PNG", "frames"),
        ("a.b.JpEg", "frames"),
        ("a.tif", "frames"),
        ("a.WebM", "video"),
        ("a.mp4", "video"),
        ("png", None),
        ("a.npz", None),
        ("a.", None),
        ("", None),
    ],
)
def test_media_kind(name: str, kind: str | None) -> None:
    assert media_kind(name) == kind


def test_everything_in_a_folder_is_counted_once(tmp_path: Path) -> None:
    write(tmp_path, "f10.png", "f9.jpg", "clip.mp4", "notes.txt", ".DS_Store", "._f9.jpg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "lost.txt").symlink_to("nowhere")
    (tmp_path / "f11.png").symlink_to("nowhere.png")
    (tmp_path / "f12.png").symlink_to("f12.png")
    (tmp_path / "f13.png").symlink_to("f9.jpg")
    (tmp_path / "linked").symlink_to("folder.png")
    folder = read_frame_folder(str(tmp_path))
    assert folder.names == ("f9.jpg", "f10.png", "f11.png", "f12.png", "f13.png")
    assert folder.videos == ("clip.mp4",)
    assert folder.subfolders == ("folder.png", "linked")
    assert (folder.num_other_files, folder.num_hidden, folder.num_broken_links) == (2, 3, 3)
    assert not folder.is_empty


def test_a_folder_of_hidden_files_is_empty(tmp_path: Path) -> None:
    write(tmp_path, ".DS_Store")
    assert read_frame_folder(str(tmp_path)).is_empty
    assert read_frame_folder(str(tmp_path)).fingerprint == ""


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_frame_folder(str(tmp_path / "none"))
