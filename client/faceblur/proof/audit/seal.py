"""What `seal.json` says: the heads of the chains of an audit that several workers write to.

It is `faceblur.proof.audit.chains` that says what that shows, and what not.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from faceblur.files import canonical_sha256
from faceblur.proof.audit.manifest import KEY_VARIABLE, SEAL, AuditError
from faceblur.proof.audit.merkle import roots
from faceblur.proof.audit.reader import broken_audit, is_same_mac, reason_of

SEAL_FORMAT: Final = "faceblur-audit-seal/1"


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
        has_key: Whether it was written with a key.
    """

    audit: str
    heads: tuple[SealedHead, ...] = ()
    has_key: bool = False

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


def read_seal(folder: Path, key: bytes | None) -> Seal | None:
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
        has_key = "hmac_sha256" in fields
        seal, root = Seal(str(fields["audit"]), tuple(heads), has_key), str(fields["root"])
        mac, is_whole = fields.get("hmac_sha256"), seal.root == root
    except AuditError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise broken_audit(folder, f"{SEAL} cannot be read ({reason_of(error)})") from error
    if not is_whole:
        raise broken_audit(folder, f"the heads in {SEAL} are not those of its root")
    check_heads(folder, seal)
    if key is None:
        return seal
    if mac is None:
        raise AuditError(f"the audit in {folder} is not sealed, though {KEY_VARIABLE} is set")
    if not is_same_mac(str(mac), _mac(key, root)):
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


def check_heads(folder: Path, seal: Seal) -> None:
    """Check that chains have only grown.

    Raises:
        AuditError: One has not.
    """
    known: dict[str, int] = {}
    for head in seal.heads:
        if head.entries < known.get(head.chain, 0):
            raise broken_audit(folder, f"the chain {head.chain} is shorter than when it was sealed")
        known[head.chain] = head.entries


def beginning_of(audit: str, chain: str) -> str:
    """What the first manifest of a chain names as the one before: its audit, and itself."""
    return canonical_sha256({"format": SEAL_FORMAT, "audit": audit, "chain": chain})


def _mac(key: bytes, root: str) -> str:
    return hmac.new(key, f"{SEAL_FORMAT} {root}".encode(), "sha256").hexdigest()
