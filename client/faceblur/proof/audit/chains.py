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

import hmac
import json
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from faceblur.files import atomic_path, canonical_sha256
from faceblur.proof.audit.log import AuditLog, coverage, exclusively, unwritable
from faceblur.proof.audit.manifest import HEAD, KEY_VARIABLE, SEAL, AuditError
from faceblur.proof.audit.merkle import roots
from faceblur.proof.audit.reader import (
    Audit,
    Entry,
    broken_audit,
    read_audit,
    read_head,
    reason_of,
)

SEAL_FORMAT: Final = "faceblur-audit-seal/1"
CHAINS: Final = "chains"


@dataclass(frozen=True)
class SealedHead:
    """The head of a chain when it was sealed: how many manifests there were, and the last."""

    chain: str
    entries: int
    sha256: str


@dataclass(frozen=True)
class Seal:
    """What `seal.json` says.

    Attributes:
        audit: Which audit it is: 32 hexadecimal digits that no other has.
        heads: In the order they were sealed; the later one of a chain counts.
    """

    audit: str
    heads: tuple[SealedHead, ...] = ()

    def roots(self) -> Iterator[str]:
        """Of the tree after each head that was sealed; the last stands for all."""
        leaves = [f"{head.chain} {head.entries} {head.sha256}" for head in self.heads]
        found = roots(text.encode() for text in (self.audit, *leaves))
        next(found)
        yield from found

    @property
    def root(self) -> str:
        """The last of them."""
        *_, last = self.roots()
        return last

    def latest(self) -> dict[str, SealedHead]:
        """The head of each chain."""
        return {head.chain: head for head in self.heads}

    def text(self, key: bytes | None) -> str:
        """The file."""
        fields: dict[str, object] = {"format": SEAL_FORMAT, "audit": self.audit}
        fields["heads"] = [[head.chain, head.entries, head.sha256] for head in self.heads]
        fields["root"] = self.root
        if key is not None:
            fields["hmac_sha256"] = _mac(key, self.root)
        return json.dumps(fields, indent=1) + "\n"


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
            beginning=_beginning(self.audit, name),
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
            seal = _read_seal(folder, key)
            if seal is None:
                if any((folder / CHAINS).iterdir()):
                    raise broken_audit(folder, f"{SEAL} is missing")
                seal = Seal(secrets.token_hex(16))
                self._write(folder, seal)
            elif key is None and "hmac_sha256" in _fields(folder):
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
            seal = _read_seal(folder, self._key)
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
            seal = Seal(seal.audit, (*seal.heads, *new))
            _check_heads(folder, seal)
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
    seal = _read_seal(folder, key)
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
        sealed=key is not None or "hmac_sha256" in _fields(folder),
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
        chain = read_audit(path, key=key, beginning=_beginning(seal.audit, path.name))
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


def _check_heads(folder: Path, seal: Seal) -> None:
    """Check that chains have only grown.

    Raises:
        AuditError: One has not.
    """
    known: dict[str, int] = {}
    for head in seal.heads:
        if head.entries < known.get(head.chain, 0):
            raise broken_audit(folder, f"the chain {head.chain} is shorter than when it was sealed")
        known[head.chain] = head.entries


def _read_seal(folder: Path, key: bytes | None) -> Seal | None:
    """Read the seal; None where there is none.

    Raises:
        AuditError: It is damaged, or is not sealed with the key.
    """
    path = folder / SEAL
    if not path.exists():
        return None
    fields = _fields(folder)
    try:
        if fields["format"] != SEAL_FORMAT:
            raise AuditError(f"{path} has the format {fields['format']}; update faceblur")
        heads = [SealedHead(str(n), int(e), str(sha256)) for n, e, sha256 in fields["heads"]]
        seal, root = Seal(str(fields["audit"]), tuple(heads)), str(fields["root"])
        mac = fields.get("hmac_sha256")
    except AuditError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise broken_audit(folder, f"{SEAL} cannot be read ({reason_of(error)})") from error
    if seal.root != root:
        raise broken_audit(folder, f"the heads in {SEAL} are not those of its root")
    _check_heads(folder, seal)
    if key is None:
        return seal
    if mac is None:
        raise AuditError(f"the audit in {folder} is not sealed, though {KEY_VARIABLE} is set")
    if not hmac.compare_digest(str(mac), _mac(key, root)):
        raise AuditError(
            f"the audit in {folder} was sealed with another key than the one in {KEY_VARIABLE}, "
            f"or its {SEAL} was changed"
        )
    return seal


def _fields(folder: Path) -> dict[str, Any]:
    try:
        fields = json.loads((folder / SEAL).read_bytes())
    except (OSError, ValueError) as error:
        raise broken_audit(folder, f"{SEAL} cannot be read ({reason_of(error)})") from error
    return fields if isinstance(fields, dict) else {}


def _beginning(audit: str, chain: str) -> str:
    """What the first manifest of a chain names as the one before: its audit, and itself."""
    return canonical_sha256({"format": SEAL_FORMAT, "audit": audit, "chain": chain})


def _mac(key: bytes, root: str) -> str:
    return hmac.new(key, f"{SEAL_FORMAT} {root}".encode(), "sha256").hexdigest()
