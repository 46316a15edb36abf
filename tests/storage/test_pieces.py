from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from real_dataset import make_dataset, real_landmarks

from extraction.errors import JobError
from storage.pieces import clip_ids, find_pieces, is_done, rows_of_clip, sampled


@pytest.mark.parametrize("rows_of", [None, 40, 1])
def test_pieces_are_the_rows_of_the_clip_and_of_no_other(tmp_path, shared_clips, rows_of):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of)
    expected = real_landmarks(np.load(shared_clips / "phoenix_like/expected/wave.npz")["tracking"])
    found = find_pieces(dataset, "train/wave")
    pieces = list(found)
    assert found.num_frames == len(expected) == sum(map(len, pieces))
    assert len(pieces) == (1 if rows_of is None else -(-len(expected) // rows_of))
    assert [piece.first_frame for piece in pieces] == list(range(0, len(expected), rows_of or len(expected)))
    for part, points in expected.parts.items():
        np.testing.assert_array_equal(np.concatenate([piece.parts[part] for piece in pieces]), points)
    assert (found.clip.kind, found.clip.split, found.uri) == ("frames", "train", "/in/train/wave")


def test_only_the_columns_that_are_asked_for(real_dataset):
    shard = find_pieces(real_dataset, "dev/french_a1").shard
    (row,) = rows_of_clip(real_dataset, shard, "dev/french_a1", ["num_frames"])
    assert set(row.column_names) == {"num_frames", "clip_id"}
    assert list(rows_of_clip(real_dataset, shard, "dev/nobody")) == []


@pytest.mark.parametrize(
    ("clip_id", "text"), [("train/lost", "failed: broken"), ("train/nobody", "no such clip was planned")]
)
def test_what_is_not_there_is_told(clip_id, text, real_dataset):
    with pytest.raises(JobError, match=text):
        find_pieces(real_dataset, clip_id)


def test_a_damaged_shard_is_named(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (shard,) = (tmp_path / "out/clips/split=dev").iterdir()
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(JobError, match=r"shard-000001\.parquet: expected a shard of this data set"):
        find_pieces(dataset, "dev/french_a1")


def test_ids_of_clips_of_several_rows_stand_once(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips, 10)
    every = ["dev/french_a1", "test/squats", "train/bsl_demo", "train/lost", "train/wave"]
    assert sorted(clip_ids(dataset).to_pylist()) == every
    assert [clip_id for clip_id in every if not is_done(dataset, clip_id)] == ["train/lost"]
    assert clip_ids(dataset, ["dev"]).to_pylist() == ["dev/french_a1"]
    with pytest.raises(JobError, match="no clip of split val"):
        clip_ids(dataset, ["val"])


def test_a_sample_is_of_the_whole_and_its_seed_repeats_it():
    ids = pa.array([f"clip{number:03}" for number in range(100)])
    assert sampled(ids, 5, 7) == sampled(ids, 5, 7)
    assert sampled(ids, 5, 7) != sampled(ids, 5, 8)
    assert sampled(ids, 1000, 0) == ids.to_pylist()
    odd = sampled(ids, 30, 0, lambda clip_id: int(clip_id[4:]) % 2 == 1)
    assert len(odd) == 30
    assert all(int(clip_id[4:]) % 2 for clip_id in odd)
    drawn = Counter(clip_id for seed in range(400) for clip_id in sampled(ids, 5, seed))
    # Each of 100 is expected 20 times; far off would be the first few always, or the last never.
    assert len(drawn) == 100
    assert max(drawn.values()) < 45


def test_a_plan_that_is_damaged_or_missing_is_told(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (tmp_path / "out/plan.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(JobError, match=r"plan\.parquet"):
        clip_ids(dataset)
    (tmp_path / "out/plan.parquet").unlink()
    with pytest.raises(JobError, match=r"plan\.parquet: missing"):
        clip_ids(dataset)
    with pytest.raises(JobError, match=r"plan\.parquet: missing"):
        find_pieces(dataset, "train/wave")
