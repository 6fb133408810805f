"""The second media service of ONVIF (Profile T), of which the library for ONVIF knows nothing.

Import it when it is needed, as `faceblur.live.onvif_device`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree
from onvif import ONVIFError
from zeep.exceptions import Fault, XMLSyntaxError
from zeep.loader import parse_xml

NAMESPACE: Final = "http://www.onvif.org/ver20/media/wsdl"

_SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
_NAMES: Final = {"s": _SOAP, "m": NAMESPACE, "t": "http://www.onvif.org/ver10/schema"}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a camera gives out at one address.

    Attributes:
        token: What it is asked by.
        name: What the camera calls it.
        encoding: Such as H264; empty if it does not say.
        width: Pixels; 0 if it does not say.
        height: The same.
        fps: Images a second at most; 0 if it does not say.
    """

    token: str
    name: str = ""
    encoding: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0


class Media2:
    """The service of one camera.

    Args:
        device: Its service for everything else, which signs and sends.
        address: Where it answers.
    """

    def __init__(self, device: Any, address: str) -> None:
        self._device = device
        self._address = address

    async def profiles(self) -> list[Profile]:
        """All of them.

        Raises:
            zeep.exceptions.Error: The camera refuses, or gives no answer that can be read.
            ONVIFError: It answers something else.
        """
        answer = await self._ask("GetProfiles", Type="VideoEncoder")
        return [_profile(each) for each in answer.iterfind("m:Profiles", _NAMES)]

    async def stream_address(self, token: str) -> str:
        """Where a profile can be read, by RTSP.

        Raises:
            zeep.exceptions.Error: The camera refuses, or gives no answer that can be read.
            ONVIFError: It answers something else.
        """
        try:
            answer = await self._ask("GetStreamUri", Protocol="RtspUnicast", ProfileToken=token)
        except Fault:
            # By UDP, which each has to offer. One that refuses may offer TCP.
            answer = await self._ask("GetStreamUri", Protocol="RTSP", ProfileToken=token)
        return str(answer.findtext("m:Uri", "", _NAMES)).strip()

    async def _ask(self, name: str, **values: str) -> Any:
        """The element that answers a question of so many elements."""
        envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap=_NAMES)
        body = etree.SubElement(envelope, f"{{{_SOAP}}}Body")
        question = etree.SubElement(body, f"{{{NAMESPACE}}}{name}")
        for part, text in values.items():
            etree.SubElement(question, f"{{{NAMESPACE}}}{part}").text = text
        action = f'application/soap+xml; charset=utf-8; action="{NAMESPACE}/{name}"'
        client = self._device.zeep_client
        signed, headers = client.wsse.apply(envelope, {"Content-Type": action})
        response = await self._device.transport.post_xml(self._address, signed, headers)
        strange = ONVIFError(f"it does not answer {name} (HTTP {response.status_code})")
        try:
            answer = parse_xml(response.content, self._device.transport, settings=client.settings)
        except XMLSyntaxError:
            raise strange from None
        if (fault := answer.find("s:Body/s:Fault", _NAMES)) is not None:
            said = fault.findtext("s:Reason/s:Text", "it refuses", _NAMES)
            raise Fault(said)  # type: ignore[no-untyped-call]
        found = answer.find(f"s:Body/m:{name}Response", _NAMES)
        if found is None:
            raise strange
        return found


def _profile(element: Any) -> Profile:
    encoder = element.find("m:Configurations/m:VideoEncoder", _NAMES)
    token = element.get("token", "")
    name = element.findtext("m:Name", "", _NAMES)
    if encoder is None:
        return Profile(token=token, name=name)
    width = height = 0
    fps = 0.0
    with suppress(TypeError, ValueError):
        width = int(encoder.findtext("t:Resolution/t:Width", None, _NAMES))
        height = int(encoder.findtext("t:Resolution/t:Height", None, _NAMES))
        fps = float(encoder.findtext("t:RateControl/t:FrameRateLimit", None, _NAMES))
    encoding = encoder.findtext("t:Encoding", "", _NAMES).strip()
    return Profile(token=token, name=name, encoding=encoding, width=width, height=height, fps=fps)
