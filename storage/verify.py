"""Whether a data set is what it says it is: every planned clip, row and page; returns what is not."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.clips import Clip
from extraction.errors import JobError
from storage.dataset import Dataset, expect_plain
from storage.files import is_temporary
from storage.schema import (
    FAILURE_SCHEMA,
    LATER_COLUMNS,
    SCHEMA_VERSION,
    clip_schema,
    has_masks,
    part_shapes,
)
from storage.shards import NO_SPLIT, committed_failures, failures_name
from storage.verify_row import Rules, check_row

_SHARD = re.compile(r"clips/split=([^/]+)/shard-(\d{6,})\.parquet")
_KEPT = 1000
"""Problems that are told one by one; beyond them only counted."""
_VERSION_KEY = b"ray_landmarks.schema_version"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        kind: A short stable word for counting.
        where: The clip or file.
        text: What was expected and what was found.
    """

    kind: str
    where: str
    text: str


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found wrong.

    Attributes:
        location: The data set's.
        planned: Clips in the plan.
        done: Clips with rows.
        failed: Clips whose failure is recorded.
        to_do: Clips whose shard does not stand.
        frames: Frame positions that were looked at.
        shards: Files that were looked at.
        without_checksums: Of these, files whose pages carry none: a flipped bit may look like a number.
        inputs: Clips that were compared with their input; None where no input was given.
        new_inputs: Clips of the input that were never planned; they are no problem.
        reextracted: Clips that were extracted again; None where that was not asked for.
        problems: The first of them.
        counts: All of them, by kind.
    """

    location: str
    planned: int = 0
    done: int = 0
    failed: int = 0
    to_do: int = 0
    frames: int = 0
    shards: int = 0
    without_checksums: int = 0
    inputs: int | None = None
    new_inputs: int = 0
    reextracted: int | None = None
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts

    def found(self, kind: str, where: str, text: str) -> None:
        """Notes a problem."""
        self.counts[kind] += 1
        if len(self.problems) < _KEPT:
            self.problems.append(Problem(kind, where, text))


def verify(
    dataset: Dataset,
    inputs: Mapping[str, Clip] | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_shard: Callable[[], None] = lambda: None,
) -> Verified:
    """Looks at every byte of a data set's clips; memory holds one row group at a time, and the plan.

    Args:
        dataset: Which.
        inputs: Clip id to the clip as it is found in the input now; None to leave the input alone.
        on_start: Called with the number of shards.
        on_shard: Called after each.

    Raises:
        JobError: If there is nothing to verify.
    """
    return _Verification(dataset, inputs, on_start, on_shard).run()


@dataclass(slots=True)
class _Seen:
    """What is known of a clip after its rows so far."""

    shard: str
    next_frame: int
    row: dict[str, Any]


_OF_CLIP = ("clip_id", "uri", "num_frames", "first_frame", "input_fingerprint", *LATER_COLUMNS[1:])


class _Verification:
    def __init__(
        self,
        dataset: Dataset,
        inputs: Mapping[str, Clip] | None,
        on_start: Callable[[int], None],
        on_shard: Callable[[], None],
    ) -> None:
        self._dataset, self._inputs = dataset, inputs
        self._on_start, self._on_shard = on_start, on_shard
        self._result = Verified(dataset.store.location)
        self._found = self._result.found
        self._config = dataset.config()
        self._planned: dict[str, tuple[int, Clip]] = {}
        self._seen: dict[str, _Seen] = {}
        self._failed: dict[str, int] = {}
        self._unread: set[int] = set()
        self._shapes: tuple[str, dict[str, tuple[int, int]]] | None = None

    def run(self) -> Verified:
        shards = self._shards()
        self._read_plan()
        if not shards:
            planned = f" of {len(self._planned):,} planned clips" if self._planned else ""
            raise JobError(
                f"{self._dataset.store.location}: no shard stands{planned}, so there is nothing to verify: "
                "let `landmarks extract` finish first"
            )
        self._on_start(len(shards))
        rules = self._rules()
        for name, (split, shard) in shards.items():
            self._check_shard(name, split, shard, rules)
            self._on_shard()
        self._account({shard for _, shard in shards.values()})
        if self._inputs is not None:
            self._compare_inputs(self._inputs)
        self._result.done = len(self._seen)
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
        known = {part: tuple(rows) for part, rows in (points or {}).items()}
        return Rules(str(self._config.get("options_hash")), known, imported is not None)

    def _read_plan(self) -> None:
        try:
            plan = self._dataset.plan()
        except JobError as error:
            self._found("plan", "plan.parquet", str(error))
            return
        pairs = zip(plan.clips, plan.shards, strict=True)
        self._planned = {clip.clip_id: (shard, clip) for clip, shard in pairs}
        self._result.planned = len(self._planned)

    # One shard.

    def _check_shard(self, name: str, split: str, shard: int, rules: Rules) -> None:
        self._result.shards += 1
        try:
            with self._dataset.store.open(name) as source:
                file = pq.ParquetFile(source, page_checksum_verification=True)
                expect_plain(file.schema_arrow)
                self._check_schema(name, file.schema_arrow)
                self._read_failures(name, shard, file.metadata.metadata)
                rows, has_checksums = 0, True
                for group in range(file.num_row_groups):
                    has_checksums &= _has_checksum(source, file.metadata.row_group(group))
                    table = file.read_row_group(group)
                    table.validate(full=True)
                    rows += table.num_rows
                    self._check_statistics(name, file.metadata.row_group(group), table)
                    for index in range(table.num_rows):
                        self._check_row(name, split, shard, table.slice(index, 1), rules)
                self._result.without_checksums += not has_checksums
                if rows != file.metadata.num_rows:
                    self._found("damaged", name, f"{rows} rows, its footer says {file.metadata.num_rows}")
        except _DAMAGED as error:
            self._unread.add(shard)
            reason = " ".join(str(error).split()) or type(error).__name__
            self._found("damaged", name, f"expected a whole shard, cannot read it: {reason}")

    def _check_schema(self, name: str, schema: pa.Schema) -> None:
        shapes = part_shapes(schema)
        if self._shapes is None:
            self._shapes = name, shapes
        elif self._shapes[1] != shapes:
            self._found(
                "schema",
                name,
                f"its parts are {_told(shapes)}, those of {self._shapes[0]} {_told(self._shapes[1])}",
            )
        version = int((schema.metadata or {}).get(_VERSION_KEY, b"0"))
        if not 1 <= version <= SCHEMA_VERSION:
            self._found("schema", name, f"schema version {version}, expected 1 to {SCHEMA_VERSION}")
        expected = clip_schema({part: count for part, (count, _) in shapes.items()}, has_masks(schema))
        there = {column.name: _bare(column.type) for column in schema}
        for column in expected:
            since = column.name in LATER_COLUMNS or (version < 2 and column.name == "retry_reasons")
            if there.get(column.name) != _bare(column.type) and not (since and column.name not in there):
                raise ValueError(
                    f"column {column.name}: expected {_bare(column.type)}, found {there.get(column.name)}"
                )

    def _check_statistics(self, name: str, group: Any, table: pa.Table) -> None:
        """Readers skip a row group by the bounds in the footer, which no checksum covers."""
        for index in range(group.num_columns):
            column = group.column(index)
            statistics = column.statistics
            if "." in column.path_in_schema or statistics is None or not statistics.has_min_max:
                continue
            actual = pc.min_max(table[column.path_in_schema]).as_py()
            if actual["min"] is None or actual["min"] != actual["min"]:
                continue
            try:
                is_bound = statistics.min <= actual["min"] and actual["max"] <= statistics.max
            except (TypeError, UnicodeError):
                is_bound = False
            if not is_bound:
                self._found(
                    "damaged",
                    name,
                    f"the bounds of {column.path_in_schema} in its footer leave out its values",
                )

    def _read_failures(self, name: str, shard: int, metadata: Mapping[bytes, bytes] | None) -> None:
        beside = FAILURE_SCHEMA.empty_table()
        file = failures_name(shard)
        stands = self._dataset.store.exists(file)
        if stands:
            try:
                beside = self._dataset.store.load(file, pq.read_table).select(FAILURE_SCHEMA.names)
                beside = beside.cast(FAILURE_SCHEMA)
            except _DAMAGED as error:
                self._found("damaged", file, f"expected failures, cannot read them: {error}")
        failed = committed_failures(metadata, beside)["clip_id"].to_pylist()
        if failed and not stands:
            self._found(
                "failures",
                file,
                f"is gone, although {name} says that {len(failed)} clips failed: {failed[0]}",
            )
        for clip_id in failed:
            planned = self._shard_of(clip_id)
            if planned == shard:
                self._failed[clip_id] = shard
            elif planned is None and self._planned:
                self._found("unplanned", clip_id, f"failed in {name}, but the plan has no such clip")

    def _shard_of(self, clip_id: str) -> int | None:
        return self._planned[clip_id][0] if clip_id in self._planned else None

    def _check_row(self, name: str, split: str, shard: int, row: pa.Table, rules: Rules) -> None:
        names = row.schema.names
        of_clip = {column: row[column][0].as_py() if column in names else None for column in _OF_CLIP}
        clip_id = str(of_clip["clip_id"])
        self._result.frames += of_clip["num_frames"] or 0
        for kind, text in check_row(row, rules):
            self._found(kind, clip_id, f"{text} ({name})")
        seen = self._seen.get(clip_id)
        if of_clip["first_frame"] == 0 and seen is not None:
            self._found("duplicate", clip_id, f"stands in {seen.shard} and again in {name}")
            return
        if seen is None:
            self._seen[clip_id] = seen = _Seen(name, 0, of_clip)
            self._check_place(clip_id, name, split, shard)
            if self._planned:
                self._check_plan(clip_id, of_clip)
        if seen.shard != name:
            self._found("duplicate", clip_id, f"has rows in {seen.shard} and in {name}")
        if of_clip["first_frame"] != seen.next_frame:
            self._found(
                "length",
                clip_id,
                f"a row begins at frame {of_clip['first_frame']}, expected {seen.next_frame} ({name})",
            )
        seen.next_frame = (of_clip["first_frame"] or 0) + (of_clip["num_frames"] or 0)

    def _check_place(self, clip_id: str, name: str, split: str, shard: int) -> None:
        if not self._planned:
            return
        if clip_id not in self._planned:
            self._found("unplanned", clip_id, f"stands in {name}, but the plan has no such clip")
            return
        planned, clip = self._planned[clip_id]
        if planned != shard:
            self._found("unplanned", clip_id, f"stands in {name}, but was planned for shard {planned}")
        if (clip.split or NO_SPLIT) != split:
            self._found("split", clip_id, f"stands in {name}, but its split is {clip.split or NO_SPLIT}")

    def _check_plan(self, clip_id: str, row: Mapping[str, Any]) -> None:
        if clip_id not in self._planned:
            return
        _, clip = self._planned[clip_id]
        span = {name: getattr(clip, name) for name in LATER_COLUMNS[1:]}
        expected = {"uri": clip.uri, **span}
        if clip.fingerprint and row["input_fingerprint"]:
            expected["input_fingerprint"] = clip.fingerprint
        for column, planned in expected.items():
            if row[column] != planned:
                self._found("plan", clip_id, f"{column} is {row[column]!r}, it was planned with {planned!r}")

    # All clips.

    def _account(self, standing: set[int]) -> None:
        """Every planned clip is done, failed, or waits in a shard that does not stand."""
        to_do: Counter[int] = Counter()
        for clip_id, (shard, clip) in self._planned.items():
            seen, failed = self._seen.get(clip_id), clip_id in self._failed
            if seen is not None and failed:
                self._found("duplicate", clip_id, "is done, and has failed as well")
            elif seen is not None:
                is_exact = clip.kind == "frames" and clip.num_frames and not clip.is_part
                if is_exact and seen.next_frame != clip.num_frames:
                    self._found(
                        "length", clip_id, f"{seen.next_frame} frames, it was planned with {clip.num_frames}"
                    )
            elif shard not in standing:
                to_do[shard] += 1
            elif not failed and shard not in self._unread:
                self._found("lost", clip_id, f"neither done nor failed, although shard {shard} stands")
        self._result.failed, self._result.to_do = len(self._failed), to_do.total()
        for shard, count in sorted(to_do.items()):
            self._found("to-do", f"shard {shard}", f"does not stand yet: {count} clips wait in it")

    def _compare_inputs(self, inputs: Mapping[str, Clip]) -> None:
        self._result.inputs = 0
        for clip_id, seen in self._seen.items():
            now = inputs.get(clip_id)
            if now is None:
                self._found("input", clip_id, "is no longer in the input")
                continue
            self._result.inputs += 1
            before = seen.row["input_fingerprint"]
            if now.kind == "frames" and not now.is_part and now.num_frames != seen.next_frame:
                self._found("input", clip_id, f"{seen.next_frame} frames, the input now has {now.num_frames}")
            elif before and now.fingerprint and before != now.fingerprint:
                self._found(
                    "input",
                    clip_id,
                    f"names, sizes or times of the input's files have changed since (fingerprint {before}, "
                    f"now {now.fingerprint})",
                )
        known = self._planned.keys() | self._seen.keys()
        self._result.new_inputs = sum(clip_id not in known for clip_id in inputs)


def _has_checksum(source: pa.NativeFile, group: Any) -> bool:
    """Whether the first page of a row group carries a checksum, which pyarrow does not tell.

    A page header in Thrift's compact protocol begins with three numbers: type, size, compressed size. Each
    is a byte 0x15 (the next field, an i32) and a varint; the fourth, if it is there, is the checksum.
    """
    column = group.column(0)
    source.seek(column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset)
    header, at = source.read(64), 0
    for _ in range(3):
        at += 1
        while header[at] & 0x80:
            at += 1
        at += 1
    return bool(header[at] == 0x15)


_DAMAGED = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError)


def _told(shapes: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{part} {count}" for part, (count, _) in shapes.items()) or "none"


def _bare(dtype: pa.DataType) -> str:
    """A type without what older versions said otherwise: whether an item may be null."""
    return f"list<{dtype.value_type}>" if pa.types.is_list(dtype) else str(dtype)
