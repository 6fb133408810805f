"""What one ONVIF camera is asked: which streams it has, and where they are.

Of the libraries for it, which need not be installed: import it when it is needed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from onvif import ONVIFCamera, ONVIFError
from zeep.exceptions import Fault

from faceblur.live.addresses import PORTS

ANSWER_S: Final = 10.0

_MOST: Final = 8
_MOST_NAME: Final = 40
_CODECS: Final = {"H264": "H.264", "H265": "H.265", "JPEG": "MJPEG", "MPEG4": "MPEG-4"}


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One of the streams of a camera, as the camera itself describes it.

    Attributes:
        address: rtsp:// or the like.
        name: What the camera calls it.
        width: Pixels; 0 if it does not say.
        height: The same.
        codec: Such as H.264; empty if it does not say.
        fps: Images a second at most; 0 if it does not say.
    """

    address: str
    name: str = ""
    width: int = 0
    height: int = 0
    codec: str = ""
    fps: float = 0.0


async def ask(at: SplitResult, user: str, password: str) -> list[Stream]:
    """Ask for all streams, the largest image first.

    Args:
        at: Where it answers; nobody else is asked, wherever it says that it answers.
        user: Who asks.
        password: Does not travel: a digest does.

    Raises:
        ONVIFError: It has none, or refuses.
        zeep.exceptions.Error: It gives no answer that can be read.
        aiohttp.ClientError: It cannot be reached, or its certificate does not hold.
        TimeoutError: It takes too long.
    """
    return await asyncio.wait_for(_streams(at, user, password), ANSWER_S)


async def _streams(at: SplitResult, user: str, password: str) -> list[Stream]:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    limit = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=limit, trace_configs=[trace]
    ) as session:
        camera = _Device(at, user, password, session)
        try:
            await camera.update_xaddrs()
            media = await camera.create_media_service()
            profiles = _with_images(await media.GetProfiles() or ())
            found, refusal = [], ONVIFError("it has no stream")
            for profile in profiles:
                try:
                    found.append(await _of(media, profile))
                except Fault as error:
                    refusal = error
        finally:
            await camera.close()
    if not found:
        raise refusal
    # Two profiles may give the same stream.
    alone = {each.address: each for each in reversed(found)}
    return sorted(reversed(alone.values()), key=lambda each: -each.width * each.height)


class _Device(ONVIFCamera):  # type: ignore[misc]
    """Asks one host alone, in the way in which it answered; whose certificate is checked."""

    def __init__(
        self, at: SplitResult, user: str, password: str, session: aiohttp.ClientSession
    ) -> None:
        super().__init__(at.hostname, at.port or PORTS[at.scheme], user, password, adjust_time=True)
        self._at = at
        self._checked = session

    def rewrite_url(self, url: str | None) -> str | None:
        """An address that it has given, at the host that is asked."""
        return None if url is None else self._here(url)

    def get_definition(self, name: str, port_type: str | None = None) -> tuple[str, str, str]:
        """Where a service of it is, and what describes that."""
        address, wsdl, binding = super().get_definition(name, port_type)
        return self._here(address), wsdl, binding

    def _here(self, url: str) -> str:
        return urlsplit(url)._replace(scheme=self._at.scheme, netloc=self._at.netloc).geturl()

    async def create_onvif_service(self, *args: Any, **options: Any) -> Any:
        """A service of it."""
        service = await super().create_onvif_service(*args, **options)
        # The session of the library takes any certificate.
        service.transport.session = self._checked
        return service


async def _refuse(_: Any, __: Any, ___: Any) -> None:
    raise ONVIFError("it sends on to another address, where nobody is asked")


def _with_images(profiles: Sequence[Any]) -> Sequence[Any]:
    """Those that say how their images are made; all, where none does."""
    known = [profile for profile in profiles if profile.VideoEncoderConfiguration is not None]
    return (known or profiles)[:_MOST]


async def _of(media: Any, profile: Any) -> Stream:
    """The stream of a profile.

    Raises:
        Fault: The camera does not say where it is.
    """
    request = media.create_type("GetStreamUri")
    request.ProfileToken = profile.token
    request.StreamSetup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    answer = await media.GetStreamUri(request)
    name = "".join(char for char in str(profile.Name or "") if char.isprintable())[:_MOST_NAME]
    width = height = 0
    codec, fps = "", 0.0
    encoder = profile.VideoEncoderConfiguration
    with suppress(AttributeError, TypeError, ValueError):
        encoding = str(encoder.Encoding)
        codec = _CODECS.get(encoding, encoding if encoding.isalnum() else "")
        width, height = int(encoder.Resolution.Width), int(encoder.Resolution.Height)
        fps = float(encoder.RateControl.FrameRateLimit)
    return Stream(
        address=str(answer.Uri), name=name, width=width, height=height, codec=codec, fps=fps
    )
