import numpy as np
import pytest
from real_dataset import SPLITS, make_dataset, real_landmarks

from extraction.errors import JobError
from storage.stored import stored_clips


@pytest.mark.parametrize("rows_of", [None, 40, 1])
def test_clips_come_back_whole_however_many_rows_they_have(tmp_path, shared_clips, rows_of):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of)
    found = {clip.clip_id: clip for clip in stored_clips(dataset)}
    assert list(found) == [f"{split}/{name}" for name, split in SPLITS.items()]
    for name, split in SPLITS.items():
        expected = real_landmarks(np.load(shared_clips / f"phoenix_like/expected/{name}.npz")["tracking"])
        clip = found[f"{split}/{name}"]
        assert clip.split == split
        for part, points in expected.parts.items():
            np.testing.assert_array_equal(clip.landmarks.parts[part], points)
        np.testing.assert_array_equal(clip.landmarks.frame_status, expected.frame_status)
        np.testing.assert_array_equal(clip.landmarks.timestamps_ms, expected.timestamps_ms)
        assert clip.landmarks.frame_names == expected.frame_names
    assert found["dev/french_a1"].text_of("gloss") == 'SAMSTAG "WIND" WEHEN'


def test_only_what_was_asked_for(real_dataset):
    assert [clip.clip_id for clip in stored_clips(real_dataset, ["dev", "test"])] == [
        "dev/french_a1",
        "test/squats",
    ]
    assert [clip.clip_id for clip in stored_clips(real_dataset, clip_ids=["train/wave"])] == ["train/wave"]
    with pytest.raises(JobError, match="no clip of split val: it has dev, test, train"):
        list(stored_clips(real_dataset, ["val"]))


def test_a_damaged_shard_is_named(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (shard,) = (tmp_path / "out/clips/split=dev").iterdir()
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(JobError, match=r"shard-000001\.parquet: expected a shard of this data set"):
        list(stored_clips(dataset))
