"""The data sets for PyTorch, with its real data loader, processes and groups of ranks."""

import copy
import math
import pickle
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_dataset import POINTS, SPLITS, real_landmarks, split_rows
from torch_here import require_torch

from extraction.clips import Clip
from extraction.errors import JobError
from storage import torch as reading
from storage.dataset import Dataset
from storage.layout import point_layout
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard
from storage.signals import found, interpolated, normalized
from storage.torch import LandmarkDataset, LengthBatchSampler, collate

torch = require_torch()
DataLoader = torch.utils.data.DataLoader
LandmarkIterableDataset = reading.LandmarkIterableDataset

ALL = ["pose", "pose_world", "left_hand", "right_hand", "face"]
ONE_POINT = {"pose": ["nose"]}
MADE = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 900.0, 100.0, 700.0, "host", "f")


@pytest.fixture(scope="module")
def many(tmp_path_factory, shared_clips):
    """43 clips of 2 to 44 frames in three shards; every fifth has rows of 3 frames."""
    array = np.load(shared_clips / "phoenix_like/expected/bsl_demo.npz")["tracking"]
    dataset = Dataset(str(tmp_path_factory.mktemp("many") / "out"))
    dataset.create({"engine": "holistic"}, "0f", {})
    clips, shards = [], []
    for shard, numbers in enumerate((range(20), range(20, 41), range(41, 43))):
        outcomes = []
        for number in numbers:
            clip = Clip(f"clip{number:02}", f"/in/{number}", "frames", None, number + 2, "f")
            landmarks = real_landmarks(array[number : 2 * number + 2])
            size = 3 if number % 5 == 0 else len(landmarks)
            outcomes.append([encode(clip, piece, MADE) for piece in split_rows(landmarks, size)])
            clips.append(clip)
            shards.append(shard)
        write_shard(dataset.store, shard, None, POINTS, outcomes)
    dataset.write_plan(Plan(tuple(clips), tuple(shards)))
    return dataset.store.location


IDS = [f"clip{number:02}" for number in range(43)]


def ids(samples) -> list[str]:
    return [sample["clip_id"] for sample in samples]


def test_importing_needs_no_torch():
    code = "import sys, storage.torch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("clip_id", [f"{split}/{name}" for name, split in SPLITS.items()])
def test_a_clip_by_its_id(real_dataset, shared_clips, clip_id):
    dataset = LandmarkDataset(real_dataset.store.location, points=ALL)
    expected = real_landmarks(
        np.load(shared_clips / f"phoenix_like/expected/{clip_id.split('/')[1]}.npz")["tracking"]
    )
    sample = dataset[clip_id]
    assert sample["points"].dtype == torch.float32
    assert sample["points"].shape == (len(expected), 576, 3)
    assert sample["num_frames"] == len(expected)
    for part, points in expected.parts.items():
        where = dataset.layout.slice_of(part)
        assert sample["points"][:, where].numpy().tobytes() == points.tobytes()
        np.testing.assert_array_equal(
            sample["mask"][:, where].numpy(), np.repeat(expected.present(part)[:, None], POINTS[part], axis=1)
        )
    by_position = dataset[dataset.clip_ids.index(clip_id)]
    np.testing.assert_array_equal(by_position["points"].numpy(), sample["points"].numpy())


def test_what_is_known_of_a_clip(real_dataset):
    dataset = LandmarkDataset(real_dataset.store.location, splits=["dev"])
    (sample,) = (dataset[position] for position in range(len(dataset)))
    assert (sample["clip_id"], sample["split"], sample["fps"]) == ("dev/french_a1", "dev", 25.0)
    assert (sample["width"], sample["height"], sample["gloss"]) == (210, 260, 'SAMSTAG "WIND" WEHEN')
    assert dataset.column("gloss") == ['SAMSTAG "WIND" WEHEN']
    with pytest.raises(KeyError, match="train/wave: no such clip among the 1 here"):
        dataset["train/wave"]
    with pytest.raises(IndexError):
        dataset[1]


