import dataclasses
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_landmarks import landmarks_of

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, FrameStatus
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.running import JobMark, WorkerStatus, report
from storage.shards import Failure, write_shard
from storage.summary import describe, detections, missing_stretches, progress

POINTS = {"pose": 33, "left_hand": 2}
ARRAYS = st.lists(
    st.sampled_from([(0, 1, 1), (0, 1, 0), (0, 0, 1), (1, 0, 0), (2, 0, 0)]), min_size=1, max_size=9
)


def landmarks(frames: list[tuple[int, int, int]], first_frame: int = 0) -> ClipLandmarks:
    """Of frames given as status, whether there is a pose, whether there is a left hand."""
    return landmarks_of(POINTS, frames, first_frame)


def provenance(attempts: int) -> Provenance:
    return Provenance("holistic", "0", "0f", "cpu", attempts, 8.0, 1.0, 2.0, "host", "")


def clip(name: str, split: str | None = "train", frames: int = 10) -> Clip:
    return Clip(name, f"/in/{name}", "frames", split, frames)


def failed(owner: Clip) -> Failure:
    return Failure(owner.clip_id, owner.uri, owner.split, "decode", "broken", "it is broken", 1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "dev", "train"]),
            st.lists(ARRAYS, min_size=1, max_size=3),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_detections_are_what_one_counts_by_hand(tmp_path_factory, contents):
    dataset = Dataset(str(tmp_path_factory.mktemp("counted")))
    for number, (split, pieces, attempts) in enumerate(contents):
        firsts = np.cumsum([0, *map(len, pieces)])
        made = [landmarks(frames, int(first)) for frames, first in zip(pieces, firsts, strict=False)]
        rows = [encode(clip(str(number), split), piece, provenance(attempts)) for piece in made]
        write_shard(dataset.store, number, split, POINTS, [rows])

    for by_clip in (False, True):
        found = {group.name: group for group in detections(dataset, by_clip)}
        keys = [str(n) if by_clip else split or "none" for n, (split, _, _) in enumerate(contents)]
        assert list(found) == sorted(set(keys))
        for key, group in found.items():
            mine = [content for k, content in zip(keys, contents, strict=True) if k == key]
            frames = [frame for _, pieces, _ in mine for piece in pieces for frame in piece]
            status = [frame[0] for frame in frames]
            assert group.clips == len(mine)
            assert group.frames == len(frames)
            assert group.ok == status.count(FrameStatus.OK)
            assert group.nobody == status.count(FrameStatus.NOBODY)
            assert group.unreadable == status.count(FrameStatus.UNREADABLE)
            assert group.retried == sum(attempts > 1 for _, _, attempts in mine)
            assert group.extract_ms == 8.0 * len(mine)
            for column, part in enumerate(POINTS, start=1):
                assert group.present[part] == sum(frame[column] for frame in frames)
                readable = len(frames) - group.unreadable
                assert group.rate(part) == (group.present[part] / readable if readable else 0)


@pytest.mark.parametrize("only_failures", [False, True])
def test_nothing_is_detected_where_nothing_stands(tmp_path, only_failures):
    dataset = Dataset(str(tmp_path))
    if only_failures:
        write_shard(dataset.store, 0, "train", POINTS, [failed(clip("a"))])
    assert detections(dataset) == detections(dataset, by_clip=True) == []


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 1000))
def test_missing_stretches_cover_the_missing_frames_and_no_others(present, first):
    found = missing_stretches(landmarks([(0, 1, int(p)) for p in present], first), "left_hand")
    covered = [frame for start, end in found for frame in range(start, end + 1)]
    assert covered == [first + n for n, p in enumerate(present) if not p]
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(found))
    assert all(type(number) is int for stretch in found for number in stretch)


@pytest.fixture
def half_done(tmp_path):
    """Shard 0 of train stands with a failure, shard 1 waits; shard 2, of no split, waits."""
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    clips = [clip("a"), clip("b"), clip("c", frames=100), clip("d", None, 7), Clip("v", "/v", "video")]
    dataset.write_plan(Plan(tuple(clips), (0, 0, 1, 2, 2)))
    row = encode(clips[0], landmarks([(0, 1, 1)]), provenance(1))
    write_shard(dataset.store, 0, "train", POINTS, [[row], failed(clips[1])])
    return dataset


