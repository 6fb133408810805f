"""A camera that speaks ONVIF, as far as finding it and its stream needs."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote
from xml.etree import ElementTree

_GROUP, _PORT = "239.255.255.250", 3702

_MATCH = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<s:Header><a:MessageID>uuid:{id}</a:MessageID><a:RelatesTo>{asked}</a:RelatesTo>
<a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To>
<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</a:Action></s:Header>
<s:Body><d:ProbeMatches><d:ProbeMatch>
<a:EndpointReference><a:Address>urn:uuid:{id}</a:Address></a:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types>
<d:Scopes>onvif://www.onvif.org/name/{name} onvif://www.onvif.org/hardware/M-1</d:Scopes>
<d:XAddrs>{service}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>
</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"""

_MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"

_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"
 xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"
 xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error">
<s:Body>{body}</s:Body></s:Envelope>"""

_TIME = """<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>
<tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>
<tt:UTCDateTime><tt:Time><tt:Hour>1</tt:Hour><tt:Minute>2</tt:Minute><tt:Second>3</tt:Second></tt:Time>
<tt:Date><tt:Year>2020</tt:Year><tt:Month>1</tt:Month><tt:Day>2</tt:Day></tt:Date></tt:UTCDateTime>
</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"""

_SERVICES = "<tds:GetServicesResponse>{services}</tds:GetServicesResponse>"
_SERVICE = """<tds:Service>
<tds:Namespace>http://www.onvif.org/{namespace}/wsdl</tds:Namespace>
<tds:XAddr>http://10.9.8.7:81/onvif/{path}</tds:XAddr>
<tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor></tds:Version>
</tds:Service>"""

_PROFILES = "<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"
_PROFILE = """<trt:Profiles token="{name}" fixed="true">
<tt:Name>{name}</tt:Name>{encoder}</trt:Profiles>"""
_ENCODER = """<tt:VideoEncoderConfiguration token="{name}"><tt:Name>{name}</tt:Name>
<tt:UseCount>1</tt:UseCount><tt:Encoding>{codec}</tt:Encoding>
<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>
<tt:Quality>1</tt:Quality><tt:RateControl><tt:FrameRateLimit>{fps}</tt:FrameRateLimit>
<tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl>
<tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration>"""

_URI = """<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{stream}</tt:Uri>
<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>
<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout>
</trt:MediaUri></trt:GetStreamUriResponse>"""

_PROFILES2 = "<tr2:GetProfilesResponse>{profiles}</tr2:GetProfilesResponse>"
_PROFILE2 = """<tr2:Profiles token="{name}" fixed="true">
<tr2:Name>{name}</tr2:Name><tr2:Configurations>{encoder}</tr2:Configurations></tr2:Profiles>"""
_ENCODER2 = """<tr2:VideoEncoder token="{name}" GovLength="30"><tt:Name>{name}</tt:Name>
<tt:UseCount>1</tt:UseCount><tt:Encoding>{codec}</tt:Encoding>
<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>
<tt:RateControl><tt:FrameRateLimit>{fps}</tt:FrameRateLimit>
<tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl>
<tt:Quality>1</tt:Quality></tr2:VideoEncoder>"""
_URI2 = "<tr2:GetStreamUriResponse><tr2:Uri>{stream}</tr2:Uri></tr2:GetStreamUriResponse>"

_UNKNOWN = """<s:Fault><s:Code><s:Value>s:Sender</s:Value>
<s:Subcode><s:Value>ter:InvalidArgVal</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="en">Argument Value Invalid</s:Text></s:Reason></s:Fault>"""

_REFUSAL = """<s:Fault><s:Code><s:Value>s:Sender</s:Value>
<s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="en">Sender not Authorized</s:Text></s:Reason></s:Fault>"""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One of its streams; it says nothing of the image where there is no codec."""

    stream: str
    name: str = "main"
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: int = 25

    def described(self, *, version: int = 1) -> str:
        template, of_image = {1: (_PROFILE, _ENCODER), 2: (_PROFILE2, _ENCODER2)}[version]
        encoder = of_image.format(**asdict(self)) if self.codec else ""
        return template.format(name=self.name, encoder=encoder)


