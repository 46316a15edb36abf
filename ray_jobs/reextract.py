"""Extracting clips of a data set again, here, to see whether the same bits come out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from extraction.clips import Clip
from extraction.detectors import DetectorOptions, resolve_engine
from extraction.errors import ClipError, JobError
from extraction.frames import FrameOptions
from extraction.landmarks import ClipLandmarks
from extraction.supervisor import DetectorProcess
from ray_jobs.config import installed
from storage.dataset import Dataset
from storage.pieces import ClipPieces, clip_ids, find_pieces, is_done, sampled
from storage.precision import rounded

Finding = tuple[str, str]
"""Clip id, and what differs."""


def reextract(
    dataset: Dataset,
    count: int,
    seed: int,
    inputs: Mapping[str, Clip] | None,
    on_clip: Callable[[], None] = lambda: None,
) -> tuple[int, list[Finding]]:
    """Extracts some clips again with the data set's own options, and compares bit for bit.

    Args:
        dataset: Whose.
        count: How many, chosen by chance; all where there are fewer.
        seed: Of the chance.
        inputs: Clip id to where its input lies now; None for where it lay.
        on_clip: Called after each.

    Returns:
        How many clips were extracted, and what differs.

    Raises:
        JobError: If that cannot be done here: other versions, another model, input that is gone.
    """
    options = dataset.config()["options"]
    assert isinstance(options, dict)
    detector = _detector(options, dataset.store.location)
    frames = FrameOptions(
        max_pixels=int(options.get("max_pixels", FrameOptions().max_pixels)),
        default_fps=float(options.get("fps", FrameOptions().default_fps)),
    )
    names = sampled(clip_ids(dataset), count, seed, lambda clip_id: is_done(dataset, clip_id))
    if not names:
        raise JobError(f"{dataset.store.location}: expected clips to extract again, none is done")
    length = int(options.get("max_frames_per_row", 10_000))
    found: list[Finding] = []
    with DetectorProcess(detector, frames, max_frames_per_piece=length) as process:
        for name in names:
            pieces = find_pieces(dataset, name)
            clip = _input_of(pieces, inputs)
            try:
                extraction = process.extract(clip)
            except ClipError as error:
                raise JobError(
                    f"{name!r}: cannot be extracted again: {error}: if its input lies elsewhere now, say "
                    "where with --frames"
                ) from error
            text = _difference(pieces, extraction.pieces, str(options.get("precision", "float32")))
            if text:
                used = extraction.info.delegate
                hint = "; results of a GPU are not the same bits every time" if used != "cpu" else ""
                changed = clip.fingerprint and extraction.fingerprint != pieces.clip.fingerprint
                hint += "; its input has changed since" if changed else ""
                found.append((name, text + hint))
            on_clip()
    return len(names), found


def _detector(options: dict[str, Any], location: str) -> DetectorOptions:
    """The detector that a data set was made with.

    Raises:
        JobError: If this machine has another, or the data set was not extracted at all.
    """
    if options.get("engine") == "imported":
        raise JobError(
            f"{location}: was imported, and does not say how its landmarks were found: no --reextract"
        )
    known = {field.name for field in fields(DetectorOptions)} - {"model"}
    wanted = {name: value for name, value in options.items() if name in known}
    wanted["extra_parts"] = tuple(wanted.get("extra_parts") or ())
    there, here = options.get("mediapipe_version"), installed("mediapipe")
    if there != here:
        raise JobError(
            f"{location}: was made with mediapipe {there}, here is {here}: use --reextract where the same is "
            "installed"
        )
    asked = DetectorOptions(**wanted)
    resolved = resolve_engine(replace(asked, model_sha256=""))
    if resolved.model_sha256 != asked.model_sha256:
        raise JobError(
            f"{location}: was made with a model of sha256 {asked.model_sha256 or 'none'}, here is "
            f"{resolved.model_sha256 or 'none'}: use --reextract where the same model lies"
        )
    return resolved


def _input_of(pieces: ClipPieces, inputs: Mapping[str, Clip] | None) -> Clip:
    if inputs is None:
        return pieces.clip
    now = inputs.get(pieces.clip.clip_id)
    if now is None:
        raise JobError(f"{pieces.clip.clip_id!r}: is not in the input given by --frames")
    return replace(pieces.clip, uri=now.uri, kind=now.kind)


def _difference(pieces: ClipPieces, again: Any, precision: str) -> str:
    """What differs first; "" where every bit is the same."""
    rows: Iterator[ClipLandmarks] = iter(again)
    for row in pieces:
        other = next(rows, None)
        if other is None:
            return f"{row.first_frame} frames now, {pieces.num_frames} in the data set"
        if text := _of_row(row, other, precision):
            return text
    return "more frames now than in the data set" if next(rows, None) is not None else ""


def _of_row(row: ClipLandmarks, other: ClipLandmarks, precision: str) -> str:
    if len(row) != len(other):
        return f"{len(other)} frames now, {len(row)} in the data set"
    for name in ("first_frame", "fps", "frame_names", "frame_errors", "masks_png"):
        if getattr(row, name) != getattr(other, name):
            return f"{name} differs"
    for name in ("timestamps_ms", "frame_status", "frame_sizes_px"):
        if not np.array_equal(getattr(row, name), getattr(other, name)):
            return f"{name} differs"
    if row.parts.keys() != other.parts.keys():
        return f"parts now {', '.join(other.parts)}, in the data set {', '.join(row.parts)}"
    pairs = {name: (points, other.parts[name]) for name, points in row.parts.items()}
    pairs["pose_visibility"] = (row.pose_visibility, other.pose_visibility)
    for name, (stored, now) in pairs.items():
        bits, bits_now = stored.view(np.uint32), np.ascontiguousarray(rounded(now, precision)).view(np.uint32)
        wrong = np.flatnonzero((bits != bits_now).reshape(len(row), -1).any(axis=1))
        if len(wrong):
            with np.errstate(invalid="ignore"):
                apart = np.abs(stored.astype(np.float64) - now)
            largest = np.nanmax(apart) if (~np.isnan(apart)).any() else float("nan")
            return (
                f"{name} differs in {len(wrong)} of {len(row)} frames, first in frame "
                f"{row.first_frame + wrong[0]}, by up to {largest:.3g}"
            )
    return ""
