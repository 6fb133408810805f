"""How to reach Triton servers: address, encryption, deadline."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from faceblur.errors import InputError

DEFAULT_SERVER: Final = "localhost:8001"
"""Where `faceblur serve` listens, and where `faceblur blur` asks first."""


Transport = Literal["auto", "shm", "raw", "jpeg"]
TRANSPORTS: tuple[Transport, ...] = ("auto", "shm", "raw", "jpeg")

Priority = Literal["live", "batch"]
PRIORITIES: Final[dict[Priority, int]] = {"live": 1, "batch": 2}
"""What a server does first; servers whose queues know no priorities take them as they come."""

MAX_PORT: Final = 65535
_ADDRESS: Final = re.compile(r"[^\s,/]+:\d+")
_TARGETS: Final = re.compile(r"dns:///?[^\s/]\S*:\d+|ipv[46]:\S+:\d+(,\S+:\d+)*")


@dataclass(frozen=True, kw_only=True)
class TLS:
    """Encryption of the connection.

    Attributes:
        root_ca: PEM file of the authority that signed the server's certificate; the system's
            authorities when None.
        certificate: PEM file of this client's certificate, for mutual TLS.
        key: PEM file of its private key.

    Example:
        >>> try:
        ...     blur = faceblur.connect("gpu-box:8001", tls=faceblur.TLS(root_ca=Path("ca.pem")))
        ... except faceblur.InputError as error:
        ...     print(error)
        ca.pem is not a file; give a PEM file
    """

    root_ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check that the files are there, hold what they should, and belong together."""
        if (self.certificate is None) != (self.key is None):
            raise InputError("--tls-cert and --tls-key go together; give both")
        for path in (self.root_ca, self.certificate, self.key):
            if path is not None and not path.is_file():
                raise InputError(f"{path} is not a file; give a PEM file")
        # gRPC and Triton only say that no connection comes about.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.root_ca is not None:
                context.load_verify_locations(self.root_ca)
        except OSError as error:
            problem = f"{self.root_ca} holds no certificate; give the authority's PEM file"
            raise _unusable(error, problem, self.root_ca) from error
        try:
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except OSError as error:
            problem = (
                f"{self.certificate} and {self.key} are no certificate and its private key; give "
                "two PEM files, the key without a password"
            )
            raise _unusable(error, problem, self.certificate, self.key) from error


def _unusable(error: OSError, problem: str, *paths: Path | None) -> InputError:
    """What to say of files that OpenSSL does not take."""
    if isinstance(error, ssl.SSLError):
        return InputError(problem)
    return InputError(f"cannot read {' or '.join(map(str, paths))}: {error.strerror}")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A Triton server, or several that serve the same model, and how to talk to them.

    Attributes:
        address: host:port of its gRPC service. Several servers are a name in the way of gRPC:
            `dns:///HOST:PORT`, where the name has an address for each, or
            `ipv4:HOST:PORT,HOST:PORT`. Requests go to those that are up, in turn.
        tls: Encryption; plain text when None.
        deadline_s: Seconds that any call may take.
        transport: How images travel: `shm` as pixels in system shared memory, `raw` as pixels
            inside the gRPC message, `jpeg` as JPEG; `auto` through shared memory where that works,
            else as pixels or JPEG, whichever is found to be faster when the connection is made.
        priority: `live` goes before `batch` in the queues of a server.
        is_shared: Others use the server too: `batch` sends its frames one by one, since what has
            begun is not interrupted, and an urgent frame would wait for all of a request.
        token: Opens the closed calls of a server that was started here; where it is None, that of
            this user's server at the address, if there is one.
    """

    address: str = DEFAULT_SERVER
    tls: TLS | None = field(default=None)
    deadline_s: float = 10.0
    transport: Transport = "auto"
    priority: Priority = "batch"
    is_shared: bool = False
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the address and the deadline."""
        ports = [int(port) for port in re.findall(r":(\d+)(?=,|$)", self.address)]
        if not (
            (self.is_several or _ADDRESS.fullmatch(self.address))
            and all(0 < port <= MAX_PORT for port in ports)
        ):
            raise InputError(
                f"{self.address!r} is not a server address; give HOST:PORT, such as "
                f"{DEFAULT_SERVER}, or dns:///HOST:PORT for several servers of one name"
            )
        if self.is_several and self.transport == "shm":
            raise InputError(
                f"shared memory belongs to one server, and {self.address} may be several; use "
                "the transport auto, raw or jpeg"
            )
        if not self.deadline_s > 0:
            raise InputError("the deadline must be longer than 0 seconds")
        if self.transport not in TRANSPORTS:
            raise InputError(f"transport {self.transport!r} is unknown; use auto, shm, raw or jpeg")

    @property
    def is_several(self) -> bool:
        """Whether the address may stand for several servers."""
        return _TARGETS.fullmatch(self.address) is not None
