"""Landmarks of frames that are told in a word each: for tests of what counts them."""

from collections.abc import Mapping, Sequence

import numpy as np

from extraction.landmarks import ClipLandmarks

SIZE_PX = (400, 300)


def landmarks_of(
    points: Mapping[str, int], frames: Sequence[tuple[int, ...]], first_frame: int = 0
) -> ClipLandmarks:
    """Landmarks at 25 frames per second.

    Args:
        points: Part name to its number of points.
        frames: Of each its status, then for each part, in order, whether it was found.
        first_frame: Position of the first one.
    """
    length, table = len(frames), np.array(frames)
    parts = {part: np.full((length, count, 3), 0.5, np.float32) for part, count in points.items()}
    for column, part in enumerate(points, start=1):
        parts[part][table[:, column] == 0] = np.nan
    return ClipLandmarks(
        first_frame=first_frame,
        fps=25.0,
        timestamps_ms=np.arange(length) * 40.0,
        frame_names=tuple(map(str, range(length))),
        frame_status=table[:, 0].astype(np.int8),
        frame_errors=(None,) * length,
        frame_sizes_px=np.where(table[:, :1] == 2, 0, np.array(SIZE_PX)).astype(np.int32),
        parts=parts,
        pose_visibility=np.full((length, 33), np.nan, np.float32),
    )
