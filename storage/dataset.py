"""The data set folder: its configuration, plan, finished shards and failures.

::

    OUT/dataset.json                          options, versions, layout
    OUT/plan.parquet                          clip -> shard
    OUT/clips/split=train/shard-000123.parquet
    OUT/failures/shard-000123.parquet         where that shard has any
    OUT/annotations.parquet                   of a data set that is known by name
    OUT/logs/<host>-<process>.log             what native code wrote
    OUT/_running/                             only while a job runs
    OUT/_partial/                             clips of shards at work; what a kill leaves of them
"""

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from extraction.clips import Clip
from extraction.errors import JobError
from storage.files import Store, is_temporary
from storage.partial import sweep_partial
from storage.plan import Plan, expect_sound, to_clips
from storage.retry import Patience
from storage.running import FOLDER
from storage.schema import (
    FAILURE_SCHEMA,
    PLAN_SCHEMA,
    SCHEMA_VERSION,
    clip_schema,
    expect_plain,
    schema_with_later_columns,
    with_later_columns,
)
from storage.shards import NO_SPLIT, committed_failures, failures_name

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_CONFIG = "dataset.json"
_PLAN = "plan.parquet"
ANNOTATION_TABLE = "annotations.parquet"
_SHARD = re.compile(r"clips/split=[^/]+/shard-(\d{6,})\.parquet")
_FAILURES = re.compile(r"failures/shard-(\d{6,})\.parquet")
_PLAN_ROWS_PER_GROUP = 4096
_FAILURES_AT_ONCE = 16
"""Two requests each on an object store, where they are waits and nothing else."""
LOGS = "logs"
_LOG = re.compile(r"logs/[^/]+\.log(\.1)?")
_LOGS_KEPT = 200
_OPTIONS_ADDED_LATER: dict[str, object] = {"precision": "float32"}
"""What data sets were made with that do not say so."""


