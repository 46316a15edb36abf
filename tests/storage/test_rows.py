import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extraction.clips import Clip
from extraction.landmarks import ClipLandmarks
from extraction.topology import num_dims
from storage.files import Store
from storage.precision import rounded
from storage.rows import Provenance, decode, encode
from storage.schema import SCHEMA_VERSION, clip_schema, num_points, part_shapes
from storage.shards import shard_name, write_shard

POINTS = {"pose": 33, "left_hand": 2, "face": 5, "left_hand_world": 3, "face_blendshapes": 7}
PROVENANCE = Provenance(
    *("holistic", "0.10.21", "0f", "cpu", 3, 30.5, 10.25, 20.125, "host", "f1"),
    retry_reasons=("context-lost: eglMakeCurrent() returned error 0x3008", "signal: SIGSEGV"),
    worker="host-4711",
    write_ms=1.25,
)
QUIET_NAN, SIGNALLING_NAN, NAN_WITH_PAYLOAD, MINUS_ZERO, DENORMAL, INFINITY = (
    0x7FC00000,
    0x7F800001,
    0xFFC12345,
    0x80000000,
    0x00000001,
    0x7F800000,
)
SPECIAL = np.array(
    [QUIET_NAN, SIGNALLING_NAN, NAN_WITH_PAYLOAD, MINUS_ZERO, DENORMAL, INFINITY], dtype=np.uint32
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ['it\'s "quoted"', "two\nlines", "tab\t,;", "Zoë 手話 👋", "a\0b", "-0", "NULL", "nan", " "]
)
clips = st.builds(
    Clip,
    clip_id=texts.filter(bool),
    uri=texts.filter(bool),
    kind=st.just("frames"),
    split=st.none() | st.just("train"),
    signer=st.none() | texts,
    gloss=st.none() | texts,
    text=st.none() | texts,
)


def random_bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32)
    return np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), bits).view(np.float32)


def random_part(rng: np.random.Generator, length: int, count: int, dims: int = 3) -> np.ndarray:
    part = random_bits(rng, (length, count, dims))
    part[rng.random(length) < 0.3] = rng.choice(SPECIAL[:3], 1).view(np.float32)
    return part


@st.composite
def landmarks(draw):
    length = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = itertools.cycle(draw(st.lists(texts, min_size=1, max_size=5)))
    errors = itertools.cycle(draw(st.lists(st.none() | texts, min_size=1, max_size=5)))
    points = draw(st.sampled_from([POINTS, {}, {"face_blendshapes": 7}]))
    pngs = itertools.cycle(draw(st.lists(st.none() | st.binary(max_size=200), min_size=1, max_size=5)))
    return ClipLandmarks(
        first_frame=draw(st.integers(0, 2**31 - 1)),
        fps=draw(st.floats(min_value=0, exclude_min=True, allow_infinity=False)),
        timestamps_ms=rng.integers(0, 2**64, length, dtype=np.uint64).view(np.float64),
        frame_names=tuple(itertools.islice(names, length)),
        frame_status=rng.integers(0, 3, length, dtype=np.int8),
        frame_errors=tuple(itertools.islice(errors, length)),
        frame_sizes_px=rng.integers(0, 2**31, (length, 2), dtype=np.int32),
        parts={part: random_part(rng, length, count, num_dims(part)) for part, count in points.items()},
        # Its column stands behind the pose's.
        pose_visibility=(
            random_bits(rng, (length, 33)) if "pose" in points else np.full((length, 33), np.nan, np.float32)
        ),
        masks_png=tuple(itertools.islice(pngs, length)) if draw(st.booleans()) else None,
    )


def plain(length: int, first_frame: int = 0) -> ClipLandmarks:
    rng = np.random.default_rng(length)
    return ClipLandmarks(
        first_frame=first_frame,
        fps=25.0,
        timestamps_ms=np.arange(length) * 40.0,
        frame_names=tuple(map(str, range(length))),
        frame_status=np.zeros(length, np.int8),
        frame_errors=(None,) * length,
        frame_sizes_px=np.full((length, 2), 200, np.int32),
        parts={
            part: rng.random((length, count, num_dims(part)), np.float32) for part, count in POINTS.items()
        },
        pose_visibility=rng.random((length, 33), np.float32),
        masks_png=tuple(rng.bytes(40) for _ in range(length)),
    )