@contextmanager
def present(
    *profiles: Profile,
    user: str,
    password: str,
    tls: ssl.SSLContext | None = None,
    media: Sequence[int] = (1,),
    protocol: str = "RtspUnicast",
    by_http: bool = False,
    name: str = "Front door",
) -> Iterator[str]:
    """Answer searches and questions; where it does, for whoever has the password.

    Args:
        profiles: What it says its streams are.
        user: Who may ask for them.
        password: Theirs.
        tls: With what it encrypts; None for not at all.
        media: Which of the two media services it has; it answers as its description has it.
        protocol: The only one by which the second gives its streams.
        by_http: It refuses by HTTP alone, and tells anybody which services it has.
        name: What it calls itself; cameras of other tests may be there at the same time.
    """
    offered = [("ver10/device", "device_service")]
    offered += [(f"ver{version}0/media", f"media{version}") for version in media]
    services = "".join(_SERVICE.format(namespace=name, path=path) for name, path in offered)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answers = {
                "GetSystemDateAndTime": _TIME,
                "GetServices": _SERVICES.format(services=services),
            }
            if 1 in media and self.path == "/onvif/media1":
                answers |= {
                    "GetProfiles": _PROFILES.format(profiles=described),
                    "GetStreamUri": "".join(
                        _URI.format(stream=each.stream)
                        for each in profiles
                        if f"ProfileToken>{each.name}<" in asked
                    ),
                }
            if 2 in media and self.path == "/onvif/media2":
                answers |= _by_media2(asked, profiles, protocol)
            found = (each for each in answers if re.search(rf"[:<]{each}[ />]", asked))
            name = next(found, "")
            public = ("GetSystemDateAndTime", *(("GetServices",) if by_http else ()))
            good = name in public or _is_signed(asked, user, password)
            if by_http and not good:
                self.send_error(401)
                return
            body = _ENVELOPE.format(body=answers.get(name, _UNKNOWN) if good else _REFUSAL).encode()
            self.send_response(400 if "s:Fault" in body.decode() else 200)
            self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    described = "".join(each.described() for each in profiles)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        # The handshake belongs to the thread of each request.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    base = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    listener = _joined()
    service = f"{base}/onvif/device_service"
    known = (listener, service, name)
    threading.Thread(target=_answer_searches, args=known, daemon=True).start()
    try:
        yield service
    finally:
        listener.close()
        server.shutdown()
        server.server_close()


def _by_media2(asked: str, profiles: Sequence[Profile], protocol: str) -> dict[str, str]:
    """What the second service answers to a question that is as its description has it."""
    body = ElementTree.fromstring(asked).find("{http://www.w3.org/2003/05/soap-envelope}Body")
    assert body is not None
    question = body[0]
    said = [(part.tag.removeprefix(f"{{{_MEDIA2}}}"), part.text) for part in question]
    if question.tag == f"{{{_MEDIA2}}}GetProfiles" and said == [("Type", "VideoEncoder")]:
        described = "".join(each.described(version=2) for each in profiles)
        return {"GetProfiles": _PROFILES2.format(profiles=described)}
    for each in profiles:
        if question.tag == f"{{{_MEDIA2}}}GetStreamUri" and said == [
            ("Protocol", protocol),
            ("ProfileToken", each.name),
        ]:
            return {"GetStreamUri": _URI2.format(stream=each.stream)}
    return {}


def _is_signed(asked: str, user: str, password: str) -> bool:
    def part(name: str) -> str:
        found = re.search(rf"<[^>]*:{name}\b[^>]*>([^<]*)<", asked)
        return "" if found is None else found[1]

    signed = base64.b64decode(part("Nonce")) + part("Created").encode() + password.encode()
    digest = base64.b64encode(hashlib.sha1(signed).digest()).decode()
    return part("Username") == user and part("Password") == digest


def _joined() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", _PORT))
    for _, name in socket.if_nameindex():
        with suppress(OSError):
            index = socket.if_nametoindex(name)
            group = struct.pack("4s4si", socket.inet_aton(_GROUP), bytes(4), index)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return listener


def _answer_searches(listener: socket.socket, service: str, name: str) -> None:
    while True:
        try:
            data, sender = listener.recvfrom(65535)
        except OSError:
            return
        asked = re.search(rb"MessageID>([^<]+)<", data)
        if b"NetworkVideoTransmitter" not in data or asked is None:
            continue
        port = int(service.rpartition(":")[2].partition("/")[0])
        answer = _MATCH.format(
            id=f"camera-{port}", asked=asked[1].decode(), service=service, name=quote(name)
        )
        with suppress(OSError):
            listener.sendto(answer.encode(), sender)
