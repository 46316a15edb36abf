"""Clips of two sources meet by names that mean the same; what could be two clips is an error, not a guess."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from real_dataset import POINTS, real_landmarks

from extraction.clips import Clip
from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.protocol import ExportOptions
from storage.exports.registry import format_named
from storage.exports.writing import export
from storage.imports.opening import open_source
from storage.imports.source import About, SourceClip
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard
from storage.stored import StoredClip
from storage.verify_names import match_clips
from storage.verify_two import Comparison, compare

pytestmark = pytest.mark.once  # names are the same on every Python
FRAMES = 8
MADE = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 9.0, 1.0, 7.0, "host", "f")


@dataclass
class Names:
    """A source of which only the names are asked for."""

    names: Sequence[tuple[str, str | None]]
    location: str = "there"

    @property
    def about(self) -> About:
        return About("names", self.location, {"pose": tuple(range(33))})

    def clips(self) -> Sequence[SourceClip]:
        return [SourceClip(clip_id, split, 1, "") for clip_id, split in self.names]

    def read(self, clip: SourceClip) -> StoredClip:
        raise AssertionError(f"nobody reads {clip.clip_id}")


def paired(a: Sequence[tuple[str, str | None]], b: Sequence[tuple[str, str | None]], *splits: str) -> dict:
    """Id in A to id in B, from both sides."""
    found = match_clips(Names(a, "A"), Names(b, "B"), splits)
    pairs = {pair.a.clip_id: pair.b.clip_id for pair in found.pairs}
    assert len(pairs) == len(found.pairs)
    turned = match_clips(Names(b, "B"), Names(a, "A"), splits)
    assert {pair.b.clip_id: pair.a.clip_id for pair in turned.pairs} == pairs
    assert (turned.only_in_a, turned.only_in_b) == (found.only_in_b, found.only_in_a)
    return pairs


def test_any_name_of_a_split_meets_a_folder_of_that_name():
    folds = [("fold1/x", "fold1"), ("fold2/x", "fold2"), ("train/y", "train")]
    assert paired(folds, [("fold1/x", None), ("fold2/x", None), ("train/y", "train")]) == {
        "fold1/x": "fold1/x",
        "fold2/x": "fold2/x",
        "train/y": "train/y",
    }
    assert paired(folds, [("fold1/x", None), ("fold2/x", None)], "fold2") == {"fold2/x": "fold2/x"}


def test_an_id_without_its_split_meets_both_the_id_and_the_split_before_it():
    ours = [("x", "fold1"), ("y", "fold2")]
    assert paired(ours, [("x", None), ("y", None)]) == {"x": "x", "y": "y"}
    assert paired(ours, [("fold1/x", "fold1"), ("fold2/y", None)]) == {"x": "fold1/x", "y": "fold2/y"}


def test_one_id_in_two_splits_of_other_names_is_one_clip():
    assert paired([("a/x", "train")], [("a/x", "dev")]) == {"a/x": "a/x"}


def test_an_id_meets_the_name_that_its_file_can_bear():
    assert paired([("a\\b:1", None)], [("a_b:1", None)]) == {"a\\b:1": "a_b:1"}
    long = "x" * 400
    files = match_clips(Names([(long, "fold")]), Names([(long, None)]))
    assert [pair.a.clip_id for pair in files.pairs] == [long]


def test_the_full_name_goes_first():
    assert paired([("fold/x", "fold")], [("fold/x", None), ("x", None)]) == {"fold/x": "fold/x"}
    assert paired([("train/x", "train"), ("dev/x", "dev")], [("train/x", "train"), ("x", None)]) == {
        "train/x": "train/x"
    }


def test_names_that_lack_the_split_are_not_guessed_where_both_know_splits():
    a, b = [("train/x", "train"), ("train/z", "train")], [("dev/x", "dev"), ("train/z", "train")]
    assert paired(a, b) == {"train/z": "train/z"}
    found = match_clips(Names(a), Names(b))
    assert (found.only_in_a, found.only_in_b) == (("train/x",), ("dev/x",))


def test_what_could_be_two_clips_is_an_error():
    two = [("train/x", "train"), ("dev/x", "dev"), ("dev/y", "dev")]
    with pytest.raises(JobError, match=r"A has 2 clips that may be 'x' of the other \(train/x, dev/x\)"):
        match_clips(Names(two, "A"), Names([("x", None), ("y", None)], "B"))
    with pytest.raises(JobError, match=r"B has 2 clips that may be 'x' of the other \(train/x, dev/x\)"):
        match_clips(Names([("x", None), ("y", None)], "A"), Names(two, "B"))
    with pytest.raises(JobError, match="2 clips that may be 'x'"):
        match_clips(Names([("x", None)]), Names([("x", None), ("x", None)]))
    with pytest.raises(JobError, match="2 clips that may be 'a_b'"):
        match_clips(Names([("a\\b", None), ("a\tb", None)]), Names([("a_b", None)]))


def test_a_clip_is_never_in_two_pairs():
    names = [(f"{first}{name}", split) for first in ("", "s/") for name in "xy" for split in (None, "s", "t")]
    for a, b in itertools.product(itertools.combinations(names, 2), repeat=2):
        try:
            found = match_clips(Names(a), Names(b))
        except JobError:
            continue
        assert len(found.pairs) + len(found.only_in_a) == 2
        assert len(found.pairs) + len(found.only_in_b) == 2


# With real landmarks, in every format.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phoenix_expected: Path) -> Path:
    """A data set in splits that nobody has heard of, and what it becomes in every format."""
    pytest.importorskip("pose_format", reason="pose-format is an extra: the format pose needs it")
    folder = tmp_path_factory.mktemp("names")
    dataset = Dataset(str(folder / "out"))
    dataset.create({"engine": "holistic", "fps": 25.0}, "0f", {"source": "/in"})
    clips = []
    for shard, split in enumerate(("fold1", "fold2")):
        marks = real_landmarks(np.load(phoenix_expected / "wave.npz")["tracking"][shard : shard + FRAMES])
        # One name in both splits, and one id in which its split is not.
        of_split = [
            Clip(name, f"/in/{name}", "frames", split, FRAMES, "f") for name in (f"{split}/x", f"s{shard}")
        ]
        rows = [[encode(clip, marks, MADE)] for clip in of_split]
        write_shard(dataset.store, shard, split, POINTS, rows)
        clips += of_split
    dataset.write_plan(Plan(tuple(clips), (0, 0, 1, 1)))
    export(dataset, format_named("pickle"), str(folder / "a.pkl"))
    export(dataset, format_named("pickle-splits"), str(folder / "b"), ExportOptions(tensors="numpy"))
    export(dataset, format_named("pose"), str(folder / "pose"))
    return folder


def compared(a: Path, b: Path, **options: object) -> Comparison:
    return compare(open_source(str(a)), open_source(str(b)), **options)


@pytest.mark.parametrize(("a", "b"), [*itertools.combinations(("out", "a.pkl", "b", "pose"), 2)])
def test_splits_of_any_name_in_every_format(place, a, b):
    for one, other in ((a, b), (b, a)):
        if {a, b} & {"a.pkl", "b"} and "pose" in (a, b):
            # Of s0 the pickles know only fold1/s0, and the .pose file only s0: that is not the same name.
            result = compared(place / one, place / other)
            assert (result.clips, result.counts) == (2, {"only in A": 2, "only in B": 2})
            continue
        result = compared(place / one, place / other)
        assert result.is_equal, result.counts
        assert (result.clips, result.frames) == (4, 4 * FRAMES)


def test_one_split_of_any_name(place):
    for other in ("pose", "b", "b.fold1", "a.pkl", "out"):
        result = compared(place / "out", place / other, splits=("fold1",))
        assert result.counts == ({"only in A": 1} if other == "pose" else {}), other


def test_one_file_of_a_name_that_is_in_two_splits(place):
    with pytest.raises(JobError, match=r"2 clips that may be 'x' of the other \(fold1/x, fold2/x\)"):
        compared(place / "out", place / "pose/fold1/x.pose")
    result = compared(place / "out", place / "pose/s0.pose")
    assert (result.clips, result.counts) == (1, {"only in A": 3})