def write(folder, *rows: pa.RecordBatch) -> str:
    schema = rows[0].schema
    write_shard(
        Store(str(folder)), 0, "train", num_points(schema), [rows], has_masks="mask_png" in schema.names
    )
    return f"{folder}/{shard_name(0, 'train')}"


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def assert_same(found: ClipLandmarks, expected: ClipLandmarks) -> None:
    for name in ("first_frame", "fps", "frame_names", "frame_errors", "masks_png"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("timestamps_ms", "frame_status", "frame_sizes_px", "pose_visibility"):
        assert_same_bits(getattr(found, name), getattr(expected, name))
    assert list(found.parts) == list(expected.parts)
    for part, points in expected.parts.items():
        assert_same_bits(found.parts[part], points)


@settings(max_examples=40, deadline=None)
@given(clip=clips, expected=landmarks())
def test_a_row_comes_back_from_parquet_bit_for_bit(tmp_path_factory, clip, expected):
    path = write(tmp_path_factory.mktemp("round"), encode(clip, expected, PROVENANCE))
    table = pq.ParquetFile(path).read()
    assert_same(decode(table), expected)
    row = table.to_pylist()[0]
    for name in ("clip_id", "uri", "signer", "gloss", "text"):
        assert row[name] == getattr(clip, name)
    for name in Provenance.__slots__:
        assert row[name] == (
            list(PROVENANCE.retry_reasons) if name == "retry_reasons" else getattr(PROVENANCE, name)
        )
    assert row["num_frames"] == len(expected)


@settings(max_examples=20, deadline=None)
@given(expected=landmarks())
def test_the_stored_masks_say_where_coordinates_are(expected):
    row = encode(Clip("a", "/a", "frames"), expected, PROVENANCE)
    for part, points in expected.parts.items():
        assert row.column(f"{part}_present")[0].as_py() == [not np.isnan(frame).all() for frame in points]


def test_pieces_of_a_long_clip_come_back_in_order(tmp_path):
    clip, pieces = Clip("a", "/a", "video"), [plain(7), plain(9, 7), plain(2, 16)]
    table = pq.ParquetFile(write(tmp_path, *(encode(clip, p, PROVENANCE) for p in pieces))).read()
    assert table["first_frame"].to_pylist() == [0, 7, 16]
    for index, piece in enumerate(pieces):
        assert_same(decode(table, index), piece)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(0, 0), (640, 480), (320, 240)], (640, 480)), ([(0, 0), (0, 0), (0, 0)], (None, None))],
)
def test_the_size_of_a_clip_is_that_of_its_first_readable_frame(sizes, expected):
    clip = plain(3)
    clip.frame_sizes_px.setflags(write=True)
    clip.frame_sizes_px[:] = sizes
    row = encode(Clip("a", "/a", "frames"), clip, PROVENANCE)
    assert (row.column("width")[0].as_py(), row.column("height")[0].as_py()) == expected


def test_the_points_of_each_part_stand_in_the_file(tmp_path):
    path = write(tmp_path, encode(Clip("a", "/a", "frames"), plain(3), PROVENANCE))
    assert num_points(pq.read_schema(path)) == POINTS
    assert pq.read_metadata(path).metadata[b"ray_landmarks.schema_version"] == b"%d" % SCHEMA_VERSION


def test_any_reader_sees_plain_lists_of_floats(tmp_path):
    path = write(tmp_path, encode(Clip("a", "/a", "frames"), plain(3), PROVENANCE))
    without_arrow_schema = pq.ParquetFile(path).schema
    leaves = {
        without_arrow_schema.column(i).path: without_arrow_schema.column(i)
        for i in range(len(without_arrow_schema))
    }
    assert pq.read_schema(path).field("mask_png").type == pa.list_(pa.binary())
    for name in (*POINTS, "pose_visibility"):
        dtype = pq.read_schema(path).field(name).type
        assert dtype == pa.list_(pa.field("element", pa.float32(), nullable=False))
        leaf = leaves[f"{name}.list.element"]
        assert (leaf.physical_type, leaf.logical_type.type) == ("FLOAT", "NONE")


def test_the_shape_of_each_part_stands_in_the_file(tmp_path):
    path = write(tmp_path, encode(Clip("a", "/a", "frames"), plain(3), PROVENANCE))
    assert part_shapes(pq.read_schema(path)) == {
        part: (count, 1 if part == "face_blendshapes" else 3) for part, count in POINTS.items()
    }


