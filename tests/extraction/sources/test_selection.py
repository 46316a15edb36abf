import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.sources import select

CLIPS = tuple(
    Clip(clip_id, f"/data/{clip_id}", "frames", split=split)
    for clip_id, split in [
        ("dev/a", "dev"),
        ("dev/b", "dev"),
        ("free", None),
        ("train/a", "train"),
        ("train/x/b", "train"),
        ("train/[c]\nd", "train"),
    ]
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"include": ["train/*"]}, [3, 4, 5]),
        ({"include": ["*/b", "free"]}, [1, 2, 4]),
        ({"include": ["TRAIN/*", "free"]}, [2]),
        ({"include": ["?ev/[ab]"], "exclude": ["*b"]}, [0]),
        ({"include": ["train/[c]\nd"]}, [5]),
        ({"exclude": ["*d", "a"]}, [0, 1, 2, 3, 4]),
        ({"splits": ["dev"]}, [0, 1]),
        ({"splits": ["train", "dev"], "max_clips_per_split": 1}, [0, 3]),
        ({"max_clips_per_split": 1}, [0, 2, 3]),
        ({"max_clips_per_split": 1, "exclude": ["train/a"]}, [0, 2, 4]),
    ],
)
def test_selection(options: dict, expected: list[int]) -> None:
    assert select(CLIPS, **options) == tuple(CLIPS[n] for n in expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"splits": ["test"]}, r"\['test'\] do not exist.*\['dev', 'train'\]"),
        ({"include": ["nope*"]}, r"no clip is left of 6.*left 6.*then left 0.*'dev/a'"),
        ({"splits": ["dev"], "exclude": ["*"]}, r"left 2.*then left 2.*then left 0"),
        ({"max_clips_per_split": 0}, "1 or more, found 0"),
    ],
)
def test_a_selection_that_cannot_be_meant(options: dict, words: str) -> None:
    with pytest.raises(JobError, match=words):
        select(CLIPS, **options)


def test_clips_without_splits() -> None:
    with pytest.raises(JobError, match="no split at all"):
        select(CLIPS[2:3], splits=["train"])
