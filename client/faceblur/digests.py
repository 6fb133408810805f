"""Tell files and settings from each other by what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_CHUNK_BYTES: Final = 1 << 20


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_sha256(values: Mapping[str, Any]) -> str:
    """The SHA-256 of values that JSON has, hexadecimal, whatever the order of their names."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
