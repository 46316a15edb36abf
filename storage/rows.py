"""Clip landmarks to a Parquet row and back: encode and decode are inverses."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extraction.clips import Clip
from extraction.landmarks import ClipLandmarks
from storage.precision import rounded
from storage.schema import clip_schema, has_masks, part_shapes

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a row came to be; each field is a column of the same name."""

    engine: str
    mediapipe_version: str
    options_hash: str
    delegate: str
    attempts: int
    extract_ms: float
    decode_ms: float
    detect_ms: float
    host: str
    input_fingerprint: str
    retry_reasons: tuple[str, ...] = ()
    worker: str | None = None
    write_ms: float | None = None


def encode(
    clip: Clip, landmarks: ClipLandmarks, provenance: Provenance, precision: str = "float32"
) -> pa.RecordBatch:
    """Turns the landmarks of a clip, or of one piece of a long one, into a row.

    Args:
        clip: Whose landmarks they are.
        landmarks: T frames.
        provenance: How they came to be.
        precision: One of :data:`storage.precision.PRECISIONS`.

    Returns:
        A batch of one row in the schema of :func:`storage.schema.clip_schema`.
    """
    readable = landmarks.frame_sizes_px[landmarks.frame_sizes_px[:, 0] > 0]
    width, height = readable[0] if len(readable) else (None, None)
    values: dict[str, object] = {
        "clip_id": clip.clip_id,
        "uri": clip.uri,
        "signer": clip.signer,
        "gloss": clip.gloss,
        "text": clip.text,
        "label": clip.label,
        "start_frame": clip.start_frame,
        "end_frame": clip.end_frame,
        "start_ms": clip.start_ms,
        "end_ms": clip.end_ms,
        "fps": landmarks.fps,
        "width": width,
        "height": height,
        "num_frames": len(landmarks),
        "first_frame": landmarks.first_frame,
        "timestamps_ms": landmarks.timestamps_ms,
        "frame_names": landmarks.frame_names,
        "frame_status": landmarks.frame_status,
        "frame_errors": landmarks.frame_errors,
        "frame_widths": landmarks.frame_sizes_px[:, 0],
        "frame_heights": landmarks.frame_sizes_px[:, 1],
        "pose_visibility": rounded(landmarks.pose_visibility, precision),
        "mask_png": landmarks.masks_png,
    }
    for part, points in landmarks.parts.items():
        values[part] = rounded(points, precision)
        values[f"{part}_present"] = landmarks.present(part)
    values |= {name: getattr(provenance, name) for name in Provenance.__slots__}
    schema = clip_schema(
        {part: points.shape[1] for part, points in landmarks.parts.items()},
        has_masks=landmarks.masks_png is not None,
    )
    return pa.RecordBatch.from_arrays([_column(values[f.name], f.type) for f in schema], schema=schema)


def decode(rows: pa.RecordBatch | pa.Table, index: int = 0) -> ClipLandmarks:
    """Turns a row back into landmarks; inverse of :func:`encode`.

    Args:
        rows: Rows as they were read, with every column of the frames and parts.
        index: Which row.

    Returns:
        The landmarks, bit for bit as they were encoded.
    """
    row = rows.slice(index, 1)
    length = row.column("num_frames")[0].as_py()
    return ClipLandmarks(
        first_frame=row.column("first_frame")[0].as_py(),
        fps=row.column("fps")[0].as_py(),
        timestamps_ms=_array(row, "timestamps_ms", np.float64),
        frame_names=tuple(row.column("frame_names")[0].as_py()),
        frame_status=_array(row, "frame_status", np.int8),
        frame_errors=tuple(row.column("frame_errors")[0].as_py()),
        frame_sizes_px=np.stack(
            [_array(row, "frame_widths", np.int32), _array(row, "frame_heights", np.int32)], axis=1
        ),
        parts={
            part: _array(row, part, np.float32).reshape(length, *shape)
            for part, shape in part_shapes(row.schema).items()
        },
        pose_visibility=(
            _array(row, "pose_visibility", np.float32).reshape(length, 33)
            if "pose_visibility" in row.schema.names
            else np.full((length, 33), np.nan, np.float32)
        ),
        masks_png=tuple(row.column("mask_png")[0].as_py()) if has_masks(row.schema) else None,
    )


def _column(value: object, dtype: pa.DataType) -> pa.Array:
    """One value as a column of one row; arrays are not copied."""
    if not pa.types.is_list(dtype):
        return pa.array([value], dtype)
    if isinstance(value, np.ndarray):
        items = pa.array(np.ascontiguousarray(value).reshape(-1), dtype.value_type)
    else:
        items = pa.array(value, dtype.value_type)
    return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items, type=dtype)


def _array(row: pa.RecordBatch | pa.Table, name: str, dtype: type[_T]) -> NDArray[_T]:
    values = row.column(name)[0].values
    return np.array(values.to_numpy(zero_copy_only=False), dtype)
