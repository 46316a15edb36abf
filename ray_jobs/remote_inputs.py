"""Finding the clips of a tree or a manifest on an object store, by the rules for those of a disk."""

import os
from collections.abc import Callable

from pyarrow import fs

from extraction.errors import JobError
from extraction.sources import (
    Discovery,
    DiscoveryCounts,
    clips_from_rows,
    discover_tree,
    read_csv_manifest,
)
from extraction.sources.tree import SplitFrom
from ray_jobs.remote_places import RemotePlaces
from storage.manifest import read_parquet_manifest
from storage.stores import Stores, is_remote, location_of

OnProgress = Callable[[DiscoveryCounts], None]


def discover_remote_tree(uri: str, split_from: SplitFrom, on_progress: OnProgress | None) -> Discovery:
    """Finds the clips below a folder of an object store.

    Args:
        uri: Of the folder.
        split_from: As for :func:`extraction.sources.discover_tree`.
        on_progress: As for :func:`extraction.sources.discover_tree`.

    Returns:
        As :func:`extraction.sources.discover_tree`; how many frames a video has is left open.

    Raises:
        JobError: If the folder cannot be listed, or no clip is in it.
    """
    _expect_readable_uri(uri)
    root = location_of(uri)
    stores = Stores(uri)
    store, name = stores.of(root)
    store.expect_reachable(name)
    found = store.info(name).type
    if found == fs.FileType.File:
        raise JobError(
            f"expected a folder with clips, found the file {root}. Give its folder and choose a video by its "
            "clip id, or give a list of clips as --manifest."
        )
    if found == fs.FileType.NotFound:
        raise JobError(
            f"expected a folder with clips at {root}, found nothing of that name: check the bucket and path"
        )
    return discover_tree(root, split_from=split_from, on_progress=on_progress, places=RemotePlaces(stores))


def discover_manifest(path: str, allow_outside: bool, on_progress: OnProgress | None) -> Discovery:
    """Finds the clips that a manifest names; it, and what it names, may lie on object stores.

    Args:
        path: Of a CSV or Parquet file, or its URI.
        allow_outside: Whether it may name relative paths outside its folder by ``..``.
        on_progress: As for :func:`extraction.sources.clips_from_rows`.

    Raises:
        JobError: If it cannot be read, or a row is not what it should be.
    """
    stores, data, place = Stores(), None, os.path.abspath(path)
    if is_remote(path):
        _expect_readable_uri(path)
        stores, place = Stores(path), location_of(path)
        store, name = stores.of(place)
        store.expect_reachable(name)
        try:
            data = store.read(name)
        except FileNotFoundError as error:
            raise JobError(f"{place}: expected a manifest, there is no such file") from error
    is_parquet = place.lower().endswith(".parquet")
    return clips_from_rows(
        read_parquet_manifest(place, data) if is_parquet else read_csv_manifest(place, data),
        numbered_by="row" if is_parquet else "line",
        base=os.path.dirname(place),
        source=place,
        allow_outside=allow_outside,
        on_progress=on_progress,
        remote=RemotePlaces(stores),
    )


def _expect_readable_uri(uri: str) -> None:
    if "#" in uri:
        raise JobError(
            f"{location_of(uri)}: a # ends the path of a URI: write %23 where it is part of a name"
        )
