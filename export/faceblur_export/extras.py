"""What an extra of this distribution brings, and one sentence where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faceblur.errors import ModelError, install_line


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Turn a missing package into one sentence; the `with` block holds nothing but imports.

    They stand in functions because the packages take seconds to load and most commands do
    without.

    Args:
        extra: The extra that brings the package.

    Raises:
        ModelError: The package is not installed; the message says what to run.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("faceblur"):
            raise
        raise ModelError(f"{error.name} is not installed; run: {install_line(extra)}") from error
