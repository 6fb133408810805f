"""The certificate of a page that others than this machine can reach."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faceblur.errors import InputError, OutputError
from faceblur.web.names import WILDCARDS

_VALID: Final = timedelta(days=90)
_MOST_COMMON_NAME: Final = 64


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What the page is served with.

    Attributes:
        path: PEM.
        key: PEM; may be the same file.
        names: Names and addresses that it is for, in lower case.
        fingerprint: SHA-256, as browsers show it.
        is_own: Nobody but this program has signed it.
    """

    path: Path
    key: Path
    names: tuple[str, ...]
    fingerprint: str
    is_own: bool


def read(path: Path, key: Path) -> Certificate:
    """Take a certificate that there is.

    Raises:
        InputError: It cannot be used.
    """
    try:
        # Nobody is there to be asked for the passphrase of a key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, key, password=lambda: "")
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        if isinstance(error, ssl.SSLError) or not error.strerror:
            raise InputError(
                f"{path} and {key} are no certificate with its key in PEM, without a passphrase"
            ) from error
        raise InputError(f"cannot read {path} and {key}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no certificate in PEM") from error
    if certificate.not_valid_after_utc < datetime.now(timezone.utc):
        raise InputError(f"{path} is a certificate that has expired: renew it")
    return Certificate(
        path=path,
        key=key,
        names=_names(certificate),
        fingerprint=_fingerprint(certificate),
        is_own=False,
    )


def make(folder: Path, host: str) -> Certificate:
    """Make a certificate that nobody else vouches for.

    Args:
        folder: A private one; the key lies there in the clear.
        host: Where the page is served, in an address.

    Raises:
        OutputError: It cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = (host,) if host not in WILDCARDS else _own_names()
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_MOST_COMMON_NAME])])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    fingerprint = _fingerprint(certificate)
    return Certificate(path=path, key=path, names=names, fingerprint=fingerprint, is_own=True)


def _own_names() -> tuple[str, ...]:
    """What this machine is called, its address in the network first."""
    name = socket.gethostname().lower()
    addresses = [own_address()]
    # A name that no resolver knows is a name all the same.
    with contextlib.suppress(OSError):
        addresses += [str(found[4][0]) for found in socket.getaddrinfo(name, None)]
    plain = [each for each in addresses if each and "%" not in each]
    return tuple(dict.fromkeys([*plain, name, "localhost"]))


def own_address() -> str:
    """The address that others most likely reach this machine at; empty if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it only chooses a way there, and so the address to begin from.
            probe.connect(("203.0.113.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*(each.lower() for each in names.get_values_for_type(x509.DNSName)), *addresses)


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
