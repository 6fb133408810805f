"""What is hardly meant in `cameras.yaml` is named by line and key, and what is meant is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from config_texts import CAMERA, PASSWORDS, REFERENCE, read

from faceblur.live.config.config import load_config


def warnings(text: str, **environment: str) -> list[str]:
    found = read(text, **environment).warnings
    assert all(re.fullmatch(r"cameras\.yaml:\d+: .+", line) for line in found)
    return list(found)


HALVES = "{kind: never, corners: '0%,0% 50%,0% 50%,100% 0%,100%'}, {kind: never, corners: '50%,0% 100%,0% 100%,100% 50%,100%'}"  # noqa: E501
WHOLE = "0,0 1920,0 1920,1080 0,1080"


@pytest.mark.parametrize(
    ("camera", "line"),
    [
        (f"zones: [{{kind: never, corners: '{WHOLE}'}}]", "zones[0]: no face is masked in nearly"),
        (f"zones: [{HALVES}]", "zones[0]: no face is masked in nearly all of the image"),
        (f"zones: [{{kind: always, corners: '{WHOLE}'}}]", "zones[0]: nearly all of the image"),
        ("deadline_s: 0.01", "deadline_s: hardly any frame can be checked within 0.01 s"),
        ("threshold: 0.99", "threshold: few faces reach a score of 0.99"),
        ("min_face: 300", "min_face: faces up to 300 pixels high are shown"),
        ("size: 96", "size: small faces are missed in an image of 96 pixels; use 640"),
        ("mask: {expand: 0}", "mask.expand: the edges of faces may show"),
        ("cover: {hold_s: 0}", "cover.hold_s: a face that is missed in one frame shows"),
        ("cover: {gap_s: 0.1}", "cover.gap_s: a face that is missed in one frame shows"),
        ("fps: 0.1", "fps: at 0.1 frames a second most of what passes is never seen"),
        ("{fps: 2, lookahead: 30, cover: {gap_s: 20}}", "lookahead: 30 frames at 2 fps are 15"),
        ("{fps: 5, detect_every: 4, lookahead: 9}", "detect_every: faces are detected every 0.8"),
        ("{fps: 5, detect_every: 2, lookahead: 1}", "lookahead: whoever comes in shows for up"),
        ("source: {url: testpattern, fps: 0.5}", "source: at 0.5 frames a second most of what"),
        ("source: rtsp://admin:admin@h/x", "source: the password stands here for everybody"),
        ("source: http://h/video?token=abc", "source: the password stands here for everybody"),
        ("{source: rtsp://h/x, sinks: ['rtsp://u:${PW}@H:554/x']}",
         "sinks[0]: rtsp://***@H:554/x is the camera's own source"),
        ("{source: http://localhost:8090/, sinks: [mjpeg:8090]}", "sinks[0]: mjpeg:127.0.0.1:8090 "
         "is the camera's own source"),
        (f"{{source: '{__file__}', sinks: ['segments:{Path(__file__).parent}']}}",
         f"sinks[0]: segments:{Path(__file__).parent} is the camera's own source"),
        ("sinks: [hls:there, segments:./there]", "sinks[1]: hls:there writes to the same folder"),
        ("sinks: [{to: segments:x, keep_s: 5}]", "sinks[0].keep_s: files of 60 s are deleted"),
        ("sinks: ['segments:x?keep_gb=0.001']", "sinks[0]: 1000000 bytes hold a few seconds"),
        ("sinks: [{to: hls:x, bitrate: 2000}]", "sinks[0].bitrate: 2000 bits a second show"),
        ("sinks: [{to: hls:x, keyframe_s: 300}]", "sinks[0].keyframe_s: new viewers wait up to"),
        ("sinks: ['mjpeg:0.0.0.0:8090']", "sinks[0]: 0.0.0.0:8090 can be reached from other"),
        ("sinks: [mjpeg:9180]", "sinks[0]: port 9180 is also used by listen; give each its own"),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_named_by_line_and_key(camera: str, line: str) -> None:
    own = [camera] if not camera.startswith("{") else re.split(r", (?=\w+: )", camera[1:-1])
    given = {key: f"    {key}:{value}" for key, _, value in (each.partition(":") for each in own)}
    rest = {"source": "    source: testpattern", "sinks": "    sinks: [window]"}
    lines = ["cameras:", "  door:", *(rest | given).values()]
    text = "\n".join(lines) + "\n"
    found = warnings(text, PW="geheim")
    key = re.split(r"[\[.:]", line)[0]
    number = next((i for i, each in enumerate(lines, 1) if each.startswith(f"    {key}:")), 2)
    assert any(each.startswith(f'cameras.yaml:{number}: camera "door": {line}') for each in found)
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"listen: 0.0.0.0:9180\n{CAMERA}", "cameras.yaml:1: listen: 0.0.0.0:9180 can be reached"),
        (f"listen: '[::]:9180'\n{CAMERA}", "cameras.yaml:1: listen: [::]:9180 can be reached"),
        (f"server: {{address: '10.0.0.9:8001'}}\n{CAMERA}",
         "cameras.yaml:1: server: address: unmasked images travel there without encryption"),
        (f"{CAMERA}  back: {{source: testpattern, sinks: ['mjpeg:127.0.0.2:8090']}}\n"
         "  cat: {source: testpattern, sinks: [mjpeg:8090]}",
         'cameras.yaml:6: camera "cat": sinks[0]: port 8090 is also used by mjpeg:127.0.0.2:8090 '
         "of camera 'back'"),
        (f"{CAMERA}  back: {{source: 'rtsp://h/x', sinks: [window]}}\n"
         "  cat: {source: 'rtsp://h:554/x/', sinks: [window]}",
         "cameras.yaml:6: camera \"cat\": source: is also the source of camera 'back'"),
        (f"{CAMERA}  back: {{source: 'rtsp://h/x', sinks: [hls:here]}}\n"
         "  cat: {source: testpattern, sinks: [segments:here]}",
         'cameras.yaml:6: camera "cat": sinks[0]: hls:here of camera \'back\' writes to the same'),
        (f"{CAMERA}  back: {{source: 'rtsp://h/x', sinks: [window]}}\n"
         "  cat: {source: testpattern, sinks: ['rtsp://h/x']}",
         "cameras.yaml:6: camera \"cat\": sinks[0]: rtsp://h/x is the source of camera 'back'"),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_outside_a_camera_is_named_too(text: str, line: str) -> None:
    (found,) = warnings(text)
    assert found.startswith(line)


def test_what_is_meant_gets_no_warning() -> None:
    assert load_config(REFERENCE, environment=PASSWORDS).warnings == ()
    assert read(
        "server: {address: 'ipv4:127.0.0.1:1,127.0.0.1:2'}\nlisten: localhost:9180\n"
        "cameras:\n  a:\n    source: 'rtsp://u:${PW}@h/x?channel=1'\n    fps: 5\n"
        "    detect_every: 2\n    lookahead: 2\n    sinks: [mjpeg:8090, 'rtsp://h/y', hls:a]\n"
        "    zones: [{kind: never, corners: '0%,0% 80%,0% 80%,100% 0%,100%'}]\n"
        "  b: {source: 'rtsp://u:${PW}@h/x?channel=2', sinks: [mjpeg:8091, hls:b]}\n",
        PW="geheim",
    ).warnings == ()  # fmt: skip
