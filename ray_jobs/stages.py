"""The callable that Ray Data maps: it owns one supervised detector and writes whole shards."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from extraction.clips import Clip, printable
from extraction.errors import ClipError, JobError
from extraction.supervisor import DetectorProcess, Extraction
from ray_jobs.config import JobConfig
from storage.dataset import Dataset
from storage.files import Store
from storage.rows import Provenance, encode
from storage.running import JobMark, WorkerStatus, report
from storage.shards import Failure, Rows, shard_name, write_shard

_REPORT_S = 1.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one shard.

    Attributes:
        shard: Its number.
        clips: Clips that it holds.
        failed: Clips that failed.
        frames: Frame positions of its clips.
        seconds: Wall time it took.
        worker: Who made it.
        first_frame_at: Unix time at which that worker had its first frame.
        finished_at: Unix time at which the shard stood.
        stop: Why the job has to stop; "" otherwise. Ray keeps of an exception only its text, in a trace.
    """

    shard: int
    clips: int
    failed: int
    frames: int
    seconds: float
    worker: str
    first_frame_at: float
    finished_at: float
    stop: str = ""


class ShardWorker:
    """Turns shard numbers into shards: one actor, one child with one long-lived detector.

    Args:
        config: Of the job.
        job_id: Whose mark must stand on the data set when a shard becomes visible.
    """

    def __init__(self, config: JobConfig, job_id: str) -> None:
        self._config = config
        self._options_hash = config.options_hash()
        self._dataset = Dataset(config.out)
        self._mark = JobMark(self._dataset.store, job_id)
        self._detector = DetectorProcess(
            config.detector, config.frames, config.policy, config.max_frames_per_row
        )
        self._detector.launch()
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._first_frame_at = 0.0

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Makes the shards of a batch.

        Args:
            batch: Column ``shard``.

        Returns:
            A row per shard with the fields of :class:`Receipt`.
        """
        receipts = []
        for shard in batch.column("shard").to_pylist():
            try:
                receipts.append(self._make(shard))
            except JobError as error:
                receipts.append(Receipt(shard, 0, 0, 0, 0.0, self._name, 0.0, time.time(), stop=str(error)))
        return pa.Table.from_pylist([asdict(receipt) for receipt in receipts])

    def _make(self, shard: int) -> Receipt:
        started = time.time()
        clips = self._dataset.planned_clips(shard)
        split = clips[0].split
        if self._dataset.store.exists(shard_name(shard, split)):
            # Ray runs a task again whose actor died after the shard stood and before its receipt.
            return Receipt(shard, 0, 0, 0, 0.0, self._name, self._first_frame_at, time.time())
        info = self._detector.start()
        progress = _Progress(self._dataset.store, self._name, shard, self._first_frame_at)
        outcomes = (self._extract(clip, progress) for clip in clips)
        failures = write_shard(
            self._dataset.store, shard, split, info.num_points, outcomes, before_commit=self._mark.check
        )
        self._first_frame_at = progress.first_frame_at
        return Receipt(
            shard=shard,
            clips=len(clips) - len(failures),
            failed=len(failures),
            frames=progress.frames,
            seconds=time.time() - started,
            worker=self._name,
            first_frame_at=self._first_frame_at,
            finished_at=time.time(),
        )

    def _extract(self, clip: Clip, progress: "_Progress") -> Rows | Failure:
        try:
            extraction = self._detector.extract(
                clip, lambda frames: progress.show(frames, clip.clip_id, self._detector.child_pid)
            )
        except ClipError as error:
            progress.failures += 1
            return Failure(
                clip.clip_id,
                clip.uri,
                clip.split,
                error.stage,
                error.reason,
                printable(str(error)),
                error.attempts,
            )
        progress.clips += 1
        progress.frames += extraction.num_frames
        provenance = self._provenance(extraction)
        return (encode(clip, piece, provenance) for piece in extraction.pieces)

    def _provenance(self, extraction: Extraction) -> Provenance:
        return Provenance(
            engine=extraction.info.engine,
            mediapipe_version=extraction.info.engine_version,
            options_hash=self._options_hash,
            delegate=extraction.info.delegate,
            attempts=extraction.attempts,
            extract_ms=extraction.times.extract_ms,
            decode_ms=extraction.times.decode_ms,
            detect_ms=extraction.times.detect_ms,
            host=socket.gethostname(),
            input_fingerprint=extraction.fingerprint,
        )


@dataclass(slots=True)
class _Progress:
    """Counts of the shard at hand, shown to whoever looks about once a second."""

    store: Store
    worker: str
    shard: int
    first_frame_at: float
    clips: int = 0
    frames: int = 0
    failures: int = 0
    started: float = field(default_factory=time.time)
    _shown: float = 0.0

    def show(self, clip_frames: int, clip_id: str, child_pid: int | None) -> None:
        now = time.time()
        self.first_frame_at = self.first_frame_at or now
        if now - self._shown < _REPORT_S:
            return
        self._shown = now
        status = WorkerStatus(
            worker=self.worker,
            shard=self.shard,
            clips=self.clips,
            frames=self.frames + clip_frames,
            failures=self.failures,
            clip_id=clip_id,
            child_pid=child_pid,
            shard_started=self.started,
            first_frame_at=self.first_frame_at,
        )
        # A report that cannot be written costs a look at the progress, not a clip.
        with suppress(JobError):
            report(self.store, status)
