"""For tests that need torch, an extra: skipped where it is missing, failed where `make test` promised it."""

import importlib
import os
from types import ModuleType

import pytest


def require_torch() -> ModuleType:
    """The module torch; call it at the top of a module of tests."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        if os.environ.get("TORCH_PROMISED"):
            pytest.fail(f"make promised torch, and it cannot be imported: {error}", pytrace=False)
        pytest.skip("torch is not installed", allow_module_level=True)