def test_a_row_of_version_1_is_read_as_before():
    expected = plain(4)
    kept = {part: points for part, points in expected.parts.items() if part != "face_blendshapes"}
    row = encode(
        Clip("a", "/a", "frames"), dataclasses.replace(expected, parts=kept, masks_png=None), PROVENANCE
    )
    row = row.drop_columns(["retry_reasons"])
    old = pa.schema(
        [
            field.with_metadata({k: v for k, v in field.metadata.items() if k != b"num_dims"})
            for field in row.schema
        ]
    )
    found = decode(pa.RecordBatch.from_arrays(row.columns, schema=old))
    assert_same(found, dataclasses.replace(expected, parts=kept, masks_png=None))


def test_columns_of_masks_and_retries_stand_where_they_belong():
    names = clip_schema({"pose": 33}, has_masks=True).names
    assert names[names.index("attempts") + 1] == "retry_reasons"
    assert names[names.index("pose_visibility") + 1] == "mask_png"
    assert names[names.index("mask_png") + 1] == "engine"
    assert "mask_png" not in clip_schema({"pose": 33}).names


def test_floats_are_split_by_byte_and_nothing_of_them_is_a_dictionary(tmp_path):
    rows = [encode(Clip(str(i), f"/{i}", "frames"), plain(3 + i), PROVENANCE) for i in range(40)]
    metadata = pq.read_metadata(write(tmp_path, *rows))
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [4] * 10
    floats = {f"{name}.list.element" for name in (*POINTS, "pose_visibility")}
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
        found = {column.path_in_schema: column for column in columns}
        assert {path for path, column in found.items() if column.compression == "LZ4"} == {
            "pose.list.element",
            "left_hand.list.element",
        }
        assert {column.compression for column in columns} == {"LZ4", "ZSTD"}
        for name in floats:
            assert "BYTE_STREAM_SPLIT" in found[name].encodings
            assert not found[name].has_dictionary_page
        assert not found["mask_png.list.element"].has_dictionary_page
        assert "BYTE_STREAM_SPLIT" not in found["mask_png.list.element"].encodings
        assert found["engine"].has_dictionary_page


@settings(max_examples=50, deadline=None)
@given(expected=landmarks())
def test_rounded_values_come_back_from_parquet(tmp_path_factory, expected):
    row = encode(Clip("a", "/a", "frames"), expected, PROVENANCE, "float16")
    found = decode(pq.ParquetFile(write(tmp_path_factory.mktemp("round"), row)).read())
    for part, points in expected.parts.items():
        assert_same_bits(found.parts[part], rounded(points, "float16"))
        np.testing.assert_array_equal(found.present(part), expected.present(part))
    assert_same_bits(found.pose_visibility, rounded(expected.pose_visibility, "float16"))
    assert_same_bits(found.timestamps_ms, expected.timestamps_ms)


def test_values_are_rounded_as_float16_rounds_them():
    """Every float16 of normal size, and what lies between two of them."""
    every = np.arange(0x10000, dtype=np.uint16).view(np.float16)
    exact = every[np.isfinite(every) & (np.abs(every) >= np.finfo(np.float16).tiny)].astype(np.float32)
    assert_same_bits(rounded(exact, "float16"), exact)
    between = exact * np.random.default_rng(0).uniform(1, 1 + 2**-10, (20, len(exact))).astype(np.float32)
    between = between[np.abs(between) <= np.finfo(np.float16).max]
    assert_same_bits(rounded(between, "float16"), between.astype(np.float16).astype(np.float32))
    halves = exact[:-1] + np.diff(exact) / 2
    halves = halves[np.abs(halves) >= np.finfo(np.float16).tiny]
    assert_same_bits(rounded(halves, "float16"), halves.astype(np.float16).astype(np.float32))
    assert_same_bits(rounded(SPECIAL.view(np.float32)[:4], "float16"), SPECIAL.view(np.float32)[:4])
    assert np.isposinf(rounded(np.array([np.inf], np.float32), "float16"))


def test_what_a_float16_cannot_hold_is_kept_to_11_bits():
    values = np.array([1e6, -1e30, 1e-9, 3e-38], np.float32)
    np.testing.assert_allclose(rounded(values, "float16"), values, rtol=2**-11)
