"""What one job is to do, validated and frozen."""

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version

from extraction.detectors import DetectorOptions, delegates
from extraction.errors import JobError
from extraction.frames import FrameOptions
from extraction.policy import Policy
from storage.precision import PRECISIONS

MEMORY_PER_ACTOR_MB = 700
"""A worker took 219 MiB and its detector 424 MiB over hostile inputs (``benchmarks/hostile.py``)."""
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
        inputs_uri: Of FRAMES or the manifest where that is on an object store, as it was given: it may say
            how to reach the store. Stands nowhere in the data set.
        model_uri: Of the model, where that is on an object store; ``detector.model`` is the driver's copy.
        scratch_gb: Disk on its machine that the remote inputs of one worker may take, in GB of 10^9 bytes.
        retry_failed: Try clips again that failed in an earlier run.
        workers: Actors, each with one detector, at most; None for one a core, as far as the cluster grows.
        min_workers: Actors to begin with; None for as many as ``workers``.
        gpu_workers: Of these, actors with a share of a GPU; None for as many as the GPUs are enough for.
        gpus_per_actor: That share, for the GPU delegate; 0 where GPUs are not shared out by Ray.
        memory_per_actor_mb: What an actor asks of a cluster's node; 0 for nothing.
        node_labels: Names and values that a node must have to get work.
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
    min_workers: int | None = None
    gpu_workers: int | None = None
    gpus_per_actor: float = 0.0
    memory_per_actor_mb: int = MEMORY_PER_ACTOR_MB
    node_labels: tuple[tuple[str, str], ...] = ()
    address: str | None = None
    dashboard: bool = False
    max_failures: FailureLimit = field(default_factory=FailureLimit)
    native_log: str = "file"
    precision: str = "float32"
    inputs_uri: str = ""
    model_uri: str = ""
    scratch_gb: float = 4.0

    def __post_init__(self) -> None:
        at_least_one = {
            "--workers": 1 if self.workers is None else self.workers,
            "--workers MIN..MAX": 1 if self.min_workers is None else self.min_workers,
            "--gpu-workers": 1 if self.gpu_workers is None else self.gpu_workers,
            "--max-frames-per-row": self.max_frames_per_row,
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise JobError(f"{name} must be 1 or more, found {value}")
        if self.min_workers and self.workers and self.min_workers > self.workers:
            raise JobError(
                f"--workers MIN..MAX: expected MIN up to MAX, found {self.min_workers}..{self.workers}"
            )
        if self.memory_per_actor_mb < 0:
            raise JobError(f"--memory-per-actor must be 0 or more, found {self.memory_per_actor_mb}")
        if self.node_labels and not self.address:
            raise JobError(
                "--node-label chooses among the nodes of a cluster and goes with --address (or RAY_ADDRESS); "
                "without one the job runs on this machine alone"
            )
        self._expect_gpus_fit()
        if self.precision not in PRECISIONS:
            raise JobError(f"--precision must be {' or '.join(PRECISIONS)}, found {self.precision!r}")
        if not 0 < self.scratch_gb < float("inf"):
            raise JobError(f"--scratch-gb must be above 0, found {self.scratch_gb:g}")
        if self.native_log not in ("file", "show"):
            raise JobError(f"--native-log must be 'file' or 'show', found {self.native_log!r}")

    def _expect_gpus_fit(self) -> None:
        share = self.gpus_per_actor
        if not (0 <= share <= 1 or (share > 1 and float(share).is_integer())):
            raise JobError(
                f"--gpus-per-actor must be a part of a GPU such as 0.25, or 1, 2 ..., found {share:g}"
            )
        if self.gpu_workers is not None and not share:
            raise JobError("--gpu-workers goes with --gpus-per-actor, such as 0.25 for four to a GPU")
        if self.gpu_workers is not None and self.detector.delegate != "auto":
            raise JobError(
                "--gpu-workers goes with --delegate auto: they take the GPU, the others the CPU; with "
                "--delegate gpu all do"
            )
        if self.gpu_workers and self.workers and self.gpu_workers > self.workers:
            raise JobError(
                f"--gpu-workers are some of --workers: expected at most {self.workers}, "
                f"found {self.gpu_workers}"
            )
        if share and "gpu" not in delegates(self.detector.engine):
            raise JobError(
                f"--gpus-per-actor: engine {self.detector.engine!r} runs on the CPU only; docs/gpu.md has "
                "those that do not"
            )
        if share and self.detector.delegate == "cpu":
            raise JobError(
                "--gpus-per-actor goes with --delegate gpu (all workers), or auto (CPU workers beside them)"
            )

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


def usable_cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no quota
        return cores


def usable_workers() -> int:
    """Workers for this machine where nobody says how many: one a core, as far as there is memory for them."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    with suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
        memory_mb = min(memory_mb, int(file.read()) >> 20)  # "max": no limit
    return max(1, min(usable_cores(), memory_mb // MEMORY_PER_ACTOR_MB))


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
