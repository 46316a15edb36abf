"""Detectors: what they are (`protocol`), how one is made (`registry`), and one file an engine."""

from extraction.detectors.protocol import Detector, DetectorInfo, DetectorOptions
from extraction.detectors.registry import ENGINES, create_detector, default_engine, delegates, resolve_engine

__all__ = [
    "ENGINES",
    "Detector",
    "DetectorInfo",
    "DetectorOptions",
    "create_detector",
    "default_engine",
    "delegates",
    "resolve_engine",
]
