import dataclasses
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extraction.clips import Clip
from storage.cutting import MIN_FRAMES_PER_SHARD
from storage.plan import Plan, expect_sound, revise, weights
from storage.schema import PLAN_SCHEMA

SPLITS = (None, "train", "dev")
frame_counts = st.integers(0, 5) | st.integers(0, 120) | st.sampled_from([0, 6_999, 7_000, 7_001, 40_000])


def clip(number: int, frames: int = 10, split: str | None = "train", fingerprint: str = "") -> Clip:
    return Clip(f"clip{number}", f"/in/{number}", "frames", split, frames, fingerprint)


@st.composite
def clip_lists(draw, max_size=200):
    found = draw(st.lists(st.tuples(frame_counts, st.sampled_from(SPLITS)), max_size=max_size))
    return [clip(number, frames, split) for number, (frames, split) in enumerate(found)]


@st.composite
def situations(draw):
    """A plan some shards of which stand, and what a later run wants: moved clips, new ones, only some."""
    plan = revise(Plan(), draw(clip_lists(60)), (), workers=draw(st.integers(1, 8))).plan
    shards = sorted(set(plan.shards))
    done = draw(st.sets(st.sampled_from(shards))) if shards else set()
    wanted = [c for c in plan.clips if draw(st.booleans())] if draw(st.booleans()) else list(plan.clips)
    if draw(st.booleans()):
        wanted = [dataclasses.replace(c, split=draw(st.sampled_from(SPLITS))) for c in wanted]
    wanted += [clip(number, draw(frame_counts)) for number in range(1000, 1000 + draw(st.integers(0, 9)))]
    in_done = [c.clip_id for c, shard in zip(plan.clips, plan.shards, strict=True) if shard in done]
    retry = draw(st.sets(st.sampled_from(in_done))) if in_done else set()
    return plan, wanted, done, retry, draw(st.integers(1, 8))


@settings(deadline=None)
@given(situations())
def test_every_clip_is_planned_once(situation):
    plan, wanted, done, retry, workers = situation
    revised = revise(plan, wanted, done, retry, workers).plan
    planned = Counter(c.clip_id for c in revised.clips)
    assert planned == Counter({c.clip_id for c in (*plan.clips, *wanted)})


@settings(deadline=None)
@given(situations())
def test_a_shard_has_one_split(situation):
    plan, wanted, done, retry, workers = situation
    revised = revise(plan, wanted, done, retry, workers).plan
    assert all(len({c.split for c in members}) == 1 for members in revised.by_shard().values())


@settings(deadline=None)
@given(situations())
def test_finished_shards_lose_only_clips_to_be_tried_again(situation):
    plan, wanted, done, retry, workers = situation
    revised = revise(plan, wanted, done, retry, workers).plan.by_shard()
    tried_again = retry & {c.clip_id for c in wanted}
    for shard, members in plan.by_shard().items():
        if shard in done:
            assert revised.get(shard, []) == [c for c in members if c.clip_id not in tried_again]


@settings(deadline=None)
@given(situations())
def test_to_do_is_what_is_wanted_and_not_done(situation):
    plan, wanted, done, retry, workers = situation
    revision = revise(plan, wanted, done, retry, workers)
    shards = revision.plan.by_shard()
    to_do = [c for shard in revision.to_do for c in shards[shard]]
    finished = {c.clip_id for c, s in zip(plan.clips, plan.shards, strict=True) if s in done} - retry
    assert len(to_do) == len(set(to_do))
    assert set(to_do) == {c for c in wanted if c.clip_id not in finished}
    assert revision.clips_to_do == len(to_do)
    assert revision.frames_to_do == weights(Plan(to_do, [0] * len(to_do)).table).sum()
    assert not set(revision.to_do) & done


@settings(deadline=None)
@given(situations())
def test_numbers_are_not_used_again(situation):
    plan, wanted, done, retry, workers = situation
    before = plan.by_shard()
    for shard, members in revise(plan, wanted, done, retry, workers).plan.by_shard().items():
        if shard in before:
            assert {c.clip_id for c in members} <= {c.clip_id for c in before[shard]}
        else:
            assert shard > max([*plan.shards, *done], default=-1)


