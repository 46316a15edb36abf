"""Finished landmarks of another format into a data set of ours, marked with what is not known of them."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from extraction.clips import Clip, to_uri
from extraction.errors import JobError
from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.imports.source import Source, SourceClip
from storage.plan import Revision, revise
from storage.rows import Provenance, encode
from storage.running import JobMark, host_name
from storage.shards import Failure, Rows, write_shard
from storage.stored import StoredClip

ENGINE = "imported"
"""In the column ``engine``: which one it was, the format does not say."""
_UNKNOWN = "unknown"
_FRAMES_PER_ROW = 10_000
_LONGEST_NAME = 4096
_RENEW_S = 10.0
_SHOWN = 80
_UNSAFE = re.compile(r"[^\w .-]")
_SPLIT = re.compile(r"[^/\\\x00-\x1f\x7f=]{1,200}")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        location: Of the data set.
        format: Of the source.
        clips: In the data set, of this source.
        new: Of these, clips that this run wrote.
        failed: Clips that could not be read; `landmarks failures` says why.
        frames: That this run wrote.
        unknown: What the format does not say, a sentence each.
    """

    location: str
    format: str
    clips: int
    new: int
    failed: int
    frames: int
    unknown: tuple[str, ...]


def import_source(
    source: Source,
    dataset: Dataset,
    fps: float,
    on_start: Callable[[int], None] = lambda _: None,
    on_clip: Callable[[], None] = lambda: None,
) -> Imported:
    """Writes every clip of a source into a data set; the same again goes on where it was stopped.

    Clips that failed are tried again where the source has something else of them by now.

    Args:
        source: What to read.
        dataset: Where to write: new, empty, or of an earlier import of the same.
        fps: As the source was opened with.
        on_start: Called with the number of clips to write.
        on_clip: Called after each.

    Raises:
        JobError: If the data set is another one, the source has something else of clips that were
            imported, or a split's name in it cannot be one here.
    """
    source = _Named(source)
    found = source.clips()
    clips = _planned(found, source)
    options: dict[str, object] = {
        "engine": ENGINE,
        "mediapipe_version": _UNKNOWN,
        "static": None,
        "format": source.about.format,
        "fps": fps,
    }
    options_hash = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=8).hexdigest()
    if dataset.exists():
        _expect_same_import(dataset, source, options)
    else:
        dataset.expect_empty()
    points = _num_points(source, found)
    mark = JobMark(dataset.store)
    mark.take()
    try:
        if not dataset.exists():
            dataset.create(options, options_hash, _about(source))
        dataset.store.sweep()
        revision = _revised(dataset, clips)
        to_read = {clip.clip_id: clip for clip in found}
        by_shard = revision.plan.by_shard()
        on_start(sum(len(by_shard[shard]) for shard in revision.to_do))
        run = _Run(source, to_read, options_hash, mark, on_clip)
        for shard in revision.to_do:
            members = by_shard[shard]
            outcomes = (run.outcome(clip) for clip in members)
            write_shard(dataset.store, shard, members[0].split, points, outcomes, mark.check)
    finally:
        mark.release()
    return Imported(
        dataset.store.location,
        source.about.format,
        len(clips),
        run.new,
        sum(clip_id in clips for clip_id in dataset.failures()["clip_id"].to_pylist()),
        run.frames,
        source.about.unknown,
    )


class _Named:
    """A source whose clips can all be listed: one whose name cannot be one here has another, and fails."""

    def __init__(self, source: Source) -> None:
        self.about = source.about
        self._source = source
        self._refused: dict[str, str] = {}
        self._clips = [self._named(clip) for clip in source.clips()]

    def clips(self) -> Sequence[SourceClip]:
        return self._clips

    def read(self, clip: SourceClip) -> StoredClip:
        if reason := self._refused.get(clip.clip_id):
            raise JobError(reason)
        return self._source.read(clip)

    def _named(self, clip: SourceClip) -> SourceClip:
        reason = _fault_of_name(clip.clip_id)
        if not reason:
            return clip
        # The same in every run, and another one for every name.
        digest = hashlib.blake2b(ascii(clip.clip_id).encode(), digest_size=4).hexdigest()
        stand_in = f"unnamed {digest} ({_UNSAFE.sub('_', clip.clip_id[:_SHOWN])})"
        stand_in = f"{clip.split}/{stand_in}" if clip.split else stand_in
        self._refused[stand_in] = (
            f"{self.about.location}: {clip.clip_id[:_SHOWN]!r} cannot be the name of a clip: {reason}: give "
            "it another name where the file was made, and import again"
        )
        return replace(clip, clip_id=stand_in)


class _Run:
    """Reads clips one by one and counts them."""

    def __init__(
        self,
        source: Source,
        to_read: dict[str, SourceClip],
        options_hash: str,
        mark: JobMark,
        on_clip: Callable[[], None],
    ) -> None:
        self._source, self._to_read, self._hash = source, to_read, options_hash
        self._mark, self._on_clip = mark, on_clip
        self._renewed = time.monotonic()
        self.new = self.frames = 0

    def outcome(self, clip: Clip) -> Rows | Failure:
        if time.monotonic() - self._renewed >= _RENEW_S:
            self._mark.keep()
            self._renewed = time.monotonic()
        self._on_clip()
        planned = self._to_read.get(clip.clip_id)
        try:
            if planned is None:
                raise JobError(f"{clip.clip_id!r}: is no longer in {self._source.about.location}")
            landmarks = self._source.read(planned).landmarks
            if not len(landmarks):
                raise JobError(f"{clip.clip_id!r}: has no frame")
        except JobError as error:
            return Failure(clip.clip_id, clip.uri, clip.split, "open", "import", str(error), 1)
        self.new += 1
        self.frames += len(landmarks)
        made = Provenance(ENGINE, _UNKNOWN, self._hash, _UNKNOWN, 0, 0.0, 0.0, 0.0, host_name(), "")
        return (encode(clip, piece, made) for piece in _pieces(landmarks))


