"""The two sign-language competitions of Kaggle: ``asl-signs`` (long Parquet) and ``aslfr`` (wide Parquet)."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from extraction.landmarks import ClipLandmarks, Floats
from storage.exports.protocol import ClipEntry, ExportRun, Format
from storage.stored import StoredClip

_POINTS = {"face": 468, "left_hand": 21, "pose": 33, "right_hand": 21}
"""Parts in their order, 543 points: as the competitions' data pages list them, which is the alphabet's."""
_PARTS = tuple(_POINTS)
_TYPES = np.repeat(np.arange(len(_POINTS), dtype=np.int32), list(_POINTS.values()))
_NUMBERS = np.concatenate([np.arange(count, dtype=np.int16) for count in _POINTS.values()])


def sequence_id(clip_id: str) -> int:
    """A number for a clip, the same in each export: 53 bits of a digest, which every float holds exactly."""
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:7], "big") >> 3


def _points(marks: ClipLandmarks) -> Floats:
    """float32 (T, 543, 3); of a face with irises the first 468 points, which are the plain face's."""
    return np.concatenate([marks.parts[part][:, :count] for part, count in _POINTS.items()], axis=1)


def _folder_name(signer: str) -> str:
    return re.sub(r"[^\w.-]", "_", signer).strip(".") or "unknown"


