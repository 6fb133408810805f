"""How what takes long tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")

ShowShare = Callable[["float | None"], None]
"""Called with the share that is done, 0–1, or None where nobody knows."""


class ShowItems(Protocol):
    """Passes on what it is given, and may show how far it is."""

    def __call__(self, items: Sequence[Item], /) -> Iterable[Item]:
        """The same items."""
