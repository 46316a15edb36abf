"""Masks of two data sets: every pixel counts, by hand-made masks whose differences are known."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.imports.opening import open_source
from storage.masks import read_mask
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.schema import parquet_options
from storage.shards import write_shard
from storage.verify import verify
from storage.verify_two import Comparison, compare

MADE = Provenance("segmenter", "1.2.2", "0f", "cpu", 1, 9.0, 1.0, 7.0, "host", "f")
HEIGHT, WIDTH = 26, 21
Masks = Sequence[np.ndarray | None]


def png(mask: np.ndarray, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG", **how)
    return file.getvalue()


def marks_of(masks: Masks, foreground_from: int = 1, files: Sequence[bytes | None] | None = None):
    length = len(masks)
    readable = np.array([mask is not None for mask in masks])
    found = np.array([mask is not None and mask.max() >= foreground_from for mask in masks])
    sizes = [(0, 0) if mask is None else mask.shape[::-1] for mask in masks]
    return ClipLandmarks(
        first_frame=0,
        fps=25.0,
        timestamps_ms=np.arange(length) * 40.0,
        frame_names=tuple(f"{number}.png" for number in range(length)),
        frame_status=np.where(readable, np.where(found, 0, 1), 2).astype(np.int8),
        frame_errors=tuple(None if good else "broken" for good in readable),
        frame_sizes_px=np.array(sizes, np.int32),
        parts={},
        pose_visibility=np.full((length, 33), np.nan, np.float32),
        masks_png=tuple(files or (None if mask is None else png(mask) for mask in masks)),
    )


def dataset(
    out: Path, masks: Masks, kind: str = "category", files: Sequence[bytes | None] | None = None
) -> Path:
    """A data set of one clip with these masks."""
    made = Dataset(str(out))
    made.create({"engine": "segmenter", "mask": kind, "fps": 25.0}, "0f", {"source": "/in"})
    clip = Clip("dev/x", "/in/dev/x", "frames", "dev", len(masks), "f")
    marks = marks_of(masks, 1 if kind == "category" else 128, files)
    write_shard(made.store, 0, "dev", {}, [[encode(clip, marks, MADE)]], has_masks=True)
    made.write_plan(Plan((clip,), (0,)))
    return out


def compared(a: Path, b: Path, **options: object) -> Comparison:
    return compare(open_source(str(a)), open_source(str(b)), **options)


@pytest.fixture
def classes() -> list[np.ndarray | None]:
    """Four frames of three classes; the third cannot be read."""
    chance = np.random.default_rng(3)
    masks = [chance.integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8) for _ in range(4)]
    return [masks[0], masks[1], None, masks[3]]


def test_a_mask_comes_back_as_it_was(classes):
    for level in (0, 1, 9):
        assert np.array_equal(read_mask(png(classes[0], compress_level=level), (WIDTH, HEIGHT)), classes[0])


BAD = {
    "no PNG": (b"\xff\xd8\xff" + bytes(60), "is not a PNG"),
    "nothing": (b"", "is not a PNG"),
    "another size": (png(np.zeros((WIDTH, HEIGHT), np.uint8)), "is 26x21 px, its frame 21x26"),
    "colours": (png(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), "8 bits of the PNG colour type 2"),
    "16 bits": (png(np.zeros((HEIGHT, WIDTH), np.uint16)), "16 bits"),
    "cut": (png(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8))[:-60], "damaged PNG"),
    "a bomb": (png(np.zeros((9, 9), np.uint8)).replace(b"\0\0\0\x09" * 2, b"\x7f" * 8), "its frame 21x26"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_mask_is_told_in_words(what, tmp_path, classes):
    data, text = BAD[what]
    with pytest.raises(ValueError, match=text):
        read_mask(data, (WIDTH, HEIGHT))
    files = [data, *(None if mask is None else png(mask) for mask in classes[1:])]
    bad = dataset(tmp_path / "bad", classes, files=files)
    result = verify(Dataset.open(str(bad)))
    assert result.counts == {"mask": 1}
    assert text in result.problems[0].text
    assert "frame 0" in result.problems[0].text
    good = dataset(tmp_path / "good", classes)
    with pytest.raises(JobError, match=r"'dev/x': the mask of frame 0"):
        compared(good, bad)


def test_masks_that_are_good(tmp_path, classes):
    result = verify(Dataset.open(str(dataset(tmp_path / "out", classes))))
    assert result.is_good, result.problems
    assert (result.frames, result.masks) == (4, 3)


@pytest.mark.parametrize(("kind", "nobody"), [("category", 0), ("confidence", 127)])
def test_a_status_that_its_mask_contradicts(tmp_path, kind, nobody):
    found = np.full((HEIGHT, WIDTH), 200, np.uint8)
    empty = np.full((HEIGHT, WIDTH), nobody, np.uint8)
    out = dataset(tmp_path / "out", [found, empty], kind)
    assert verify(Dataset.open(str(out))).is_good
    out = dataset(tmp_path / "turned", [found, empty], kind, files=[png(empty), png(found)])
    result = verify(Dataset.open(str(out)))
    assert result.counts == {"mask": 1}
    assert "frame_status of frame 0 (and 1 more) does not fit its mask" in result.problems[0].text


def test_equal_masks_however_they_are_packed(tmp_path, classes):
    a = dataset(tmp_path / "a", classes)
    files = [None if mask is None else png(mask, compress_level=0) for mask in classes]
    b = dataset(tmp_path / "b", classes, files=files)
    result = compared(a, b)
    assert result.is_equal
    assert result.masks is not None
    assert (result.masks.frames, result.masks.pixels, result.masks.differ) == (3, 3 * HEIGHT * WIDTH, 0)
    assert [one.number for one in result.masks.classes] == [0, 1, 2]
    for one in result.masks.classes:
        share = np.mean([mask == one.number for mask in classes if mask is not None])
        assert one.share_in_a == one.share_in_b == pytest.approx(share)
        assert (one.overlap, one.differ) == (1.0, 0)


def test_every_pixel_that_differs_is_counted_by_class(tmp_path, classes):
    other = [None if mask is None else mask.copy() for mask in classes]
    other[1][:5] = 0
    other[3][7, 8] = (other[3][7, 8] + 1) % 3
    result = compared(dataset(tmp_path / "a", classes), dataset(tmp_path / "b", other), tolerance=0.9)
    assert result.counts == {"mask pixels": 1}, "no tolerance makes one class another"
    assert result.differing == ["dev/x"]
    masks = result.masks
    a, b = (np.concatenate([m for m in of if m is not None]) for of in (classes, other))
    assert masks.differ == np.count_nonzero(a != b)
    assert masks.mean == pytest.approx(np.mean(a != b))
    assert masks.frames_differ == 2
    assert masks.worst == "dev/x, frame 1"
    assert masks.worst_share == pytest.approx(np.mean(classes[1] != other[1]))
    for one in masks.classes:
        in_a, in_b = a == one.number, b == one.number
        assert one.share_in_a == pytest.approx(in_a.mean())
        assert one.share_in_b == pytest.approx(in_b.mean())
        assert one.overlap == pytest.approx((in_a & in_b).sum() / (in_a | in_b).sum())
        assert one.differ == (in_a ^ in_b).sum()


def test_a_tolerance_of_confidences_is_a_share_of_full_confidence(tmp_path):
    chance = np.random.default_rng(4)
    mask = chance.integers(10, 240, (HEIGHT, WIDTH)).astype(np.uint8)
    mask[0, 0] = 126
    other = mask.copy()
    other[0, 0] += 3
    other[1, 1] -= 9
    a = dataset(tmp_path / "a", [mask], "confidence")
    b = dataset(tmp_path / "b", [other], "confidence")
    for tolerance, differ in ((0.0, 2), (2.9 / 255, 2), (3 / 255, 1), (8.9 / 255, 1), (9 / 255, 0)):
        result = compared(a, b, tolerance=tolerance)
        assert result.masks.differ == differ, tolerance
        assert result.is_equal == (differ == 0)
        assert result.masks.max == pytest.approx(9 / 255)
        assert result.masks.mean == pytest.approx(12 / 255 / mask.size)
    background, foreground = result.masks.classes
    assert foreground.share_in_a == pytest.approx(np.mean(mask >= 128))
    assert foreground.share_in_b == pytest.approx(np.mean(other >= 128))
    assert background.differ == foreground.differ == np.count_nonzero((mask >= 128) != (other >= 128)) > 0


def test_frames_whose_mask_is_missing_or_of_another_size(tmp_path, classes):
    a = dataset(tmp_path / "a", classes)
    fewer = [None, *classes[1:]]
    result = compared(a, dataset(tmp_path / "b", fewer))
    assert (result.masks.only_in_a, result.masks.only_in_b) == (1, 0)
    assert result.counts == {"mask pixels": 1, "frame status": 1}
    result = compared(tmp_path / "b", a)
    assert (result.masks.only_in_a, result.masks.only_in_b) == (0, 1)
    smaller = [classes[0][:, :9].copy(), *classes[1:]]
    result = compared(a, dataset(tmp_path / "c", smaller))
    assert result.counts == {"mask pixels": 1}
    assert (result.masks.other_size, result.masks.differ) == (1, 0)


def test_masks_that_cannot_be_compared(tmp_path, classes, real_dataset):
    a = dataset(tmp_path / "a", classes)
    b = dataset(tmp_path / "b", classes, "confidence")
    with pytest.raises(JobError, match="masks of A hold classes, of B confidences"):
        compared(a, b)
    with pytest.raises(JobError, match=r"has masks, B .* has pose, .*no point is in both"):
        compared(a, Path(real_dataset.store.root))
    nothing = dataset(tmp_path / "nothing", [None, None])
    with pytest.raises(JobError, match="neither has found any of a mask"):
        compared(nothing, nothing)


def test_a_shard_that_lost_its_masks(tmp_path, classes):
    out = dataset(tmp_path / "out", classes)
    (name,) = (out / "clips/split=dev").iterdir()
    table = pq.ParquetFile(name).read().drop_columns(["mask_png"])
    with pq.ParquetWriter(name, table.schema, **parquet_options(table.schema)) as writer:
        writer.write_table(table)
    result = verify(Dataset.open(str(out)))
    assert result.counts == {"schema": 1}
    assert "has neither landmarks nor masks" in result.problems[0].text
