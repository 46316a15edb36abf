"""What a report counts, against what one counts by hand; the page is tested with the commands."""

import dataclasses
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_landmarks import SIZE_PX, landmarks_of
from real_dataset import SPLITS, make_dataset, real_landmarks

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage import report_scan, summary
from storage.dataset import Dataset
from storage.plan import Plan
from storage.report import build, fullest_frame, histogram
from storage.report_sample import measure_hand
from storage.report_scan import scan
from storage.rows import Provenance, encode
from storage.schema import LATER_PROVENANCE
from storage.shards import Failure, shard_name, write_shard
from storage.verify import verify

POINTS = {"pose": 33, "left_hand": 21, "right_hand": 21}
# Status, whether there is a pose, a left and a right hand.
FRAME = st.sampled_from([(0, 1, 1, 1), (0, 1, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1), (1, 0, 0, 0), (2, 0, 0, 0)])
CLIPS = st.lists(
    st.tuples(
        st.sampled_from(["train", "dev"]),
        st.sampled_from([None, "Signer01", "Signer02"]),
        st.lists(st.lists(FRAME, min_size=1, max_size=9), min_size=1, max_size=3),
        st.integers(1, 3),
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([None, "w1", "w2"])),
    ),
    min_size=1,
    max_size=9,
)


def landmarks(frames: list[tuple[int, ...]], first_frame: int = 0) -> ClipLandmarks:
    return landmarks_of(POINTS, frames, first_frame)


def provenance(attempts: int = 1, host: str = "host", worker: str | None = None) -> Provenance:
    reasons = ("start:context-lost", *("signal: SIGSEGV",) * attempts)[: attempts - 1]
    made = Provenance("holistic", "0", "0f", "cpu", attempts, 10.0, 1.0, 8.0, host, "")
    return dataclasses.replace(made, retry_reasons=reasons, worker=worker, write_ms=2.5 if worker else None)


