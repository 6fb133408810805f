"""Fixtures of the tests of what is deployed."""

from __future__ import annotations

import pytest
from wheel_server import Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A folder from which Compose's command line can be run."""
    return Machine.at(tmp_path_factory.mktemp("image"))
