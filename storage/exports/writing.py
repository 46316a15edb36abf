"""Exporting: every format goes through here, and gets its clips one after another."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import groupby

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.exports.inventory import classes_of, entries_of, parts_of
from storage.exports.protocol import (
    TENSORS,
    ClipEntry,
    ExportOptions,
    ExportRun,
    Format,
    without_empty_frames,
)
from storage.exports.target import Manifest, Target, Written, content
from storage.stored import StoredClip, stored_clips


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did.

    Attributes:
        location: Where it lies.
        manifest: Where its manifest lies.
        clips: In all its files.
        frames: In all its files.
        files: Number of files with clips.
        bytes: Of them.
        written: How many of these files this run wrote; the others stood already.
        splits: Split name to its numbers of clips and frames.
        notes: What a person should know of it, a sentence each.
    """

    location: str
    manifest: str
    clips: int
    frames: int
    files: int
    bytes: int
    written: int
    splits: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


def export(
    dataset: Dataset,
    known: Format,
    to: str,
    options: ExportOptions | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_clip: Callable[[], None] = lambda: None,
) -> Exported:
    """Writes the clips of a data set in a format; a second run goes on where the first was stopped.

    A file is whole or absent. One that stands, is listed in the manifest and was made from the same
    extraction is not made again.

    Args:
        dataset: Whose clips.
        known: The format.
        to: A file, or a folder, as the format says.
        options: What the user asks for.
        on_start: Called with the number of clips to write.
        on_clip: Called for each.

    Raises:
        JobError: If the format cannot hold what was asked for, or PATH holds something else.
    """
    options = options or ExportOptions()
    with_torch = _checked(known, options)
    target = Target(to, known)
    _expect_outside(target, dataset)
    entries = entries_of(dataset, options.splits)
    parts = parts_of(dataset, options.parts, known)
    run = ExportRun(options, (), entries, classes_of(dataset), dataset.config(), parts, with_torch)
    wanted = _files(known, entries, target)
    identity = _identity(dataset, known, run)
    files = target.written(identity, list(wanted))
    missing = _missing(target, wanted, files)
    notes = _notes(dataset, known, run)
    manifest = Manifest(target, {**identity, **_about(known, entries), "notes": notes}, files)
    on_start(sum(map(len, missing.values())))
    if missing:
        _write(dataset, known, target, missing, run, files, manifest, on_clip)
    for name, data in known.index(run):
        with target.create(name, (), files, lambda: 0) as file:
            file.write(data)
    manifest.save(complete=True)
    with_clips = [files[name] for name in wanted]
    return Exported(
        target.location,
        target.store.full(target.manifest_name),
        len(entries),
        sum(file.frames for file in with_clips),
        len(wanted),
        sum(file.bytes for file in with_clips),
        len(missing),
        _by_split(entries),
        notes,
    )


def _checked(known: Format, options: ExportOptions) -> bool:
    """Refuses what a format cannot do; returns whether tensors are torch's."""
    if known.package and not _is_installed(known.package):
        name = known.package.replace("_", "-")
        raise JobError(f"--format {known.name}: it needs the package {name}: run `pip install {name}`")
    if options.drop_empty_frames and not known.accepts_drop:
        raise JobError(
            f"--drop-empty-frames: --format {known.name} keeps every frame, as all but the old scripts do: "
            "leave the option out"
        )
    if options.parts and not known.accepts_parts:
        raise JobError(
            f"--parts: --format {known.name} has a fixed layout, {known.layout}: leave the option out"
        )
    if options.tensors not in TENSORS:
        raise JobError(f"--tensors: expected one of {', '.join(TENSORS)}, found {options.tensors!r}")
    if options.tensors != "auto" and not known.uses_tensors:
        raise JobError(f"--tensors: no tensor stands in --format {known.name}: leave the option out")
    there = known.uses_tensors and options.tensors != "numpy" and _is_installed("torch")
    if options.tensors == "torch" and not there:
        raise JobError("--tensors torch: torch is not installed here: install it, or use --tensors numpy")
    return there


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    # Any folder of that name on the path is a package to Python; it has no origin.
    return spec is not None and spec.origin is not None


def _expect_outside(target: Target, dataset: Dataset) -> None:
    place = target.store.location.rstrip("/")
    if f"{place}/".startswith(dataset.store.location.rstrip("/") + "/"):
        raise JobError(
            f"{target.location}: lies inside the data set {dataset.store.location}: choose a --to outside it"
        )


def _files(known: Format, entries: Sequence[ClipEntry], target: Target) -> dict[str, list[ClipEntry]]:
    """Each file's name in the store, and its clips."""
    files: dict[str, list[ClipEntry]] = {}
    for _, of_split in groupby(entries, key=lambda entry: entry.split):
        for position, entry in enumerate(of_split):
            files.setdefault(target.name_of(known.file_of(entry, position)), []).append(entry)
    for name, of_file in files.items():
        twice = len({entry.clip_id for entry in of_file}) < len(of_file)
        if twice or (known.is_file_a_clip and len(of_file) > 1):
            raise JobError(
                f"{name}: two clips would be this one file: {of_file[0].clip_id!r} and "
                f"{of_file[1].clip_id!r}: export one split at a time with --splits, or another format"
            )
    return files