@settings(max_examples=25, deadline=None)
@given(CLIPS, st.sampled_from([1, 3, 4096]))
def test_a_scan_counts_what_one_counts_by_hand(tmp_path_factory, contents, rows_at_once):
    dataset = Dataset(str(tmp_path_factory.mktemp("scanned")))
    dataset.create({}, "0f", {})
    for number, (split, signer, pieces, attempts, made_by) in enumerate(contents):
        clip = Clip(str(number), f"/in/{number}", "frames", split, signer=signer)
        firsts = np.cumsum([0, *map(len, pieces)])
        made = [landmarks(frames, int(first)) for frames, first in zip(pieces, firsts, strict=False)]
        rows = [encode(clip, piece, provenance(attempts, *made_by)) for piece in made]
        write_shard(dataset.store, number, split, POINTS, [rows])
    before, report_scan._ROWS_AT_ONCE = report_scan._ROWS_AT_ONCE, rows_at_once
    try:
        found = scan(dataset, keep=3, sample=4, seed=0)
    finally:
        report_scan._ROWS_AT_ONCE = before

    # By split it is what the summary counts in its own way.
    assert {name: dataclasses.asdict(group) for name, group in found.splits.items()} == {
        group.name: dataclasses.asdict(group) for group in summary.detections(dataset)
    }
    frames = [[frame for piece in pieces for frame in piece] for _, _, pieces, _, _ in contents]
    signers = {signer for _, signer, *_ in contents} - {None}
    assert set(found.signers) == signers
    for signer in signers:
        mine = [f for f, content in zip(frames, contents, strict=True) if content[1] == signer]
        assert found.signers[signer].clips == len(mine)
        assert found.signers[signer].present["left_hand"] == sum(f[2] for clip in mine for f in clip)
    order = sorted(range(len(contents)), key=lambda number: (contents[number][0], number))
    assert found.lengths_frames.tolist() == [len(frames[number]) for number in order]
    assert found.lengths_s == pytest.approx([len(frames[number]) / 25 for number in order])
    every = [frame for clip in frames for frame in clip]
    assert found.frames_without_hand == sum(f[0] != 2 and not f[2] and not f[3] for f in every)
    assert found.frames_with_one_hand == sum(f[2] != f[3] for f in every)
    tries = Counter(attempts for *_, attempts, _ in contents)
    assert found.attempts == tries
    assert found.retry_reasons["start:context-lost"] == sum(n for a, n in tries.items() if a > 1)
    assert found.retry_reasons["signal: SIGSEGV"] == tries[3]
    made_by = {(host, worker or "") for *_, (host, worker) in contents}
    assert set(found.workers) == made_by
    for (host, worker), timing in found.workers.items():
        own = [n for n, content in enumerate(contents) if content[4] == (host, worker or None)]
        again = [contents[n][3] for n in own if contents[n][3] > 1]
        assert (timing.host, timing.worker, timing.workers) == (host, worker, bool(worker))
        assert (timing.clips, timing.frames) == (len(own), sum(len(frames[n]) for n in own))
        assert timing.retried == len(again)
        assert timing.lost == Counter({"context-lost": len(again), "signal": again.count(3)})
        assert (timing.extract_ms, timing.decode_ms, timing.detect_ms, timing.write_ms) == (
            10.0 * len(own), 1.0 * len(own), 8.0 * len(own), 2.5 * len(own) * bool(worker)
        )  # fmt: skip
        assert timing.frames_per_second() == pytest.approx(timing.frames / timing.busy_ms() * 1000)
    for host in found.hosts():
        own = [timing for (name, _), timing in found.workers.items() if name == host.host]
        assert host.clips == sum(timing.clips for timing in own)
        assert host.workers == len({timing.worker for timing in own} - {""})

    def without(number: int) -> float:
        readable = [f for f in frames[number] if f[0] != 2]
        return sum(not f[2] and not f[3] for f in readable) / max(len(readable), 1)

    worst = [(strip.found.clip_id, strip.found.value) for strip in found.worst_hands]
    assert all(value == pytest.approx(without(int(clip_id))) for clip_id, value in worst)
    assert [value for _, value in worst] == sorted((value for _, value in worst), reverse=True)
    if worst and max(without(n) for n in range(len(contents))) > 0:
        assert worst[0][1] == pytest.approx(max(without(n) for n in range(len(contents))))
    assert [c.value for c in found.longest] == sorted(map(len, frames), reverse=True)[:3]
    assert [c.value for c in found.shortest] == sorted(map(len, frames))[:3]
    assert len({c.clip_id for c in found.sample}) == min(4, len(contents))


