"""Leases that several services see and change, each only as it knows it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, Protocol

from faceblur.errors import ServerError

LeaseKind = Literal["camera", "member"]


class LeaseStoreError(ServerError):
    """The store did not answer, or refused."""


class LeaseRefusedError(LeaseStoreError):
    """The store answered, and does not take this lease; it may take others."""


class LeaseConflictError(LeaseStoreError):
    """Somebody else has changed the lease meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What one service holds for a while.

    Attributes:
        kind: A camera, or the presence of a member.
        subject: Name of the camera or the member.
        holder: Who has it; empty: nobody.
        duration_s: It is over when it did not change for so long.
        cameras: Of a member: those that its file names.
        version: Changes whenever the lease does; empty: it is not in the store yet.
    """

    kind: LeaseKind
    subject: str
    holder: str
    duration_s: float
    cameras: tuple[str, ...] = ()
    version: str = ""

    def name(self, group: str) -> str:
        """What the store calls it: a DNS label, readable and unique."""
        readable = re.sub("[^a-z0-9]+", "-", self.subject.lower()).strip("-")[:30].strip("-")
        digest = hashlib.sha256(self.subject.encode()).hexdigest()[:10]
        return "-".join(part for part in (group, self.kind, readable, digest) if part)


class LeaseStore(Protocol):
    """Where leases are kept; safe to use from one thread."""

    def read(self) -> list[Lease]:
        """All leases of the group, none older than the call.

        Raises:
            LeaseStoreError: They cannot be read.
        """

    def write(self, lease: Lease) -> Lease:
        """Put a lease in the place of the one with its version, or make it where it has none.

        Returns:
            The same with its new version.

        Raises:
            LeaseConflictError: It is another by now, and was left as it is.
            LeaseStoreError: It is not known whether it was written.
        """


def owner(camera: str, members: list[str]) -> str | None:
    """Who of the members is to run a camera, by rendezvous hashing; None without members.

    Where a member comes or goes, only the cameras that become its own or were change hands.

    Example:
        >>> owner("door", ["client-0", "client-1"]) in ("client-0", "client-1")
        True
    """

    def weight(member: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{camera}\0{member}".encode()).digest(), member

    return max(members, key=weight, default=None)
