"""What the errors of calls to a Triton server mean."""

from __future__ import annotations

import re

from tritonclient.utils import InferenceServerException

from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.loopback import hosts_of, proxy_for
from faceblur.errors import CrowdedError, DeadlineError, ServerError, ServerUnavailableError


def fault_of(
    error: InferenceServerException, connection: Connection, *, deadline_s: float | None = None
) -> ServerError:
    """What an error of a call means, for a person; `deadline_s` if it was not the connection's."""
    status, address = error.status() or "", connection.address
    if "DEADLINE_EXCEEDED" in status:
        waited_s = connection.deadline_s if deadline_s is None else deadline_s
        return DeadlineError(f"the server at {address} did not answer within {waited_s:g} s")
    if "UNAVAILABLE" in status:
        if connection.tls is not None and (reason := _tls_reason(error.message())):
            return ServerUnavailableError(f"no safe connection to {address}: {reason}")
        proxies = [proxy_for(host) for host in hosts_of(address)]
        if proxy := next(filter(None, proxies), ""):
            return ServerUnavailableError(
                f"no server answers at {address} through the proxy of ${proxy}; if it is to be "
                "reached directly, name its host in $no_proxy"
            )
        return ServerUnavailableError(
            f"no server answers at {address}; start one with: faceblur serve"
        )
    message = error.message() or ""
    if "shared memory pool" in message:
        return ServerError(
            f"the server at {address} has too little shared memory; give it more (in Docker: "
            "--shm-size 1g), or use --in-process"
        )
    kind = CrowdedError if CrowdedError.MARK in message else ServerError
    return kind(f"the server at {address} failed: {message}")


def is_greeting_slow(error: InferenceServerException) -> bool:
    """Whether somebody took the connection, and had not said a word when gRPC gave it up."""
    message = error.message() or ""
    return "before receiving SETTINGS" in message or "Endpoint closing" in message


def _tls_reason(message: str) -> str:
    """Why a connection was not made, in words for a person; empty if nothing is known."""
    if refused := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", message):
        return f"the server's certificate is refused ({refused[1]}); check --tls-ca and its dates"
    if "Hostname Verification" in message:
        return "the server's certificate is for another name; connect by the name it is for"
    if "Socket closed" in message:
        return (
            "the server ended it; check that it speaks TLS and takes the certificate of --tls-cert"
        )
    return ""
