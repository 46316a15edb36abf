"""From an engine's name to a detector."""

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from extraction.detectors import holistic
from extraction.detectors.protocol import Detector, DetectorOptions
from extraction.errors import JobError
from extraction.gl import missing_library


def check_engine(options: DetectorOptions) -> None:
    """Finds out, without importing MediaPipe, whether this machine can make the detector.

    Raises:
        JobError: If it cannot, saying what is missing.
    """
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        raise JobError(missing_library(error) or f"OpenCV cannot be imported: {error}") from error
    if options.engine == "holistic":
        try:
            found = version("mediapipe")
        except PackageNotFoundError:
            found = None
        holistic.check(options, found)
    else:
        _import_factory(options.engine)


def create_detector(options: DetectorOptions) -> Detector:
    """Makes the detector that the options ask for.

    Raises:
        JobError: If the engine is unknown or this machine cannot run it.
    """
    check_engine(options)
    if options.engine == "holistic":
        return holistic.HolisticDetector(options)
    return _import_factory(options.engine)(options)


def _import_factory(engine: str) -> Callable[[DetectorOptions], Detector]:
    module_name, colon, function_name = engine.partition(":")
    if not colon:
        raise JobError(
            f"unknown engine {engine!r}: expected 'holistic', or 'package.module:function' for your own"
        )
    try:
        factory = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise JobError(f"engine {engine!r} cannot be imported: {error}") from error
    return cast("Callable[[DetectorOptions], Detector]", factory)
