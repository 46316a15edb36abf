"""Long CSV: a line a point a frame, for spreadsheets, R, and whatever reads nothing else."""

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from extraction.landmarks import ClipLandmarks
from storage.exports.protocol import PART_BY_PART, ExportRun, Format, one_file
from storage.stored import StoredClip

_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("split", pa.string()),
        ("frame", pa.int32()),
        ("frame_status", pa.int8()),
        ("timestamp_ms", pa.float64()),
        ("part", pa.string()),
        ("point", pa.int16()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("z", pa.float32()),
        ("visibility", pa.float32()),
    ]
)
# 553 points each: some 70,000 lines, 8 MB, at a time.
_FRAMES_AT_ONCE = 128
# As for gzip in general: digits compress well, and the next levels take twice the time for a tenth.
_LEVEL = 6


def _write(file: IO[bytes], clips: Iterator[StoredClip], run: ExportRun) -> None:
    with ExitStack() as stack:
        sink: object = file
        if run.file_name.endswith(".gz"):
            sink = stack.enter_context(gzip.GzipFile("", "wb", _LEVEL, file, mtime=0))
        writer = stack.enter_context(pacsv.CSVWriter(sink, _SCHEMA))
        for clip in clips:
            for first in range(0, len(clip.landmarks), _FRAMES_AT_ONCE):
                writer.write_table(_lines(clip, run, slice(first, first + _FRAMES_AT_ONCE)))


def _lines(clip: StoredClip, run: ExportRun, where: slice) -> pa.Table:
    """The lines of some frames, in order of frame, part and point."""
    marks, parts = clip.landmarks, list(run.parts)
    points = np.concatenate([_xyz(marks, part)[where] for part in parts], axis=1)
    frames, per_frame = points.shape[:2]
    sizes = [marks.parts[part].shape[1] for part in parts]
    visibility = np.full((frames, per_frame), np.nan, np.float32)
    if "pose" in parts:
        start = sum(sizes[: parts.index("pose")])
        visibility[:, start : start + 33] = marks.pose_visibility[where]
    x, y, z = (_numbers(points[..., axis]) for axis in range(3))
    lines = frames * per_frame
    columns = [
        _repeated(clip.clip_id, lines),
        _repeated(clip.split, lines),
        np.repeat(np.arange(where.start, where.start + frames, dtype=np.int32), per_frame),
        np.repeat(marks.frame_status[where], per_frame),
        np.repeat(marks.timestamps_ms[where], per_frame),
        _names(np.tile(np.repeat(np.arange(len(parts), dtype=np.int32), sizes), frames), parts),
        np.tile(np.concatenate([np.arange(size, dtype=np.int16) for size in sizes]), frames),
        *(x, y, z, _numbers(visibility)),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _xyz(marks: ClipLandmarks, part: str) -> NDArray[np.float32]:
    """A part as (T, N, 3); of scores, which are one number each, y and z are missing."""
    points = marks.parts[part]
    return np.pad(points, ((0, 0), (0, 0), (0, 3 - points.shape[2])), constant_values=np.nan)


def _numbers(values: NDArray[np.float32]) -> pa.Array:
    """NaN as null, which is written as nothing."""
    return pa.array(values.reshape(-1), from_pandas=True)


def _names(numbers: NDArray[np.int32], names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(names)).dictionary_decode()


def _repeated(value: str | None, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), times)


FORMATS = (
    Format(
        name="csv",
        consumer="R, spreadsheets, pandas, DuckDB",
        structure="one UTF-8 CSV with the header clip_id,split,frame,frame_status,timestamp_ms,part,point,x,"
        "y,z,visibility; gzip where PATH ends in .gz",
        layout=f"{PART_BY_PART}, as in the data set, or those of --parts; a line a point a frame, whether "
        "found or not",
        units="x, y as fractions of width and height, z as MediaPipe gives it; *_world in metres; scores "
        "(face_blendshapes) stand in x. Each number reads back as the same float32",
        missing="nothing between the commas; frame_status is 2 where a frame cannot be read",
        differs="annotations are left out: they would stand in each line",
        parts=(),
        file_of=one_file,
        write=_write,
        accepts_parts=True,
    ),
)
