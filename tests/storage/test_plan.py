import dataclasses
from collections import Counter

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from extraction.clips import Clip
from storage.plan import Plan, from_table, revise, to_table, weight

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
    weights = {shard: sum(map(weight, members)) for shard, members in shards.items()}
    for shard, members in shards.items():
        assert len(members) <= 64
        assert weights[shard] <= 7_000 or len(members) == 1
    assert [weights[shard] for shard in revision.to_do] == sorted(weights.values(), reverse=True)


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
    pq.write_table(to_table(plan), path)
    assert from_table(pq.read_table(path)) == plan


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
    assert [len(members) for members in shards.values()] == [64, 64, 64, 64, 44]


def test_small_inputs_are_cut_finer_for_many_workers():
    clips = [clip(number, frames=50) for number in range(64)]
    assert len(revise(Plan(), clips, (), workers=1).to_do) == 4
    assert len(revise(Plan(), clips, (), workers=8).to_do) == 32


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
