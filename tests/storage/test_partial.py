"""What is done of a shard that does not stand: taken again whole, or not at all."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks, FrameLandmarks, stack_frames
from storage.files import Store
from storage.partial import PARTIAL, PartialShard, discard_partial, sweep_partial
from storage.rows import Provenance, encode

MADE_BY = "code 1, options 2"
JOB = "0123456789abcdef"
CLIPS = [Clip(f"train/{name}", f"/in/train/{name}", "frames", "train", 3, "f1", text="é") for name in "abc"]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def rows_of(clip: Clip, *lengths: int) -> list[pa.RecordBatch]:
    rows = []
    for length in lengths or (3,):
        frames = [
            FrameLandmarks({"pose": np.random.default_rng(length).random((33, 3), np.float32)})
        ] * length
        parts, visibility = stack_frames(frames, {"pose": 33})
        landmarks = ClipLandmarks(
            first_frame=sum(row.column("num_frames")[0].as_py() for row in rows),
            fps=25.0,
            timestamps_ms=np.arange(length) * 40.0,
            frame_names=tuple(map(str, range(length))),
            frame_status=np.ones(length, np.int8),
            frame_errors=(None,) * length,
            frame_sizes_px=np.full((length, 2), 200, np.int32),
            parts=parts,
            pose_visibility=visibility,
        )
        rows.append(
            encode(
                clip, landmarks, Provenance("holistic", "0.10.21", "0f", "cpu", 1, 3.0, 1.0, 2.0, "h", "f1")
            )
        )
    return rows


def bits(rows: Iterable[pa.RecordBatch]) -> list[bytes]:
    return [row.serialize().to_pybytes() for row in rows]


def keep(
    store: Store, *clips: Clip, lengths: tuple[int, ...] = (), shard: int = 7, job: str = JOB
) -> PartialShard:
    partial = PartialShard(store, shard, MADE_BY, job)
    for clip in clips:
        assert bits(partial.keeping(clip, rows_of(clip, *lengths))) == bits(rows_of(clip, *lengths))
    partial.close()
    return partial


def files(store: Store) -> list[Path]:
    return sorted(Path(store.root, PARTIAL).glob("*"))


def test_what_one_attempt_has_done_the_next_one_takes(store):
    keep(store, *CLIPS[:1])
    keep(store, CLIPS[1], lengths=(4, 2))
    again = PartialShard(store, 7, MADE_BY, JOB)
    assert [clip in again for clip in CLIPS] == [True, True, False]
    for clip, lengths in ((CLIPS[0], (3,)), (CLIPS[1], (4, 2))):
        kept = again.get(clip)
        assert bits(kept.rows(rows_of(clip)[0].schema)) == bits(rows_of(clip, *lengths))
        assert kept.frames == sum(lengths)
        assert kept.is_own
    discard_partial(store, 7)
    assert files(store) == []


def test_a_clip_is_there_when_its_last_row_is(store):
    partial = PartialShard(store, 7, MADE_BY, JOB)
    rows = partial.keeping(CLIPS[0], rows_of(CLIPS[0], 4, 2))
    next(rows)
    assert CLIPS[0] not in PartialShard(store, 7, MADE_BY, JOB)
    assert len(list(rows)) == 1
    assert CLIPS[0] in PartialShard(store, 7, MADE_BY, JOB)


def test_a_clip_that_broke_off_does_not_come_back(store):
    def broken():
        yield from rows_of(CLIPS[0], 3, 2)
        raise OSError("gone")

    partial = PartialShard(store, 7, MADE_BY, JOB)
    with pytest.raises(OSError, match="gone"):
        list(partial.keeping(CLIPS[0], broken()))
    list(partial.keeping(CLIPS[1], rows_of(CLIPS[1])))
    again = PartialShard(store, 7, MADE_BY, JOB)
    assert [clip in again for clip in CLIPS[:2]] == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "f2"},
        {"text": "other"},
        {"uri": "/elsewhere/a"},
        {"end_frame": 2},
    ],
)
def test_a_clip_that_is_planned_otherwise_by_now_is_done_again(store, other):
    keep(store, CLIPS[0])
    assert replace(CLIPS[0], **other) not in PartialShard(store, 7, MADE_BY, JOB)


def test_other_code_and_other_shards_take_nothing(store):
    keep(store, CLIPS[0])
    assert CLIPS[0] not in PartialShard(store, 7, "code 2, options 2", JOB)
    assert CLIPS[0] not in PartialShard(store, 8, MADE_BY, JOB)
    assert CLIPS[0] in PartialShard(store, 7, MADE_BY, JOB)


def test_wherever_a_file_is_cut_or_changed_only_whole_clips_come_back(store):
    keep(store, *CLIPS)
    (file,) = files(store)
    whole = file.read_bytes()
    third = len(whole) // 3
    for size in (0, 1, 40, third - 1, third, third + 1, 2 * third, len(whole) - 1):
        file.write_bytes(whole[:size])
        found = PartialShard(store, 7, MADE_BY, JOB)
        assert [clip in found for clip in CLIPS] == [size >= (n + 1) * third for n in range(3)], size
    for place in range(0, len(whole), len(whole) // 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = PartialShard(store, 7, MADE_BY, JOB)
        assert [clip in found for clip in CLIPS] == [place >= (n + 1) * third for n in range(3)], place
        for clip in CLIPS:
            if clip in found:
                assert bits(found.get(clip).rows(rows_of(clip)[0].schema)) == bits(rows_of(clip))


def test_where_the_disk_takes_no_more_nothing_is_kept_and_nothing_lost(store):
    Path(store.root).mkdir(parents=True)
    Path(store.root, PARTIAL).write_text("no folder")
    assert CLIPS[0] not in keep(store, CLIPS[0])


def test_without_knowing_what_makes_a_row_or_what_of_nothing_is_kept(store):
    own = PartialShard(store, 7, "", JOB)
    assert bits(own.keeping(CLIPS[0], rows_of(CLIPS[0]))) == bits(rows_of(CLIPS[0]))
    keep(store, replace(CLIPS[1], fingerprint=""))
    assert files(store) == []


def test_what_another_attempt_deletes_can_still_be_read(store):
    keep(store, *CLIPS, job="fedcba9876543210")
    again = PartialShard(store, 7, MADE_BY, JOB)
    discard_partial(store, 7)
    for clip in CLIPS:
        assert bits(again.get(clip).rows(rows_of(clip)[0].schema)) == bits(rows_of(clip))
        assert not again.get(clip).is_own
    again.close()


def forged(rows: Iterable[pa.RecordBatch], clip: Clip, store: Store) -> PartialShard:
    """What is kept under a clip's name, with right digests."""
    partial = PartialShard(store, 7, MADE_BY, JOB)
    list(partial.keeping(clip, rows))
    return PartialShard(store, 7, MADE_BY, JOB)


