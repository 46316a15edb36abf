"""What a worker counts for Prometheus: Ray serves it on each node's metrics port.

Ray puts ``ray_`` before a name and ``_total`` behind it; ``deploy/grafana-dashboard.json`` asks for these
names. Frames per second by node are the rate of a counter, which is the reader's to form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COUNTERS: Mapping[str, tuple[str, str]] = {
    "landmarks_clips": ("", "Clips extracted."),
    "landmarks_frames": ("", "Frames that went through the detector, those of lost attempts counted once."),
    "landmarks_unreadable_frames": ("", "Frames of extracted clips that could not be read."),
    "landmarks_failures": ("reason", "Clips that failed."),
    "landmarks_retries": ("", "Attempts beyond the first that extracted clips took."),
    "landmarks_detector_events": (
        "event",
        "Detectors lost (lost: and a reason, OpenGL's among them), refreshed or replaced.",
    ),
}
"""Name to the tag it has beside ``host``, and what it counts."""


@dataclass(slots=True)
class WorkerMetrics:
    """The counters of one worker. Made when something is counted, so that no job starts later for them.

    Args:
        host: The machine, as it stands in rows.
    """

    host: str
    _counters: dict[str, Any] = field(default_factory=dict)
    _frames_of_clip: int = 0

    def frames_so_far(self, frames: int) -> None:
        """So many frames of the clip at hand went through the detector; an attempt begins again at 0."""
        self._count("landmarks_frames", frames - self._frames_of_clip)
        self._frames_of_clip = max(self._frames_of_clip, frames)

    def clip_done(self, frames: int, unreadable: int, attempts: int) -> None:
        """A clip was extracted.

        Args:
            frames: That it has.
            unreadable: Of these, frames that could not be read.
            attempts: It took.
        """
        self.frames_so_far(frames)
        self._frames_of_clip = 0
        self._count("landmarks_clips", 1)
        self._count("landmarks_unreadable_frames", unreadable)
        self._count("landmarks_retries", attempts - 1)

    def clip_failed(self, reason: str) -> None:
        """A clip failed."""
        self._frames_of_clip = 0
        self._count("landmarks_failures", 1, reason)

    def detector_events(self, events: Mapping[str, int]) -> None:
        """What happened to the detector since the last time, counted."""
        for event, times in events.items():
            self._count("landmarks_detector_events", times, event)

    def _count(self, name: str, times: int, tag: str = "") -> None:
        if times <= 0:
            return
        key, description = COUNTERS[name]
        if name not in self._counters:
            from ray.util.metrics import Counter

            self._counters[name] = Counter(
                name, description=description, tag_keys=("host", key) if key else ("host",)
            )
        self._counters[name].inc(times, {"host": self.host, **({key: tag} if key else {})})
