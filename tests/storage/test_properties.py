"""What holds for every data set, whatever was written, in whichever order, and wherever it was killed."""

import dataclasses
import io
import os
import shutil
import tempfile
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extraction.clips import Clip, from_uri, printable, to_uri
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from extraction.sources import Discovery, discover_tree, natural_order, read_frame_folder
from extraction.sources.discovery import in_order
from extraction.topology import num_dims
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, job
from storage import local, running
from storage.dataset import Dataset
from storage.files import Store, is_temporary
from storage.plan import Plan, revise
from storage.rows import Provenance, decode, encode
from storage.running import JobMark, count_start
from storage.shards import Failure, write_shard

SPLITS = (None, "train", "dev")
PROVENANCE = Provenance("holistic", "0", "0f", "cpu", 1, 3.0, 1.0, 2.0, "host", "")


# Rows of many clips, some long, some with masks, some tried again.


def landmarks(
    chance: np.random.Generator, length: int, first_frame: int, points: dict[str, int], masks: bool
) -> ClipLandmarks:
    return ClipLandmarks(
        first_frame=first_frame,
        fps=25.0,
        timestamps_ms=chance.random(length),
        frame_names=tuple(f"f{first_frame + n}" for n in range(length)),
        frame_status=chance.integers(0, 3, length, dtype=np.int8),
        frame_errors=(None,) * length,
        frame_sizes_px=chance.integers(0, 500, (length, 2), dtype=np.int32),
        parts={
            part: chance.integers(0, 2**32, (length, count, num_dims(part)), dtype=np.uint32).view(np.float32)
            for part, count in points.items()
        },
        pose_visibility=(
            chance.random((length, 33), np.float32)
            if "pose" in points
            else np.full((length, 33), np.nan, np.float32)
        ),
        masks_png=(
            tuple(
                chance.bytes(int(chance.integers(0, 40))) if chance.random() < 0.8 else None
                for _ in range(length)
            )
            if masks
            else None
        ),
    )


def as_bytes(found: ClipLandmarks) -> list[object]:
    values = [getattr(found, f.name) for f in dataclasses.fields(found) if f.init]
    flat = [v for value in values for v in (value.values() if isinstance(value, dict) else [value])]
    return [v.tobytes() if isinstance(v, np.ndarray) else v for v in flat]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=20),
    points=st.sampled_from(
        [
            {"pose": 33, "left_hand": 2},
            {"left_hand_world": 21},
            {"face_blendshapes": 52, "pose_world": 33},
            {},
        ]
    ),
    masks=st.booleans(),
    reasons=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4),
    seed=st.integers(0, 2**32),
)
def test_clips_of_a_shard_come_back_in_pieces_bit_for_bit(
    tmp_path_factory, lengths, points, masks, reasons, seed
):
    chance = np.random.default_rng(seed)
    dataset = Dataset(str(tmp_path_factory.mktemp("pieces")))
    clips = [Clip(f"clip{n}", f"/in/{n}", "video", "train") for n in range(len(lengths))]
    dataset.write_plan(Plan(tuple(clips), (0,) * len(clips)))
    made: dict[str, list[ClipLandmarks]] = {}
    how = dataclasses.replace(PROVENANCE, attempts=len(reasons) + 1, retry_reasons=tuple(reasons))
    for clip, pieces in zip(clips, lengths, strict=True):
        firsts = np.cumsum([0, *pieces])[:-1]
        made[clip.clip_id] = [
            landmarks(chance, n, int(first), points, masks) for n, first in zip(pieces, firsts, strict=True)
        ]
    rows = [[encode(clip, piece, how) for piece in made[clip.clip_id]] for clip in clips]
    write_shard(dataset.store, 0, "train", points, rows, has_masks=masks)
    for clip in clips:
        table = dataset.read_clip(clip.clip_id)
        assert table["retry_reasons"].to_pylist() == [reasons] * len(made[clip.clip_id])
        found = [as_bytes(decode(table, index)) for index in range(table.num_rows)]
        assert found == [as_bytes(piece) for piece in made[clip.clip_id]]


# Names and their order, from the disk to the data set.

NAMES = st.binary(min_size=1, max_size=24).map(
    lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_").removeprefix(b".") or b"_"
) | st.from_regex(rb"\A[a-c]{0,2}[0-9]{1,4}([-_][0-9]{1,3})?\Z")


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_a_path_of_any_bytes_comes_back_from_its_uri(names):
    path = os.fsdecode(b"/" + b"/".join(names))
    uri = to_uri(path)
    uri.encode()  # valid Unicode
    assert from_uri(uri) == os.path.abspath(path)
    printable(path).encode()


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=4, unique=True), min_size=1, max_size=4))
def test_clips_and_frames_of_any_names_stand_in_natural_order_and_are_found_again(tmp_path_factory, tree):
    root = os.fsencode(tmp_path_factory.mktemp("names"))
    for folder, frames in tree.items():
        os.mkdir(os.path.join(root, folder))
        for frame in frames:
            with open(os.path.join(root, folder, frame + b".png"), "wb"):
                pass
    if len({printable(os.fsdecode(folder)) for folder in tree}) < len(tree):
        with pytest.raises(JobError, match="two inputs"):
            discover_tree(os.fsdecode(root))
        return
    clips = discover_tree(os.fsdecode(root)).clips
    assert [c.clip_id for c in clips] == natural_order([printable(os.fsdecode(folder)) for folder in tree])
    by_folder = {os.fsencode(os.path.basename(clip.path)): clip for clip in clips}
    assert by_folder.keys() == tree.keys()
    for folder, frames in tree.items():
        expected = natural_order([os.fsdecode(frame) + ".png" for frame in frames])
        assert list(read_frame_folder(by_folder[folder].path).names) == expected
    dataset = Dataset(str(tmp_path_factory.mktemp("out")))
    dataset.write_plan(revise(Plan(), clips, ()).plan)
    assert Counter(dataset.plan().clips) == Counter(clips)


