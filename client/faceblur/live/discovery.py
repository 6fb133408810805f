"""Cameras of the network that speak ONVIF: which there are, and where their streams are.

Only asked for, never by itself: the search is a call to everybody in the network.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from faceblur.errors import InputError, ServerUnavailableError, install_line
from faceblur.live.addresses import parse_address
from faceblur.redaction import redact

logger = logging.getLogger(__name__)

SEARCH_S: Final = 2.0
ANSWER_S: Final = 10.0

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
        service: Where it answers questions, http://.
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


def stream_address(service: str, user: str, password: str) -> str:
    """Ask a camera where its first stream is; without user and password, at its own host.

    Raises:
        InputError: It refuses this user, or the libraries are not installed.
        ServerUnavailableError: It gives no answer that can be used.
    """
    _check_installed()
    from aiohttp import ClientError
    from onvif import ONVIFError
    from zeep.exceptions import Error as SoapError

    at = parse_address(service)
    assert at.hostname is not None
    try:
        # In a thread of its own, for the caller's may run a loop already.
        with ThreadPoolExecutor(1) as pool:
            address = pool.submit(asyncio.run, _ask(service, user, password)).result()
        stream = parse_address(address)
    except (ONVIFError, SoapError, ClientError, OSError, TimeoutError, ValueError) as error:
        said = str(error) or type(error).__name__
        if _is_refusal(said):
            raise InputError(
                f"{at.hostname} asks for a user and a password, or for others than these"
            ) from error
        raise ServerUnavailableError(
            f"{at.hostname} does not say where its stream is: {redact(said)[:200]}"
        ) from error
    # Whatever it says: who is asked for an image is who was asked for its address.
    host = f"[{at.hostname}]" if ":" in at.hostname else at.hostname
    port = "" if stream.port is None else f":{stream.port}"
    return stream._replace(netloc=f"{host}{port}").geturl()


async def _ask(service: str, user: str, password: str) -> str:
    return await asyncio.wait_for(_stream(service, user, password), ANSWER_S)


async def _stream(service: str, user: str, password: str) -> str:
    from onvif import ONVIFCamera

    at = parse_address(service)
    # Nobody but who has answered the search is asked, wherever it says that it answers. The
    # password does not travel: a digest does.
    camera = ONVIFCamera(
        at.hostname, at.port or 80, user, password, adjust_time=True, nat_override=True
    )
    try:
        await camera.update_xaddrs()
        media = await camera.create_media_service()
        profiles = await media.GetProfiles()
        if not profiles:
            raise ValueError("it has no stream")
        request = media.create_type("GetStreamUri")
        request.ProfileToken = profiles[0].token
        request.StreamSetup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        answer = await media.GetStreamUri(request)
        return str(answer.Uri)
    finally:
        await camera.close()


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
        if at.scheme == "http" and at.hostname is not None:
            service_at = at._replace(netloc=at.netloc.rpartition("@")[2]).geturl()
            found.append(FoundCamera(at.hostname, name, service_at))
    # The others are further addresses of the same camera.
    return found[:1]


def _is_refusal(said: str) -> bool:
    return _REFUSAL.search(said) is not None


def _stop(search: Any) -> None:
    try:
        search.stop()
    except Exception:
        # It was not started wholly.
        logger.debug("the search did not end in order", exc_info=True)


def _check_installed() -> None:
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise InputError(f"the search needs two more libraries; first run: {install_line('onvif')}")