@settings(deadline=None)
@given(situations())
def test_the_same_run_again_changes_nothing(situation):
    plan, wanted, done, retry, workers = situation
    once = revise(plan, wanted, done, retry, workers)
    again = revise(once.plan, wanted, done, retry, workers)
    assert (again.plan, again.to_do) == (once.plan, once.to_do)


@settings(deadline=None)
@given(clip_lists(), st.integers(1, 100))
def test_new_shards_keep_to_the_limits_and_come_longest_first(clips, workers):
    revision = revise(Plan(), clips, (), workers=workers)
    shards = revision.plan.by_shard()
    frames = {
        shard: weights(Plan(members, [0] * len(members)).table).sum() for shard, members in shards.items()
    }
    for shard, members in shards.items():
        assert len(members) <= 64
        assert frames[shard] <= 7_000 or len(members) == 1
    assert [frames[shard] for shard in revision.to_do] == sorted(frames.values(), reverse=True)


@settings(deadline=None)
@given(clip_lists(60), st.randoms(use_true_random=False))
def test_a_table_brings_a_plan_back(tmp_path_factory, clips, random):
    full = [
        dataclasses.replace(
            c, fingerprint="f", signer="Zoë", gloss="A\nB", text=None, fps=random.choice([None, 0.1])
        )
        for c in clips
    ]
    plan = revise(Plan(), full, ()).plan
    path = tmp_path_factory.mktemp("plan") / "plan.parquet"
    pq.write_table(plan.table, path)
    again = Plan.of(pq.read_table(path))
    expect_sound(again.table)
    assert again == plan
    assert set(again.clips) == set(full)


def test_a_waiting_clip_is_taken_with_its_input_as_it_is_now():
    plan = revise(Plan(), [clip(1), clip(2)], ()).plan
    now = [clip(1, frames=12, fingerprint="new"), clip(2)]
    revision = revise(plan, now, ())
    assert revision.plan.by_shard() == {0: now}
    assert revision.changed == ()


def test_a_finished_clip_whose_input_changed_is_named_and_kept():
    plan = revise(Plan(), [clip(1), clip(2)], ()).plan
    revision = revise(plan, [clip(1, fingerprint="new"), clip(2)], done=[0])
    assert (revision.plan, revision.to_do, revision.changed) == (plan, (), ("clip1",))
    assert revise(plan, [clip(1, fingerprint="new")], [0], retry=["clip1"]).changed == ()


def test_a_waiting_shard_whose_clips_went_to_other_splits_is_dissolved():
    plan = revise(Plan(), [clip(1), clip(2)], ()).plan
    revision = revise(plan, [clip(1, split="dev"), clip(2)], ())
    assert revision.plan.by_shard() == {1: [clip(1, split="dev")], 2: [clip(2)]}


def test_a_lost_plan_takes_no_number_of_a_shard_that_stands():
    assert revise(Plan(), [clip(1)], done=[0, 7]).to_do == (8,)


def test_a_shard_takes_64_clips_at_most():
    shards = revise(Plan(), [clip(number, frames=1) for number in range(300)], ()).plan.by_shard()
    assert [len(members) for members in shards.values()][:3] == [64, 64, 64]
    assert max(map(len, shards.values())) == 64


def test_small_inputs_are_cut_finer_for_many_workers():
    clips = [clip(number, frames=MIN_FRAMES_PER_SHARD) for number in range(64)]
    one, eight = (revise(Plan(), clips, (), workers=workers) for workers in (1, 8))
    assert len(one.to_do) < len(eight.to_do)
    assert max(map(len, one.plan.by_shard().values())) == 32
    assert max(map(len, eight.plan.by_shard().values())) == 4