def test_absent_is_nan_or_what_was_asked_for_and_the_mask_says_where(real_dataset):
    location = real_dataset.store.location
    as_it_is = LandmarkDataset(location)["train/wave"]
    filled = LandmarkDataset(location, fill=-1.0)["train/wave"]
    assert torch.equal(filled["mask"], as_it_is["mask"])
    assert 0 < as_it_is["mask"].float().mean() < 1
    assert as_it_is["points"][~as_it_is["mask"]].isnan().all()
    assert (filled["points"][~filled["mask"]] == -1).all()
    assert torch.equal(filled["points"][filled["mask"]], as_it_is["points"][as_it_is["mask"]])


def test_what_is_changed_is_only_the_sample(real_dataset):
    dataset = LandmarkDataset(real_dataset.store.location)
    before = dataset["train/wave"]["points"].clone()
    dataset["train/wave"]["points"].zero_()
    np.testing.assert_array_equal(dataset["train/wave"]["points"].numpy(), before.numpy())


def about_shoulders(shoulders, points, sample):
    aspect = sample["width"] / sample["height"]
    return interpolated(normalized(points, shoulders, aspect), longest_gap=1)


def test_a_transform_comes_before_tensor_and_mask(real_dataset):
    location, layout = real_dataset.store.location, point_layout()
    shoulders = layout.index("pose", "left_shoulder", "right_shoulder")
    plain = LandmarkDataset(location)["dev/french_a1"]
    sample = LandmarkDataset(location, transform=partial(about_shoulders, shoulders))["dev/french_a1"]
    expected = about_shoulders(shoulders, plain["points"].numpy(), {"width": 210, "height": 260})
    np.testing.assert_array_equal(sample["points"].numpy(), expected)
    np.testing.assert_array_equal(sample["mask"].numpy(), found(expected))
    assert sample["mask"].sum() > plain["mask"].sum()  # the unreadable frame was a gap of one


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loader_with_processes(many, context):
    dataset = LandmarkDataset(many, points=ONE_POINT)
    expected = {clip_id: dataset[clip_id]["points"] for clip_id in IDS}
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        multiprocessing_context=context,
        collate_fn=collate,
        shuffle=True,
    )
    came = []
    for batch in loader:
        for clip_id, length, points in zip(
            batch["clip_id"], batch["num_frames"], batch["points"], strict=True
        ):
            np.testing.assert_array_equal(points[:length].numpy(), expected[clip_id].numpy())
            came.append(clip_id)
    assert sorted(came) == IDS


def test_a_stream_in_order(many):
    stream = LandmarkIterableDataset(many, points=ALL)
    by_id = LandmarkDataset(many, points=ALL)
    assert stream.num_clips == 43
    came = []
    for sample in stream:
        assert sample["points"].numpy().tobytes() == by_id[sample["clip_id"]]["points"].numpy().tobytes()
        came.append(sample["clip_id"])
    assert came == IDS
    assert ids(LandmarkIterableDataset(many, points=ONE_POINT, read_threads=2)) == IDS
    assert isinstance(stream, torch.utils.data.IterableDataset)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_state_is_of_its_epoch_only(many, num_workers):
    stream = LandmarkIterableDataset(many, points=ONE_POINT, shuffle=True)
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    for yielded in (43, 20):
        stream.load_state_dict({"epoch": 3, "yielded": yielded})
        assert stream.state_dict() == {"epoch": 3, "yielded": yielded}
        stream.set_epoch(4)
        assert stream.state_dict() == {"epoch": 4, "yielded": 0}
        assert sorted(ids(loader)) == IDS
    stream.load_state_dict({"epoch": 3, "yielded": 40})
    stream.set_epoch(3)
    assert stream.state_dict() == {"epoch": 3, "yielded": 40}
    assert len(ids(stream)) == 3
    assert sorted(ids(stream)) == IDS


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(0, 2**63), st.integers(0, 9), st.booleans(), st.integers(0, 3), st.data()
)
def test_every_clip_once_whatever_the_number_of_ranks(many, num_ranks, seed, epoch, shuffle, threads, data):
    first = LandmarkIterableDataset(
        many, points=ONE_POINT, shuffle=shuffle, seed=seed, rank=0, num_ranks=num_ranks, read_threads=threads
    )
    came = []
    for rank in range(num_ranks):
        stream = copy.copy(first)
        stream._ranks = (rank, num_ranks)
        stream.set_epoch(epoch)
        own = ids(stream)
        came += own
        stream.set_epoch(epoch)
        cut = data.draw(st.integers(0, len(own)))
        assert ids(islice(stream, cut)) == own[:cut]
        state = stream.state_dict()
        assert state == {"epoch": epoch, "yielded": cut}
        resumed = copy.copy(stream)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert ids(resumed) == own[cut:]
        assert ids(stream) == own
    assert sorted(came) == IDS


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("num_ranks", [1, 2, 5])
def test_every_clip_once_whatever_the_number_of_workers(many, num_workers, num_ranks):
    came = []
    for rank in range(num_ranks):
        stream = LandmarkIterableDataset(many, points=ONE_POINT, shuffle=True, rank=rank, num_ranks=num_ranks)
        came += ids(DataLoader(stream, batch_size=None, num_workers=num_workers))
    assert sorted(came) == IDS


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_each_epoch_has_its_order_in_workers_that_stay(many, context):
    stream = LandmarkIterableDataset(many, points=ONE_POINT, shuffle=True, seed=7)
    loader = DataLoader(
        stream, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context=context
    )
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append(ids(loader))
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != IDS
    stream.set_epoch(1)
    assert ids(stream) == orders[1]
    assert ids(LandmarkIterableDataset(many, points=ONE_POINT, shuffle=True, seed=8)) != orders[0]


