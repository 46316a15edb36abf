"""The one explicit Parquet schema, its version, and the units of every column."""

from collections.abc import Mapping

import pyarrow as pa

from extraction.topology import num_dims

SCHEMA_VERSION = 2
"""2: parts say how many values a point has, rows why they were tried again, and there may be masks."""
ROWS_PER_GROUP = 4
"""One clip reads cheaply: a reader decodes a row group at a time. Measured on clips of 60 frames, pose and
hands of one clip at random take 0.2 ms from groups of 4 and 0.5 ms from groups of 16, all in order 0.04 ms
either way; the file is 1% larger."""
FRAMES_PER_GROUP = 20_000
"""Long clips fill a row group sooner, so that a writer's memory stays bounded."""
BYTES_PER_GROUP = 256 << 20
"""And so do clips with large masks; 20,000 frames of 553 points are 133 MB."""

_FLOATS = pa.list_(pa.field("item", pa.float32(), nullable=False))
"""Absent is NaN, never null, and said so: readers that need not look for nulls take a fifth less time."""
_PARTS_IN_A_HURRY = ("pose", "left_hand", "right_hand")
"""What most trainers read, in lz4: a quarter less time to read than zstd, for 0.3% of the file's size."""

_SCALARS_BEFORE: list[tuple[str, pa.DataType, str]] = [
    ("clip_id", pa.string(), "unique name: POSIX path relative to the root, without a video's extension"),
    ("uri", pa.string(), "where the input lay when it was read"),
    ("signer", pa.string(), "who signs; null where unknown"),
    ("gloss", pa.string(), "gloss annotation; null where unknown"),
    ("text", pa.string(), "translation; null where unknown"),
    ("label", pa.string(), "class of an isolated sign as its data set says; null where unknown"),
    ("start_frame", pa.int64(), "where in its input the clip begins; null where it is all of it"),
    ("end_frame", pa.int64(), "position in the input behind the clip's last frame; null: its end"),
    ("start_ms", pa.float64(), "the same in ms, of a clip whose range is one of time"),
    ("end_ms", pa.float64(), "the clip's frames lie before it; null: the input's end"),
    ("fps", pa.float64(), "frames per second"),
    ("width", pa.int32(), "px, of the first readable frame of this row"),
    ("height", pa.int32(), "px, of the first readable frame of this row"),
    ("num_frames", pa.int32(), "T, frame positions in this row"),
    (
        "first_frame",
        pa.int32(),
        "position in the clip of this row's first frame; above 0 for later rows of a long video",
    ),
    ("timestamps_ms", pa.list_(pa.float64()), "T, milliseconds from the start of the clip"),
    ("frame_names", pa.list_(pa.string()), "T, file names in order; positions for a video"),
    ("frame_status", pa.list_(pa.int8()), "T, 0 ok, 1 nobody found, 2 unreadable"),
    ("frame_errors", pa.list_(pa.string()), "T, why a frame is unreadable; null otherwise"),
    ("frame_widths", pa.list_(pa.int32()), "T, px; 0 where unreadable"),
    ("frame_heights", pa.list_(pa.int32()), "T, px; 0 where unreadable"),
]
_SCALARS_AFTER: list[tuple[str, pa.DataType, str]] = [
    ("engine", pa.string(), "engine that found the landmarks"),
    ("mediapipe_version", pa.string(), "version of the library behind the engine"),
    (
        "options_hash",
        pa.string(),
        "digest of every option that can change results; dataset.json spells them out",
    ),
    ("delegate", pa.string(), "what the models ran on: cpu or gpu"),
    ("attempts", pa.int32(), "attempts the clip took"),
    (
        "retry_reasons",
        pa.list_(pa.string()),
        "why detectors were lost, in order, start: before they stood; empty where the clip was undisturbed",
    ),
    ("extract_ms", pa.float64(), "milliseconds of wall time for the whole clip"),
    ("decode_ms", pa.float64(), "of these, reading and decoding frames"),
    ("detect_ms", pa.float64(), "of these, in the detector"),
    (
        "write_ms",
        pa.float64(),
        "milliseconds its worker had spent on writing since its last clip, shards included; null: unknown",
    ),
    ("host", pa.string(), "machine that extracted the clip"),
    ("worker", pa.string(), "worker on it, unique in its job; null where unknown"),
    ("input_fingerprint", pa.string(), "digest of the input's names, sizes and modification times"),
]
_MASKS = (
    "mask_png",
    pa.list_(pa.binary()),
    "T, PNG of 8 bits, one channel, as large as the frame; null where unreadable. Option mask category: the "
    "class, 0 background, 1 person (or the classes of a model with several); confidence: 255 times the "
    "foreground's",
)
PER_CLIP_LISTS = ("retry_reasons",)
"""List columns that do not have one entry a frame."""

FAILURE_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("split", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int32()),
        ("host", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
    ]
)

PLAN_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("kind", pa.string()),
        ("split", pa.string()),
        ("num_frames", pa.int64()),
        ("fingerprint", pa.string()),
        ("signer", pa.string()),
        ("gloss", pa.string()),
        ("text", pa.string()),
        ("fps", pa.float64()),
        ("label", pa.string()),
        ("start_frame", pa.int64()),
        ("end_frame", pa.int64()),
        ("start_ms", pa.float64()),
        ("end_ms", pa.float64()),
        ("shard", pa.int32()),
    ]
)

