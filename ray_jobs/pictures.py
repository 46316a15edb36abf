"""``landmarks draw``: frames of a clip with their landmarks or masks, as PNG files."""

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from extraction.clips import Clip, from_uri
from extraction.draw import draw, frame_landmarks, read_classes
from extraction.errors import ClipError, JobError
from extraction.frames import Frame, FrameOptions, open_frames
from extraction.landmarks import ClipLandmarks
from extraction.sources import find_clip
from storage.dataset import Dataset
from storage.rows import decode


def draw_clip(out: str, clip_id: str, frames: str | None, positions: Sequence[int], to: str) -> list[str]:
    """Draws landmarks, or segmentation masks, over frames of a clip.

    Args:
        out: The data set.
        clip_id: Which clip.
        frames: The folder of clips; None where the input lies where it was read.
        positions: Positions of frames in the clip; empty for the one with the most parts found, of masks
            alone the one with the largest.
        to: Folder for the pictures, made where it is missing.

    Returns:
        Paths of the pictures.

    Raises:
        JobError: If the clip, its frames or a position are not there, or cannot be read or written.
    """
    dataset = Dataset.open(out)
    table = dataset.read_clip(clip_id)
    pieces = [decode(table, index) for index in range(table.num_rows)]
    total = sum(map(len, pieces))
    if wrong := [position for position in positions if not 0 <= position < total]:
        raise JobError(f"{clip_id!r}: it has frames 0 to {total - 1}, found --frame {wrong[0]}")
    options: Any = dataset.config()["options"]
    mask = str(options.get("mask", "category"))
    wanted = set(positions) or {_fullest(pieces, mask)}
    clip = _input(table["uri"][0].as_py(), clip_id, frames)
    paths = []
    for position, frame in _read(clip, wanted, _frame_options(options)).items():
        assert frame.image is not None
        piece = next(p for p in reversed(pieces) if p.first_frame <= position)
        extracted = piece.frame_names[position - piece.first_frame]
        if frame.name != extracted:
            raise JobError(
                f"{clip_id!r}: frame {position} was {extracted!r} when it was extracted, now it is "
                f"{frame.name!r} in {clip.uri}: give the frames that were extracted"
            )
        found = frame_landmarks(piece, position - piece.first_frame)
        picture = draw(
            frame.image,
            found,
            classes=read_classes(found.mask_png, mask) if found.mask_png is not None else None,
            caption=f"{clip_id}  frame {position}",
        )
        paths.append(os.path.join(to, f"{_file_name(clip_id)}-{position:06d}.png"))
        write_png(paths[-1], picture)
    return paths


def write_png(path: str, picture: NDArray[np.uint8]) -> None:
    """Writes a picture.

    Args:
        path: Of the file.
        picture: uint8 (H, W, 3) RGB.

    Raises:
        JobError: If the file cannot be written.
    """
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.tobytes())
    except OSError as error:
        raise JobError(
            f"{path}: cannot be written: {error.strerror}: choose another folder with --to"
        ) from error


def _fullest(pieces: list[ClipLandmarks], mask: str) -> int:
    """Position of the frame with the most parts found, or the largest mask; the first of equals."""
    counts = [_counts(piece, mask) for piece in pieces]
    return int(np.argmax(np.concatenate(counts)))


def _counts(piece: ClipLandmarks, mask: str) -> NDArray[np.int64]:
    """How much was found in each frame, int64 (T,): parts, or pixels of foreground where there are none."""
    counts = np.zeros(len(piece), np.int64)
    for part in piece.parts:
        counts += piece.present(part)
    masks = piece.masks_png if piece.masks_png is not None and not piece.parts else ()
    for position, png in enumerate(masks):
        counts[position] = 0 if png is None else np.count_nonzero(read_classes(png, mask))
    return counts


def _input(uri: str, clip_id: str, frames: str | None) -> Clip:
    if frames is not None:
        return find_clip(frames, clip_id)
    return Clip(clip_id, uri, "video" if os.path.isfile(from_uri(uri)) else "frames")


def _frame_options(options: Any) -> FrameOptions:
    """As the frames were read."""
    return FrameOptions(max_pixels=options.get("max_pixels", FrameOptions().max_pixels))


def _read(clip: Clip, positions: set[int], options: FrameOptions) -> dict[int, Frame]:
    """Some frames, in order; the others are decoded and let go."""
    found: dict[int, Frame] = {}
    try:
        for frame in open_frames(clip, options).frames:
            if frame.index in positions:
                if frame.image is None:
                    raise JobError(f"{clip.clip_id!r}: frame {frame.index} cannot be read: {frame.error}")
                found[frame.index] = frame
            if len(found) == len(positions):
                break
    except ClipError as error:
        raise JobError(f"{error}; if the frames lie elsewhere now, say where with --frames FRAMES") from error
    if missing := sorted(positions - found.keys()):
        raise JobError(
            f"{clip.clip_id!r}: frame {missing[0]} is no longer in {clip.uri}: give --frames FRAMES"
        )
    return found


def _file_name(clip_id: str) -> str:
    """A clip id as one harmless file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in clip_id)[:150]
