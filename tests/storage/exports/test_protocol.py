from dataclasses import replace

import numpy as np
from real_dataset import make_dataset

from storage.exports.protocol import base_name, split_and_name, without_empty_frames
from storage.stored import stored_clips


def test_only_frames_without_any_part_are_left_out(tmp_path, shared_clips):
    dataset = make_dataset(tmp_path / "out", shared_clips)
    (clip,) = stored_clips(dataset, clip_ids=["train/wave"])
    marks = clip.landmarks
    found = np.any([marks.present(part) for part in marks.parts], axis=0)
    assert 0 < (~found).sum() < len(marks)
    left = without_empty_frames(clip).landmarks
    assert len(left) == found.sum()
    assert left.frame_names == tuple(n for n, keep in zip(marks.frame_names, found, strict=True) if keep)
    np.testing.assert_array_equal(left.timestamps_ms, marks.timestamps_ms[found])
    for part, points in marks.parts.items():
        np.testing.assert_array_equal(left.parts[part], points[found])
    masked = replace(clip, landmarks=replace(marks, masks_png=tuple(map(str.encode, marks.frame_names))))
    assert without_empty_frames(masked).landmarks.masks_png == tuple(map(str.encode, left.frame_names))
    whole = replace(clip, landmarks=left)
    assert without_empty_frames(whole) is whole


def test_names_of_clips(real_dataset):
    clip = next(stored_clips(real_dataset))
    assert (base_name(clip), split_and_name(clip)) == ("bsl_demo", "train/bsl_demo")
    flat = replace(clip, clip_id="bsl_demo")
    assert (base_name(flat), split_and_name(flat)) == ("bsl_demo", "train/bsl_demo")
    alone = replace(flat, split=None)
    assert (base_name(alone), split_and_name(alone)) == ("bsl_demo", "bsl_demo")
