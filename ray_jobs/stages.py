"""The callable that Ray Data maps: it owns one supervised detector and writes whole shards."""

import errno
import os
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

import pyarrow as pa

from extraction.clips import Clip, printable
from extraction.detectors import ENGINES, DetectorInfo
from extraction.errors import ClipError, JobError, NoDetectorError
from extraction.supervisor import DetectorProcess, Extraction
from ray_jobs.circuit import BadNodeError, Circuit, release_name
from ray_jobs.config import JobConfig
from ray_jobs.metrics import WorkerMetrics
from ray_jobs.nodes import has_other_nodes, node_id
from ray_jobs.placement import delegate_here
from ray_jobs.receipt import Receipt
from ray_jobs.remote_model import with_local_model
from ray_jobs.same_code import code_version
from ray_jobs.staging import Staged, staged
from ray_jobs.stopwatch import Stopwatch
from ray_jobs.worker_log import WorkerLog
from storage.dataset import Dataset
from storage.files import Store
from storage.partial import Kept, PartialShard, discard_partial
from storage.rows import Provenance, encode
from storage.running import FOLDER, JobMark, WorkerStatus, count_start, host_name, report
from storage.schema import clip_schema
from storage.shards import Failure, Rows, shard_name, write_shard
from storage.stores import Stores

_REPORT_S, _REMOTE_REPORT_S = 1.0, 10.0
"""As often as somebody looks; on an object store each report is a request that costs money."""
_EXAMPLE_CHARACTERS = 1000
_PARKED_S = 2.0
_MAX_STARTS = 10
"""Starts of one shard in one job. Ray starts a dead worker again for ever, and Ray Data its task."""


