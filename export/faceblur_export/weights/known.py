"""The official weights: where they are and what they hash to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RELEASE: Final = "https://github.com/clibdev/yolov5-face/releases/latest/download"
"""A moving address: the hashes below say what is accepted from it."""

OWN_LICENCE: Final = "GPL-3.0-or-later"
"""Licence of weights that are not in this list: those trained with this project."""


@dataclass(frozen=True)
class KnownWeights:
    """One official checkpoint: its name, as users write it, and SHA-256, hexadecimal."""

    name: str
    sha256: str
    url: str
    licence: str = "GPL-3.0-only"


_SHA256: Final = {
    "yolov5n-0.5-face": "9f7cdbcf5cd63f454c47b18e7400a69630b96a01efb7559367e91b6e962ad3bd",
    "yolov5n-face": "794c94da54630f2ca66167fea25530c68133c61a2b14131b073c0d4064934e50",
    "yolov5s-face": "a594ade0f5e80f5cf15aef8997d285a3fb4b372a2af5262fbc6837d30318cda7",
    "yolov5m-face": "ca90ccc1b76c06d330a501bdb2cba63d3740fd3ef39baea89c7acc602557a4a2",
    "yolov5l-face": "adfa3fbee5ba97ca86237cf8b45992aaea891ea481d59722da89bbd871a6a546",
}

KNOWN: Final = {
    name: KnownWeights(name, sha256, f"{RELEASE}/{name}.pt") for name, sha256 in _SHA256.items()
}
"""The official weights by name."""


def licence_of(sha256: str) -> str:
    """The licence of a checkpoint with this hash."""
    known = (weights.licence for weights in KNOWN.values() if weights.sha256 == sha256)
    return next(known, OWN_LICENCE)