def _missing(
    target: Target, wanted: Mapping[str, list[ClipEntry]], files: dict[str, Written]
) -> dict[str, list[ClipEntry]]:
    """Files that do not stand as the data set would have them now; they are taken off the list."""
    missing = {
        name: of_file
        for name, of_file in wanted.items()
        if name not in files or files[name].content != content(of_file) or not target.stands(files[name])
    }
    for name in missing:
        files.pop(name, None)
    return missing


def _identity(dataset: Dataset, known: Format, run: ExportRun) -> dict[str, object]:
    """What makes two exports the same, as the manifest says it."""
    options = asdict(run.options)
    options["splits"] = sorted(run.options.splits)
    options["parts"] = list(run.parts)
    options["tensors"] = ("torch" if run.with_torch else "numpy") if known.uses_tensors else None
    if known.uses_classes:
        options["classes"] = hashlib.sha256("\0".join(run.classes.names).encode()).hexdigest()[:16]
    return {
        "format": known.name,
        "source": {
            "data_set": dataset.store.location,
            "options_hash": run.config.get("options_hash"),
            "options": run.config.get("options"),
        },
        "export_options": options,
    }


def _notes(dataset: Dataset, known: Format, run: ExportRun) -> tuple[str, ...]:
    splits = {entry.split for entry in run.all_entries}
    planned = sum(clip.split in splits for clip in dataset.plan().clips)
    notes = []
    if lacking := planned - len(run.all_entries):
        notes.append(
            f"{lacking:,} of {planned:,} planned clips are not in it: they failed or are not done yet"
        )
    if known.uses_tensors and not run.with_torch:
        notes.append(
            "NumPy arrays stand where torch tensors are expected"
            + ("" if run.options.tensors == "numpy" else ": torch is not installed here")
        )
    return tuple(notes)


def _about(known: Format, entries: Sequence[ClipEntry]) -> dict[str, object]:
    return {
        "consumer": known.consumer,
        "structure": known.structure,
        "layout": known.layout,
        "units": known.units,
        "missing": known.missing,
        "differs": known.differs,
        "clips": len(entries),
        "frames_in_data_set": sum(entry.num_frames for entry in entries),
        "splits": _by_split(entries),
    }


def _by_split(entries: Sequence[ClipEntry]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        of_split = counts.setdefault(entry.split_name, {"clips": 0, "frames": 0})
        of_split["clips"] += 1
        of_split["frames"] += entry.num_frames
    return counts


def _write(
    dataset: Dataset,
    known: Format,
    target: Target,
    missing: Mapping[str, Sequence[ClipEntry]],
    run: ExportRun,
    files: dict[str, Written],
    manifest: Manifest,
    on_clip: Callable[[], None],
) -> None:
    """Writes files in order; the clips of all of them are read in one pass."""
    clips = _read(dataset, [entry for of_file in missing.values() for entry in of_file], run, on_clip)
    # First of all, so that whatever lies there later is known to be an export's.
    manifest.save(complete=False)
    try:
        for name, of_file in missing.items():
            of_this = replace(run, entries=of_file, file_name=name)
            taken = _Taken(clips, len(of_file))
            with target.create(name, of_file, files, taken.frames_so_far) as file:
                known.write(file, iter(taken), of_this)
                assert taken.clips == len(of_file), f"{known.name} took {taken.clips} of {len(of_file)} clips"
            manifest.save_at_times()
    except BaseException:
        with suppress(JobError):  # the reason to stop may be that nothing can be written
            manifest.save(complete=False)
        raise


def _read(
    dataset: Dataset, entries: Sequence[ClipEntry], run: ExportRun, on_clip: Callable[[], None]
) -> Iterator[StoredClip]:
    for split, of_split in groupby(entries, key=lambda entry: entry.split_name):
        expected = list(of_split)
        found = stored_clips(dataset, (split,), [entry.clip_id for entry in expected])
        for entry in expected:
            clip = next(found, None)
            if clip is None or clip.clip_id != entry.clip_id or len(clip.landmarks) != entry.num_frames:
                raise JobError(
                    f"{dataset.store.location}: changed while it was read, at clip {entry.clip_id!r}: run "
                    "the same command again"
                )
            on_clip()
            yield without_empty_frames(clip) if run.options.drop_empty_frames else clip


class _Taken:
    """The next so many clips for one file, and how many of them its writer took."""

    def __init__(self, clips: Iterator[StoredClip], number: int) -> None:
        self._clips, self._number = clips, number
        self.clips = self._frames = 0

    def __iter__(self) -> Iterator[StoredClip]:
        for _ in range(self._number):
            clip = next(self._clips)
            self.clips += 1
            self._frames += len(clip.landmarks)
            yield clip

    def frames_so_far(self) -> int:
        return self._frames
