"""WLASL: isolated signs of American Sign Language."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from extraction.errors import JobError
from extraction.sources.datasets.annotation import Annotation, Hole, Source
from extraction.sources.datasets.layout import AnnotationFile, Expected, Layout
from extraction.sources.tables import read_text

_YOUTUBE = ("youtube", "youtu.be")
_YOUTUBE_ID_CHARACTERS = 11
_LARGEST = 10**9
"""Frames; a year of video at 30 a second."""


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    (path,) = files.values()
    try:
        content = json.loads(read_text(path, "WLASL's JSON"))
        for label, entry in enumerate(content):
            for number, instance in enumerate(entry["instances"]):
                yield _annotation(entry["gloss"], label, instance, f"{path}, [{label}].instances[{number}]")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise JobError(
            f"{path}: expected a list of {{gloss, instances: [{{video_id, frame_start, frame_end, ...}}]}}, "
            f"found: {error!r}."
        ) from error


def _annotation(gloss: Any, label: int, instance: Mapping[str, Any], where: str) -> Annotation:
    video_id, url = str(instance["video_id"]), str(instance.get("url") or "")
    # Counted from 1, both ends included; -1 for the end of the file.
    start, end = int(instance["frame_start"]) - 1, int(instance["frame_end"])
    end_frame = end if end > 0 else None
    start_frame = max(start, 0) if start > 0 or end_frame else None
    sources = [Source(video_id, start_frame, end_frame, may_be_cut=True)]
    holes: tuple[Hole, ...] = ()
    split = _text(instance["split"])
    if split is None:
        holes = (Hole("no-split", video_id, f"{where}: its split is null"),)
    if (end_frame is not None and not start < end_frame < _LARGEST) or start >= _LARGEST:
        sources = [Source(video_id)]
        detail = f"{where}: frame_start {start + 1} to frame_end {end} is no range"
        holes = (*holes, Hole("no-range", video_id, detail))
    elif any(name in url for name in _YOUTUBE):
        sources.append(Source(url[-_YOUTUBE_ID_CHARACTERS:], start_frame, end_frame))
    return Annotation(
        video_id,
        tuple(sources),
        split,
        signer=_text(instance.get("signer_id")),
        gloss=_text(gloss),
        label=str(label),
        where=where,
        holes=holes,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


LAYOUT = Layout(
    name="wlasl",
    title="WLASL, version 0.3 (American Sign Language, isolated)",
    lies=(
        "WLASL_v0.3.json",
        "videos/<video_id>.mp4, cut by its own script, or uncut: frame_start and frame_end then hold; or",
        "raw_videos_mp4/<YouTube id or video_id>.mp4, uncut",
    ),
    licence="research only, not commercial; see its page",
    home="https://dxli94.github.io/WLASL/",
    files=(AnnotationFile("json", r"WLASL_v\d[\d.]*\.json", "WLASL_v0.3.json"),),
    read=_read,
    media=(r"videos", r"raw_videos_mp4", r"raw_videos"),
    inner=("videos", "raw_videos_mp4", "raw_videos", "start_kit"),
    expected={"train": Expected(14_289), "val": Expected(3916), "test": Expected(2878)},
    # The sum is that of github.com/dxli94/WLASL, issue 69. By split they are what users of it count, together
    # 12 less than code/I3D/preprocess/nslt_2000.json there has (14,296, 3,920 and 2,879).
    counts_from="instances in WLASL_v0.3.json, 21,083 in all, by split as its users count them; thousands of "
    "the videos are gone from where they were",
)
