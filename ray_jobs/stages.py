"""The callable that Ray Data maps: it owns one supervised detector and writes whole shards."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

import pyarrow as pa

from extraction.clips import Clip
from extraction.errors import ClipError, JobError
from extraction.supervisor import DetectorProcess, Extraction
from ray_jobs.config import JobConfig
from storage.dataset import Dataset
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
    """

    shard: int
    clips: int
    failed: int
    frames: int
    seconds: float
    worker: str
    first_frame_at: float


class ShardWorker:
    """Turns shard numbers into shards: one actor, one child with one long-lived detector.

    Args:
        config: Of the job.
        job_id: Whose mark must stand on the data set when a shard becomes visible.
    """

    def __init__(self, config: JobConfig, job_id: str) -> None:
        self._config = config
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
        return pa.Table.from_pylist([asdict(self._make(n)) for n in batch.column("shard").to_pylist()])

    def _make(self, shard: int) -> Receipt:
        started = time.time()
        clips = self._dataset.planned_clips(shard)
        split = clips[0].split
        if self._dataset.store.exists(shard_name(shard, split)):
            # Ray runs a task again whose actor died after the shard stood and before its receipt.
            return Receipt(shard, 0, 0, 0, 0.0, self._name, self._first_frame_at)
        progress = _ShardProgress(self, shard)
        info = self._detector.start()
        failures = write_shard(
            self._dataset.store,
            shard,
            split,
            dict(info.num_points),
            self._outcomes(clips, progress),
            before_commit=self._mark.check,
        )
        return Receipt(
            shard,
            len(clips) - len(failures),
            len(failures),
            progress.frames_done,
            time.time() - started,
            self._name,
            self._first_frame_at,
        )

    def _outcomes(self, clips: list[Clip], progress: "_ShardProgress") -> Iterator[Rows | Failure]:
        for clip in clips:
            progress.begin(clip)
            try:
                extraction = self._detector.extract(clip, progress.on_frames)
            except ClipError as error:
                progress.end(0, failed=True)
                yield Failure(
                    clip.clip_id, clip.uri, clip.split, error.stage, error.reason, str(error), error.attempts
                )
            else:
                self._first_frame_at = self._first_frame_at or time.time()
                progress.end(sum(len(piece) for piece in extraction.pieces), failed=False)
                yield self._rows(clip, extraction)

    def _rows(self, clip: Clip, extraction: Extraction) -> Rows:
        provenance = Provenance(
            engine=extraction.info.engine,
            mediapipe_version=extraction.info.engine_version,
            options_hash=self._config.options_hash(),
            delegate=extraction.info.delegate,
            attempts=extraction.attempts,
            extract_ms=extraction.times.extract_ms,
            decode_ms=extraction.times.decode_ms,
            detect_ms=extraction.times.detect_ms,
            host=socket.gethostname(),
            input_fingerprint=extraction.fingerprint,
        )
        return (encode(clip, piece, provenance) for piece in extraction.pieces)


