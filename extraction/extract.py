"""One clip through a detector: frames in, landmark arrays out."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from extraction.clips import Clip, printable
from extraction.detectors import Detector, DetectorInfo
from extraction.errors import ClipError
from extraction.frames import Frame, FrameOptions, current_fingerprint, open_frames
from extraction.landmarks import ClipLandmarks, FrameLandmarks, FrameStatus, stack_frames
from extraction.messages import StageTimes

_MASK_BYTES = 256 << 20
"""A piece with this much of masks ends, whatever ``max_frames`` says: a list in Arrow holds 2 GiB at most."""


class ClipExtraction:
    """Iterates over the landmarks of one clip, in pieces of at most ``max_frames`` frames.

    Tracking is unbroken from piece to piece.

    Args:
        clip: What to read.
        detector: What to find landmarks with; its state is cleared first.
        options: How to read frames.
        max_frames: Length of a piece; a longer clip gives several.
        on_frame: Called after each frame with the number of frames done.

    Attributes:
        fingerprint: Of the input as it was read.
        times: Where the time went; complete after the last piece.

    Raises:
        ClipError: If the clip cannot be opened, is not what was planned, or has no readable frame.
    """

    def __init__(
        self,
        clip: Clip,
        detector: Detector,
        options: FrameOptions,
        max_frames: int = 10_000,
        on_frame: Callable[[int], None] | None = None,
    ) -> None:
        self._clip, self._detector, self._max_frames = clip, detector, max_frames
        self._on_frame = on_frame or (lambda _: None)
        self.times = StageTimes()
        self._started = time.perf_counter()
        self._stream = open_frames(clip, options)
        self.fingerprint = self._stream.fingerprint
        self._options, self._num_frames = options, 0
        if clip.fingerprint:
            self._expect_unchanged(clip.fingerprint)

    def _expect_unchanged(self, fingerprint: str) -> None:
        if self.fingerprint != fingerprint:
            raise ClipError(
                "open",
                "input-changed",
                f"{self._clip.uri}: the input is not what was planned, or changed while it was read "
                f"(fingerprint {fingerprint or 'none'}, when opened {self.fingerprint}): files were added, "
                "removed or written; run the same command again with --retry-failed",
            )

    def __iter__(self) -> Iterator[ClipLandmarks]:
        self._detector.begin_clip(self._clip.clip_id)
        info = self._detector.info
        piece, readable = _Piece(0), 0
        errors: list[str] = []
        for frame in self._decoded():
            if len(piece.names) == self._max_frames or piece.mask_bytes >= _MASK_BYTES:
                yield piece.landmarks(self._stream.fps, info)
                piece = _Piece(frame.index)
            landmarks = self._detect(frame)
            piece.add(frame, landmarks)
            self._num_frames += 1
            readable += landmarks is not None
            if frame.error and len(errors) < 3:
                errors.append(f"{frame.name}: {frame.error}")
            self._on_frame(frame.index + 1)
        if readable < self._num_frames:
            open_frames(self._clip, self._options)  # where it has gone, that is the reason
        # Always: a frame that was written anew after the clip was opened was read as it is now.
        self._expect_unchanged(current_fingerprint(self._clip))
        if not readable:
            raise ClipError(
                "decode",
                "no-readable-frame",
                f"{self._clip.uri}: expected frames, none could be read; "
                f"{'; '.join(errors) or 'it holds no frame'}",
            )
        self.times.extract_ms = (time.perf_counter() - self._started) * 1000
        yield piece.landmarks(self._stream.fps, info)

    def _decoded(self) -> Iterator[Frame]:
        while True:
            started = time.perf_counter()
            frame = next(self._stream.frames, None)
            self.times.decode_ms += (time.perf_counter() - started) * 1000
            if frame is None:
                return
            yield frame

    def _detect(self, frame: Frame) -> FrameLandmarks | None:
        if frame.image is None:
            return None
        started = time.perf_counter()
        landmarks = self._detector.detect(frame.image, frame.timestamp_ms)
        self.times.detect_ms += (time.perf_counter() - started) * 1000
        return landmarks


@dataclass(slots=True)
class _Piece:
    """Consecutive frames on their way to one ClipLandmarks; holds no pixels."""

    first_frame: int
    names: list[str] = field(default_factory=list)
    timestamps_ms: list[float] = field(default_factory=list)
    status: list[FrameStatus] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    sizes_px: list[tuple[int, int]] = field(default_factory=list)
    found: list[FrameLandmarks | None] = field(default_factory=list)
    mask_bytes: int = 0

    def add(self, frame: Frame, landmarks: FrameLandmarks | None) -> None:
        self.names.append(printable(frame.name))
        self.timestamps_ms.append(frame.timestamp_ms)
        self.errors.append(frame.error)
        self.sizes_px.append((0, 0) if frame.image is None else (frame.image.shape[1], frame.image.shape[0]))
        self.found.append(landmarks)
        self.status.append(FrameStatus.UNREADABLE if landmarks is None else landmarks.status)
        if landmarks is not None and landmarks.mask_png is not None:
            self.mask_bytes += len(landmarks.mask_png)

    def landmarks(self, fps: float, info: DetectorInfo) -> ClipLandmarks:
        parts, visibility = stack_frames(self.found, info.num_points)
        masks = tuple(None if frame is None else frame.mask_png for frame in self.found)
        return ClipLandmarks(
            first_frame=self.first_frame,
            fps=fps,
            timestamps_ms=np.array(self.timestamps_ms, np.float64),
            frame_names=tuple(self.names),
            frame_status=np.array(self.status, np.int8),
            frame_errors=tuple(self.errors),
            frame_sizes_px=np.array(self.sizes_px, np.int32).reshape(-1, 2),
            parts=parts,
            pose_visibility=visibility,
            masks_png=masks if info.has_masks else None,
        )
