"""One of several services that share cameras: which are its own, and until when.

A camera is a lease. Its holder renews it in time, and may run the camera until shortly before the
lease ends for everybody else:

- The holder counts from the moment at which it *sent* its last renewal that came through, and
  gives up a margin early.
- Others take a lease only when they have *seen* it unchanged for all its duration, which began
  after that; and only as they saw it, so that a renewal in between wins.

Both count on clocks of their own, so nobody's time of day matters. The margin covers clocks that do
not run equally fast, and what stopping a camera takes.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from faceblur.live.sharding.leases import (
    Lease,
    LeaseConflictError,
    LeaseKind,
    LeaseRefusedError,
    LeaseStore,
    LeaseStoreError,
    owner,
)
from faceblur.live.sharding.permit import Clock, Permit, now_s

logger = logging.getLogger(__name__)

TURNS: Final = 5
"""Renewals in the duration of a lease."""

MARGIN: Final = 1 / 5
"""Of its duration, by which its holder gives up before others may take it."""


@dataclass
class _Held:
    """A lease of this service's own."""

    lease: Lease
    permit: Permit
    is_wanted: bool = True


@dataclass(frozen=True)
class _Seen:
    """A lease as it was read, and since when it has not changed, on this service's clock."""

    lease: Lease
    since_s: float


