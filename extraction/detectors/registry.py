"""From an engine's name to a detector."""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, cast

from extraction.detectors.protocol import Detector, DetectorOptions
from extraction.errors import JobError
from extraction.gl import missing_library

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "holistic": "extraction.detectors.holistic",
        "tasks": "extraction.detectors.tasks",
        "hands+pose+face": "extraction.detectors.separate",
        "segmenter": "extraction.detectors.segmenter",
    }
)
"""Engine name to its module, which has ``DELEGATES``, ``resolve(options, mediapipe_version)`` and
``create(options)``, and imports MediaPipe only in the last."""


def mediapipe_version() -> str | None:
    """The installed version of MediaPipe; None where there is none."""
    try:
        return version("mediapipe")
    except PackageNotFoundError:
        return None


def default_engine() -> str:
    """The first engine that the installed MediaPipe has: legacy Holistic, or its successor."""
    found = mediapipe_version()
    return "tasks" if found and int(found.split(".")[0]) >= 1 else "holistic"


def resolve_engine(options: DetectorOptions) -> DetectorOptions:
    """Finds out, without importing MediaPipe, whether this machine can make the detector.

    Returns:
        The options with the engine's own model, and its digest, where they left it open.

    Raises:
        JobError: If it cannot, saying what is missing.
    """
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        raise JobError(missing_library(error) or f"OpenCV cannot be imported: {error}") from error
    if options.engine not in ENGINES:
        _import_factory(options.engine)
        return options
    engine = _module(options.engine)
    resolved = cast("DetectorOptions", engine.resolve(options, mediapipe_version()))
    if options.delegate not in ("auto", *engine.DELEGATES):
        raise JobError(
            f"engine {options.engine!r} runs on {' and '.join(engine.DELEGATES)} only, found --delegate "
            f"{options.delegate}: leave it out, or choose another --engine"
        )
    return resolved


def delegates(engine: str) -> tuple[str, ...]:
    """What the models of an engine can run on."""
    return tuple(_module(engine).DELEGATES) if engine in ENGINES else ("cpu", "gpu")


def create_detector(options: DetectorOptions) -> Detector:
    """Makes the detector that the options ask for.

    Raises:
        JobError: If the engine is unknown or this machine cannot run it.
    """
    resolved = resolve_engine(options)
    if options.engine in ENGINES:
        return cast("Detector", _module(options.engine).create(resolved))
    return _import_factory(options.engine)(resolved)


def _module(engine: str) -> Any:
    return importlib.import_module(ENGINES[engine])


def _import_factory(engine: str) -> Callable[[DetectorOptions], Detector]:
    module_name, colon, function_name = engine.partition(":")
    if not colon:
        raise JobError(
            f"unknown engine {engine!r}: expected one of {', '.join(ENGINES)}, "
            "or 'package.module:function' for your own"
        )
    try:
        factory = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise JobError(f"engine {engine!r} cannot be imported: {error}") from error
    return cast("Callable[[DetectorOptions], Detector]", factory)
