"""A node on which detectors die while the same clips succeed elsewhere stops getting work.

A worker that loses its detector over several clips in a row tries a clip that another node has done. If that
fails here too, the fault is this node's: its workers keep the shard they have, and take no other, until the
rest of the job is done; what they kept is then made elsewhere.
"""

import json
import os
import time
from collections.abc import Callable

import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.clips import Clip
from extraction.errors import ClipError
from storage.dataset import Dataset
from storage.running import FOLDER, reports

_LOST_IN_A_ROW = 3
_WAIT_S = 60.0
_PAUSE_S = 2.0
_SHARDS_TRIED = 8


class BadNodeError(Exception):
    """This node gets no more work; the shard at hand is to be made elsewhere."""


class Circuit:
    """What the workers of one node know of it.

    Args:
        dataset: That they write to, where they tell one another.
        host: Name of the node, as it stands in its rows.
        others: Says whether the cluster has other nodes.
    """

    def __init__(self, dataset: Dataset, host: str, others: Callable[[], bool]) -> None:
        self._dataset, self._host, self._others = dataset, host, others
        self._mark = f"{FOLDER}/bad-node-{host}.json"
        self._in_a_row = 0

    def expect_closed(self) -> None:
        """Makes sure that no worker of this node has found it bad.

        Raises:
            BadNodeError: If one has.
        """
        if self._dataset.store.exists(self._mark):
            raise BadNodeError(str(json.loads(self._dataset.store.read(self._mark))["why"]))

    def clip_done(self) -> None:
        """A clip came through."""
        self._in_a_row = 0

    def clip_lost(self, error: ClipError, extract: Callable[[Clip], object]) -> None:
        """A clip failed because its detector was lost each time.

        Args:
            error: Of the clip.
            extract: Tries a clip on this worker.

        Raises:
            BadNodeError: If that is this node's fault.
        """
        self._in_a_row += 1
        if self._in_a_row < _LOST_IN_A_ROW or not self._others():
            return
        self._in_a_row = 0
        clip = self._done_elsewhere()
        if clip is None:
            return
        try:
            extract(clip)
        except ClipError as again:
            if again.stage == "detect":
                self._open(
                    f"{_LOST_IN_A_ROW} clips in a row lost their detector ({error.reason}), and so did "
                    f"{clip.clip_id}, which another node has done ({again.reason})"
                )

    def detector_missing(self, why: str) -> None:
        """No detector comes up here.

        Raises:
            BadNodeError: If other nodes have theirs.
        """
        if self._others() and self._others_work():
            self._open(f"no detector comes up: {why}")

    def _open(self, why: str) -> None:
        text = f"node {self._host} gets no more work: {why}"
        self._dataset.store.write(self._mark, json.dumps({"why": text}).encode(), durable=False)
        raise BadNodeError(text)

    def _others_work(self) -> bool:
        """Whether another node has had a frame, or has within a minute."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            if any(status.host != self._host and status.frames for status in reports(self._dataset.store)):
                return True
            if self._find() is not None:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)

    def _done_elsewhere(self) -> Clip | None:
        """The shortest clip of a shard that another node has made; waits for one where others are at work."""
        deadline = time.monotonic() + _WAIT_S
        while (clip := self._find()) is None:
            at_work = any(status.host != self._host for status in reports(self._dataset.store))
            if not at_work or time.monotonic() > deadline:
                return None
            time.sleep(_PAUSE_S)
        return clip

    def _find(self) -> Clip | None:
        done = sorted(self._dataset.done().items(), reverse=True)[:_SHARDS_TRIED]
        for shard, name in done:
            rows = pq.read_table(
                self._dataset.store.open(name), columns=["clip_id", "host", "num_frames", "first_frame"]
            )
            rows = rows.filter((pc.field("host") != self._host) & (pc.field("first_frame") == 0))
            if rows.num_rows:
                clip_id = rows.sort_by("num_frames")["clip_id"][0].as_py()
                return next(c for c in self._dataset.planned_clips(shard) if c.clip_id == clip_id)
        return None


def release_name(turn: int) -> str:
    """The file that lets workers of bad nodes give back the shards they kept.

    Args:
        turn: Number of the turn through the job's shards.
    """
    return os.path.join(FOLDER, f"release-{turn}")
