"""What the engines on MediaPipe's Tasks API share: models, state from clip to clip, an end without a hang."""

import ctypes
import importlib
import re
import zipfile
from collections.abc import Callable, Collection
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import models
from extraction.detectors.protocol import DetectorOptions
from extraction.errors import JobError
from extraction.landmarks import Floats

# Files that MediaPipe's graphs ask their bundles for by name: the constants at the head of
# mediapipe/tasks/cc/vision/{holistic,hand,pose,face}_landmarker/*_landmarker_graph.cc.
_FACE_FILES = ("face_detector.tflite", "face_landmarks_detector.tflite")
_POSE_FILES = ("pose_detector.tflite", "pose_landmarks_detector.tflite")
BLENDSHAPES_FILE = "face_blendshapes.tflite"
BUNDLE_FILES = {
    "holistic_landmarker": (
        *_FACE_FILES,
        BLENDSHAPES_FILE,
        "hand_landmarks_detector.tflite",
        "hand_roi_refinement.tflite",
        *_POSE_FILES,
    ),
    "hand_landmarker": ("hand_detector.tflite", "hand_landmarks_detector.tflite"),
    "pose_landmarker": _POSE_FILES,
    "face_landmarker": _FACE_FILES,
}
"""Kind of bundle to the models in it."""


