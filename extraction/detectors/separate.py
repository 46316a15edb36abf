"""Three detectors for each frame: hands, pose and face, none of which knows of the others.

They are the legacy solutions of mediapipe 0.10.21, or the landmarkers of the Tasks API: on mediapipe 1.0.1
and newer, and on 0.10.21 where a folder of their models is given.
"""

import importlib.util
import platform
from dataclasses import replace
from pathlib import Path

from extraction import models
from extraction.detectors import tasks_api
from extraction.detectors.protocol import Detector, DetectorOptions, refuse_unused
from extraction.detectors.separate_legacy import LegacyDetector
from extraction.detectors.separate_tasks import POSE_SIZES, TasksDetector, model_files
from extraction.errors import JobError

DELEGATES = ("cpu", "gpu")

_ENGINE = "hands+pose+face"
_OLDEST = (1, 0, 1)


def resolve(options: DetectorOptions, mediapipe_version: str | None) -> DetectorOptions:
    """Finds out, without importing MediaPipe, whether this engine can run here.

    Args:
        options: What the detector is to be.
        mediapipe_version: The installed version, or None where there is none.

    Returns:
        For the Tasks API, the options with the folder of models and their joint digest, and with the
        refined face, which they always give. For the legacy solutions, with the CPU instead of ``"auto"``.

    Raises:
        JobError: If MediaPipe is missing or too old, a model is missing, damaged or not the expected one,
            or an option means nothing to this engine.
    """
    refuse_unused(options, "mask")
    package = importlib.util.find_spec("mediapipe")
    if mediapipe_version is None or package is None or package.origin is None:
        raise JobError(
            f"engine '{_ENGINE}' needs mediapipe 0.10.21, or 1.0.1 or newer, found none: install this "
            "project's dependencies"
        )
    wheel = Path(package.origin).parent
    has_legacy = (wheel / "python" / "solutions" / "hands.py").exists()
    if has_legacy and not options.model:
        return _resolve_legacy(options, wheel)
    if not has_legacy and tasks_api.release(mediapipe_version) < _OLDEST:
        raise JobError(
            f"engine '{_ENGINE}' needs mediapipe 0.10.21, or 1.0.1 or newer, found {mediapipe_version} "
            f"(Python {platform.python_version()}): install this project's dependencies"
        )
    return _resolve_tasks(options)


def _resolve_legacy(options: DetectorOptions, wheel: Path) -> DetectorOptions:
    how = "give a folder of Tasks models with --model, or use Python 3.13, where this project installs them"
    if options.delegate == "gpu":
        raise JobError(f"the legacy solutions of engine '{_ENGINE}' run on the CPU only: {how}")
    if "face_blendshapes" in options.extra_parts:
        raise JobError(f"the legacy solutions of engine '{_ENGINE}' have no face_blendshapes: {how}")
    size = POSE_SIZES[options.model_complexity]
    model = wheel / "modules" / "pose_landmark" / f"pose_landmark_{size}.tflite"
    if not model.exists():
        raise JobError(
            f"--model-complexity {options.model_complexity} needs the pose model {model.name}, which the "
            f"mediapipe wheel does not carry: put it at {model}, or use --model-complexity 1"
        )
    return replace(options, delegate="cpu")


def _resolve_tasks(options: DetectorOptions) -> DetectorOptions:
    if not options.static:
        refuse_unused(options, "smooth")
    if options.model:
        folder = tasks_api.place_here(options, models.cache_folder())
        files = model_files(folder, options.model_complexity)
    else:
        files = _cached_files(options.model_complexity)
        folder = files["hand_landmarker"].parent
    blendshapes = ("face_blendshapes" in options.extra_parts) * (tasks_api.BLENDSHAPES_FILE,)
    for kind, file in files.items():
        tasks_api.check_bundle(file, kind, also=blendshapes if kind == "face_landmarker" else ())
    found = tasks_api.joint_digest(files.values())
    tasks_api.check_digest(options, str(folder), found)
    return replace(options, model=str(folder), model_sha256=found, refine_face=True)


def _cached_files(model_complexity: int) -> dict[str, Path]:
    names = {
        "hand_landmarker": "hand_landmarker",
        "pose_landmarker": f"pose_landmarker_{POSE_SIZES[model_complexity]}",
        "face_landmarker": "face_landmarker",
    }
    files = {kind: models.find_model(name) for kind, name in names.items()}
    if missing := [names[kind] for kind, file in files.items() if file is None]:
        raise JobError(
            f"engine '{_ENGINE}' needs {len(names)} models, {len(missing)} of them missing: "
            f"{'; '.join(map(models.how_to_get, missing))}; or give a folder of others with --model"
        )
    return {kind: file for kind, file in files.items() if file is not None}


def create(options: DetectorOptions) -> Detector:
    """Makes the detector; one with models is of the Tasks API."""
    return TasksDetector(options) if options.model else LegacyDetector(options)
