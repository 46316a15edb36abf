"""Filling a cache of decoded landmarks before the first epoch, and clearing out what is outdated in it."""

import contextlib
import os
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from storage.clip_index import ClipIndex, read_index
from storage.dataset import Dataset
from storage.decoded_cache import CachedReader, stem
from storage.layout import Choice, point_layout
from storage.local import is_temporary

_OURS = re.compile(r"(shard-\d+\.[0-9a-f]+)\.(?:.+\.npy|lock)")
_OWNER = re.compile(r"\.(?P<host>[^/]+)-(?P<process>\d+)-[0-9a-f]{8}\.tmp$")


@dataclass(frozen=True, slots=True)
class Filled:
    """What :func:`fill_cache` did.

    Attributes:
        folder: Where the decoded files of this data set lie.
        shards: With clips of the splits asked for.
        frames: In all of these shards.
        num_bytes: That the parts asked for take.
        new_bytes: Of these, decoded now.
        bytes_a_frame: Of these parts.
        deleted: Files of shards that were written anew since, and of processes that died.
    """

    folder: str
    shards: int
    frames: int
    num_bytes: int
    new_bytes: int
    bytes_a_frame: float
    deleted: int


def fill_cache(
    location: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    points: Choice = "pose+hands",
    splits: Sequence[str] = (),
    threads: int = 0,
    on_start: Callable[[int], None] = lambda _: None,
    on_shard: Callable[[], None] = lambda: None,
) -> Filled:
    """Decodes what a cache lacks, several shards at a time.

    Not while another process still reads the data set as it was before it was written anew: outdated files
    are deleted.

    Args:
        location: OUT of ``landmarks extract``: a folder, or a URI.
        cache: As for :class:`storage.torch.LandmarkDataset`.
        points: Which parts; of a part of which some points are chosen, all are kept.
        splits: Only these; all where empty.
        threads: Shards at a time; as many as there are cores if 0.
        on_start: Called with the number of shards.
        on_shard: Called after each.

    Raises:
        JobError: If something cannot be read, or the cache not be written.
    """
    dataset = Dataset.open(os.fspath(location))
    whole = read_index(dataset, with_fingerprints=True)
    index = read_index(dataset, splits, with_fingerprints=True) if splits else whole
    layout = point_layout(points, index.num_points)
    reader = CachedReader(os.fspath(location), layout, index, os.fspath(cache))
    deleted = _clear(reader.folder, whole)
    reader.expect_room()
    on_start(len(reader.shards))
    new_bytes = 0
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for num_bytes in pool.map(reader.fill, reader.shards):
            new_bytes += num_bytes
            on_shard()
    frames = sum(place.num_frames for place in index.places)
    total = sum(map(reader.num_bytes, reader.shards))
    return Filled(
        reader.folder, len(reader.shards), frames, total, new_bytes, round(total / max(frames, 1), 1), deleted
    )


def _clear(folder: str, index: ClipIndex) -> int:
    current = {stem(shard, its) for shard, its in index.fingerprints.items()}
    deleted = 0
    for name in os.listdir(folder):
        match = _OURS.fullmatch(name)
        if (match and match[1] not in current) or (is_temporary(name) and _is_of_the_dead(name)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
                deleted += 1
    return deleted


def _is_of_the_dead(name: str) -> bool:
    """Whether a temporary file's process ran on this machine and runs no more."""
    match = _OWNER.search(name)
    if not match or not match["host"].endswith(socket.gethostname()):
        return False
    try:
        os.kill(int(match["process"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False