# Jobs that are killed anywhere.


class Killed(BaseException):
    """As by SIGKILL: nothing that is done to clean up behind it reaches the disk."""


class Power:
    """Goes off before a certain write, rename, deletion or the like, and lets none pass from then on."""

    def __init__(self) -> None:
        self.left: int | None = None

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def counted(self, function):
        def call(*arguments, **options):
            self.step()
            return function(*arguments, **options)

        return call

    def open(self, path: str, mode: str) -> io.BufferedWriter:
        assert mode == "wb"
        power = self
        power.step()

        class Counted(io.FileIO):
            def write(self, data) -> int:
                power.step()
                return super().write(data)

        return io.BufferedWriter(Counted(path, "w"))


class Jobs(RuleBasedStateMachine):
    """Jobs on one data set, one after the other; inputs come, go and change, and what was made is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="jobs-")
        self.out = os.path.join(self.folder, "out")
        self.inputs: dict[str, Clip] = {}
        self.failing: set[str] = set()
        self.left_over: list[tuple[str, int, list[Clip]]] = []
        self.incarnation = 0
        self.power = Power()
        self.patch = pytest.MonkeyPatch()
        counted = ("replace", "fsync", "unlink", "makedirs")
        quick = {**vars(os), "fsync": lambda _: None}
        fake_os = SimpleNamespace(**{**quick, **{name: self.power.counted(quick[name]) for name in counted}})
        self.patch.setattr(local, "os", fake_os)
        self.patch.setattr(local, "open", self.power.open, raising=False)
        for name in ("delete", "delete_folder"):
            self.patch.setattr(Store, name, self.power.counted(getattr(Store, name)))
        self.patch.setattr(running, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
        self.patch.setattr(running, "_pid_started", lambda _: str(self.incarnation))

    def teardown(self) -> None:
        try:
            if self.inputs:
                self.come_to_the_end()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)

    @property
    def dataset(self) -> Dataset:
        return Dataset(self.out)

    @initialize(number=st.integers(1, 12), split=st.sampled_from(SPLITS), failing=st.sets(st.integers(0, 11)))
    def begin(self, number: int, split: str | None, failing: set[int]) -> None:
        self.add(number, 20, split)
        self.failing |= {f"clip{n}" for n in failing}

    # What happens to the inputs.

    @rule(number=st.integers(1, 8), frames=st.integers(1, 90), split=st.sampled_from(SPLITS))
    def add(self, number: int, frames: int, split: str | None) -> None:
        first = len(self.inputs)
        for name in (f"clip{n}" for n in range(first, first + number)):
            self.inputs[name] = Clip(name, f"/in/{name}", "frames", split, frames, "fingerprint")

    @rule(chance=st.randoms(use_true_random=False), what=st.sampled_from(["go", "change", "move", "turn"]))
    def touch(self, chance, what: str) -> None:
        name = chance.choice(sorted(self.inputs))
        clip = self.inputs[name]
        if what == "go" and len(self.inputs) > 1:
            del self.inputs[name]
        elif what == "change":
            self.inputs[name] = dataclasses.replace(clip, fingerprint=str(chance.random()))
        elif what == "move":
            self.inputs[name] = dataclasses.replace(clip, split=chance.choice(SPLITS))
        elif what == "turn":
            self.failing ^= {name}

    # What happens to the data set.

    @rule(
        kill_at=st.none() | st.integers(0, 30),
        planned=st.booleans(),
        finish=st.none() | st.integers(0, 4),
        retry=st.booleans(),
        some=st.booleans(),
        overwrite=st.sampled_from([False] * 9 + [True]),
    )
    def run(self, kill_at, planned: bool, finish, retry: bool, some: bool, overwrite: bool) -> None:
        """One run of the command: to its end, stopped after some shards, or killed.

        Killed before a certain operation from the beginning on, or from when all is planned.
        """
        self.incarnation += 1
        self.power.left = None if planned else kill_at
        include = ("clip*[02468]",) if some else ()
        config = JobConfig(out=self.out, workers=2, retry_failed=retry)
        discovery = Discovery(clips=in_order(self.inputs.values()))
        prepared = None
        try:
            with job(self.dataset, config, Inputs("/in", include=include), discovery, overwrite) as prepared:
                self.power.left = kill_at if planned else self.power.left
                for shard in prepared.revision.to_do[:finish]:
                    self.make(prepared.job_id, shard, self.dataset.planned_clips(shard))
        except Killed:
            if prepared is not None:
                todo, clips_of = prepared.revision.to_do[:2], prepared.revision.plan.by_shard()
                self.left_over += [(prepared.job_id, shard, clips_of[shard]) for shard in todo]
        except JobError as error:
            if not (some and "no clip is left" in str(error)):
                raise
        finally:
            self.power.left = None

    def make(self, job_id: str, shard: int, clips: list[Clip]) -> None:
        """What a worker does, all but the detection."""
        store = self.dataset.store
        count_start(store, shard)
        gate = JobMark(store, job_id).check
        write_shard(store, shard, clips[0].split, {}, map(self.outcome, clips), gate)

    def outcome(self, clip: Clip):
        if clip.clip_id in self.failing or clip.clip_id not in self.inputs:
            return Failure(clip.clip_id, clip.uri, clip.split, "open", "missing", "it is not there", 1)
        chance = np.random.default_rng(len(clip.clip_id))
        pieces = [
            landmarks(chance, 2, first, {}, False) for first in ((0, 2) if clip.num_frames > 40 else (0,))
        ]
        return [encode(clip, piece, PROVENANCE) for piece in pieces]

    @precondition(lambda self: self.left_over)
    @rule()
    def a_worker_of_a_killed_job_wakes_up(self) -> None:
        """It cannot know that its job is dead; the next one may have planned its clips anew."""
        job_id, shard, clips = self.left_over.pop()
        if shard in self.dataset.done():
            return
        try:
            self.make(job_id, shard, clips)
        except JobError as error:
            if "another job took over" not in str(error):
                raise

    @rule(kill_at=st.integers(0, 6))
    def a_worker_outlives_its_job_and_the_plan(self, kill_at: int) -> None:
        """The next job takes only some of the clips, so that shards which waited are dissolved."""
        self.run(kill_at=kill_at, planned=True, finish=None, retry=False, some=False, overwrite=False)
        self.run(kill_at=None, planned=False, finish=0, retry=False, some=True, overwrite=False)
        while self.left_over:
            self.a_worker_of_a_killed_job_wakes_up()

    @rule(chance=st.randoms(use_true_random=False))
    def a_shard_is_lost(self, chance) -> None:
        if names := sorted(self.dataset.done().values()):
            os.unlink(os.path.join(self.out, chance.choice(names)))

    @rule()
    def something_temporary_is_left(self) -> None:
        folder = os.path.join(self.out, "clips/split=train")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, ".shard-000000.parquet.host-1-0123abcd.tmp"), "wb") as file:
            file.write(b"half")

    # What holds.

    def rows(self) -> dict[int, Counter[str]]:
        found = {}
        for shard, name in self.dataset.done().items():
            table = pq.read_table(os.path.join(self.out, name), columns=["clip_id", "first_frame"])
            firsts = table.filter(np.equal(table["first_frame"].to_numpy(), 0))
            found[shard] = Counter(firsts["clip_id"].to_pylist())
        return found

    @invariant()
    def no_clip_is_there_twice_and_none_is_missing_from_a_shard_that_stands(self) -> None:
        if not self.dataset.exists():
            return
        plan = self.dataset.plan()
        failed = Counter(self.dataset.failures(plan)["clip_id"].to_pylist())
        rows = self.rows()
        everywhere = sum(rows.values(), Counter())
        assert max([*everywhere.values(), *failed.values()], default=0) <= 1
        assert not everywhere.keys() & failed.keys()
        planned = plan.by_shard()
        for shard, found in rows.items():
            members = {clip.clip_id for clip in planned.get(shard, ())}
            assert found.keys() <= members
            assert members <= found.keys() | failed.keys()

    def come_to_the_end(self) -> None:
        self.run(kill_at=None, planned=False, finish=None, retry=False, some=False, overwrite=False)
        dataset = self.dataset
        planned = {clip.clip_id for clip in dataset.plan().clips}
        failed = set(dataset.failures()["clip_id"].to_pylist())
        there = set(sum(self.rows().values(), Counter()))
        assert self.inputs.keys() <= planned
        assert there | failed == planned
        assert not there & failed
        assert there <= {clip.clip_id for clip in dataset.plan().clips}
        assert not [name for name in dataset.store.names("") if is_temporary(name)]
        assert not list(dataset.store.names(running.FOLDER))
        self.failing.clear()
        self.run(kill_at=None, planned=False, finish=None, retry=True, some=False, overwrite=False)
        assert not set(dataset.failures()["clip_id"].to_pylist()) & self.inputs.keys()
        self.no_clip_is_there_twice_and_none_is_missing_from_a_shard_that_stands()


Jobs.TestCase.settings = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "30")),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_however_jobs_are_killed_every_clip_is_there_once = Jobs.TestCase