def test_a_stream_can_be_pickled(many):
    stream = LandmarkIterableDataset(many, points=ONE_POINT, shuffle=True)
    stream.set_epoch(3)
    sent = pickle.loads(pickle.dumps(stream))
    assert type(sent) is LandmarkIterableDataset
    assert ids(sent) == ids(stream)


RANK = """
import sys
import torch
from storage.torch import LandmarkIterableDataset, LengthBatchSampler

if __name__ == "__main__":
    location, rank, meeting = sys.argv[1:]
    stream = LandmarkIterableDataset(location, points={"pose": ["nose"]}, shuffle=True)
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=2)
    print(*(sample["clip_id"] for sample in stream))
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    print(*(sample["clip_id"] for sample in loader))
    sampler = LengthBatchSampler(stream.lengths, 4, uneven="keep")
    print(*(stream.clip_ids[position] for batch in sampler for position in batch))
    torch.distributed.destroy_process_group()
"""


def test_ranks_of_torch_distributed(many, tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    ranks = [
        subprocess.Popen(
            [sys.executable, script, many, str(rank), tmp_path / "meeting"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].splitlines() for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    for first, second in zip(*printed, strict=True):
        assert min(len(first.split()), len(second.split())) > 5
        assert sorted(first.split() + second.split()) == IDS


@pytest.fixture(scope="module")
def in_s3(many, moto):
    """The same data set on an object store."""
    import boto3

    host, port = moto
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    for path in Path(many).rglob("*.*"):
        client.upload_file(str(path), "bucket", f"out/{path.relative_to(many)}")
    return f"s3://bucket/out?endpoint_override={host}:{port}&scheme=http&region=us-east-1"


def test_from_an_object_store(in_s3, many):
    expected = LandmarkDataset(many)
    dataset = LandmarkDataset(in_s3)
    assert dataset["clip07"]["points"].numpy().tobytes() == expected["clip07"]["points"].numpy().tobytes()
    stream = LandmarkIterableDataset(in_s3, points=ONE_POINT, shuffle=True, read_threads=2)
    assert sorted(ids(stream)) == IDS
    loader = DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert sorted(ids(loader)) == IDS


@pytest.fixture(scope="module")
def filled_cache(many, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    list(LandmarkDataset(many, points=ALL, cache=cache))
    return cache


@pytest.mark.parametrize(
    ("context", "is_stream", "is_filled"),
    [("fork", False, False), ("fork", True, True), ("spawn", True, False)],
)
def test_through_a_cache_workers_get_the_same_bits(
    many, tmp_path, filled_cache, context, is_stream, is_filled
):
    cache = filled_cache if is_filled else tmp_path / "cache"
    plain = LandmarkDataset(many, points=ALL, fill=0.0)
    if is_stream:
        dataset = LandmarkIterableDataset(many, points=ALL, fill=0.0, shuffle=True, cache=cache)
    else:
        dataset = LandmarkDataset(many, points=ALL, fill=0.0, cache=cache)
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context=context, collate_fn=collate
    )
    for _ in range(2):
        came = []
        for batch in loader:
            for row, clip_id in enumerate(batch["clip_id"]):
                length, expected = int(batch["num_frames"][row]), plain[clip_id]
                assert torch.equal(batch["points"][row, :length], expected["points"])
                assert torch.equal(batch["mask"][row, :length], expected["mask"])
                came.append(clip_id)
        assert sorted(came) == IDS
    files = sorted(path.name.split(".", 1)[1] for path in cache.rglob("*") if path.is_file())
    assert len(files) == 3 * len(ALL)
    assert all(name.endswith(".npy") for name in files)


def test_through_a_cache_a_stream_goes_on_where_it_was(many, filled_cache):
    def stream():
        return LandmarkIterableDataset(many, ONE_POINT, shuffle=True, cache=filled_cache, read_threads=2)

    first, second = stream(), stream()
    everything = ids(first)
    assert sorted(everything) == IDS
    assert ids(islice(first, 9)) == everything[:9]
    second.load_state_dict(first.state_dict())
    assert ids(second) == everything[9:]
    assert ids(pickle.loads(pickle.dumps(stream()))) == everything


def test_from_an_object_store_through_a_cache(in_s3, many, tmp_path):
    expected = LandmarkDataset(many, points=ALL)
    dataset = LandmarkDataset(in_s3, points=ALL, cache=tmp_path)
    for _ in range(2):
        for clip_id in IDS[::7]:
            assert torch.equal(dataset[clip_id]["mask"], expected[clip_id]["mask"])
            assert (
                dataset[clip_id]["points"].numpy().tobytes() == expected[clip_id]["points"].numpy().tobytes()
            )


def test_what_is_changed_of_a_cached_sample_is_only_the_sample(many, filled_cache):
    dataset = LandmarkDataset(many, cache=filled_cache)
    before = dataset[3]["points"].clone()
    dataset[3]["points"].zero_()
    np.testing.assert_array_equal(dataset[3]["points"].numpy(), before.numpy())


def test_ranks_that_make_no_sense(many):
    for rank, num_ranks in ((2, 2), (None, 2), (0, None), (-1, 3)):
        with pytest.raises(JobError, match="expected rank below num_ranks"):
            LandmarkIterableDataset(many, rank=rank, num_ranks=num_ranks)
        with pytest.raises(JobError, match="expected rank below num_ranks"):
            LengthBatchSampler([3, 4], 2, rank=rank, num_ranks=num_ranks)


@pytest.mark.parametrize("wrong", [-1, 1.5, "2", None, True])
def test_numbers_that_make_no_sense(many, wrong):
    for name in ("seed", "read_threads"):
        with pytest.raises(JobError, match=f"{name}: expected a whole number, 0 or more, found"):
            LandmarkIterableDataset(many, **{name: wrong})
    stream, sampler = LandmarkIterableDataset(many, points=ONE_POINT), LengthBatchSampler([3], 2)
    for sets_epoch in (stream, sampler):
        with pytest.raises(JobError, match="epoch: expected a whole number, 0 or more, found"):
            sets_epoch.set_epoch(wrong)
    with pytest.raises(JobError, match="seed: expected a whole number, 0 or more, found"):
        LengthBatchSampler([3], 2, seed=wrong)
    for size in (wrong, 0):
        with pytest.raises(JobError, match="batch_size: expected a whole number, 1 or more, found"):
            LengthBatchSampler([3], size)
    with pytest.raises(JobError, match="uneven: expected one of drop, repeat, keep, found"):
        LengthBatchSampler([3], 2, uneven=wrong)


def test_a_batch_of_clips_of_different_lengths(many):
    dataset = LandmarkDataset(many, points="hands")
    samples = [dataset["clip04"], dataset["clip09"]]
    batch = collate(samples)
    assert batch["points"].shape == (2, 11, 42, 3)
    assert batch["num_frames"].tolist() == [6, 11]
    assert batch["clip_id"] == ["clip04", "clip09"]
    assert batch["gloss"] == [None, None]
    assert batch["points"][0, 6:].isnan().all()
    assert not batch["mask"][0, 6:].any()
    for row, sample in enumerate(samples):
        length = sample["num_frames"]
        assert torch.equal(batch["mask"][row, :length], sample["mask"])
        np.testing.assert_array_equal(batch["points"][row, :length].numpy(), sample["points"].numpy())
    filled = collate(samples, fill=0.0)
    assert torch.equal(filled["points"], batch["points"].nan_to_num(nan=0.0))
    assert torch.equal(filled["mask"], batch["mask"])


def test_padding_is_what_the_data_set_fills_with(many):
    dataset = LandmarkDataset(many, points="hands", fill=0.0)
    samples = [dataset["clip04"], dataset["clip09"]]
    batch = collate(samples)
    assert (batch["points"][~batch["mask"]] == 0).all()
    assert (~batch["mask"][0, 6:]).all()
    assert batch["fill"] == 0.0
    assert (collate(samples, fill=-5)["points"][~batch["mask"]] == -5).all()
    assert collate(samples, fill=float("nan"))["points"][~batch["mask"]].isnan().all()


def test_filling_touches_nothing_but_what_is_missing():
    points = torch.full((2, 2, 3), 0.5)
    points[0, 0], points[0, 1], points[1, 0] = float("nan"), float("inf"), float("-inf")
    sample = {"points": points, "mask": ~points[..., 0].isnan()}
    filled = collate([sample], fill=7.0)["points"][0]
    assert filled.tolist() == [[[7.0] * 3, [float("inf")] * 3], [[float("-inf")] * 3, [0.5] * 3]]


def with_more(points, sample):
    sample["speed"] = np.diff(points, axis=0, prepend=points[:1])
    sample["index"] = torch.arange(len(points))
    sample["mean"] = np.nanmean(points, axis=(0, 1))
    sample["frames_of_all_lengths"] = np.zeros(len(points) + 1)
    sample["words"] = ["a"] * len(points)
    sample["names"] = np.array(["a"] * len(points))
    sample["weight"] = np.float32(len(points))
    if len(points) > 6:
        sample["only_here"] = torch.zeros(3)
    return points


def test_what_a_transform_adds_is_in_the_batch(many):
    dataset = LandmarkDataset(many, points="pose+hands", transform=with_more)
    samples = [dataset["clip04"], dataset["clip09"]]
    for fill in (None, 0.0):
        batch = collate(samples, fill=fill)
        assert batch["speed"].shape == (2, 11, 75, 3)
        np.testing.assert_array_equal(batch["speed"][0, :6].numpy(), samples[0]["speed"])
        padding = batch["speed"][0, 6:]
        assert padding.isnan().all() if fill is None else (padding == 0).all()
        assert batch["index"].tolist() == [[*range(6), 0, 0, 0, 0, 0], [*range(11)]]
        np.testing.assert_array_equal(batch["mean"].numpy(), [s["mean"] for s in samples])
        assert [len(values) for values in batch["frames_of_all_lengths"]] == [7, 12]
        assert batch["words"] == [["a"] * 6, ["a"] * 11]
        assert [len(names) for names in batch["names"]] == [6, 11]
        assert batch["weight"] == [6.0, 11.0]
        assert batch["only_here"][0] is None
    # Of one length, every array is stacked.
    assert collate(samples[:1] * 2)["frames_of_all_lengths"].shape == (2, 7)


def test_samples_that_do_not_go_together(many):
    hands = LandmarkDataset(many, points="hands")["clip04"]
    nose = LandmarkDataset(many, points=ONE_POINT)["clip04"]
    with pytest.raises(ValueError, match=r"expected samples of one layout, found \(1, 3\), \(42, 3\)"):
        collate([hands, nose])
    with pytest.raises(ValueError, match="expected samples of one layout, found no sample"):
        collate([])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 300), max_size=60),
    st.integers(1, 9),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from(["drop", "repeat", "keep"]),
    st.integers(0, 2**63),
)
def test_batches_of_ranks_hold_every_clip_as_often_as_promised(
    lengths, size, num_ranks, drop_last, uneven, seed
):
    whole = len(lengths) // size if drop_last else math.ceil(len(lengths) / size)
    if whole < (num_ranks if uneven == "drop" else 1):
        for rank in range(num_ranks):
            with pytest.raises(JobError, match="expected"):
                LengthBatchSampler(lengths, size, seed, rank, num_ranks, drop_last, uneven)
        return
    ranks = [
        LengthBatchSampler(lengths, size, seed, rank, num_ranks, drop_last, uneven)
        for rank in range(num_ranks)
    ]
    batches = [list(rank) for rank in ranks]
    assert [len(own) for own in batches] == [len(rank) for rank in ranks]
    if uneven != "keep":
        assert len({len(own) for own in batches}) == 1
    drawn = [tuple(batch) for own in batches for batch in own]
    assert max(map(len, drawn), default=0) <= size
    assert sum(len(batch) < size for batch in set(drawn)) <= (not drop_last)
    clips = [position for batch in set(drawn) for position in batch]
    assert len(set(clips)) == len(clips)
    there = len(lengths) // size * size if drop_last else len(lengths)
    if uneven == "drop":
        assert len(drawn) == len(set(drawn))
        assert there - len(clips) < size * num_ranks
    else:
        assert len(clips) == there
        assert len(drawn) - len(set(drawn)) < num_ranks
        assert uneven == "repeat" or len(drawn) == len(set(drawn))


