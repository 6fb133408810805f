"""Encrypted connections: only the right certificates get through."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import trustme
from click.testing import CliRunner

from faceblur.cli import main
from faceblur.detection import models
from faceblur.detection.canary import check
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import TLS, Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import InputError, ServerError


@dataclass(frozen=True)
class Party:
    """An authority, a certificate it signed, and another one that has expired since."""

    ca: Path
    certificate: Path
    key: Path
    expired: tuple[Path, Path]


def _party(folder: Path, name: str) -> Party:
    authority = trustme.CA()
    ca = folder / f"{name}-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    now = datetime.now(timezone.utc)
    # Not for localhost: that name reaches a server other than the certified one.
    fresh = _write(authority.issue_cert("127.0.0.1"), folder / f"{name}-fresh")
    expired = authority.issue_cert(
        "127.0.0.1", not_before=now - timedelta(days=30), not_after=now - timedelta(minutes=1)
    )
    return Party(ca, *fresh, _write(expired, folder / f"{name}-expired"))


def _write(issued: trustme.LeafCert, path: Path) -> tuple[Path, Path]:
    certificate, key = path.with_suffix(".crt.pem"), path.with_suffix(".key.pem")
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return certificate, key


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("tls"), "stranger")


@contextmanager
def _serving(ours: Party, certificate: Path, key: Path) -> Iterator[str]:
    """A server that lets in only clients of our own authority."""
    onnx, model = models.find(BUNDLED_MODEL)
    options = ServerOptions(
        onnx=onnx,
        model=model,
        instances=2,
        certificate=certificate,
        key=key,
        client_ca=ours.ca,
    )
    with TritonServer(options) as server:
        yield server.address


@pytest.fixture(scope="module")
def address(ours: Party) -> Iterator[str]:
    with _serving(ours, ours.certificate, ours.key) as address:
        yield address


def test_the_right_certificate_is_let_in(address: str, ours: Party) -> None:
    tls = TLS(root_ca=ours.ca, certificate=ours.certificate, key=ours.key)
    detector = TritonDetector(Connection(address=address, tls=tls))
    try:
        check(detector, deadline_s=30)
        empty = np.full((384, 640, 3), 114, np.uint8)
        assert len(detector.submit([empty], min_score=0.5)[0].result(30)) == 0
    finally:
        detector.close()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("plain text", "no server answers"),
        ("no certificate", "the server ended it.*--tls-cert"),
        ("a stranger's", "the server ended it.*--tls-cert"),
        ("expired", "the server ended it.*--tls-cert"),
        ("wrong authority", "self signed certificate.*--tls-ca"),
    ],
)
def test_everybody_else_is_not(
    address: str, ours: Party, stranger: Party, case: str, reason: str
) -> None:
    tls = {
        "plain text": None,
        "no certificate": TLS(root_ca=ours.ca),
        "a stranger's": TLS(root_ca=ours.ca, certificate=stranger.certificate, key=stranger.key),
        "expired": TLS(root_ca=ours.ca, certificate=ours.expired[0], key=ours.expired[1]),
        "wrong authority": TLS(root_ca=stranger.ca, certificate=ours.certificate, key=ours.key),
    }[case]
    with pytest.raises(ServerError, match=reason):
        TritonDetector(Connection(address=address, tls=tls, deadline_s=30))


def test_a_server_by_another_name_is_not_talked_to(address: str, ours: Party) -> None:
    tls = TLS(root_ca=ours.ca, certificate=ours.certificate, key=ours.key)
    port = address.rpartition(":")[2]
    # The name leads there; only the certificate is not for it.
    socket.create_connection(("localhost", int(port)), timeout=30).close()
    with pytest.raises(ServerError, match="for another name"):
        TritonDetector(Connection(address=f"localhost:{port}", tls=tls, deadline_s=30))


def test_a_server_whose_certificate_expired_is_not_talked_to(ours: Party) -> None:
    tls = TLS(root_ca=ours.ca, certificate=ours.certificate, key=ours.key)
    with _serving(ours, *ours.expired) as address:
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30).close()
        with pytest.raises(ServerError, match="certificate has expired"):
            TritonDetector(Connection(address=address, tls=tls, deadline_s=30))


def test_a_certificate_needs_its_key(ours: Party) -> None:
    with pytest.raises(InputError, match="go together"):
        TLS(root_ca=ours.ca, certificate=ours.certificate)


def test_a_missing_file_is_named(ours: Party, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nobody\.pem"):
        TLS(root_ca=tmp_path / "nobody.pem")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no authority", "text.pem holds no certificate; give the authority's PEM file"),
        ("no certificate", "are no certificate and its private key"),
        ("another's key", "are no certificate and its private key"),
        ("a locked key", "the key without a password"),
    ],
)
def test_files_that_do_not_fit_are_named_before_anybody_connects(
    ours: Party, stranger: Party, tmp_path: Path, case: str, reason: str
) -> None:
    text, locked = tmp_path / "text.pem", tmp_path / "locked.pem"
    text.write_text("hello")
    subprocess.run(
        ["openssl", "pkey", "-in", ours.key, "-aes256", "-passout", "pass:x", "-out", locked],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    given = {
        "no authority": (text, ours.certificate, ours.key),
        "no certificate": (ours.ca, text, ours.key),
        "another's key": (ours.ca, ours.certificate, stranger.key),
        "a locked key": (ours.ca, ours.certificate, locked),
    }[case]
    with pytest.raises(InputError, match=reason):
        TLS(root_ca=given[0], certificate=given[1], key=given[2])
    options = ("--tls-ca", "--tls-cert", "--tls-key")
    words = [word for pair in zip(options, map(str, given), strict=True) for word in pair]
    served = CliRunner().invoke(main, ["serve", *words])
    assert served.exit_code == InputError.exit_code
    (sentence,) = served.stderr.splitlines()
    assert reason in sentence


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (["--host", "0.0.0.0"], None),
        (["--host", "192.0.2.7", "--tls-cert", "CERT", "--tls-key", "KEY"], None),
        (["--host", "0.0.0.0", "--insecure"], False),
        (["--host", "0.0.0.0", "--tls-cert", "CERT", "--tls-key", "KEY", "--tls-ca", "CA"], False),
        (["--host", "127.0.0.1"], True),
        (["--host", "localhost", "--insecure"], True),
    ],
)
def test_the_network_is_served_by_mutual_tls_or_on_purpose_and_never_by_shared_memory(
    ours: Party, monkeypatch: pytest.MonkeyPatch, words: list[str], shared: bool | None
) -> None:
    started: list[ServerOptions] = []

    def no_server(options: ServerOptions) -> TritonServer:
        started.append(options)
        raise ServerError("not started")

    monkeypatch.setattr(sys.modules["faceblur.cli.serve"], "TritonServer", no_server)
    files = {"CERT": ours.certificate, "KEY": ours.key, "CA": ours.ca}
    done = CliRunner().invoke(main, ["serve", *(str(files.get(word, word)) for word in words)])
    if shared is None:
        assert done.exit_code == InputError.exit_code
        (sentence,) = done.stderr.splitlines()
        assert "--tls-ca" in sentence
        assert "--insecure" in sentence
        assert not started
    else:
        assert "not started" in done.stderr
        (options,) = started
        assert options.share_memory is shared
