"""What will be exported, known from a few columns before any landmarks are read."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.protocol import Classes, ClipEntry, Format
from storage.schema import expect_plain, part_shapes
from storage.shards import NO_SPLIT, damaged_shard
from storage.stored import shards_of

_T = TypeVar("_T")

# Wall time to a fraction of a microsecond: no two extractions of a clip agree in it.
_ONE_EXTRACTION = ("extract_ms", "host", "options_hash", "mediapipe_version", "input_fingerprint")
_MOST_CLASSES = 1_000_000
"""A larger number is a name made of digits."""
_COLUMNS = ("clip_id", "first_frame", "num_frames", "signer", "gloss", "text", "label", *_ONE_EXTRACTION)


def entries_of(dataset: Dataset, splits: Sequence[str]) -> list[ClipEntry]:
    """The clips that are done, split after split, in the order in which they can be read.

    Args:
        dataset: Whose.
        splits: Only these; all, by name, where empty.

    Raises:
        JobError: If a split has no clip, a shard is damaged, or nothing is there at all.
    """
    by_split: dict[str, dict[str, list[dict[str, object]]]] = {}
    for name in shards_of(dataset, splits):
        split = name.split("/")[1].removeprefix("split=")
        for row in _read(dataset, name):
            by_split.setdefault(split, {}).setdefault(str(row["clip_id"]), []).append(row)
    if not by_split:
        raise JobError(
            f"{dataset.store.location}: no clip is done yet: let `landmarks extract` finish, then export"
        )
    return [
        _entry(clip_id, split, rows)
        for split in sorted(by_split)
        for clip_id, rows in by_split[split].items()
    ]


def _entry(clip_id: str, split: str, rows: list[dict[str, object]]) -> ClipEntry:
    first = rows[0]
    said = {name: str(first.get(name) or "") for name in ("signer", "gloss", "text", "label")}
    digest = hashlib.sha256(json.dumps([clip_id, split, rows], default=str).encode()).hexdigest()
    frames = sum(int(str(row["num_frames"])) for row in rows)
    return ClipEntry(clip_id, None if split == NO_SPLIT else split, frames, **said, digest=digest)


def parts_of(dataset: Dataset, chosen: Sequence[str], known: Format) -> dict[str, int]:
    """The parts that an export has, with their numbers of points in the data set.

    Args:
        dataset: Whose.
        chosen: By the user; the format's own where empty.
        known: The format.

    Raises:
        JobError: If the data set lacks one.
    """
    name = shards_of(dataset)[0]
    there = {
        part: points for part, (points, _) in part_shapes(_loaded(dataset, name, pq.read_schema)).items()
    }
    wanted = tuple(chosen) or known.parts or tuple(there)
    if missing := [part for part in wanted if part not in there]:
        found = f"found only {', '.join(there) or 'masks'} in {dataset.store.location}"
        if chosen:
            raise JobError(f"--parts: no {', '.join(missing)}, {found}: choose among these")
        raise JobError(
            f"--format {known.name}: it needs {', '.join(missing)}, {found}: choose another format, or "
            "extract with an engine that gives it"
        )
    return {part: there[part] for part in wanted}


def classes_of(dataset: Dataset) -> Classes:
    """The classes of all clips that were planned, done or not: a class is a label, or a gloss without any.

    Labels that are numbers, as in WLASL and AUTSL, stay these numbers. Others, as in INCLUDE, are numbered
    in order of the alphabet.
    """
    clips = dataset.plan().clips
    has_labels = any(clip.label for clip in clips)
    named: dict[str, str] = {}
    for clip in clips:
        if key := (clip.label if has_labels else clip.gloss):
            named.setdefault(key, clip.gloss or key)
    if not has_labels or not all(key.isdecimal() and int(key) < _MOST_CLASSES for key in named):
        return Classes({key: number for number, key in enumerate(sorted(named))}, sorted(named))
    if len(set(named.values())) < len(named):  # two classes with one gloss
        named = {key: key for key in named}
    numbers = {key: int(key) for key in named}
    names = [""] * (max(numbers.values()) + 1)
    for key, number in numbers.items():
        names[number] = named[key]
    return Classes(numbers, names)


def _read(dataset: Dataset, name: str) -> Iterator[dict[str, object]]:
    def columns(file: pa.NativeFile) -> pa.Table:
        shard = pq.ParquetFile(file)
        expect_plain(shard.schema_arrow)
        return shard.read([name for name in _COLUMNS if name in shard.schema_arrow.names])

    yield from _loaded(dataset, name, columns).to_pylist()


def _loaded(dataset: Dataset, name: str, reader: Callable[[pa.NativeFile], _T]) -> _T:
    try:
        return dataset.store.load(name, reader)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise damaged_shard(dataset.store, name, error) from error


_NO_NAME = re.compile(r"[\x00-\x1f\x7f\\]")
"""What no consumer's file name may have: control characters, and what other systems part folders by."""

_LONGEST = 150
"""Bytes of a name: file systems take 255, of which the temporary name of a file needs up to a hundred."""


def file_name(clip_id: str, suffix: str) -> str:
    """A clip's id as the name of a file in a folder, which it never leads out of.

    Args:
        clip_id: Its parts between slashes become folders. Where the last one is too long for a file system
            it is cut, and a digest tells it from others.
        suffix: ``".pkl"``.
    """
    steps = [_NO_NAME.sub("_", step) for step in clip_id.split("/") if step not in ("", ".")]
    steps = ["__" if step == ".." else step for step in steps] or ["_"]
    if len(steps[-1].encode()) > _LONGEST:
        digest = hashlib.sha256(clip_id.encode()).hexdigest()[:12]
        cut = steps[-1].encode()[: _LONGEST - len(digest) - 1].decode("utf-8", "ignore")
        steps[-1] = f"{cut}-{digest}"
    return "/".join(steps) + suffix
