"""How to reach a Triton server: address, encryption, deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from faceblur.defaults import DEFAULT_SERVER
from faceblur.errors import InputError

Transport = Literal["auto", "shm", "raw"]
TRANSPORTS: tuple[Transport, ...] = ("auto", "shm", "raw")


@dataclass(frozen=True, kw_only=True)
class TLS:
    """Encryption of the connection.

    Attributes:
        root_ca: PEM file of the authority that signed the server's certificate; the system's
            authorities when None.
        certificate: PEM file of this client's certificate, for mutual TLS.
        key: PEM file of its private key.
    """

    root_ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check that the files are there and belong together."""
        if (self.certificate is None) != (self.key is None):
            raise InputError("--tls-cert and --tls-key go together; give both")
        for path in (self.root_ca, self.certificate, self.key):
            if path is not None and not path.is_file():
                raise InputError(f"{path} is not a file; give a PEM file")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A Triton server and how to talk to it.

    Attributes:
        address: host:port of its gRPC service.
        tls: Encryption; plain text when None.
        deadline_s: Seconds that any call may take.
        transport: How pictures travel: `shm` through system shared memory, `raw` inside the
            gRPC message, `auto` through shared memory where that works.
    """

    address: str = DEFAULT_SERVER
    tls: TLS | None = field(default=None)
    deadline_s: float = 10.0
    transport: Transport = "auto"

    def __post_init__(self) -> None:
        """Check the address and the deadline."""
        host, separator, port = self.address.rpartition(":")
        if not separator or not host or not port.isdigit():
            raise InputError(
                f"{self.address!r} is not a server address; give HOST:PORT, such as "
                f"{DEFAULT_SERVER}"
            )
        if not self.deadline_s > 0:
            raise InputError("the deadline must be longer than 0 seconds")
        if self.transport not in TRANSPORTS:
            raise InputError(f"transport {self.transport!r} is unknown; use auto, shm or raw")
