"""What one job is to do, validated and frozen."""

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version

from extraction.detectors import DetectorOptions
from extraction.errors import JobError
from extraction.frames import FrameOptions
from extraction.policy import Policy
from storage.precision import PRECISIONS

_TRIED_FIRST = 50
"""A share of fewer clips says nothing."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many clips may fail before the job stops: a number, or a share of those that were tried.

    Attributes:
        text: As a person gave it: ``"100"`` or ``"20%"``.

    Raises:
        JobError: If it is neither.
    """

    text: str = "20%"

    def __post_init__(self) -> None:
        number = self.text.removesuffix("%")
        good = number.isdecimal() if number == self.text else number.replace(".", "", 1).isdecimal()
        if not good:
            raise JobError(f"--max-failures must be a number or a share such as 20%, found {self.text!r}")

    def is_passed(self, failed: int, tried: int) -> bool:
        """Whether so many failures are too many.

        Args:
            failed: Clips that failed.
            tried: Clips that failed or did not.
        """
        if self.text.endswith("%"):
            return tried >= _TRIED_FIRST and failed * 100 > float(self.text[:-1]) * tried
        return failed > int(self.text)


@dataclass(frozen=True, slots=True)
class JobConfig:
    """One extraction job.

    Attributes:
        out: The data set's folder, absolute, or a URI.
        detector: What to detect with.
        frames: How to read frames.
        policy: When a detector counts as lost, and how often to try.
        max_frames_per_row: A longer clip becomes several rows.
        precision: Of stored coordinates; see :data:`storage.precision.PRECISIONS`.
        retry_failed: Try clips again that failed in an earlier run.
        workers: Actors, each with one detector; None for one a core.
        address: Of a running Ray cluster; None for a local one, started and stopped by the job.
        dashboard: Whether a local Ray shows its dashboard.
        max_failures: Clips that may fail before the job stops.
        native_log: ``"file"``: what native code writes goes to ``OUT/logs``; ``"show"``: to the terminal too.

    Raises:
        JobError: If a value is out of its range.
    """

    out: str
    detector: DetectorOptions = field(default_factory=DetectorOptions)
    frames: FrameOptions = field(default_factory=FrameOptions)
    policy: Policy = field(default_factory=Policy)
    max_frames_per_row: int = 10_000
    retry_failed: bool = False
    workers: int | None = None
    address: str | None = None
    dashboard: bool = False
    max_failures: FailureLimit = field(default_factory=FailureLimit)
    native_log: str = "file"
    precision: str = "float32"

    def __post_init__(self) -> None:
        at_least_one = {
            "--workers": 1 if self.workers is None else self.workers,
            "--max-frames-per-row": self.max_frames_per_row,
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise JobError(f"{name} must be 1 or more, found {value}")
        if self.precision not in PRECISIONS:
            raise JobError(f"--precision must be {' or '.join(PRECISIONS)}, found {self.precision!r}")
        if self.native_log not in ("file", "show"):
            raise JobError(f"--native-log must be 'file' or 'show', found {self.native_log!r}")

    def result_options(self) -> dict[str, object]:
        """Every option that can change what stands in the data set."""
        detector = asdict(self.detector)
        del detector["model"]  # its digest says what it is, wherever it lies
        return {
            **detector,
            "extra_parts": list(self.detector.extra_parts),  # as it comes back from JSON
            "mediapipe_version": installed("mediapipe"),
            "fps": self.frames.default_fps,
            "max_pixels": self.frames.max_pixels,
            "max_frames_per_row": self.max_frames_per_row,
            # Data sets made before there was a choice go on.
            **({} if self.precision == "float32" else {"precision": self.precision}),
        }

    def options_hash(self) -> str:
        """Digest of :meth:`result_options`, as it stands in each row."""
        text = json.dumps(self.result_options(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def num_workers(self, num_cpus: float) -> int:
        """Actors to start where so many cores are free."""
        return self.workers or max(int(num_cpus), 1)


def usable_cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no quota
        return cores


def installed(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions that stand in ``dataset.json``."""
    packages = (
        "ray-landmarks",
        "mediapipe",
        "numpy",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "av",
        "pillow",
        "pyarrow",
        "ray",
    )
    return {"python": platform.python_version(), **{name: installed(name) for name in packages}}
