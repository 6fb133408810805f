"""Kubernetes' API of leases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lease_api import LeaseApi, lease_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LeaseApi]:
    with lease_api(tmp_path) as running:
        yield running