class Shard:
    """Keeps the leases of the cameras that this service is to run.

    Args:
        store: Where all services of the group keep their leases.
        member: Name of this service, unlike those of the others.
        lease_s: Seconds after which others may take what is not renewed.
        clock: Gives seconds, and is never set.
    """

    def __init__(
        self, store: LeaseStore, *, member: str, lease_s: float, clock: Clock = now_s
    ) -> None:
        self._store = store
        self._member = member
        # One that was started anew knows nothing of what it held before.
        self._holder = f"{member}_{secrets.token_hex(4)}"
        self._lease_s = lease_s
        self._clock = clock
        self._presence = Lease(
            kind="member", subject=member, holder=self._holder, duration_s=lease_s
        )
        self._joined_s: float | None = None
        self._cameras: tuple[str, ...] = ()
        self._asked_s = clock()
        self._seen: dict[tuple[LeaseKind, str], _Seen] = {}
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    @property
    def turn_s(self) -> float:
        """Seconds from one renewal to the next."""
        return self._lease_s / TURNS

    def want(self, cameras: Iterable[str]) -> None:
        """Say which cameras there are, at least once in the duration of a lease."""
        with self._lock:
            self._asked_s, self._cameras = self._clock(), tuple(cameras)

    def permits(self) -> dict[str, Permit]:
        """The cameras to run now; another permit for the same camera is another turn of it."""
        with self._lock:
            return {
                name: held.permit
                for name, held in self._held.items()
                if held.is_wanted and held.permit.is_valid
            }

    def permit(self, camera: str) -> Permit:
        """That of a camera; one that is over where it is not to run."""
        return self.permits().get(camera) or Permit(0.0, clock=lambda: 0.0)

    def turn(self) -> None:
        """Renew what is held, look at what the others have, take and give back.

        Raises:
            LeaseStoreError: The store does not answer. What is held runs out in time.
        """
        refused: LeaseStoreError | None = None
        for name, held in list(self._held.items()):
            try:
                self._renew(name, held)
            except LeaseRefusedError as error:
                refused = error
        if self._clock() - self._asked_s < self._lease_s:
            # A service that hangs is not to be given cameras.
            self._be_present()
        self._look()
        self._share()
        if refused is not None:
            raise refused

    def leave(self) -> None:
        """Give back all that is idle, and be no member any more.

        Raises:
            LeaseStoreError: The store does not answer.
        """
        for name, held in list(self._held.items()):
            held.is_wanted = False
            self._give_back(name, held)
        if self._joined_s is not None:
            self._presence = self._store.write(replace(self._presence, holder="", cameras=()))

    def _renew(self, name: str, held: _Held) -> None:
        if not held.permit.is_valid:
            # It may be taken anew, with a permit of its own, when its camera has ended.
            held.permit.revoke()
            held.is_wanted = False
        if not held.is_wanted:
            self._give_back(name, held)
            return
        sent_s = self._clock()
        try:
            held.lease = self._store.write(held.lease)
        except LeaseConflictError:
            # Taken by another; or this service's own last word, whose answer was lost: see `_look`.
            return
        held.permit.extend(self._until_s(sent_s))

    def _until_s(self, sent_s: float) -> float:
        return sent_s + self._lease_s * (1 - MARGIN)

    def _give_back(self, name: str, held: _Held) -> None:
        """As soon as nothing is left of the camera; until then it is not renewed."""
        if not held.permit.is_idle:
            return
        held.permit.revoke()
        try:
            self._store.write(replace(held.lease, holder=""))
        except LeaseConflictError:
            # What it is by now is seen, and decided upon, in the next turn.
            logger.debug("the lease of camera %s has changed meanwhile", name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._held[name].permit.revoke()
        with self._lock:
            del self._held[name]

    def _be_present(self) -> None:
        self._presence = replace(self._presence, holder=self._holder, cameras=self._cameras)
        try:
            self._presence = self._store.write(self._presence)
        except LeaseConflictError:
            # Of a service of this name that was here before: see what there is.
            self._joined_s = None
            return
        if self._joined_s is None:
            self._joined_s = self._clock()

    def _look(self) -> None:
        leases = self._store.read()
        # After the answer: what it tells cannot be younger.
        now_s = self._clock()
        seen = {}
        for lease in leases:
            before = self._seen.get((lease.kind, lease.subject))
            unchanged = before is not None and before.lease.version == lease.version
            since_s = before.since_s if before is not None and unchanged else now_s
            seen[lease.kind, lease.subject] = _Seen(lease, since_s)
        self._seen = seen
        for name, held in list(self._held.items()):
            found = seen.get(("camera", name))
            if found is None or found.lease.holder != self._holder:
                logger.warning("camera %s is no longer this service's", name)
                self._forget(name)
            else:
                held.lease = replace(held.lease, version=found.lease.version)
        mine = seen.get(("member", self._member))
        if self._joined_s is None and mine is not None:
            self._presence = replace(self._presence, version=mine.lease.version)

    def _is_over(self, seen: _Seen) -> bool:
        duration_s = max(seen.lease.duration_s, self._lease_s)
        return not seen.lease.holder or self._clock() - seen.since_s >= duration_s

    def _share(self) -> None:
        """Decide by who is there; take and give back accordingly."""
        present = [
            seen.lease
            for (kind, _), seen in self._seen.items()
            if kind == "member" and not self._is_over(seen)
        ]
        for name, held in list(self._held.items()):
            if name not in self._cameras or self._owner(name, present) != self._member:
                held.is_wanted = False
                self._give_back(name, held)
        # Who comes together with others does not take what is theirs.
        if self._joined_s is None or self._clock() - self._joined_s < self.turn_s:
            return
        for name in self._cameras:
            if name not in self._held and self._owner(name, present) == self._member:
                self._take(name)

    def _owner(self, camera: str, present: list[Lease]) -> str | None:
        return owner(camera, [each.subject for each in present if camera in each.cameras])

    def _take(self, name: str) -> None:
        seen = self._seen.get(("camera", name))
        version = ""
        if seen is not None:
            if seen.lease.holder != self._holder and not self._is_over(seen):
                return
            version = seen.lease.version
        wanted = Lease(
            kind="camera",
            subject=name,
            holder=self._holder,
            duration_s=self._lease_s,
            version=version,
        )
        sent_s = self._clock()
        try:
            lease = self._store.write(wanted)
        except LeaseConflictError:
            return
        held = _Held(lease, Permit(self._until_s(sent_s), clock=self._clock))
        with self._lock:
            self._held[name] = held
