"""Encrypted connections: only the right certificates get through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trustme

from faceblur import models
from faceblur.canary import check
from faceblur.connection import TLS, Connection
from faceblur.errors import InputError, ServerError
from faceblur.triton import TritonDetector
from faceblur.triton_server import ServerOptions, TritonServer


@dataclass(frozen=True)
class Party:
    """An authority, and a certificate it signed."""

    ca: Path
    certificate: Path
    key: Path


def _party(folder: Path, name: str) -> Party:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    party = Party(*(folder / f"{name}-{part}.pem" for part in ("ca", "cert", "key")))
    authority.cert_pem.write_to_path(str(party.ca))
    issued.private_key_pem.write_to_path(str(party.key))
    party.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return party


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("tls"), "stranger")


@pytest.fixture(scope="module")
def address(official: str, ours: Party) -> Iterator[str]:
    """A server that lets in only clients of our own authority."""
    onnx, model = models.find(official)
    options = ServerOptions(
        onnx=onnx,
        model=model,
        instances=1,
        certificate=ours.certificate,
        key=ours.key,
        client_ca=ours.ca,
    )
    with TritonServer(options) as server:
        yield server.address


def test_the_right_certificate_is_let_in(address: str, ours: Party) -> None:
    tls = TLS(root_ca=ours.ca, certificate=ours.certificate, key=ours.key)
    detector = TritonDetector(Connection(address=address, tls=tls))
    try:
        check(detector, deadline_s=10)
        empty = np.full((384, 640, 3), 114, np.uint8)
        assert len(detector.submit(empty, min_score=0.5).result(10)) == 0
    finally:
        detector.close()


@pytest.mark.parametrize(
    "case", ["plain text", "no certificate", "a stranger's", "wrong authority"]
)
def test_everybody_else_is_not(address: str, ours: Party, stranger: Party, case: str) -> None:
    tls = {
        "plain text": None,
        "no certificate": TLS(root_ca=ours.ca),
        "a stranger's": TLS(root_ca=ours.ca, certificate=stranger.certificate, key=stranger.key),
        "wrong authority": TLS(root_ca=stranger.ca, certificate=ours.certificate, key=ours.key),
    }[case]
    with pytest.raises(ServerError):
        TritonDetector(Connection(address=address, tls=tls, deadline_s=3))


def test_a_certificate_needs_its_key(ours: Party) -> None:
    with pytest.raises(InputError, match="go together"):
        TLS(root_ca=ours.ca, certificate=ours.certificate)


def test_a_missing_file_is_named(ours: Party, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nobody\.pem"):
        TLS(root_ca=tmp_path / "nobody.pem")