@pytest.mark.parametrize("old", [(0,), (1,), (0, 1)])
def test_shards_of_before_rows_named_their_worker(old, tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    clips = [Clip(str(number), f"/in/{number}", "frames", "dev", 1) for number in range(2)]
    dataset.write_plan(Plan(tuple(clips), (0, 1)))
    for number, clip in enumerate(clips):
        row = encode(clip, landmarks([(0, 1, 1, 1)]), provenance(worker="w"))
        write_shard(dataset.store, number, "dev", POINTS, [[row]])
    for number in old:
        path = dataset.store.full(shard_name(number, "dev"))
        kept = pq.ParquetFile(path)
        table = kept.read().drop_columns(list(LATER_PROVENANCE))
        with pq.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({b"ray_landmarks.failed": b"[]"})
    workers = build(dataset).scan.workers
    assert {worker: timing.clips for (_, worker), timing in workers.items()} == {
        **({"": len(old)} if old else {}), **({"w": 2 - len(old)} if len(old) < 2 else {})
    }  # fmt: skip
    assert sum(timing.write_ms for timing in workers.values()) == 2.5 * (2 - len(old))
    assert verify(dataset).problems == []
    assert dataset.clips().to_table(columns=["worker"])["worker"].null_count == len(old)


def test_a_strip_shows_where_the_hands_are_missing(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    frames = [(0, 1, 1, 0)] * 10 + [(0, 1, 0, 0)] * 20 + [(2, 0, 0, 0)] * 10
    rows = [[encode(Clip("a", "/a", "frames", "dev"), landmarks(frames), provenance())]]
    write_shard(dataset.store, 0, "dev", POINTS, rows)
    (strip,) = scan(dataset, 5, 5, 0).worst_hands
    assert strip.missing["left_hand"] == (0.0,) * 10 + (1.0,) * 20 + (0.0,) * 10
    assert strip.missing["right_hand"] == (1.0,) * 30 + (0.0,) * 10
    assert strip.unreadable == (0.0,) * 30 + (1.0,) * 10
    assert (strip.found.value, strip.one_missing) == (pytest.approx(20 / 30), pytest.approx(10 / 30))


def test_each_clip_is_as_likely_in_the_sample_as_any_other(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    for shard in range(4):
        rows = [
            [encode(Clip(f"{shard}-{n}", "/a", "frames", "dev"), landmarks([(0, 1, 1, 1)]), provenance())]
            for n in range(10)
        ]
        write_shard(dataset.store, shard, "dev", POINTS, rows)
    assert [c.clip_id for c in scan(dataset, 1, 5, 3).sample] == [
        c.clip_id for c in scan(dataset, 1, 5, 3).sample
    ]
    drawn = Counter(c.clip_id for seed in range(80) for c in scan(dataset, 1, 5, seed).sample)
    assert len(drawn) == 40
    assert max(drawn.values()) < 25  # 10 are expected


def moving_hand(step_px: float, jump_px: float = 0.0) -> np.ndarray:
    """A hand of 40 px that moves to the right, and to and fro by so much from frame to frame."""
    shape = np.zeros((21, 2))
    shape[:, 0] = np.linspace(0, 40, 21)
    shape[:, 1] = np.linspace(0, 20, 21)
    x = np.arange(30) * step_px + jump_px * (np.arange(30) % 2)
    pixels = shape + np.stack([x + 50, np.full(30, 80.0)], axis=1)[:, None]
    return np.concatenate([pixels / [400, 300], np.zeros((30, 21, 1))], axis=2).astype(np.float32)


def test_size_speed_and_jitter_of_a_hand():
    sizes_px = np.tile(np.array(SIZE_PX), (30, 1))
    size, speed, jitter = (np.median(v) for v in measure_hand(moving_hand(4.0), sizes_px, 25.0))
    assert size == pytest.approx(40, rel=1e-3)
    assert speed == pytest.approx(4 * 25 / 40, rel=1e-3)  # sizes a second
    assert jitter == pytest.approx(0, abs=1e-4)  # evenly moving is not shaky
    _, _, jitter = measure_hand(moving_hand(4.0, 2.0), sizes_px, 25.0)
    assert np.median(jitter) == pytest.approx(4 / 40, rel=1e-2)  # 2 px to and fro bend by 4 px
    # The same in a picture twice as large is the same hand, not a faster or a shakier one.
    twice = [np.median(v) for v in measure_hand(moving_hand(4.0, 2.0), 2 * sizes_px, 25.0)]
    assert twice[0] == pytest.approx(80, rel=1e-3)
    assert twice[1:] == pytest.approx(
        [np.median(v) for v in measure_hand(moving_hand(4.0, 2.0), sizes_px, 25)][1:]
    )


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_a_hand_that_is_hardly_there_is_measured_as_far_as_it_goes(seen):
    points = moving_hand(1.0)
    points[seen:] = np.nan
    measured = measure_hand(points, np.tile(np.array(SIZE_PX), (30, 1)), 25.0)
    assert [len(values) for values in measured] == [seen, max(seen - 1, 0), 0]


def test_whole_numbers_have_bins_of_whole_numbers_and_a_tail_is_told():
    found = histogram(np.array([5.0] * 60 + [6.0] * 30 + [7.0] * 9 + [5000.0]))
    assert found is not None
    assert sum(found.counts) + found.beyond == found.total == 100
    assert found.counts[:3] == (60, 30, 9)
    assert found.edges[0] == 4.5
    assert (found.beyond, found.median) == (1, 5.0)
    assert histogram(np.array([np.nan, np.inf])) is None
    same = histogram(np.full(9, 0.5))
    assert same is not None
    assert sum(same.counts) == 9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_a_histogram_loses_nothing(values):
    found = histogram(np.array(values))
    assert found is not None
    assert sum(found.counts) + found.beyond == found.total == len(values)


@pytest.mark.parametrize("rows_of", [None, 40])
def test_a_report_of_real_landmarks(tmp_path, shared_clips, rows_of):
    dataset = make_dataset(tmp_path / "out", shared_clips, rows_of)
    found = build(dataset)
    arrays = {
        name: np.load(shared_clips / f"phoenix_like/expected/{name}.npz")["tracking"] for name in SPLITS
    }
    clips = {f"{split}/{name}": real_landmarks(arrays[name]) for name, split in SPLITS.items()}
    total = found.scan.total()
    assert (total.clips, total.frames, total.unreadable) == (4, sum(map(len, clips.values())), 4)
    for part in ("pose", "left_hand", "right_hand", "face"):
        assert total.present[part] == sum(int(clip.present(part).sum()) for clip in clips.values())
    assert [(kind.stage, kind.reason, kind.clips, kind.example) for kind in found.failures] == [
        ("decode", "no-readable-frame", 1, "train/lost")
    ]
    assert found.histograms["clip_length_frames"].total == found.histograms["hand_size_px"].total == 4
    size = found.histograms["hand_size_px"]
    assert 10 < size.p05 < size.p95 < 120  # of frames of 210x260 px
    assert found.scan.worst_hands[0].found.clip_id == "train/wave"
    assert found.outliers[0].clip_id == "train/wave"
    assert "no hand in 63% of its frames" in found.outliers[0].why
    best, place = fullest_frame(dataset, "test/squats")
    assert all(best.present(part)[place] for part in ("pose", "left_hand", "right_hand", "face"))


def test_a_data_set_of_failures_alone(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    clip = Clip("a", "/a", "frames", "dev", 3)
    dataset.write_plan(Plan((clip,), (0,)))
    write_shard(
        dataset.store, 0, "dev", POINTS, [Failure("a", "/a", "dev", "open", "missing", "gone\nlong ago", 1)]
    )
    found = build(dataset)
    assert found.scan.total().clips == 0
    assert found.histograms == {}
    assert found.outliers == ()
    assert [(kind.reason, kind.error) for kind in found.failures] == [("missing", "gone")]


@pytest.mark.parametrize(
    ("sample", "seed", "text"), [(-1, 0, "--sample must be 0"), (3, -1, "--seed must be 0")]
)
def test_wrong_numbers(sample, seed, text, real_dataset):
    with pytest.raises(JobError, match=text):
        build(real_dataset, sample, seed)


def test_without_a_sample_no_coordinate_is_read(real_dataset):
    found = build(real_dataset, sample=0)
    assert set(found.histograms) == {"clip_length_frames", "clip_length_s"}
    assert found.sampled == 0


def test_the_plan_is_counted_as_progress_counts_it(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.create({}, "0f", {})
    clips = [
        Clip(name, f"/{name}", "frames", split, 7)
        for name, split in (("a", "dev"), ("b", "dev"), ("c", None))
    ]
    clips += [Clip("v", "/v", "video", "train"), Clip("e", "/e", "frames", "train")]
    dataset.write_plan(Plan(tuple(clips), (0, 0, 1, 2, 2)))
    row = encode(clips[0], landmarks([(0, 1, 1, 1)]), provenance())
    write_shard(
        dataset.store, 0, "dev", POINTS, [[row], Failure("b", "/b", "dev", "open", "missing", "gone", 1)]
    )
    splits, failures = summary.count_plan(dataset)
    assert splits == summary.progress(dataset).splits
    assert [(s.split, s.clips, s.done, s.failed, s.to_do, s.frames_to_do) for s in splits] == [
        ("dev", 2, 1, 1, 0, 0), ("none", 1, 0, 0, 1, 7), ("train", 2, 0, 0, 2, 251)
    ]  # fmt: skip
    assert failures.equals(dataset.failures())
    (tmp_path / "plan.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(JobError, match=r"plan\.parquet: expected"):
        summary.count_plan(dataset)
    (tmp_path / "plan.parquet").unlink()
    with pytest.raises(JobError, match=r"plan\.parquet: missing, although shards stand"):
        summary.count_plan(dataset)
