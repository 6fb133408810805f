"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared material (weights, goldens, media), or a skip that says how to give it."""
    folder = os.environ.get("FACEBLUR_SHARED")
    if not folder or not Path(folder, "golden").is_dir():
        pytest.skip("needs the shared test material: set FACEBLUR_SHARED to its folder")
    return Path(folder)
