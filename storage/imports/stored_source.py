"""A data set of ours as a source: its clips in the order of their shards, each found by its row groups."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.imports.source import VISIBILITY, About, SourceClip
from storage.rows import decode
from storage.schema import expect_plain, has_masks, part_shapes
from storage.shards import NO_SPLIT, damaged_shard
from storage.stored import StoredClip, joined, shards_of

_INDEX = ["clip_id", "uri", "num_frames", "first_frame"]


class StoredSource:
    """A data set, its clips read by id while memory holds one row group.

    Args:
        dataset: Whose clips.

    Raises:
        JobError: If no clip is done.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        names = shards_of(dataset)
        if not names:
            raise JobError(
                f"{dataset.store.location}: no clip is done yet: let `landmarks extract` finish first"
            )
        self._rows: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
        self._clips: dict[tuple[str, str], SourceClip] = {}
        self._shapes: dict[str, tuple[int, int]] = {}
        self._has_masks = False
        for name in names:
            self._index(name)
        is_imported = "imported" in dataset.config()
        points = self._points()
        location, masks = dataset.store.location, self._masks()
        self.about = About("Parquet", location, points, has_status=not is_imported, masks=masks)
        self._group: tuple[str, int, pa.Table] | None = None
        self._file: tuple[str, pq.ParquetFile] | None = None

    def clips(self) -> Sequence[SourceClip]:
        """One a clip, in the order of the shards."""
        return list(self._clips.values())

    def read(self, clip: SourceClip) -> StoredClip:
        """All rows of a clip as one."""
        rows = [self._row(*where) for where in self._rows[clip.split_name, clip.clip_id]]
        try:
            pieces = sorted((decode(row) for row in rows), key=lambda piece: piece.first_frame)
            return StoredClip(clip.clip_id, clip.split, joined(pieces), {"uri": clip.uri})
        except (pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as error:
            raise JobError(
                f"{self._dataset.store.location}: {clip.clip_id!r}: its rows do not make a clip: {error}: "
                "`landmarks verify` on this data set alone says more"
            ) from error

    def _index(self, name: str) -> None:
        try:
            self._index_file(name, self._open(name))
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
            raise damaged_shard(self._dataset.store, name, error) from error

    def _index_file(self, name: str, file: pq.ParquetFile) -> None:
        split = name.split("/")[1].removeprefix("split=")
        expect_plain(file.schema_arrow)
        self._shapes |= part_shapes(file.schema_arrow)
        self._has_masks |= has_masks(file.schema_arrow)
        for group in range(file.num_row_groups):
            for row, of_row in enumerate(file.read_row_group(group, columns=_INDEX).to_pylist()):
                key = (split, of_row["clip_id"])
                self._rows.setdefault(key, []).append((name, group, row))
                before = self._clips.get(key)
                frames = of_row["num_frames"] + (before.num_frames if before else 0)
                own = None if split == NO_SPLIT else split
                self._clips[key] = SourceClip(of_row["clip_id"], own, frames, of_row["uri"])

    def _points(self) -> dict[str, tuple[int, ...]]:
        points = {part: tuple(range(count)) for part, (count, _) in self._shapes.items()}
        if "pose" in points:
            points[VISIBILITY] = tuple(range(33))
        imported = self._dataset.config().get("imported")
        known = imported.get("points") if isinstance(imported, dict) else None
        known = known if isinstance(known, dict) else {}
        for part, rows in known.items():
            if (
                part in points
                and isinstance(rows, list)
                and all(isinstance(row, int) and row in points[part] for row in rows)
            ):
                points[part] = tuple(rows)
        if known and VISIBILITY not in known:
            points.pop(VISIBILITY, None)
        return points

    def _masks(self) -> str:
        options = self._dataset.config()["options"]
        assert isinstance(options, dict)
        is_confidence = options.get("mask") == "confidence"
        return ("confidence" if is_confidence else "category") if self._has_masks else ""

    def _row(self, name: str, group: int, row: int) -> pa.Table:
        if self._group is None or self._group[:2] != (name, group):
            table = self._loaded(name, group)
            self._group = (name, group, table)
        return self._group[2].slice(row, 1)

    def _loaded(self, name: str, group: int) -> pa.Table:
        try:
            if self._file is None or self._file[0] != name:
                self._file = (name, self._open(name))
            return self._file[1].read_row_group(group)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged_shard(self._dataset.store, name, error) from error

    def _open(self, name: str) -> pq.ParquetFile:
        try:
            file = self._dataset.store.open(name)
            return pq.ParquetFile(file, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged_shard(self._dataset.store, name, error) from error
