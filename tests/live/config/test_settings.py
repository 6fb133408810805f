"""What the settings of `cameras.yaml` come to: words, secrets, defaults, fingerprints."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from config_texts import PASSWORDS, REFERENCE, problems, read

from faceblur.live.config.yaml_tree import ConfigError
from faceblur.live.options import CameraOptions
from faceblur.live.service.fleet import fingerprint


def one(camera: str, **environment: str) -> CameraOptions:
    return read(f"cameras:\n  door:\n    {camera}\n", **environment).cameras[0]


def test_words_are_not_taken_for_flags_or_times() -> None:
    camera = one("{source: testpattern, sinks: [window], hardware_decoding: off}")
    assert camera.hardware_decoding == "off"
    assert one("{source: 0, sinks: [window]}").source.url == "/dev/video0"


def test_secrets_are_filled_in_and_encoded_where_they_are_part_of_an_address(
    tmp_path: Path,
) -> None:
    (tmp_path / "door").write_text("p@ss/word:1\n")
    environment = {"PW": "a b@c", "URL": "rtsp://u:already%40encoded@host/x",
                   "CREDENTIALS_DIRECTORY": str(tmp_path)}  # fmt: skip

    def source(text: str) -> str:
        return one(f"{{source: '{text}', sinks: [window]}}", **environment).source.url

    assert source("rtsp://u:${PW}@host/x") == "rtsp://u:a%20b%40c@host/x"
    assert source("rtsp://u:$$${PW}@host/x") == "rtsp://u:$a%20b%40c@host/x"
    assert source(f"rtsp://u:${{file:{tmp_path}/door}}@h/x") == "rtsp://u:p%40ss%2Fword%3A1@h/x"
    assert source("rtsp://u:${credential:door}@h/x") == "rtsp://u:p%40ss%2Fword%3A1@h/x"
    assert source("${URL}") == "rtsp://u:already%40encoded@host/x"
    with pytest.raises(ConfigError, match="no name of a credential"):
        source("rtsp://u:${credential:../door}@h/x")


def test_no_secret_is_in_errors_or_in_the_value_when_printed() -> None:
    secret = "hunter2-is-no-file"
    text = "cameras:\n  a:\n    source: ${PW}\n    sinks: ['rtsp://u:${PW}@h/x']\n"
    assert secret not in "\n".join(problems(text, PW=secret))
    text = text.replace("source: ${PW}", "source: rtsp://u:${PW}@host/x")
    assert secret not in repr(read(text, PW=secret))


def test_defaults_hold_unless_a_camera_says_otherwise() -> None:
    config = read(
        "defaults:\n"
        "  threshold: 0.4\n"
        "  lookahead: 3\n"
        "  mask: {mode: blur, cells: 4}\n"
        "  cover: {hold_s: 2}\n"
        "  moving: {hold_s: 120}\n"
        "  source: {stall_timeout_s: 9, rtsp_transport: udp, loop: true, size: 320x240}\n"
        "  zones: [{kind: always, corners: '0,0 9,0 9,9'}]\n"
        "  sinks: ['rtsp://localhost:8554/${camera}']\n"
        "cameras:\n"
        "  front door: {source: 'rtsp://host/x', threshold: 0.1, mask: solid, moving: mask}\n"
        "  pattern: {source: 'testpattern:?size=64x48', zones: [], mask: {cells: 2}, "
        "sinks: [window]}\n"
    )
    door, pattern = config.cameras
    assert (door.policy.detection.threshold, pattern.policy.detection.threshold) == (0.1, 0.4)
    assert (door.policy.moving.mode, door.policy.moving.hold_s) == ("mask", 120)
    assert not pattern.policy.moving.is_on
    assert (door.lookahead, door.cover.hold_s) == (3, 2)
    assert (door.policy.mask.mode, door.policy.mask.cells) == ("solid", 4)
    assert (pattern.policy.mask.mode, pattern.policy.mask.cells) == ("blur", 2)
    assert (len(door.policy.zones), len(pattern.policy.zones)) == (1, 0)
    assert (door.source.rtsp_transport, door.source.stall_timeout_s) == ("udp", 9)
    assert door.source.loop is False
    assert pattern.source.size == (64, 48)
    assert door.sinks[0].target == "rtsp://localhost:8554/front%20door"
    assert pattern.sinks[0].kind == "window"


def test_only_a_camera_whose_settings_changed_has_another_fingerprint(tmp_path: Path) -> None:
    text = REFERENCE.read_text()
    image = tmp_path / "over.png"
    cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
    text += f"    mask: {{mode: image, image: {image}}}\n"

    def marks(text: str) -> dict[str, object]:
        return {camera.name: fingerprint(camera) for camera in read(text, **PASSWORDS).cameras}

    before = marks(text)
    assert marks(text) == before
    changed = marks(text.replace("threshold: 0.15", "threshold: 0.16"))
    assert {name for name in before if changed[name] != before[name]} == {"yard"}
    cv2.imwrite(str(image), np.ones((8, 8, 3), np.uint8))
    changed = marks(text)
    assert {name for name in before if changed[name] != before[name]} == {"test"}