def test_rows_of_another_clip_or_kind_are_not_taken(store):
    assert CLIPS[0] not in forged(rows_of(CLIPS[1]), CLIPS[0], store)
    no_row = rows_of(CLIPS[0])[0].slice(0, 0)
    assert CLIPS[0] not in forged([no_row], CLIPS[0], store)
    assert CLIPS[0] not in forged([pa.record_batch({"clip_id": [CLIPS[0].clip_id]})], CLIPS[0], store)
    kept = forged(rows_of(CLIPS[2]), CLIPS[2], store).get(CLIPS[2])
    with pytest.raises(JobError, match=r"\.rows: 'train/c': expected rows as this job makes them.*delete"):
        kept.rows(pa.schema([("clip_id", pa.string())]))


def test_a_file_that_changes_while_it_is_taken_is_an_error(store):
    keep(store, CLIPS[0])
    kept = PartialShard(store, 7, MADE_BY, JOB).get(CLIPS[0])
    (file,) = files(store)
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    with pytest.raises(OSError, match="changed"):
        list(kept.rows(rows_of(CLIPS[0])[0].schema))


def test_only_what_waits_is_left(store):
    sweep_partial(store, ())  # nothing there yet
    keep(store, CLIPS[0])
    keep(store, CLIPS[0], shard=8)
    other = Path(store.root, PARTIAL, "somebody's")
    other.write_text("")
    sweep_partial(store, {8})
    assert [path.name.split(".")[0] for path in files(store)] == ["shard-000008", "somebody's"]
    os.unlink(other)
    sweep_partial(store, {8})
    assert len(files(store)) == 1
    sweep_partial(store, ())
    assert not Path(store.root, PARTIAL).exists()


def test_an_object_store_keeps_nothing(s3_uri):
    keep(Store(s3_uri), CLIPS[0])
    assert CLIPS[0] not in PartialShard(Store(s3_uri), 7, MADE_BY, JOB)
    discard_partial(Store(s3_uri), 7)
    assert list(Store(s3_uri).names("")) == []
