"""Extracting clips of a data set again, here, to see whether the same bits come out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from extraction.clips import Clip
from extraction.detectors import ENGINES, DetectorOptions, resolve_engine
from extraction.errors import ClipError, JobError, LandmarksError, NoDetectorError
from extraction.frames import FrameOptions
from extraction.landmarks import ClipLandmarks
from extraction.supervisor import DetectorProcess
from ray_jobs.config import installed
from ray_jobs.staging import staged
from storage.dataset import Dataset
from storage.masks import read_mask
from storage.pieces import ClipPieces, clip_ids, find_pieces, is_done, sampled
from storage.precision import rounded
from storage.stores import Stores
from storage.verify_input import InputClips

Finding = tuple[str, str]
"""Clip id, and what differs."""

_UNTRIED = "could not be extracted again: "
_FETCHED_BYTES = 4 * 10**9
"""Of a remote input on this machine's disk; a larger one lies there alone, as in a job."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which clips to extract again, and with what.

    Attributes:
        count: How many, chosen by chance; all where there are fewer.
        seed: Of the chance.
        model: File or folder of the model that the data set was made with; "" for the engine's own.
        place: URI of remote inputs as a person gave it, which says how to reach them; "" where the
            environment does.
        engine: The data set's, named by who trusts it where it is code of somebody's own; else "".
    """

    count: int
    seed: int = 0
    model: str = ""
    place: str = ""
    engine: str = ""


def reextract(
    dataset: Dataset,
    sample: Sample,
    inputs: InputClips | None,
    on_start: Callable[[int], None] = lambda _: None,
    on_clip: Callable[[], None] = lambda: None,
) -> tuple[int, list[Finding]]:
    """Extracts some clips again with the data set's own options, and compares bit for bit.

    Args:
        dataset: Whose.
        sample: Which clips, and with what.
        inputs: Where their inputs lie now; None for where they lay.
        on_start: Called with the number of clips to extract.
        on_clip: Called after each.

    Returns:
        How many clips were extracted, and what differs, or kept others from being extracted.

    Raises:
        JobError: If that cannot be done here, other versions or another model, or for none of the clips.
    """
    options = dataset.config()["options"]
    assert isinstance(options, dict)
    detector = _detector(options, dataset.store.location, sample)
    frames = FrameOptions(
        max_pixels=int(options.get("max_pixels", FrameOptions().max_pixels)),
        default_fps=float(options.get("fps", FrameOptions().default_fps)),
    )
    names = sampled(clip_ids(dataset), sample.count, sample.seed, lambda clip_id: is_done(dataset, clip_id))
    if not names:
        raise JobError(f"{dataset.store.location}: expected clips to extract again, none is done")
    on_start(len(names))
    stores = Stores(sample.place)
    length = int(options.get("max_frames_per_row", 10_000))
    precision = str(options.get("precision", "float32"))
    found: list[Finding] = []
    extracted = 0
    with DetectorProcess(detector, frames, max_frames_per_piece=length) as process:
        for name in names:
            try:
                text = _again(find_pieces(dataset, name), inputs, stores, process, precision)
                extracted += 1
            except LandmarksError as error:
                # Told as what was found before it; other clips may lie where they lay.
                hint = ": if its input lies elsewhere now, say where with --frames"
                text = f"{_UNTRIED}{error}{hint if isinstance(error, ClipError) else ''}"
                if isinstance(error, NoDetectorError):  # nor would it come up for the next one
                    found.append((name, text))
                    break
            if text:
                found.append((name, text))
            on_clip()
    if not extracted:
        name, text = found[0]
        others = f" (nor could any of {len(names) - 1:,} others be)" if len(names) > 1 else ""
        raise JobError(f"{name!r}: {text.removeprefix(_UNTRIED)}{others}")
    return extracted, found


def _again(
    pieces: ClipPieces, inputs: InputClips | None, stores: Stores, process: DetectorProcess, precision: str
) -> str:
    """Extracts a clip, and says what differs first; "" where every bit is the same."""
    clip = _input_of(pieces, inputs)
    with staged([clip], stores, _FETCHED_BYTES) as fetched, fetched.here(clip) as here:
        extraction = process.extract(here)
    text = _difference(pieces, extraction.pieces, precision)
    if not text:
        return ""
    hint = "" if extraction.info.delegate == "cpu" else "; results of a GPU are not the same bits every time"
    if pieces.clip.fingerprint and extraction.fingerprint != pieces.clip.fingerprint:
        hint += "; its input has changed since"
    return f"extracted again here: {text}{hint}"


def _expect_trusted(engine: str, location: str, trusted: str) -> None:
    """Whoever made a data set says in it with which engine, and an engine of one's own is code to be run."""
    if trusted and trusted != engine:
        raise JobError(
            f"--engine {trusted}: expected the engine that {location} was made with, {engine!r}: leave it out"
        )
    if not trusted and engine not in ENGINES:
        raise JobError(
            f"{location}: was made with the engine {engine!r}, which is none of {', '.join(ENGINES)} but "
            "code that would be run here: if you know and trust it, name it with --engine"
        )


