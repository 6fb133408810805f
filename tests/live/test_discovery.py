"""Cameras of the network are found, and say where their streams are."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import onvif_camera
import pytest

from faceblur.errors import InputError, ServerUnavailableError
from faceblur.live import discovery
from faceblur.live.discovery import FoundCamera, find_cameras, stream_address


def test_a_camera_is_found_and_tells_its_address_to_who_has_the_password() -> None:
    # It is behind another address than the one that it thinks it has.
    stream = "rtsp://10.9.8.7:8554/main?channel=1"
    with onvif_camera.present(stream, user="op", password="s3cret") as service:
        found = find_cameras(search_s=1.0)
        assert FoundCamera("127.0.0.1", "Front door M-1", service) in found
        assert stream_address(service, "op", "s3cret") == "rtsp://127.0.0.1:8554/main?channel=1"
        for user, password in (("", ""), ("op", "wrong"), ("other", "s3cret")):
            with pytest.raises(InputError, match="asks for a user and a password"):
                stream_address(service, user, password)
    with pytest.raises(ServerUnavailableError, match="does not say where its stream is"):
        stream_address(service, "op", "s3cret")


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(InputError, match=r"\[onvif\]"):
        discovery.find_cameras()