def test_an_epoch_without_a_batch_is_told():
    with pytest.raises(
        JobError, match=r'each of 4 ranks, found 2 of up to 4 clips .there are 6.*uneven="repeat"'
    ):
        LengthBatchSampler([5] * 6, 4, rank=0, num_ranks=4)
    for uneven in ("drop", "repeat", "keep"):
        with pytest.raises(JobError, match="batch_size 8 with drop_last: expected 8 clips or more, found 6"):
            LengthBatchSampler([5] * 6, 8, drop_last=True, uneven=uneven)
        with pytest.raises(JobError, match="expected those of one clip or more, found none"):
            LengthBatchSampler([], 8, uneven=uneven)


def test_batches_by_length(many):
    dataset = LandmarkDataset(many, points=ONE_POINT)
    sampler = LengthBatchSampler(dataset.lengths, 8, seed=1)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=partial(collate, fill=0.0))
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert sorted(clip_id for batch in batches for clip_id in batch["clip_id"]) == IDS
    assert max(int(batch["num_frames"].max() - batch["num_frames"].min()) for batch in batches) <= 7
    sampler.set_epoch(1)
    assert [batch["clip_id"] for batch in loader] != [batch["clip_id"] for batch in batches]
    ranks = [LengthBatchSampler(dataset.lengths, 4, seed=1, rank=rank, num_ranks=4) for rank in range(4)]
    assert [len(rank) for rank in ranks] == [len(list(rank)) for rank in ranks] == [2] * 4
    shared = [position for rank in ranks for batch in rank for position in batch]
    assert len(set(shared)) == len(shared) >= 31


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"points": "face143"}, "expected parts, or one of"),
        ({"points": ["left_hand_world"]}, "the data set has pose, pose_world"),
        ({"splits": ["val"]}, "no clip of split val"),
    ],
)
def test_what_cannot_be_had_is_told(real_dataset, options, text):
    for kind in (LandmarkDataset, LandmarkIterableDataset):
        with pytest.raises(JobError, match=text):
            kind(real_dataset.store.location, **options)


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(JobError, match="expected a landmark data set"):
        LandmarkDataset(tmp_path)
