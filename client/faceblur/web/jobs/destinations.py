"""Where the result of a file is wanted in an object store, and what has become of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faceblur.stores.address import Address
from faceblur.stores.store import Entry


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a program wants the result that counts.

    Attributes:
        address: The name that it gets there.
        replaces: Somebody else's file of that name is replaced.
        takes_unclean: So is a result wanted in which a face may show, or which could not be
            checked completely.
    """

    address: Address
    replaces: bool = False
    takes_unclean: bool = False


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What has become of a destination.

    Attributes:
        number: Of the result that lies there; None for none.
        entry: That file, as its store has it.
        error: Why the result that counts does not lie there.
    """

    destination: Destination
    number: int | None = None
    entry: Entry | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For programs; without secrets."""
        return {
            "address": str(self.destination.address),
            "version": self.number,
            "error": self.error,
        }