LATER_COLUMNS = ("label", "start_frame", "end_frame", "start_ms", "end_ms")
"""Columns of clips and plans that data sets made before they existed lack: there they are null."""
LATER_PROVENANCE = ("write_ms", "worker")
"""The same of clips alone."""


def with_later_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Adds columns of nulls for what a file of an older version could not say.

    Args:
        table: As it was read.
        schema: As it would be written today.

    Returns:
        The table with every column of :data:`LATER_COLUMNS` that the schema has.
    """
    for name in LATER_COLUMNS:
        if name in schema.names and name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table


def clip_schema(num_points: Mapping[str, int], has_masks: bool = False) -> pa.Schema:
    """The schema of a shard of clips.

    Args:
        num_points: Part name to its number of points N, in column order.
        has_masks: Whether there is a mask for every frame.

    Returns:
        One row a clip; a part is a ``list<float>`` of T*N*D values in C order, NaN where absent.
    """
    fields = [_field(*column) for column in _SCALARS_BEFORE]
    for part, count in num_points.items():
        fields.append(_part_field(part, count))
        fields.append(_field(f"{part}_present", pa.list_(pa.bool_()), f"T, whether {part} was found"))
        if part == "pose":
            fields.append(_field("pose_visibility", _FLOATS, "T*33 in [0, 1], NaN where absent"))
    fields += [_field(*_MASKS)] if has_masks else []
    fields += [_field(*column) for column in _SCALARS_AFTER]
    return pa.schema(fields, metadata={"ray_landmarks.schema_version": str(SCHEMA_VERSION)})


def schema_with_later_columns(schema: pa.Schema) -> pa.Schema:
    """The schema of a shard, with all later columns that it lacks behind its own."""
    for column in (*_SCALARS_BEFORE, *_SCALARS_AFTER):
        if column[0] in (*LATER_COLUMNS, *LATER_PROVENANCE) and column[0] not in schema.names:
            schema = schema.append(_field(*column))
    return schema


def part_shapes(schema: pa.Schema) -> dict[str, tuple[int, int]]:
    """The parts of a shard with their numbers of points and of values a point, read from its schema.

    Args:
        schema: As :func:`clip_schema` made it, or as a Parquet file gives it back.

    Returns:
        Part name to (N, D).
    """
    return {
        field.name: (int(field.metadata[b"num_points"]), int(field.metadata.get(b"num_dims", 3)))
        for field in schema
        if field.metadata and b"num_points" in field.metadata
    }


def num_points(schema: pa.Schema) -> dict[str, int]:
    """The parts of a shard and their numbers of points; see :func:`part_shapes`."""
    return {part: count for part, (count, _) in part_shapes(schema).items()}


def has_masks(schema: pa.Schema) -> bool:
    """Whether a shard has masks."""
    return _MASKS[0] in schema.names


def parquet_options(schema: pa.Schema) -> dict[str, object]:
    """How a shard is compressed.

    zstd over BYTE_STREAM_SPLIT floats was the smallest lossless form measured on real landmarks: 5,390
    bytes a frame of 553 points against 10,730 of the Parquet default. Coordinates never repeat, so a
    dictionary of them only costs; nor do masks. zstd takes another 20% off the PNGs of classes (924 to 741
    bytes a frame of 210x260 px) and nothing off those of confidences; no encoding of them was smaller.
    Checksums of pages cost 0.02% of the size, and no time that could be measured.
    """
    leaf = {f.name: f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema}
    lists = [f.name for f in schema if pa.types.is_list(f.type)]
    floats = [name for name in lists if pa.types.is_float32(schema.field(name).type.value_type)]
    no_dictionary = {*floats, _MASKS[0]}
    return {
        "compression": {path: "lz4" if name in _PARTS_IN_A_HURRY else "zstd" for name, path in leaf.items()},
        "column_encoding": {leaf[name]: "BYTE_STREAM_SPLIT" for name in floats},
        "use_dictionary": [
            leaf[f.name] for f in schema if f.name not in no_dictionary and f.type != pa.list_(pa.bool_())
        ],
        "write_statistics": [f.name for f in schema if f.name not in lists],
        "write_page_checksum": True,
    }


def expect_plain(schema: pa.Schema) -> None:
    """Refuses columns of extension types: those of Ray Data run what a file bids when a value is looked at.

    Raises:
        ValueError: Naming the column.
    """
    for field in schema:
        if _is_extended(field.type):
            raise ValueError(f"column {field.name!r} is of the extension type {field.type}")


def _is_extended(dtype: pa.DataType) -> bool:
    if isinstance(dtype, pa.BaseExtensionType):
        return True
    return any(_is_extended(dtype.field(index).type) for index in range(dtype.num_fields))


def _part_field(part: str, count: int) -> pa.Field:
    dims = num_dims(part)
    if dims == 1:
        description = f"T*{count} scores in [0, 1], NaN where absent"
    else:
        unit = "x, y as fractions of width and height, z as MediaPipe gives it"
        if part.endswith("_world"):
            unit = "metres"
            if "hand" in part:
                unit += ", from the hips (engine tasks) or from the hand's own centre (hands+pose+face)"
        description = f"T*{count}*{dims} in C order, NaN where absent; {unit}"
    return _field(part, _FLOATS, description, num_points=count, num_dims=dims)


def _field(name: str, dtype: pa.DataType, description: str, **numbers: int) -> pa.Field:
    metadata = {"description": description, **{key: str(number) for key, number in numbers.items()}}
    return pa.field(name, dtype, metadata=metadata)