def release(mediapipe_version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing: ``"1.2.2"`` is (1, 2, 2)."""
    return tuple(int(number) for number in re.findall(r"\d+", mediapipe_version)[:3])


def check_bundle(file: Path, kind: str, also: Collection[str] = ()) -> None:
    """Refuses a file that is no bundle of this kind, before MediaPipe fails on it with fewer words.

    Args:
        file: The bundle.
        kind: Key of :data:`BUNDLE_FILES`.
        also: Further models that must be in it.

    Raises:
        JobError: If it is missing or something else.
    """
    try:
        with zipfile.ZipFile(file) as bundle:
            entries = {entry.filename: entry.compress_type for entry in bundle.infolist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise JobError(
            f"{file}: expected a {kind} bundle of models (a .task file), found none: {error}"
        ) from error
    for name in (*BUNDLE_FILES[kind], *also):
        if name not in entries:
            raise JobError(
                f"{file}: expected a {kind} bundle of models with {name} in it, found "
                f"{', '.join(sorted(entries)) or 'an empty one'}"
            )
        if entries[name] != zipfile.ZIP_STORED:
            raise JobError(f"{file}: {name} in it is compressed, which MediaPipe cannot read: store it")


def place_here(options: DetectorOptions, cached: Path | None) -> Path:
    """Where the model of the options lies on this machine.

    A job finds its model on the machine of its command; on another one the same may lie in the cache.

    Args:
        options: With a model.
        cached: The engine's own model on this machine; None where there is none.

    Returns:
        Its absolute path, or the cached one where nothing lies there but a digest says which it must be.
    """
    given = Path(options.model).absolute()
    return cached if cached and options.model_sha256 and not given.exists() else given


def check_digest(options: DetectorOptions, where: str, found: str) -> None:
    """Holds that every machine of a job detects with the same model.

    Args:
        options: Of which ``model_sha256`` is expected; any model will do where it is "".
        where: The model, for the message.
        found: Its digest.

    Raises:
        JobError: If it is another one.
    """
    if options.model_sha256 not in ("", found):
        raise JobError(
            f"{where}: expected the model with SHA-256 {options.model_sha256}, found {found}: every machine "
            "of a job, and every run into the same data set, must use the same model"
        )


def joint_digest(files: Collection[Path]) -> str:
    """One digest of several models: SHA-256 of theirs in hex, each on its line.

    Args:
        files: The models, in a fixed order.
    """
    return sha256("".join(f"{models.digest(file)}\n" for file in files).encode()).hexdigest()


def vision() -> Any:
    """MediaPipe's vision tasks."""
    return importlib.import_module("mediapipe.tasks.python.vision")


def base_options(model: Path, delegate: str) -> Any:
    """Options that all tasks have.

    Args:
        model: The bundle.
        delegate: ``"cpu"`` or ``"gpu"``.
    """
    base = importlib.import_module("mediapipe.tasks.python").BaseOptions
    kinds = {"cpu": base.Delegate.CPU, "gpu": base.Delegate.GPU}
    return base(model_asset_path=str(model), delegate=kinds[delegate])


def running_mode(static: bool) -> Any:
    """IMAGE, or VIDEO, which tracks."""
    modes = vision().RunningMode
    return modes.IMAGE if static else modes.VIDEO


def to_image(image: NDArray[np.uint8]) -> Any:
    """A frame as MediaPipe takes it; its pixels are copied.

    Args:
        image: uint8 (H, W, 3) RGB.
    """
    mediapipe = importlib.import_module("mediapipe")
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def to_points(landmarks: Any) -> Floats:
    """float32 (N, 3) of x, y, z.

    Args:
        landmarks: List of N landmarks of the Tasks API.
    """
    return np.array([(p.x, p.y, p.z) for p in landmarks], np.float32)


def to_visibility(landmarks: Any) -> Floats:
    """float32 (N,) in [0, 1].

    Args:
        landmarks: List of N pose landmarks of the Tasks API.
    """
    return np.array([p.visibility for p in landmarks], np.float32)


def to_scores(categories: Any) -> Floats:
    """float32 (52, 1) of blendshape scores, in the order of :data:`extraction.topology.FACE_BLENDSHAPES`.

    Args:
        categories: List of the Tasks API, which is in that order.
    """
    return np.array([[category.score] for category in categories], np.float32)


def closes_after_error() -> bool:
    """Whether a detector whose graph has failed may be closed.

    From 0.10.30 on a detector calls native code on a thread of its own, and its ``__del__`` closes it. Where
    the garbage collector takes it after a graph error, that thread is gone already, and ``__del__`` waits
    for it for ever (1.2.2).
    """
    return release(version("mediapipe")) < (0, 10, 30)


class Timestamps:
    """The times that a clip's frames have for MediaPipe: whole milliseconds, each later than the one before.

    Values depend on their differences, and a graph's first time must not be 0 (up to 0.09 difference), so a
    frame at 0 ms is at 1.
    """

    def __init__(self) -> None:
        self._last_ms = 0

    def next(self, timestamp_ms: float) -> int:
        """The time of the next frame.

        Args:
            timestamp_ms: Milliseconds from the clip's start.
        """
        self._last_ms = max(self._last_ms + 1, round(timestamp_ms) + 1)
        return self._last_ms


class Landmarker:
    """One detector of the Tasks API, made anew where its state is to be cleared: it has no reset.

    Args:
        make: Makes it.
        fresh_each_image: Make it anew for each image.
        stateless: It keeps nothing from image to image, so it can stay.
    """

    def __init__(
        self, make: Callable[[], Any], fresh_each_image: bool = False, stateless: bool = False
    ) -> None:
        self._make = make
        self._fresh_each_image = fresh_each_image
        self._stateless = stateless
        self._task: Any = make()
        self._used = self._failed = self._closed = False

    def renew(self) -> None:
        """Clears all state; free for one that has none or has seen nothing yet.

        Raises:
            RuntimeError: If the new one cannot be made (from MediaPipe; or another exception).
        """
        stale = self._used and not self._stateless
        if not self._closed and (stale or self._failed or self._task is None):
            self._let_go()
            self._task = self._make()

    def detect(self, image: Any, time_ms: int | None) -> Any:
        """Detects in one image.

        Args:
            image: As :func:`to_image` gives it.
            time_ms: Of a frame of a video; None for a still image.

        Raises:
            RuntimeError: If the graph fails (from MediaPipe; ValueError for some failures), or after
                :meth:`close`, when MediaPipe itself would say that it found nothing.
        """
        if self._fresh_each_image:
            self.renew()
        if self._task is None:
            raise RuntimeError("a closed detector cannot detect")
        self._used = True
        try:
            if time_ms is None:
                return self._task.detect(image)
            return self._task.detect_for_video(image, time_ms)
        except Exception:
            self._failed = True
            _keep(self._task)
            raise

    def close(self) -> None:
        """Gives back what it holds; after a graph error that is left to the end of the process."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        task, failed = self._task, self._failed
        self._task, self._used, self._failed = None, False, False
        if task is None or (failed and not closes_after_error()):
            return
        try:
            task.close()
        except (RuntimeError, ValueError):
            _keep(task)
            if not failed:
                raise


def _keep(task: Any) -> None:
    """Sees to it that a failed detector is never collected where its ``__del__`` would hang."""
    if not closes_after_error():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
