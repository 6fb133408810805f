"""What one ONVIF camera is asked: which streams it has, and where they are.

Of the libraries for it, which need not be installed: import it when it is needed.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import aiohttp
from onvif import ONVIFCamera, ONVIFError
from zeep.exceptions import Fault

from faceblur.live.addresses import PORTS
from faceblur.live.onvif_media2 import NAMESPACE, Media2, Profile

Described = TypeVar("Described")

ANSWER_S: Final = 10.0

_MOST: Final = 8
_MOST_NAME: Final = 40
_MEDIA: Final = "http://www.onvif.org/ver10/media/wsdl"
_CODECS: Final = {
    "H264": "H.264",
    "H265": "H.265",
    "JPEG": "MJPEG",
    **dict.fromkeys(("MPEG4", "MPV4-ES"), "MPEG-4"),
}


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
            if _MEDIA in camera.xaddrs or NAMESPACE not in camera.xaddrs:
                found = await _by_media(await camera.create_media_service())
            else:
                found = await _by_media2(await camera.create_media2())
        finally:
            await camera.close()
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

    async def create_media2(self) -> Media2:
        """Its service of Profile T."""
        return Media2(await self.create_devicemgmt_service(), self._here(self.xaddrs[NAMESPACE]))


async def _refuse(_: Any, __: Any, ___: Any) -> None:
    raise ONVIFError("it sends on to another address, where nobody is asked")


async def _by_media(media: Any) -> list[Stream]:
    """The streams of the first media service.

    Raises:
        ONVIFError: There is none.
        Fault: The camera refuses.
    """
    profiles = await media.GetProfiles() or ()
    return await _all_of(
        [profile for profile in profiles if profile.VideoEncoderConfiguration is not None]
        or profiles,
        functools.partial(_of, media),
    )


async def _by_media2(media: Media2) -> list[Stream]:
    """The streams of the second one; it raises the same."""

    async def of(profile: Profile) -> Stream:
        return _stream(await media.stream_address(profile.token), profile)

    profiles = await media.profiles()
    return await _all_of([profile for profile in profiles if profile.encoding] or profiles, of)


async def _all_of(
    profiles: Sequence[Described], of: Callable[[Described], Awaitable[Stream]]
) -> list[Stream]:
    """The streams of profiles, of which those count that say how their images are made."""
    found, refusal = [], ONVIFError("it has no stream")
    for profile in profiles[:_MOST]:
        try:
            found.append(await of(profile))
        except Fault as error:
            refusal = error
    if not found:
        raise refusal
    return found


async def _of(media: Any, described: Any) -> Stream:
    """The stream of a profile of the first service.

    Raises:
        Fault: The camera does not say where it is.
    """
    request = media.create_type("GetStreamUri")
    request.ProfileToken = described.token
    request.StreamSetup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    answer = await media.GetStreamUri(request)
    profile = Profile(token=described.token, name=str(described.Name or ""))
    encoder = described.VideoEncoderConfiguration
    with suppress(AttributeError, TypeError, ValueError):
        profile = replace(profile, encoding=str(encoder.Encoding))
        width, height = int(encoder.Resolution.Width), int(encoder.Resolution.Height)
        profile = replace(profile, width=width, height=height)
        profile = replace(profile, fps=float(encoder.RateControl.FrameRateLimit))
    return _stream(str(answer.Uri), profile)


def _stream(address: str, profile: Profile) -> Stream:
    codec = profile.encoding if profile.encoding.isalnum() else ""
    return Stream(
        address=address,
        name="".join(char for char in profile.name if char.isprintable())[:_MOST_NAME],
        width=profile.width,
        height=profile.height,
        codec=_CODECS.get(profile.encoding, codec),
        fps=profile.fps,
    )
