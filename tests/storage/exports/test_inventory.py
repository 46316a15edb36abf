"""Classes of isolated signs, and what is known of clips before they are read."""

import pytest

from extraction.clips import Clip
from storage.dataset import Dataset
from storage.exports.inventory import classes_of, entries_of
from storage.plan import Plan


def planned(tmp_path, *said: tuple[str | None, str | None]) -> Dataset:
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    clips = tuple(
        Clip(f"c{n}", f"/in/c{n}", "frames", gloss=gloss, label=label)
        for n, (gloss, label) in enumerate(said)
    )
    dataset.write_plan(Plan(clips, (0,) * len(clips)))
    return dataset


@pytest.mark.parametrize(
    ("said", "numbers", "names"),
    [
        # No labels: glosses in order of the alphabet.
        ([("b", None), ("a", None), ("b", None), (None, None)], {"a": 0, "b": 1}, ["a", "b"]),
        # Numbers, as in WLASL and AUTSL, stay what they are.
        ([("book", "2"), ("drink", "0"), (None, None)], {"2": 2, "0": 0}, ["drink", "", "book"]),
        ([("one", "1"), ("one", "0")], {"1": 1, "0": 0}, ["0", "1"]),
        # Names, as in INCLUDE.
        ([(None, "loud"), (None, "Quiet")], {"Quiet": 0, "loud": 1}, ["Quiet", "loud"]),
        ([(None, "9" * 30)], {"9" * 30: 0}, ["9" * 30]),
        ([(None, None)], {}, []),
    ],
)
def test_classes(tmp_path, said, numbers, names):
    dataset = planned(tmp_path, *said)
    classes = classes_of(dataset)
    assert (dict(classes.numbers), list(classes.names)) == (numbers, names)


def test_a_clips_class(real_dataset):
    classes = classes_of(real_dataset)
    entries = entries_of(real_dataset, ())
    assert [entry.split for entry in entries] == ["dev", "test", "train", "train"]
    numbers = [classes.number_of(entry) for entry in entries]
    assert sorted(numbers) == [0, 1, 2, 3]
    assert [classes.names[n] for n in numbers] == [entry.gloss for entry in entries]
    assert len({entry.digest for entry in entries}) == 4
