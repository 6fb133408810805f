"""Cameras of the network that speak ONVIF: which there are, and where their streams are.

Only asked for, never by itself: the search is a call to everybody in the network.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from faceblur.errors import InputError, ServerUnavailableError, install_line
from faceblur.live.addresses import parse_address
from faceblur.redaction import redact

if TYPE_CHECKING:
    # Of libraries that need not be there.
    from faceblur.live.onvif_device import Stream

logger = logging.getLogger(__name__)

SEARCH_S: Final = 2.0

_NEEDED: Final = ("wsdiscovery", "onvif")
_NAMESPACE: Final = "http://www.onvif.org/ver10/network/wsdl"
_KIND: Final = "NetworkVideoTransmitter"
_NAME: Final = "onvif://www.onvif.org/name/"
_MODEL: Final = "onvif://www.onvif.org/hardware/"
_REFUSAL: Final = re.compile(r"authori[sz]|authenticat|\b401\b", re.IGNORECASE)
_MOST: Final = 100
_MOST_NAME: Final = 80


@dataclass(frozen=True)
class FoundCamera:
    """A camera that has answered.

    Attributes:
        host: Its address in the network.
        name: What it calls itself, and its model; not to be relied on.
        service: Where it answers questions, http:// or https://.
    """

    host: str
    name: str
    service: str


def find_cameras(*, search_s: float = SEARCH_S) -> list[FoundCamera]:
    """Call for ONVIF cameras, and collect who answers within the time.

    Raises:
        InputError: The libraries for that are not installed.
        ServerUnavailableError: This machine is in no network where that goes.
    """
    _check_installed()
    from wsdiscovery.discovery import ThreadedWSDiscovery
    from wsdiscovery.qname import QName

    search = ThreadedWSDiscovery()
    try:
        search.start()
        services = search.searchServices(types=[QName(_NAMESPACE, _KIND)], timeout=search_s)
        found = {each.service: each for service in services for each in _cameras(service)}
    except OSError as error:
        raise ServerUnavailableError(
            f"the network cannot be searched: {error.strerror or error}"
        ) from error
    finally:
        _stop(search)
    return sorted(found.values(), key=lambda each: (each.name, each.host))[:_MOST]


def streams_of(service: str, user: str, password: str) -> list[Stream]:
    """Ask a camera for its streams, the largest image first.

    Their addresses are at the camera's own host, and have neither user nor password.

    Raises:
        InputError: It refuses this user, nobody vouches for its certificate, or the libraries are
            not installed.
        ServerUnavailableError: It gives no answer that can be used.
    """
    _check_installed()
    with _same_log():
        from aiohttp import ClientConnectorCertificateError, ClientConnectorSSLError, ClientError
        from onvif import ONVIFError
        from zeep.exceptions import Error as SoapError

        from faceblur.live import onvif_device

    at = parse_address(service)
    assert at.hostname is not None
    try:
        # In a thread of its own, for the caller's may run a loop already.
        with ThreadPoolExecutor(1) as pool:
            streams = pool.submit(asyncio.run, onvif_device.ask(at, user, password)).result()
        return [replace(each, address=_at_host(each.address, at.hostname)) for each in streams]
    except (ClientConnectorCertificateError, ClientConnectorSSLError) as error:
        raise InputError(
            f"nobody vouches for the certificate of {at.hostname}, so it was told nothing: trust "
            "that with SSL_CERT_FILE, or type the address of its stream"
        ) from error
    except (ONVIFError, SoapError, ClientError, OSError, TimeoutError, ValueError) as error:
        said = str(error) or type(error).__name__
        if _is_refusal(said):
            raise InputError(
                f"{at.hostname} asks for a user and a password, or for others than these"
            ) from error
        raise ServerUnavailableError(
            f"{at.hostname} does not say where its stream is: {redact(said)[:200]}"
        ) from error


def _at_host(address: str, host: str) -> str:
    """Whatever it says: who is asked for an image is who was asked for its address."""
    stream = parse_address(address)
    shown = f"[{host}]" if ":" in host else host
    port = "" if stream.port is None else f":{stream.port}"
    return stream._replace(netloc=f"{shown}{port}").geturl()


def _cameras(service: Any) -> list[FoundCamera]:
    scopes = [str(scope.getValue()) for scope in service.getScopes()]
    names = [
        unquote(scope.removeprefix(start))
        for start in (_NAME, _MODEL)
        for scope in scopes
        if scope.startswith(start)
    ]
    shown = " ".join(dict.fromkeys(names))
    name = "".join(char for char in shown if char.isprintable())[:_MOST_NAME]
    found = []
    for address in service.getXAddrs():
        try:
            at = parse_address(address)
        except InputError:
            continue
        if at.scheme in ("https", "http") and at.hostname is not None:
            service_at = at._replace(netloc=at.netloc.rpartition("@")[2]).geturl()
            found.append(FoundCamera(at.hostname, name, service_at))
    # The others are further addresses of the same camera. One that is encrypted may be of a
    # certificate for which nobody vouches, so it is not asked where there is another.
    return sorted(found, key=lambda each: each.service.startswith("https"))[:1]


def _is_refusal(said: str) -> bool:
    return _REFUSAL.search(said) is not None


def _stop(search: Any) -> None:
    try:
        search.stop()
    except Exception:
        # It was not started wholly.
        logger.debug("the search did not end in order", exc_info=True)


@contextmanager
def _same_log() -> Iterator[None]:
    """Leave the log as it is: a library has everybody's notes printed once it is imported."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _check_installed() -> None:
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise InputError(f"the search needs two more libraries; first run: {install_line('onvif')}")