ODD_ROWS = {
    "clip_id": st.sampled_from(["a", "", None]),
    "uri": st.sampled_from(["/a", "", None]),
    "kind": st.sampled_from(["frames", "video", "film", None]),
    "num_frames": st.sampled_from([0, 7, -1, None]),
    "fps": st.sampled_from([None, 25.0, 0.0, -1.0, float("inf"), float("nan")]),
    "start_frame": st.sampled_from([None, 0, 5, -1]),
    "end_frame": st.sampled_from([None, 0, 5, 6]),
    "start_ms": st.sampled_from([None, 0.0, 40.0, -1.0, float("nan"), float("inf")]),
    "end_ms": st.sampled_from([None, 40.0, 80.0, float("nan"), float("inf")]),
}
USUAL_ROW = {"clip_id": "a", "uri": "/a", "kind": "frames", "num_frames": 3}


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(sorted(ODD_ROWS)), max_size=3, unique=True), st.data())
def test_a_row_is_sound_where_a_clip_can_be_made_of_it(odd, data):
    row = {name: USUAL_ROW.get(name) for name in PLAN_SCHEMA.names if name != "shard"}
    row |= {name: data.draw(ODD_ROWS[name]) for name in odd}
    try:
        Clip(**row)
        expected = None
    except (ValueError, TypeError) as error:
        expected = str(error)
    try:
        expect_sound(pa.Table.from_pylist([{**row, "shard": 0}], PLAN_SCHEMA))
        found = None
    except (ValueError, TypeError) as error:
        found = str(error)
    assert found == expected


@pytest.mark.parametrize("shards", [(-1, 0), (1, 0), (0, None)])
def test_shards_out_of_order_are_no_plan(shards):
    table = Plan([clip(1), clip(2)], shards).table
    with pytest.raises(ValueError, match="not numbered in order"):
        expect_sound(table)


def test_a_clip_that_is_planned_twice_is_no_plan():
    with pytest.raises(ValueError, match="planned twice"):
        expect_sound(Plan([clip(1), clip(1)], (0, 1)).table)


class Job:
    """Runs that are cut short anywhere, on files that are whole or absent."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self.plan = Plan()
        self.stored: dict[int, set[str]] = {}
        self.failed: dict[int, set[str]] = {}

    def current_failures(self) -> set[str]:
        shard_of = self.plan.shard_of()
        return {c for shard, members in self.failed.items() for c in members if shard_of[c] == shard}

    def run(self, wanted, retry: bool, crash_before_plan: bool, finish: int, failing: set[str]) -> None:
        revision = revise(self.plan, wanted, self.stored, self.current_failures() if retry else (), workers=2)
        if crash_before_plan:
            return
        self.plan = revision.plan
        for shard in revision.to_do[:finish]:
            assert shard not in self.stored
            members = {c.clip_id for c in self.plan.by_shard()[shard]}
            self.stored[shard], self.failed[shard] = members - failing, members & failing


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_however_runs_are_cut_short_each_clip_ends_in_one_finished_shard(data):
    job = Job()
    for _ in range(data.draw(st.integers(1, 8))):
        first = len(job.clips)
        for number in range(first, first + data.draw(st.integers(0, 12))):
            job.clips.append(clip(number, data.draw(frame_counts), data.draw(st.sampled_from(SPLITS))))
        ids = [c.clip_id for c in job.clips]
        some = data.draw(st.sets(st.sampled_from(ids))) if ids and data.draw(st.booleans()) else set(ids)
        failing = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
        wanted = [c for c in job.clips if c.clip_id in some]
        job.run(
            wanted, data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.integers(0, 5)), failing
        )
    job.run(job.clips, retry=True, crash_before_plan=False, finish=len(job.clips), failing=set())
    assert job.current_failures() == set()
    rows = Counter(clip_id for members in job.stored.values() for clip_id in members)
    assert rows == Counter(c.clip_id for c in job.clips)
    shard_of = job.plan.shard_of()
    assert all(clip_id in job.stored[shard_of[clip_id]] for clip_id in rows)
