"""Videos that are made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from copies import SOURCES


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Sources by name, each made once."""
    paths: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in paths:
            paths[name] = SOURCES[name](tmp_path_factory.mktemp("source"))
        return paths[name]

    return get