class Dataset:
    """One data set on disk.

    Args:
        location: The folder, or a URI that pyarrow's file systems know.
        patience: How long to go on with a place that fails; see :class:`storage.files.Store`.

    Attributes:
        store: Its files.
    """

    def __init__(self, location: str, patience: Patience | None = None) -> None:
        self.store = Store(location, patience)

    @classmethod
    def open(cls, location: str) -> "Dataset":
        """Opens a data set that is there.

        Raises:
            JobError: If there is none, or it was written by a later version of this project.
        """
        dataset = cls(location)
        if not dataset.exists():
            raise JobError(
                f"{dataset.store.location}: expected a landmark data set, found no {_CONFIG} in it; "
                "give the OUT folder of `landmarks extract`"
            )
        dataset.config()
        return dataset

    def exists(self) -> bool:
        """Whether a data set has been started here."""
        return self.store.exists(_CONFIG)

    def config(self) -> dict[str, object]:
        """What ``dataset.json`` says.

        Raises:
            JobError: If it cannot be read as such, or its schema is newer than this code.
        """
        try:
            config = json.loads(self.store.read(_CONFIG))
            version = int(config["schema_version"])
            if not isinstance(config["options"], dict):
                raise TypeError(f"expected options, found {config['options']!r}")
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise JobError(
                f"{self.store.full(_CONFIG)}: damaged: {error}; extract into a new folder"
            ) from error
        if version > SCHEMA_VERSION:
            raise JobError(
                f"{self.store.full(_CONFIG)}: schema version {version} is newer than {SCHEMA_VERSION}, "
                "the newest this version of ray-landmarks knows: update it"
            )
        return dict(config)

    def expect_empty(self) -> None:
        """Makes sure that a new data set would not lie among other files.

        Raises:
            JobError: If the folder holds something else, or is none.
        """
        if self.store.is_local and self.store.is_file(""):
            raise JobError(
                f"{self.store.location}: expected a folder for the data set, found a file: choose another OUT"
            )
        # Not even a folder named clips is ours before dataset.json stands, and delete() would empty it.
        foreign = sorted(name for name in self.store.entries() if name != FOLDER and not is_temporary(name))
        if foreign:
            raise JobError(
                f"{self.store.location}: expected an empty or new folder, found {foreign[0]!r}"
                f"{f' and {len(foreign) - 1} more' if len(foreign) > 1 else ''}: choose another OUT"
            )

    def create(self, options: Mapping[str, object], options_hash: str, about: Mapping[str, object]) -> None:
        """Starts a data set.

        Args:
            options: Every option that can change results.
            options_hash: Their digest, as it stands in each row.
            about: What else to say: versions, source.

        Raises:
            JobError: If the folder cannot be written.
        """
        config = {
            "schema_version": SCHEMA_VERSION,
            "layout": "clips/split=<split>/shard-<number>.parquet, one row a clip",
            "options": dict(options),
            "options_hash": options_hash,
            **about,
        }
        self.store.write(_CONFIG, json.dumps(config, indent=2).encode() + b"\n")

    def check_options(self, options: Mapping[str, object]) -> None:
        """Refuses options that would put different landmarks beside those that are there.

        Raises:
            JobError: Naming each option that differs.
        """
        there = self.config()["options"]
        assert isinstance(there, dict)
        there, options = _OPTIONS_ADDED_LATER | there, _OPTIONS_ADDED_LATER | dict(options)
        differing = [
            f"{name}: there {there.get(name)!r}, now {options.get(name)!r}"
            for name in sorted(there.keys() | options.keys())
            if there.get(name) != options.get(name)
        ]
        if differing:
            raise JobError(
                f"{self.store.location}: was made with other options ({'; '.join(differing)}): give the same "
                "options, choose another OUT, or use --overwrite to delete it and start anew"
            )

    def delete(self) -> None:
        """Deletes the data set, nothing else in its folder, the mark that it is one last."""
        for folder, pattern in (("clips", _SHARD), ("failures", _FAILURES), (LOGS, _LOG)):
            names = list(self.store.names(folder))
            ours = [name for name in names if pattern.fullmatch(name) or is_temporary(name)]
            if len(ours) == len(names):
                self.store.delete_folder(folder)
                continue
            for name in ours:
                self.store.delete(name)
        sweep_partial(self.store, ())
        self.store.delete(ANNOTATION_TABLE)
        self.store.delete(_PLAN)
        self.store.delete(_CONFIG)

    def sweep_logs(self) -> None:
        """Deletes all but the newest logs: each run of each worker leaves one."""
        names = [name for name in self.store.names(LOGS) if _LOG.fullmatch(name)]
        if len(names) > _LOGS_KEPT:
            for name in sorted(names, key=self.store.modified)[:-_LOGS_KEPT]:
                self.store.delete(name)

    def plan(self, only: pc.Expression | None = None) -> Plan:
        """The plan; empty where none has been made.

        Args:
            only: Which of its rows; all where None.

        Raises:
            JobError: If it is damaged, or missing although shards stand: without it every clip would be
                extracted once more.
        """
        if not self.store.exists(_PLAN):
            if self.done():
                raise JobError(
                    f"{self.store.full(_PLAN)}: missing, although shards stand: put it back, or use "
                    "--overwrite to delete the data set and start anew"
                )
            return Plan()
        return Plan.of(self._read_plan(filters=only))

    def write_plan(self, plan: Plan) -> None:
        """Writes the plan, whole or not at all."""
        with self.store.create(_PLAN) as file:
            pq.write_table(plan.table, file, compression="zstd", row_group_size=_PLAN_ROWS_PER_GROUP)

    def planned_clips(self, shard: int) -> list[Clip]:
        """The clips of one shard, read without the rest of a long plan."""
        return to_clips(self._read_plan(filters=[("shard", "==", shard)]))

    def _read_plan(self, **options: object) -> pa.Table:
        """What the plan says, if it can have been written here."""
        table = self._read_table(_PLAN, PLAN_SCHEMA, **options)
        try:
            expect_sound(table)
        except (ValueError, TypeError) as error:
            raise self._damaged(_PLAN, error) from error
        return table

    def _read_table(self, name: str, schema: pa.Schema | None = None, **options: object) -> pa.Table:
        try:
            table = self.store.load(name, lambda file: pq.read_table(file, **options))
            expect_plain(table.schema)
            if schema is not None:
                table = with_later_columns(table, schema).select(schema.names).cast(schema)
            table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
            raise self._damaged(name, error) from error
        return table

    def _damaged(self, name: str, why: object) -> JobError:
        return JobError(
            f"{self.store.full(name)}: expected a Parquet file of this data set, cannot read it: {why}: put "
            "back a good copy, or use --overwrite to delete the data set and start anew"
        )

    def done(self) -> dict[int, str]:
        """Shards that stand, with their file names."""
        return {
            int(match[1]): match[0] for name in self.store.names("clips") if (match := _SHARD.fullmatch(name))
        }

    def failures(self, plan: Plan | None = None) -> pa.Table:
        """Clips that failed and have not been tried again since, in the schema of failures."""
        planned = (plan or self.plan()).table
        done = self.done()
        there = {int(m[1]) for name in self.store.names("failures") if (m := _FAILURES.fullmatch(name))}
        # Without its shard, a file is of an attempt that was killed.
        shards = sorted(there & done.keys())
        with ThreadPoolExecutor(_FAILURES_AT_ONCE) as readers:
            tables = list(readers.map(lambda shard: self._failures_of(shard, done[shard]), shards))
        found = pa.concat_tables([FAILURE_SCHEMA.empty_table(), *tables])
        # A clip that is planned elsewhere by now was tried again.
        place = pc.index_in(found["clip_id"], planned["clip_id"])
        own = pa.array(np.repeat(np.array(shards, np.int32), [table.num_rows for table in tables]))
        return found.filter(pc.equal(planned["shard"].take(place), own))

    def _failures_of(self, shard: int, clips_name: str) -> pa.Table:
        return self._committed(clips_name, self._read_table(failures_name(shard), FAILURE_SCHEMA))

    def clips(self, splits: Sequence[str] = ()) -> "pads.Dataset":
        """All clips that are done, as a pyarrow data set with the column ``split`` added from the folders.

        Args:
            splits: Only these; all where empty.

        Raises:
            JobError: If a split that was asked for has no clip.
        """
        import pyarrow.dataset as pads  # here: it loads pandas, which takes half a second

        names = self.done().values()
        there = {name.split("/")[1].removeprefix("split=") for name in names}
        if missing := sorted(set(splits) - there):
            raise JobError(
                f"{self.store.location}: no clip of split {', '.join(missing)}: "
                f"it has {', '.join(sorted(there)) or 'none'}"
            )
        paths = sorted(
            name for name in names if not splits or name.split("/")[1].removeprefix("split=") in splits
        )
        schema = schema_with_later_columns(self._read_schema(paths[0]) if paths else clip_schema({}))
        schema = schema.append(pa.field("split", pa.string()))
        filesystem = fs.SubTreeFileSystem(self.store.root, self.store.filesystem)
        return pads.dataset(
            paths,
            schema=schema,
            format="parquet",
            filesystem=filesystem,
            partition_base_dir="clips",
            partitioning=pads.partitioning(pa.schema([("split", pa.string())]), flavor="hive"),
        )

    def _read_schema(self, name: str) -> pa.Schema:
        try:
            schema = self.store.load(name, pq.read_schema)
            expect_plain(schema)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise self._damaged(name, error) from error
        return schema

    def _committed(self, shard: str, beside: pa.Table) -> pa.Table:
        """Failures of the attempt that made a shard, which need not be the one that wrote those beside it."""
        try:
            return committed_failures(
                self.store.load(shard, lambda file: pq.read_metadata(file).metadata), beside
            )
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
            raise self._damaged(shard, error) from error

    def read_clip(self, clip_id: str) -> pa.Table:
        """The rows of one clip, in order of their frames.

        Raises:
            JobError: If it is not there, saying what became of it.
        """
        shard = self.plan(pc.field("clip_id") == clip_id).shard_of().get(clip_id)
        name = self.done().get(-1 if shard is None else shard)
        if shard is None:
            raise JobError(f"{clip_id!r}: no such clip was planned in {self.store.location}")
        if name is None:
            raise JobError(f"{clip_id!r}: not done yet; run the same extract command again to go on")
        table = self._read_table(name, filters=pc.field("clip_id") == clip_id)
        if not table.num_rows:
            failures = []
            if self.store.exists(failures_name(shard)):
                failures = [f for f in self._failures_of(shard, name).to_pylist() if f["clip_id"] == clip_id]
            why = failures[0]["error"] if failures else "its shard has no row for it"
            raise JobError(f"{clip_id!r}: failed: {why}")
        return table.sort_by("first_frame")


__all__ = ["NO_SPLIT", "Dataset"]