class ShardWorker:
    """Turns shard numbers into shards: one actor, one child with one long-lived detector.

    Args:
        config: Of the job.
        job_id: Whose mark must stand on the data set when a shard becomes visible.
        turn: Number of the turn through the job's shards.
    """

    def __init__(self, config: JobConfig, job_id: str, turn: int = 0) -> None:
        self._turn = turn
        self._options_hash = config.options_hash()
        # The code of somebody's own engine is not among what the version is a digest of.
        is_known = config.detector.engine in ENGINES
        self._made_by = f"{code_version()}, options {self._options_hash}" if is_known else ""
        self._job_id = job_id
        self._precision = config.precision
        self._dataset = Dataset(config.out)
        self._mark = JobMark(self._dataset.store, job_id)
        self._host = host_name()
        self._name = f"{self._host}-{os.getpid()}"
        self._circuit = Circuit(self._dataset, self._host, has_other_nodes)
        self._log = WorkerLog(self._dataset.store, self._name)
        self._metrics = WorkerMetrics(self._host)
        self._stores, self._scratch_bytes = Stores(config.inputs_uri), int(config.scratch_gb * 1e9)
        self._detector = DetectorProcess(
            replace(with_local_model(config.detector, config.model_uri), delegate=delegate_here(config)),
            config.frames,
            config.policy,
            config.max_frames_per_row,
            self._log.native,
            job=job_id,
        )
        self._detector.launch()
        self._first_frame_at = 0.0
        self._writing = Stopwatch()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Makes the shards of a batch.

        Args:
            batch: Column ``shard``.

        Returns:
            A row per shard: column ``receipt``, a :class:`Receipt` as JSON.
        """
        receipts = []
        for shard in batch.column("shard").to_pylist():
            try:
                receipts.append(self._make_or_give_back(shard))
            except JobError as error:
                receipts.append(self._empty_receipt(shard, stop=str(error)))
            self._writing.stop()
            self._log.keep()
        return pa.table({"receipt": [receipt.to_json() for receipt in receipts]})

    def _make_or_give_back(self, shard: int) -> Receipt:
        try:
            self._circuit.expect_closed()
            return self._make(shard)
        except BadNodeError as error:
            self._detector.close()
            self._wait_for_release(shard, str(error))
            return replace(self._empty_receipt(shard), bad_node=node_id(), notice=str(error))

    def _wait_for_release(self, shard: int, why: str) -> None:
        """Keeps a shard from those who work until they are done, so that this worker gets no other."""
        store = self._dataset.store
        while not store.exists(release_name(self._turn)):
            self._mark.check()
            with suppress(JobError):
                report(store, WorkerStatus(self._name, shard, host=self._host, parked=why, notice=why))
            time.sleep(_PARKED_S)
        store.delete(f"{FOLDER}/worker-{self._name}.json")

    def _make(self, shard: int) -> Receipt:
        started = time.time()
        clips = self._dataset.planned_clips(shard)
        split = clips[0].split
        if self._dataset.store.exists(shard_name(shard, split)):
            # Ray runs a task again whose actor died after the shard stood and before its receipt.
            discard_partial(self._dataset.store, shard)
            return self._empty_receipt(shard)
        if count_start(self._dataset.store, shard) > _MAX_STARTS:
            raise JobError(
                f"shard {shard} ({clips[0].clip_id} and {len(clips) - 1} more): its worker died "
                f"{_MAX_STARTS} times in the middle of it: is there enough memory? The same command again "
                "goes on with it, --exclude goes on without a clip"
            )
        progress = _Progress(self._dataset.store, self._name, self._host, shard, self._first_frame_at)
        before = Counter(self._detector.events), Counter(self._log.native.counts)
        partial = PartialShard(self._dataset.store, shard, self._made_by, self._job_id)
        to_do = [clip for clip in clips if clip not in partial]
        with closing(partial), staged(to_do, self._stores, self._scratch_bytes) as inputs:
            info = self._start()
            progress.notice = self._detector.notice
            schema = clip_schema(info.num_points, info.has_masks)
            outcomes = (self._outcome(clip, progress, inputs, partial, schema) for clip in clips)
            with _room_made(self._dataset.store, shard):
                failures = write_shard(
                    self._dataset.store,
                    shard,
                    split,
                    info.num_points,
                    outcomes,
                    before_commit=self._mark.check,
                    has_masks=info.has_masks,
                )
        discard_partial(self._dataset.store, shard)
        self._first_frame_at = progress.first_frame_at
        events = dict(self._detector.events - before[0])
        self._metrics.detector_events(events)
        return Receipt(
            shard=shard,
            clips=len(clips) - len(failures),
            failed=len(failures),
            frames=progress.frames,
            unreadable_frames=progress.unreadable_frames,
            seconds=time.time() - started,
            worker=self._name,
            first_frame_at=self._first_frame_at,
            finished_at=time.time(),
            events=events,
            log_lines=dict(Counter(self._log.native.counts) - before[1]),
            notice=self._detector.notice,
            reasons=progress.reasons,
            examples=progress.examples,
            kept=progress.kept,
            kept_frames=progress.kept_frames,
        )

    def _empty_receipt(self, shard: int, stop: str = "") -> Receipt:
        return Receipt(
            shard=shard,
            clips=0,
            failed=0,
            frames=0,
            unreadable_frames=0,
            seconds=0.0,
            worker=self._name,
            first_frame_at=self._first_frame_at,
            finished_at=time.time(),
            stop=stop,
        )

    def _start(self) -> DetectorInfo:
        try:
            return self._detector.start()
        except NoDetectorError as error:
            self._circuit.detector_missing(str(error))
            raise

    def _outcome(
        self, clip: Clip, progress: "_Progress", inputs: Staged, partial: PartialShard, schema: pa.Schema
    ) -> Rows | Failure:
        """What becomes of a clip; all that happens until the next one is asked for is writing."""
        if kept := partial.get(clip):
            progress.keep(kept)
            return kept.rows(schema)
        self._writing.stop()
        outcome = self._extract(clip, progress, inputs)
        self._writing.start()
        return outcome if isinstance(outcome, Failure) else partial.keeping(clip, outcome)

    def _extract(self, clip: Clip, progress: "_Progress", inputs: Staged) -> Rows | Failure:
        try:
            with inputs.here(clip) as here:
                extraction = self._detector.extract(
                    here, lambda frames: self._seen(progress, frames, clip.clip_id)
                )
        except OSError as error:
            # Not OUT: too many processes or open files, or no room for what a long clip spools.
            raise JobError(
                f"{clip.clip_id}: this machine ({socket.gethostname()}, temporary files in "
                f"{tempfile.gettempdir()}) cannot go on: {error}"
            ) from error
        except NoDetectorError as error:
            self._circuit.detector_missing(str(error))
            raise
        except ClipError as error:
            if error.stage == "detect":
                self._circuit.clip_lost(error, self._try)
            self._log.keep()  # its last lines, wherever the job is stopped
            progress.failed(error)
            self._metrics.clip_failed(error.reason)
            progress.notice = self._detector.notice
            return Failure(
                clip.clip_id,
                clip.uri,
                clip.split,
                error.stage,
                error.reason,
                printable(str(error)),
                error.attempts,
                host=self._host,
            )
        self._circuit.clip_done()
        self._metrics.clip_done(extraction.num_frames, extraction.num_unreadable, extraction.attempts)
        progress.clips += 1
        progress.notice = self._detector.notice
        progress.frames += extraction.num_frames
        progress.unreadable_frames += extraction.num_unreadable
        provenance = self._provenance(extraction)
        return (encode(clip, piece, provenance, self._precision) for piece in extraction.pieces)

    def _try(self, clip: Clip) -> None:
        """Extracts a clip of another shard, to see whether it can be done here."""
        with staged([clip], self._stores, self._scratch_bytes) as inputs, inputs.here(clip) as here:
            self._detector.extract(here)

    def _seen(self, progress: "_Progress", frames: int, clip_id: str) -> None:
        if progress.show(frames, clip_id, self._detector.child_pid):
            self._metrics.frames_so_far(frames)

    def _provenance(self, extraction: Extraction) -> Provenance:
        return Provenance(
            engine=extraction.info.engine,
            mediapipe_version=extraction.info.engine_version,
            options_hash=self._options_hash,
            delegate=extraction.info.delegate,
            attempts=extraction.attempts,
            retry_reasons=extraction.retry_reasons,
            extract_ms=extraction.times.extract_ms,
            decode_ms=extraction.times.decode_ms,
            detect_ms=extraction.times.detect_ms,
            host=self._host,
            input_fingerprint=extraction.fingerprint,
            worker=self._name,
            write_ms=self._writing.take_ms(),
        )


@contextmanager
def _room_made(store: Store, shard: int) -> Iterator[None]:
    """Where the disk is full, gives back what is kept of a shard: the shard itself may have room then."""
    try:
        yield
    except JobError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
            discard_partial(store, shard)
        raise


@dataclass(slots=True)
class _Progress:
    """Counts of the shard at hand, shown to whoever looks now and then."""

    store: Store
    worker: str
    host: str
    shard: int
    first_frame_at: float
    clips: int = 0
    frames: int = 0
    kept: int = 0
    kept_frames: int = 0
    failures: int = 0
    unreadable_frames: int = 0
    notice: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    _shown: float = 0.0

    def failed(self, error: ClipError) -> None:
        self.failures += 1
        self.reasons[error.reason] = self.reasons.get(error.reason, 0) + 1
        self.examples[error.reason] = printable(str(error))[:_EXAMPLE_CHARACTERS]

    def keep(self, kept: Kept) -> None:
        """Counts a clip that is done already: by this job, or by an earlier one."""
        self.clips += 1
        self.frames += kept.frames
        if kept.is_own:
            self.unreadable_frames += kept.unreadable_frames
        else:
            self.kept += 1
            self.kept_frames += kept.frames

    def show(self, clip_frames: int, clip_id: str, child_pid: int | None) -> bool:
        """Writes a report if it is time for one, and says whether it was."""
        now = time.time()
        self.first_frame_at = self.first_frame_at or now
        if now - self._shown < (_REPORT_S if self.store.is_local else _REMOTE_REPORT_S):
            return False
        self._shown = now
        status = WorkerStatus(
            worker=self.worker,
            shard=self.shard,
            clips=self.clips,
            frames=self.frames + clip_frames,
            kept_frames=self.kept_frames,
            failures=self.failures,
            clip_id=clip_id,
            child_pid=child_pid,
            shard_started=self.started,
            first_frame_at=self.first_frame_at,
            host=self.host,
            notice=self.notice,
            reasons=self.reasons,
            examples=self.examples,
        )
        # A report that cannot be written costs a look at the progress, not a clip.
        with suppress(JobError):
            report(self.store, status)
        return True