def _revised(dataset: Dataset, clips: Mapping[str, Clip]) -> Revision:
    """Brings the plan up to date.

    Raises:
        JobError: If the source has something else of clips that are done. What imports of earlier versions
            were made from is not known, and they are left.
    """
    plan, done = dataset.plan(), dataset.done()
    before = dict(zip(plan.table["clip_id"].to_pylist(), plan.table["fingerprint"].to_pylist(), strict=True))
    failed = set(dataset.failures(plan)["clip_id"].to_pylist()) & clips.keys()
    again = [clip_id for clip_id in sorted(failed) if before[clip_id] != clips[clip_id].fingerprint]
    revision = revise(plan, list(clips.values()), done, again)
    changed = [clip_id for clip_id in revision.changed if before[clip_id]]
    if changed:
        raise JobError(
            f"{dataset.config()['source']}: has changed since {len(changed):,} clips of it were imported "
            f"into {dataset.store.location}, {changed[0]!r} among them: import it into another OUT"
        )
    if revision.plan != plan:
        dataset.write_plan(revision.plan)
    return revision


def _planned(found: Sequence[SourceClip], source: Source) -> dict[str, Clip]:
    clips: dict[str, Clip] = {}
    for clip in found:
        if clip.clip_id in clips:
            raise JobError(
                f"{source.about.location}: has two clips named {clip.clip_id!r}: import one of them"
            )
        _expect_split(clip.split, source.about.location)
        uri = clip.uri if "://" in clip.uri else to_uri(clip.uri)
        clips[clip.clip_id] = Clip(
            clip.clip_id,
            uri,
            "frames",
            clip.split,
            clip.num_frames,
            clip.fingerprint,
            gloss=clip.said.get("gloss"),
            text=clip.said.get("text"),
        )
    if not clips:
        raise JobError(f"{source.about.location}: has no clip, so there is nothing to import")
    return clips


def _fault_of_name(name: str) -> str:
    """Why a name cannot be one here, "" where it can: it is somebody else's, and becomes a path."""
    if not name.strip() or name.startswith("/") or ".." in name.split("/"):
        return "expected a relative path without '..'"
    if len(name) > _LONGEST_NAME:
        return f"expected up to {_LONGEST_NAME} characters, found {len(name)}"
    if "\0" in name:
        return "expected no NUL in it"
    return "" if _is_unicode(name) else "it is not Unicode"


def _expect_split(split: str | None, where: str) -> None:
    if split is None or (_SPLIT.fullmatch(split) and set(split) != {"."} and _is_unicode(split)):
        return
    raise JobError(
        f"{where}: {split[:_SHOWN]!r} cannot be the name of a split: expected one name without / \\ = and "
        "control characters: give it another where the file was made"
    )


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _num_points(source: Source, found: Sequence[SourceClip]) -> dict[str, int]:
    """Part name to the length of its arrays, which may have points that are not known."""
    reason: JobError | None = None
    for clip in found:
        try:
            return {part: points.shape[1] for part, points in source.read(clip).landmarks.parts.items()}
        except JobError as error:
            reason = error
    raise JobError(f"{source.about.location}: none of its clips can be read; the last one: {reason}")


def _about(source: Source) -> dict[str, object]:
    place = source.about.location
    return {
        "source": place if "://" in place else os.path.abspath(place),
        "imported": {
            "format": source.about.format,
            "points": {part: list(rows) for part, rows in source.about.points.items()},
            "unknown": list(source.about.unknown),
        },
    }


def _expect_same_import(dataset: Dataset, source: Source, options: Mapping[str, object]) -> None:
    config = dataset.config()
    for what, there, now in (
        ("options", config["options"], options),
        ("source", config.get("source"), _about(source)["source"]),
    ):
        if there != now:
            raise JobError(
                f"{dataset.store.location}: holds something else than this import ({what}: there {there}, "
                f"now {now}): choose another OUT"
            )


def _pieces(landmarks: ClipLandmarks) -> Iterator[ClipLandmarks]:
    for first in range(0, len(landmarks), _FRAMES_PER_ROW):
        part = slice(first, first + _FRAMES_PER_ROW)
        yield replace(
            landmarks,
            first_frame=first,
            timestamps_ms=np.array(landmarks.timestamps_ms[part]),
            frame_names=landmarks.frame_names[part],
            frame_status=np.array(landmarks.frame_status[part]),
            frame_errors=landmarks.frame_errors[part],
            frame_sizes_px=np.array(landmarks.frame_sizes_px[part]),
            parts={name: np.array(points[part]) for name, points in landmarks.parts.items()},
            pose_visibility=np.array(landmarks.pose_visibility[part]),
        )