def test_progress_counts_every_clip_once(half_done):
    found = progress(half_done)
    counts = {s.split: (s.clips, s.done, s.failed, s.to_do, s.frames, s.frames_to_do) for s in found.splits}
    assert counts == {"none": (2, 0, 0, 2, 257, 257), "train": (3, 1, 1, 1, 120, 100)}
    assert (found.job, found.workers, found.frames_per_second, found.seconds_left) == (None, (), None, None)


def test_progress_of_a_running_job_has_a_rate(half_done):
    mark = JobMark(half_done.store)
    mark.take()
    assert progress(half_done).seconds_left is None
    began = time.time() - 10
    report(half_done.store, WorkerStatus("w0", 0, frames=1000, shard_started=began))  # its shard stands
    report(half_done.store, WorkerStatus("w1", 1, frames=50, shard_started=began))
    report(half_done.store, WorkerStatus("w2", 2, frames=150, shard_started=began))
    found = progress(half_done)
    assert sorted(worker.worker for worker in found.workers) == ["w1", "w2"]
    assert found.frames_per_second == pytest.approx(20, rel=0.1)
    assert found.seconds_left == pytest.approx((357 - 200) / 20, rel=0.1)
    mark.release()
    assert progress(half_done).job is None


def masks_only(statuses: list[int], first_frame: int = 0) -> ClipLandmarks:
    made = landmarks([(status, 0, 0) for status in statuses], first_frame)
    pngs = tuple(None if status == FrameStatus.UNREADABLE else b"png" for status in statuses)
    return dataclasses.replace(made, parts={}, masks_png=pngs)


@pytest.fixture
def of_masks(tmp_path):
    """One clip in two rows, tried three times: 5 frames, 4 readable, 3 with foreground."""
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    dataset.write_plan(Plan((clip("a"),), (0,)))
    how = dataclasses.replace(provenance(3), retry_reasons=("timeout", "context-lost"))
    rows = [encode(clip("a"), piece, how) for piece in (masks_only([0, 0, 2]), masks_only([1, 0], 3))]
    write_shard(dataset.store, 0, "train", {}, [rows], has_masks=True)
    return dataset


def test_masks_without_parts_are_counted(of_masks):
    (found,) = detections(of_masks)
    assert (found.clips, found.frames, found.ok, found.nobody, found.unreadable) == (1, 5, 3, 1, 1)
    assert (found.present, found.retried, found.ok_rate()) == ({}, 1, 0.75)


def test_a_clip_of_masks_is_described_with_its_retries(of_masks):
    found = describe(of_masks, "a")
    assert (found.num_frames, found.num_rows, found.masks, found.shapes) == (5, 2, 4, {})
    assert found.frame_status == {"ok": 3, "nobody": 1, "unreadable": 1}
    assert found.columns["retry_reasons"] == ["timeout", "context-lost"]
    assert not {"mask_png", "frame_status", "timestamps_ms"} & found.columns.keys()


def test_scores_are_described_with_their_shape(tmp_path):
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({}, "0f", {})
    dataset.write_plan(Plan((clip("a"),), (0,)))
    scores = np.full((3, 52, 1), 0.5, np.float32)
    scores[1] = np.nan
    made = landmarks([(0, 1, 1), (0, 1, 0), (0, 1, 1)])
    made = dataclasses.replace(made, parts={**made.parts, "face_blendshapes": scores})
    points = {**POINTS, "face_blendshapes": 52}
    write_shard(dataset.store, 0, "train", points, [[encode(clip("a"), made, provenance(1))]])
    found = describe(dataset, "a")
    assert found.shapes == {"pose": (3, 33, 3), "left_hand": (3, 2, 3), "face_blendshapes": (3, 52, 1)}
    assert found.missing["face_blendshapes"] == [(1, 1)]
    assert found.masks is None
    assert found.columns["retry_reasons"] == []


def test_a_plan_of_many_clips_is_counted_without_their_objects(tmp_path, monkeypatch):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    dataset.write_plan(
        Plan([clip(str(number)) for number in range(50)], [number // 10 for number in range(50)])
    )
    write_shard(
        dataset.store, 0, "train", POINTS, [Failure("3", "/3", "train", "open", "missing", "gone", 1)]
    )
    monkeypatch.setattr(Clip, "__post_init__", lambda _: pytest.fail("a clip became an object"))
    (counts,) = progress(dataset).splits
    assert (counts.clips, counts.failed, counts.to_do) == (50, 1, 40)
    with pytest.raises(JobError, match="gone"):
        dataset.read_clip("3")