def _table(rows: Iterable[Sequence[object]], *header: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _by_split(run: ExportRun) -> Iterator[tuple[str, list[ClipEntry]]]:
    for split, entries in groupby(run.all_entries, key=lambda entry: entry.split_name):
        yield split, list(entries)


# asl-signs

_LONG = pa.schema(
    [
        ("frame", pa.int32()),
        ("row_id", pa.string()),
        ("type", pa.string()),
        ("landmark_index", pa.int16()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("z", pa.float64()),
    ]
)
# Of one row group: 543 rows each, some 35 MB.
_LONG_FRAMES = 1_000


def _write_long(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    with pq.ParquetWriter(file, _LONG, compression="zstd", use_dictionary=["frame", "type"]) as writer:
        for clip in clips:
            points = _points(clip.landmarks)
            for first in range(0, len(points), _LONG_FRAMES):
                writer.write_table(_long_rows(points[first : first + _LONG_FRAMES], first))


def _long_rows(points: Floats, first_frame: int) -> pa.Table:
    frames, per_frame = points.shape[:2]
    kinds = pa.DictionaryArray.from_arrays(pa.array(np.tile(_TYPES, frames)), pa.array(_PARTS))
    columns = {
        "frame": pa.array(np.repeat(np.arange(first_frame, first_frame + frames, dtype=np.int32), per_frame)),
        "type": kinds.dictionary_decode(),
        "landmark_index": pa.array(np.tile(_NUMBERS, frames)),
    }
    texts = [column.cast(pa.string()) for column in columns.values()]
    columns["row_id"] = pc.binary_join_element_wise(*texts, "-")
    for axis, name in enumerate("xyz"):
        columns[name] = pa.array(points[..., axis].reshape(-1).astype(np.float64))
    return pa.table({name: columns[name] for name in _LONG.names}, schema=_LONG)


def _long_file(entry: ClipEntry, _position: int) -> str:
    folder = f"{entry.split_name}_landmark_files/{_folder_name(entry.signer)}"
    return f"{folder}/{sequence_id(entry.clip_id)}.parquet"


def _long_index(run: ExportRun) -> Iterator[tuple[str, bytes]]:
    for split, entries in _by_split(run):
        rows = [
            (
                _long_file(e, 0),
                _folder_name(e.signer),
                sequence_id(e.clip_id),
                run.classes.name_of(e),
                e.clip_id,
            )
            for e in entries
        ]
        header = ("path", "participant_id", "sequence_id", "sign", "clip_id")
        yield f"{split}.csv", _table(rows, *header)
    labels = {name: number for number, name in enumerate(run.classes.names) if name}
    yield "sign_to_prediction_index_map.json", json.dumps(labels, ensure_ascii=False).encode() + b"\n"


# aslfr

_WIDE_COLUMNS = [
    f"{axis}_{part}_{number}" for axis in "xyz" for part, count in _POINTS.items() for number in range(count)
]
_WIDE_CLIPS = 500
"""Clips a file, at most; those of the competition have about a thousand."""
_WIDE_FRAMES = 4_000
"""Frames a row group: 26 MB of floats. Many small ones would cost more, each describes 1,631 columns."""


def _wide_schema() -> pa.Schema:
    fields = [("frame", pa.int32()), *((name, pa.float32()) for name in _WIDE_COLUMNS)]
    # As pandas itself says it: which column read_parquet makes the index.
    name = "sequence_id"
    index = {
        "name": name,
        "field_name": name,
        "pandas_type": "int64",
        "numpy_type": "int64",
        "metadata": None,
    }
    said = {"index_columns": [name], "column_indexes": [], "columns": [index], "creator": {}}
    return pa.schema([*fields, (name, pa.int64())], metadata={"pandas": json.dumps(said)})


def _write_wide(file: IO[bytes], clips: Iterator[StoredClip], _run: ExportRun) -> None:
    schema = _wide_schema()
    options = {"compression": "zstd", "use_dictionary": ["sequence_id"], "write_statistics": ["sequence_id"]}
    with pq.ParquetWriter(file, schema, **options) as writer:
        group: list[tuple[int, int, Floats]] = []
        for clip in clips:
            points, number = _points(clip.landmarks), sequence_id(clip.clip_id)
            for first in range(0, len(points), _WIDE_FRAMES):
                if sum(len(piece) for *_, piece in group) >= _WIDE_FRAMES:
                    writer.write_table(_wide_rows(group, schema))
                    group = []
                group.append((number, first, points[first : first + _WIDE_FRAMES]))
        if group:
            writer.write_table(_wide_rows(group, schema))


def _wide_rows(group: Sequence[tuple[int, int, Floats]], schema: pa.Schema) -> pa.Table:
    points = np.concatenate([piece for *_, piece in group])
    # x of all points, then y, then z; contiguous by column, so that no column is copied once more.
    columns: NDArray[np.float32] = np.ascontiguousarray(points.transpose(2, 1, 0)).reshape(-1, len(points))
    frames = np.concatenate([np.arange(first, first + len(piece)) for _, first, piece in group])
    numbers = np.concatenate([np.full(len(piece), number) for number, _, piece in group])
    arrays = [pa.array(frames, pa.int32()), *map(pa.array, columns), pa.array(numbers, pa.int64())]
    return pa.Table.from_arrays(arrays, schema=schema)


def _wide_file(entry: ClipEntry, position: int) -> str:
    return f"{entry.split_name}_landmarks/{position // _WIDE_CLIPS}.parquet"


def _wide_index(run: ExportRun) -> Iterator[tuple[str, bytes]]:
    for split, entries in _by_split(run):
        rows = [
            (
                _wide_file(e, position),
                position // _WIDE_CLIPS,
                sequence_id(e.clip_id),
                _folder_name(e.signer),
                e.text or e.gloss,
                e.clip_id,
            )
            for position, e in enumerate(entries)
        ]
        header = ("path", "file_id", "sequence_id", "participant_id", "phrase", "clip_id")
        yield f"{split}.csv", _table(rows, *header)


FORMATS = (
    Format(
        name="asl-signs",
        consumer="code written for Kaggle's asl-signs (isolated signs)",
        structure="Parquet, a file a clip, <split>_landmark_files/<participant_id>/<sequence_id>.parquet, "
        "with the columns frame, row_id, type, landmark_index, x, y, z; <split>.csv with path, "
        "participant_id, sequence_id, sign; sign_to_prediction_index_map.json",
        layout="543 rows a frame: face 468, left_hand 21, pose 33, right_hand 21",
        units="x, y as fractions of width and height, z as MediaPipe gives it",
        missing="NaN, for a part that was not found and for a frame that cannot be read",
        differs="frames are counted from 0; sequence_id is a number made of the clip's id, which stands in "
        "the csv's last column, clip_id; participant_id is the signer's name; sign is the "
        "gloss, or the label where there is none",
        parts=_PARTS,
        file_of=_long_file,
        write=_write_long,
        is_folder=True,
        is_file_a_clip=True,
        index=_long_index,
    ),
    Format(
        name="aslfr",
        consumer="code written for Kaggle's asl-fingerspelling",
        structure="Parquet, <split>_landmarks/<file_id>.parquet of up to 500 clips, a row a frame, with the "
        "index sequence_id and the columns frame, x_face_0 ... z_right_hand_20; <split>.csv with path, "
        "file_id, sequence_id, participant_id, phrase",
        layout="face 468, left_hand 21, pose 33, right_hand 21: x of all, then y, then z",
        units="x, y as fractions of width and height, z as MediaPipe gives it",
        missing="NaN, for a part that was not found and for a frame that cannot be read",
        differs="sequence_id is a number made of the clip's id, which stands in the csv's last column, "
        "clip_id; participant_id is the signer's name; phrase is the text, the gloss where there is none",
        parts=_PARTS,
        file_of=_wide_file,
        write=_write_wide,
        is_folder=True,
        index=_wide_index,
    ),
)
