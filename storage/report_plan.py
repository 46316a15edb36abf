"""What became of the plan, counted without a record for each of its clips: there may be a million."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.errors import JobError
from storage.dataset import NO_SPLIT, Dataset
from storage.plan import UNKNOWN_VIDEO_FRAMES, Plan
from storage.summary import SplitProgress

_PLAN = "plan.parquet"
_COLUMNS = ("clip_id", "kind", "split", "num_frames", "shard")


@dataclass(frozen=True)
class _Shards(Plan):
    """A plan that knows its clips' shards only, which is all that finding failures asks for."""

    of: Mapping[str, int] = field(default_factory=dict)

    def shard_of(self) -> dict[str, int]:
        return dict(self.of)


def count_plan(dataset: Dataset) -> tuple[tuple[SplitProgress, ...], pa.Table]:
    """Counts clips done, failed and to do by split.

    Args:
        dataset: Whose.

    Returns:
        The counts, and the failures in their schema.

    Raises:
        JobError: If the plan is damaged, or missing although shards stand.
    """
    table = _plan(dataset)
    if table is None:
        dataset.plan()  # says what is wrong where shards stand without it
        return (), dataset.failures(Plan())
    ids = zip(table["clip_id"].to_pylist(), table["shard"].to_pylist(), strict=True)
    failures = dataset.failures(_Shards(of=dict(ids)))
    failed: Counter[str | None] = Counter(failures["split"].to_pylist())
    waiting = pc.invert(pc.is_in(table["shard"], pa.array(list(dataset.done()), pa.int32())))
    # As storage.plan.weight has it.
    unknown = pc.if_else(pc.equal(table["kind"], "video"), UNKNOWN_VIDEO_FRAMES, 1)
    weights = pc.if_else(pc.greater(table["num_frames"], 0), table["num_frames"], unknown)
    zero = pa.scalar(0, pa.int64())
    counted = pa.table(
        {
            "split": table["split"],
            "frames": weights,
            "to_do": waiting.cast(pa.int64()),
            "frames_to_do": pc.if_else(waiting, weights, zero),
        }
    )
    groups = counted.group_by("split").aggregate(
        [("frames", "count"), ("frames", "sum"), ("to_do", "sum"), ("frames_to_do", "sum")]
    )
    splits = []
    for row in groups.to_pylist():
        number, left, lost = row["frames_count"], row["to_do_sum"], failed[row["split"]]
        splits.append(
            SplitProgress(
                split=row["split"] or NO_SPLIT,
                clips=number,
                done=number - left - lost,
                failed=lost,
                to_do=left,
                frames=row["frames_sum"],
                frames_to_do=row["frames_to_do_sum"],
            )
        )
    return tuple(sorted(splits, key=lambda split: split.split)), failures


def _plan(dataset: Dataset) -> pa.Table | None:
    try:
        return dataset.store.load(_PLAN, lambda file: pq.read_table(file, columns=list(_COLUMNS)))
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise JobError(
            f"{dataset.store.full(_PLAN)}: expected the plan of this data set, cannot read it: {error}: put "
            "back a good copy, or use --overwrite to delete the data set and start anew"
        ) from error
