"""Whether a data set is what it says it is: every planned clip, row and page; returns what is not."""

import re
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.annotations import read_about, read_annotations
from storage.dataset import Dataset
from storage.files import is_temporary
from storage.plan import Plan
from storage.schema import FAILURE_SCHEMA
from storage.shards import committed_failures, failures_name
from storage.verified import Problem, Verified
from storage.verify_clips import OF_CLIP, Accounts
from storage.verify_input import InputClips
from storage.verify_row import Rules, check_row
from storage.verify_shard import (
    DAMAGED,
    Shapes,
    bounds_findings,
    has_checksum,
    open_shard,
    schema_findings,
    shapes_of,
)

_SHARD = re.compile(r"clips/split=([^/]+)/shard-(\d{6,})\.parquet")


def verify(
    dataset: Dataset,
    inputs: InputClips | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_shard: Callable[[], None] = lambda: None,
) -> Verified:
    """Looks at every byte of a data set's clips; memory holds one row group at a time, and the plan.

    Args:
        dataset: Which.
        inputs: The clips as they are found in the input now; None to leave the input alone.
        on_start: Called with the number of shards.
        on_shard: Called after each.

    Raises:
        JobError: If there is nothing to verify, or the input is another one altogether.
    """
    return _Verification(dataset, inputs, on_start, on_shard).run()


class _Verification:
    def __init__(
        self,
        dataset: Dataset,
        inputs: InputClips | None,
        on_start: Callable[[int], None],
        on_shard: Callable[[], None],
    ) -> None:
        self._dataset, self._inputs = dataset, inputs
        self._on_start, self._on_shard = on_start, on_shard
        self._result = Verified(dataset.store.location)
        self._found = self._result.found
        self._config = dataset.config()
        self._accounts = Accounts(self._plan(), self._result)
        self._unread: set[int] = set()
        self._shapes: tuple[str, Shapes] | None = None

    def run(self) -> Verified:
        shards = self._shards()
        if not shards:
            planned = f" of {self._result.planned:,} planned clips" if self._result.planned else ""
            raise JobError(
                f"{self._dataset.store.location}: no shard stands{planned}, so there is nothing to verify: "
                "let `landmarks extract` finish first"
            )
        if self._inputs is not None:
            self._accounts.expect_its_input(self._inputs)
        self._on_start(len(shards))
        rules = self._rules()
        for name, (split, shard) in shards.items():
            self._check_shard(name, split, shard, rules)
            self._on_shard()
        self._accounts.close({shard for _, shard in shards.values()}, self._unread)
        self._read_annotations()
        if self._inputs is not None:
            self._accounts.compare_inputs(self._inputs)
        if not self._result.frames and self._result.is_good:
            raise JobError(
                f"{self._dataset.store.location}: {self._result.failed:,} clips failed and none is done, so "
                "there is nothing to verify"
            )
        return self._result

    def _shards(self) -> dict[str, tuple[str, int]]:
        """Name of each shard, by number, with its split and number."""
        by_number: dict[int, str] = {}
        found = {}
        for name in sorted(self._dataset.store.names("clips"), key=lambda name: name.rpartition("/")[2]):
            match = _SHARD.fullmatch(name)
            if not match:
                if not is_temporary(name):
                    self._found(
                        "stray-file", name, "expected only clips/split=<split>/shard-<number>.parquet"
                    )
                continue
            if other := by_number.get(int(match[2])):
                self._found("duplicate", name, f"has the number of {other}: one shard stands twice")
            by_number.setdefault(int(match[2]), name)
            found[name] = (match[1], int(match[2]))
        return found

    def _rules(self) -> Rules:
        if int(str(self._config["schema_version"])) < 1:
            self._found("schema", "dataset.json", f"schema_version is {self._config['schema_version']}")
        imported = self._config.get("imported")
        points = imported.get("points") if isinstance(imported, dict) else None
        points = points if isinstance(points, dict) else {}
        known = {part: tuple(rows) for part, rows in points.items() if isinstance(rows, list)}
        options = self._config["options"]
        mask = str(options.get("mask", "category")) if isinstance(options, dict) else ""
        return Rules(str(self._config.get("options_hash")), known, imported is not None, mask)

    def _plan(self) -> Plan:
        try:
            return self._dataset.plan()
        except JobError as error:
            self._found("plan", "plan.parquet", str(error))
            return Plan()

    def _read_annotations(self) -> None:
        try:
            read_about(self._dataset.store)
            read_annotations(self._dataset.store)
        except JobError as error:
            self._found("damaged", "annotations.parquet", str(error))

    # One shard.

    def _check_shard(self, name: str, split: str, shard: int, rules: Rules) -> None:
        self._result.shards += 1
        try:
            with self._dataset.store.open(name) as source:
                file = open_shard(source)
                schema = file.schema_arrow
                self._shapes = self._shapes or (name, shapes_of(schema))
                for kind, text in schema_findings(schema, self._shapes):
                    self._found(kind, name, text)
                self._read_failures(name, shard, file.metadata.metadata)
                rows, are_checked = 0, True
                for index in range(file.num_row_groups):
                    group = file.metadata.row_group(index)
                    are_checked &= has_checksum(source, group)
                    table = file.read_row_group(index)
                    table.validate(full=True)
                    rows += table.num_rows
                    for kind, text in bounds_findings(file, index, table):
                        self._found(kind, name, text)
                    for position in range(table.num_rows):
                        self._check_row(name, split, shard, table.slice(position, 1), rules)
                self._result.without_checksums += not are_checked
                if rows != file.metadata.num_rows:
                    self._found("damaged", name, f"{rows} rows, its footer says {file.metadata.num_rows}")
        except DAMAGED as error:
            self._unread.add(shard)
            reason = " ".join(str(error).split()) or type(error).__name__
            self._found("damaged", name, f"expected a whole shard, cannot read it: {reason}")

    def _read_failures(self, name: str, shard: int, metadata: Mapping[bytes, bytes] | None) -> None:
        beside = FAILURE_SCHEMA.empty_table()
        file = failures_name(shard)
        stands = self._dataset.store.exists(file)
        if stands:
            try:
                beside = self._dataset.store.load(file, pq.read_table).select(FAILURE_SCHEMA.names)
                beside = beside.cast(FAILURE_SCHEMA)
            except DAMAGED as error:
                self._found("damaged", file, f"expected failures, cannot read them: {error}")
        failed = committed_failures(metadata, beside)["clip_id"].to_pylist()
        if failed and not stands:
            self._found(
                "failures",
                file,
                f"is gone, although {name} says that {len(failed)} clips failed: {failed[0]}",
            )
        self._accounts.add_failed(name, shard, failed)

    def _check_row(self, name: str, split: str, shard: int, row: pa.Table, rules: Rules) -> None:
        names = row.schema.names
        of_clip = {column: row[column][0].as_py() if column in names else None for column in OF_CLIP}
        clip_id = str(of_clip["clip_id"])
        self._result.frames += of_clip["num_frames"] or 0
        if "mask_png" in names and row["mask_png"][0].is_valid:
            masks = row["mask_png"][0].values
            self._result.masks += len(masks) - masks.null_count
        for kind, text in check_row(row, rules):
            self._found(kind, clip_id, f"{text} ({name})")
        self._accounts.add_row(name, split, shard, of_clip)


__all__ = ["Problem", "Verified", "verify"]
