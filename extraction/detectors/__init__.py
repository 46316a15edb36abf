"""Detectors: what they are (`protocol`), how one is made (`registry`), and one file an engine."""

from extraction.detectors.protocol import Detector, DetectorInfo, DetectorOptions
from extraction.detectors.registry import check_engine, create_detector

__all__ = ["Detector", "DetectorInfo", "DetectorOptions", "check_engine", "create_detector"]
