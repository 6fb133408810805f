"""An audit that several workers write to: each has a chain of its own, and one seal holds all.

    chains/NAME/          of each worker, as `faceblur.proof.audit.manifest` says, but the first
                          manifest names the audit and its chain, where others name nothing
    seal.json             which audit it is, and the heads of all chains, in the order they were
                          sealed; the root of the Merkle tree over both stands for the whole

A worker waits for no other. Whoever ends a run seals the heads that have changed, behind those that
are sealed already: nothing is taken out, so that a root that was noted elsewhere is found again.

What that shows, beyond what one chain does: a chain that is missing, one that was put back to an
earlier state, and one of another audit, also under the name of one that was here. What was written
since the last seal (a run that was killed) can be read and gone on with, but not relied on before
it is sealed: a chain that nobody sealed could be removed without a trace.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from faceblur.files import atomic_path
from faceblur.proof.audit.log import AuditLog, coverage, exclusively, unwritable
from faceblur.proof.audit.manifest import HEAD, KEY_VARIABLE, SEAL, AuditError
from faceblur.proof.audit.reader import Audit, Entry, broken_audit, read_audit, read_head
from faceblur.proof.audit.seal import Seal, SealedHead, beginning_of, check_heads, read_seal

CHAINS: Final = "chains"


@dataclass(frozen=True)
class ChainPlace:
    """Where workers begin their chains; it can be sent to them."""

    folder: Path
    audit: str

    def begin(self, *, key: bytes | None, covered: Collection[bytes] = ()) -> AuditLog:
        """Begin a chain that nobody else writes to.

        Args:
            key: What its head is sealed with, as all others are.
            covered: What has its manifest in other chains.

        Raises:
            OutputError: It cannot be written.
        """
        name = secrets.token_hex(8)
        return AuditLog(
            self.folder / CHAINS / name,
            key=key,
            beginning=beginning_of(self.audit, name),
            covered=covered,
        )


class AuditChains:
    """An audit of several chains, to be added to.

    Args:
        folder: Where it lies, or will.
        key: What it is sealed with; None for no seal. An audit stays as it began.

    Attributes:
        place: Where workers begin their chains.
        covered: What has its manifest by now.

    Raises:
        AuditError: What is there does not hold, is sealed otherwise, or is a single chain.
        OutputError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, *, key: bytes | None = None) -> None:
        self._key = key
        if (folder / HEAD).exists():
            raise AuditError(
                f"the audit in {folder} is one chain, which several workers cannot add to: name "
                "another folder"
            )
        try:
            (folder / CHAINS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        with exclusively(folder):
            seal = read_seal(folder, key)
            if seal is None:
                if any((folder / CHAINS).iterdir()):
                    raise broken_audit(folder, f"{SEAL} is missing")
                seal = Seal(secrets.token_hex(16))
                self._write(folder, seal)
            elif key is None and seal.has_key:
                raise AuditError(
                    f"the audit in {folder} is sealed with a key: set {KEY_VARIABLE} to it, or "
                    "begin another audit in a new folder"
                )
        self.place = ChainPlace(folder, seal.audit)
        entries, _ = _entries(folder, seal, key)
        self.covered = frozenset(coverage(entry.manifest) for entry in entries)

    def seal(self) -> Audit:
        """Seal what was written, by whomever: what it holds then.

        Raises:
            AuditError: It does not hold any more.
            OutputError: It cannot be written.
        """
        folder = self.place.folder
        with exclusively(folder):
            seal = read_seal(folder, self._key)
            if seal is None or seal.audit != self.place.audit:
                raise broken_audit(folder, f"{SEAL} is not what it was")
            sealed = seal.latest()
            heads = [
                SealedHead(path.name, head.entries, head.sha256)
                for path in _chains(folder)
                # What a worker never wrote to is nothing to seal.
                if (head := read_head(path, key=self._key)) is not None and head.entries
            ]
            new = tuple(head for head in heads if sealed.get(head.chain) != head)
            seal = replace(seal, heads=(*seal.heads, *new))
            check_heads(folder, seal)
            # Before it is written: nothing is sealed that does not hold.
            entries, _ = _entries(folder, seal, self._key)
            if new:
                self._write(folder, seal)
        return _audit(folder, seal, entries, self._key)

    def _write(self, folder: Path, seal: Seal) -> None:
        try:
            with atomic_path(folder / SEAL) as temporary:
                temporary.write_text(seal.text(self._key), encoding="utf-8")
        except OSError as error:
            raise unwritable(folder, error) from error


def read(folder: Path, *, key: bytes | None = None) -> Audit:
    """Read an audit of one chain or of several, and check that nothing was changed in it.

    Args:
        folder: Where it lies.
        key: What it is sealed with; without it a seal is not checked.

    Raises:
        AuditError: There is none, or it does not hold, or is not sealed to its end. The message
            names the chain.
    """
    if not (folder / SEAL).exists() and not (folder / CHAINS).is_dir():
        return read_audit(folder, key=key)
    seal = read_seal(folder, key)
    if seal is None:
        raise broken_audit(folder, f"{SEAL} is missing")
    entries, unsealed = _entries(folder, seal, key)
    if unsealed:
        raise AuditError(
            f"the audit in {folder} is not sealed to its end: {len(unsealed)} of its chains, such "
            f"as {unsealed[0]}, hold manifests beyond; wait for the run to end, or start it again "
            "if it was killed"
        )
    return _audit(folder, seal, entries, key)


def _audit(folder: Path, seal: Seal, entries: list[Entry], key: bytes | None) -> Audit:
    return Audit(
        folder=folder,
        entries=tuple(entries),
        head=seal.root,
        sealed=key is not None or seal.has_key,
        checked_with_key=key is not None,
        earlier=tuple(seal.roots()),
    )


def _entries(folder: Path, seal: Seal, key: bytes | None) -> tuple[list[Entry], list[str]]:
    """All manifests by the time they were written, and the chains that go on beyond the seal.

    Raises:
        AuditError: Something was changed.
    """
    sealed: dict[str, list[SealedHead]] = {}
    for head in seal.heads:
        sealed.setdefault(head.chain, []).append(head)
    entries: list[Entry] = []
    beyond: list[str] = []
    for path in _chains(folder):
        chain = read_audit(path, key=key, beginning=beginning_of(seal.audit, path.name))
        entries += chain.entries
        last = 0
        # All of them: a chain may go on from another beginning than was sealed before.
        for head in sealed.pop(path.name, ()):
            last = head.entries
            if last > len(chain.entries):
                raise broken_audit(
                    folder, f"the chain {path.name} is shorter than when it was sealed"
                )
            if last and chain.entries[last - 1].sha256 != head.sha256:
                raise broken_audit(folder, f"the chain {path.name} is not the one that was sealed")
        if last < len(chain.entries):
            beyond.append(path.name)
    if missing := next(iter(sealed), None):
        raise broken_audit(folder, f"the chain {missing} is missing")
    entries.sort(key=lambda entry: entry.manifest.ended)
    return entries, beyond


def _chains(folder: Path) -> list[Path]:
    """The chains; a worker may have been killed before it had begun its own."""
    try:
        paths = sorted(path for path in (folder / CHAINS).iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise broken_audit(folder, f"{CHAINS} cannot be read ({error.strerror})") from error
    return [path for path in paths if (path / HEAD).exists() or any(path.glob("[0-9]*.jsonl"))]
