"""Finding out what lies at a place: a data set of ours, ``.pose`` files, or a pickle of the older scripts."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from extraction.errors import JobError
from storage import restricted_pickle
from storage.dataset import Dataset
from storage.exports.pose_file import SUFFIX, PoseFiles
from storage.imports.seed_pickles import SeedA, SeedB, layout_of
from storage.imports.source import SPLIT_NAMES, Source
from storage.imports.stored_source import StoredSource


def open_source(location: str, fps: float = 25.0) -> Source:
    """Opens finished landmarks of any format that can be read.

    Args:
        location: A data set's folder or URI, a folder of .pose files, a .pose file, a pickle, or the base
            name of pickles that end in their split.
        fps: For formats that do not say it.

    Raises:
        JobError: If nothing that is known lies there.
    """
    if "://" in location or os.path.isfile(os.path.join(location, "dataset.json")):
        return StoredSource(Dataset.open(location))
    if os.path.isdir(location):
        return _open_folder(location)
    if location.endswith(SUFFIX) and os.path.isfile(location):
        return PoseFiles(location)
    if os.path.isfile(location):
        return _open_pickle(location, fps)
    if files := _files_of_splits(location):
        return SeedB({split: _tree_b(path) for split, path in files.items()}, location, fps)
    raise JobError(
        f"{location}: nothing is there, nor is {location}.train, .dev, .val or .test: mend the path"
    )


def _files_of_splits(base: str) -> dict[str | None, str]:
    """Split to file of all that an export named so, or, without its manifest, that bears a usual name."""
    files: dict[str | None, str] = {split: f"{base}.{split}" for split in SPLIT_NAMES}
    with suppress(OSError, ValueError, TypeError, KeyError), open(f"{base}.manifest.json", "rb") as file:
        listed = [os.path.basename(str(entry["name"])) for entry in json.load(file)["files"]]
        start = f"{os.path.basename(base)}."
        endings = [name.removeprefix(start) for name in listed if name.startswith(start)]
        files |= {ending: f"{base}.{ending}" for ending in endings}
    return {split: path for split, path in files.items() if os.path.isfile(path)}


def _open_folder(location: str) -> Source:
    try:
        return PoseFiles(location)
    except JobError as error:
        if "found none" not in str(error):
            raise
    raise JobError(
        f"{location}: expected a data set (a folder with dataset.json) or .pose files, found neither: give "
        "the OUT folder of `landmarks extract`, or for pickles the file itself"
    )


def _open_pickle(location: str, fps: float) -> Source:
    tree = _tree(location)
    layout = layout_of(tree)
    if layout == "A":
        return SeedA(tree, location, fps)
    if layout == "B":
        ending = location.rpartition(".")[2]
        return SeedB({ending if ending in SPLIT_NAMES else None: tree}, location, fps)
    raise JobError(
        f"{location}: expected a pickle of the older scripts, {{split: {{'keypoints': ...}}}} or "
        f"{{'split/clip': {{'keypoint': ...}}}}, found {_described(tree)}"
    )


def _tree(location: str) -> Any:
    try:
        with open(location, "rb") as file:
            return restricted_pickle.load(file, location)
    except OSError as error:
        raise JobError(f"{location}: cannot be read: {error.strerror}") from error


def _tree_b(location: str) -> Mapping[str, Any]:
    tree = _tree(location)
    if layout_of(tree) != "B":
        raise JobError(
            f"{location}: expected {{'split/clip': {{'keypoint': ...}}}}, found {_described(tree)}"
        )
    return dict(tree)


def _described(tree: object) -> str:
    if isinstance(tree, dict):
        keys = ", ".join(repr(key)[:40] for key in list(tree)[:3])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"a {type(tree).__name__}"
