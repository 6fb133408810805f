"""Cameras of the network are found, and say where their streams are."""

from __future__ import annotations

import importlib.util
import logging
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import onvif_camera
import pytest
import trustme
import waiting
from onvif_camera import Profile
from running import PATIENCE_S

from faceblur.errors import InputError, ServerUnavailableError
from faceblur.live import discovery, onvif_device
from faceblur.live.discovery import FoundCamera, find_cameras, streams_of
from faceblur.live.onvif_device import Stream

# It is behind another address than the one that it thinks it has.
MAIN = Profile(stream="rtsp://10.9.8.7:8554/main?channel=1")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onvif_device, "ANSWER_S", PATIENCE_S)


def _find(camera: FoundCamera) -> None:
    """Search until a camera is found: one that is busy answers too late for one search."""
    waiting.until(lambda: camera in find_cameras(search_s=1.0), f"{camera} is found")


def test_a_camera_is_found_and_tells_its_address_to_who_has_the_password() -> None:
    with onvif_camera.present(MAIN, user="op", password="s3cret") as service:
        _find(FoundCamera("127.0.0.1", "Front door M-1", service))
        (stream,) = streams_of(service, "op", "s3cret")
        assert stream == Stream(address="rtsp://127.0.0.1:8554/main?channel=1", name="main")
        for user, password in (("", ""), ("op", "wrong"), ("other", "s3cret")):
            with pytest.raises(InputError, match="asks for a user and a password"):
                streams_of(service, user, password)
    with pytest.raises(ServerUnavailableError, match="does not say where its stream is"):
        streams_of(service, "op", "s3cret")


def test_one_that_encrypts_tells_its_streams_where_its_certificate_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    profiles = (
        Profile(stream="rtsp://10.9.8.7/sub", name="sub", codec="JPEG", width=640, height=360),
        Profile(stream="rtsp://10.9.8.7/sound", name="sound"),
        Profile(stream="rtsp://10.9.8.7/main", codec="H264", width=1920, height=1080, fps=12),
        Profile(stream="rtsp://10.9.8.7/sub", name="again", codec="JPEG", width=640, height=360),
    )
    with onvif_camera.present(*profiles, user="op", password="s3cret", tls=context) as service:
        assert service.startswith("https://")
        _find(FoundCamera("127.0.0.1", "Front door M-1", service))
        with pytest.raises(InputError, match=r"certificate of 127\.0\.0\.1, so it was"):
            streams_of(service, "op", "s3cret")
        trusted = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(trusted)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert streams_of(service, "op", "s3cret") == [
            Stream(
                address="rtsp://127.0.0.1/main",
                name="main",
                width=1920,
                height=1080,
                codec="H.264",
                fps=12,
            ),
            Stream(
                address="rtsp://127.0.0.1/sub",
                name="sub",
                width=640,
                height=360,
                codec="MJPEG",
                fps=25,
            ),
        ]
        with pytest.raises(InputError, match="asks for a user and a password"):
            streams_of(service, "op", "wrong")


@pytest.mark.parametrize("protocol", ["RtspUnicast", "RTSP"])
def test_one_with_the_second_media_service_alone_tells_its_streams(protocol: str) -> None:
    profiles = (
        Profile(stream="rtsp://10.9.8.7/sub", name="sub", codec="MPV4-ES", width=640, height=360),
        Profile(stream="rtsp://10.9.8.7/sound", name="sound"),
        Profile(stream="rtsp://10.9.8.7/main?a&amp;b", codec="H265", width=1920, height=1080),
    )
    known: dict[str, Any] = {"user": "op", "password": "s3cret", "protocol": protocol}
    with onvif_camera.present(*profiles, **known, media=(2,)) as service:
        assert streams_of(service, "op", "s3cret") == [
            Stream(
                address="rtsp://127.0.0.1/main?a&b",
                name="main",
                width=1920,
                height=1080,
                codec="H.265",
                fps=25,
            ),
            Stream(
                address="rtsp://127.0.0.1/sub",
                name="sub",
                width=640,
                height=360,
                codec="MPEG-4",
                fps=25,
            ),
        ]
        with pytest.raises(InputError, match="asks for a user and a password"):
            streams_of(service, "op", "wrong")
    # One of which the camera says nothing is better than none.
    with onvif_camera.present(MAIN, **known, media=(2,), by_http=True) as service:
        with pytest.raises(InputError, match="asks for a user and a password"):
            streams_of(service, "op", "wrong")
        (stream,) = streams_of(service, "op", "s3cret")
        assert stream == Stream(address="rtsp://127.0.0.1:8554/main?channel=1", name="main")


def test_one_with_both_media_services_is_asked_by_the_first_and_one_with_none_not() -> None:
    known: dict[str, Any] = {"user": "op", "password": "s3cret"}
    # It would refuse what the second is asked.
    with onvif_camera.present(MAIN, **known, media=(2, 1), protocol="none") as service:
        assert streams_of(service, "op", "s3cret")
    for media, why in (((), "support service: media"), ((2,), "Argument Value Invalid")):
        with (
            onvif_camera.present(MAIN, **known, media=media, protocol="none") as service,
            pytest.raises(ServerUnavailableError, match=f"does not say where its .*{why}"),
        ):
            streams_of(service, "op", "s3cret")


def test_nobody_else_is_asked_where_one_sends_on() -> None:
    asked = threading.Event()

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            self.send_error(500)

        def log_message(self, format: str, *args: object) -> None: ...

    class Sending(Elsewhere):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{other.server_address[1]}/")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as other,
        ThreadingHTTPServer(("127.0.0.1", 0), Sending) as first,
    ):
        for server in (other, first):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ServerUnavailableError, match="sends on to another address"):
            streams_of(f"http://127.0.0.1:{first.server_address[1]}/onvif", "op", "s3cret")
        for server in (other, first):
            server.shutdown()
    assert not asked.is_set()


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(InputError, match=r"\[onvif\]"):
        discovery.find_cameras()


def test_the_log_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    with discovery._same_log():
        # As one of the libraries does when it is imported.
        logging.basicConfig(level=logging.DEBUG)
        assert root.handlers
    assert (root.handlers, root.level) == ([], level)