def _detector(options: dict[str, Any], location: str, sample: Sample) -> DetectorOptions:
    """The detector that a data set was made with.

    Raises:
        JobError: If this machine has another, or the data set was not extracted at all, or by code that
            nobody here said they trust.
    """
    if options.get("engine") == "imported":
        raise JobError(
            f"{location}: was imported, and does not say how its landmarks were found: no --reextract"
        )
    _expect_trusted(str(options.get("engine")), location, sample.engine)
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
    resolved = resolve_engine(replace(asked, model=sample.model, model_sha256=""))
    if resolved.model_sha256 != asked.model_sha256:
        raise JobError(
            f"{location}: was made with a model of sha256 {asked.model_sha256 or 'none'}, "
            f"{sample.model or 'the one here'} has {resolved.model_sha256 or 'none'}: name the same one with "
            "--model"
        )
    return resolved


def _input_of(pieces: ClipPieces, inputs: InputClips | None) -> Clip:
    # Without its fingerprint: a copy with other times would be refused, and the bits are what is asked for.
    clip = replace(pieces.clip, fingerprint="")
    if inputs is None:
        return clip
    now = inputs.find(clip.clip_id, clip.uri, clip.span)
    if now is None:
        raise JobError(f"is not in the input given by --frames{inputs.hint}")
    return replace(clip, uri=now.uri, kind=now.kind)


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
    for name in ("first_frame", "fps", "frame_names", "frame_errors"):
        if getattr(row, name) != getattr(other, name):
            return f"{name} differs"
    for name in ("timestamps_ms", "frame_status", "frame_sizes_px"):
        if not np.array_equal(getattr(row, name), getattr(other, name)):
            return f"{name} differs"
    if text := _of_masks(row, other):
        return text
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


def _of_masks(row: ClipLandmarks, other: ClipLandmarks) -> str:
    """What differs first in the masks: their pixels, for another zlib may pack the same pixels otherwise."""
    if row.masks_png is None or other.masks_png is None:
        found = {True: "none", False: "there"}
        is_same = row.masks_png is other.masks_png
        now, stored = found[other.masks_png is None], found[row.masks_png is None]
        return "" if is_same else f"masks now {now}, in the data set {stored}"
    first, most, wrong = -1, 0, 0
    for position, (stored_png, now_png) in enumerate(zip(row.masks_png, other.masks_png, strict=True)):
        if stored_png == now_png:
            continue
        differing = _differing_pixels(stored_png, now_png, row.frame_sizes_px[position].tolist())
        if differing:
            first, most, wrong = first if wrong else position, max(most, differing), wrong + 1
    if not wrong:
        return ""
    return (
        f"masks differ in {wrong} of {len(row)} frames, first in frame {row.first_frame + first}, "
        f"in up to {most:,} pixels"
    )


def _differing_pixels(stored_png: bytes | None, now_png: bytes | None, size_px: list[int]) -> int:
    """How many pixels two masks differ in; all where one of them is none."""
    width, height = size_px
    if stored_png is None or now_png is None:
        return max(width * height, 1)
    try:
        stored = read_mask(stored_png, (width, height))
    except ValueError:
        return width * height
    return int(np.count_nonzero(stored != read_mask(now_png, (width, height))))
