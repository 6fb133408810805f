"""Merkle trees as in RFC 6962, section 2.1: one hash that stands for a list, in its order.

Leaves and inner nodes are hashed with different first bytes, so that neither can be taken for the
other. A tree only grows: its earlier roots can be found again from its leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def roots(leaves: Iterable[bytes]) -> Iterator[str]:
    """The root of a list after each of its leaves, hexadecimal; first that of the empty list."""
    # Whole subtrees from the largest to the smallest: (height, hash).
    subtrees: list[tuple[int, bytes]] = []
    yield hashlib.sha256(b"").hexdigest()
    for leaf in leaves:
        height, digest = 0, _hash(_LEAF + leaf)
        while subtrees and subtrees[-1][0] == height:
            digest = _hash(_NODE + subtrees.pop()[1] + digest)
            height += 1
        subtrees.append((height, digest))
        for _, left in reversed(subtrees[:-1]):
            digest = _hash(_NODE + left + digest)
        yield digest.hex()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
