"""`cameras.yaml`: what is wrong is named by line and key, and the reference file is complete."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.connection import TLS
from faceblur.errors import InputError
from faceblur.live.config.cameras import SECTIONS
from faceblur.live.config.config import (
    SERVER_DEADLINE_S,
    TOP,
    FleetConfig,
    load_config,
    read_config,
)
from faceblur.live.config.secrets import Secrets
from faceblur.live.config.yaml_tree import ConfigError
from faceblur.live.options import CameraOptions
from faceblur.live.service.fleet import fingerprint
from faceblur.live.sinks.options import SinkOptions, parse_sink
from faceblur.live.sources.options import SourceOptions
from faceblur.masks.policy import Policy
from faceblur.schema.conversion import to_json
from faceblur.tracking.live import LIVE_OPTIONS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "cameras.yaml"
PASSWORDS = {"DOOR_PASSWORD": "p@ss/word 1", "YARD_PASSWORD": "yard-secret"}
CAMERA = "cameras:\n  door:\n    source: testpattern\n    sinks: [window]\n"


def read(text: str, **environment: str) -> FleetConfig:
    return read_config(text, file="cameras.yaml", secrets=Secrets(environment))


def problems(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environment)
    head, *lines = str(caught.value).splitlines()
    if lines:
        assert head == f"cameras.yaml has {len(lines)} mistakes:"
    return lines or [head]


def one(camera: str, **environment: str) -> CameraOptions:
    return read(f"cameras:\n  door:\n    {camera}\n", **environment).cameras[0]


@pytest.mark.parametrize(
    ("camera", "line"),
    [
        ("treshold: 0.3", "treshold: no such setting; did you mean threshold?"),
        ("threshold: 2", "threshold: a threshold of 2 cannot be used; give one between 0 and 1"),
        ("threshold: high", "threshold: must be a number, not 'high'"),
        ("threshold:", "threshold: must be a number, not nothing"),
        ("detect_every: 0", "detect_every: camera door cannot detect on every 0 frames: use 1"),
        ("fps: ten", "fps: must be a number, not 'ten'"),
        ("fps: .nan", "fps: must be a number, not '.nan'"),
        ("audio: yes", "audio: must be drop or keep, not 'yes'"),
        ("mask: {mode: fog}", "mask.mode: must be veil, blur, pixelate, solid or image, not 'fog'"),
        ("mask: {mode: image}", "mask.mode: mask mode image needs an image"),
        ("mask: {image: no.png}", "mask.image: there is no file no.png"),
        (f"mask: {{mode: image, image: {__file__}}}", "mask.image: "),
        ("mask: {fether: 1}", "mask.fether: no such setting; did you mean feather?"),
        ("mask: [veil]", "mask: must hold the settings of the mask, each as name: value"),
        ("moving: maks", "moving: must be off or mask, not 'maks'"),
        ("moving: {hold_s: 0}", "moving.hold_s: hold_s of what moves cannot be 0: use 0.5 to"),
        ("moving: {hold: 9}", "moving.hold: no such setting; did you mean hold_s?"),
        ("moving: [mask]", "moving: must hold the settings of what moves"),
        ("cover: {hold: 2}", "cover.hold: no such setting; did you mean hold_s?"),
        ("cover: {hold_s: -1}", "cover.hold_s: hold_s cannot be -1 seconds: use 0 to 60"),
        ("zones: [{kind: always, corners: '0,0 1,1 2,2'}]", "zones[0]: the corners of the zone"),
        ("zones: [{kind: always, corners: '0,0 1,0 1,1 @ 1-'}]", "zones[0]: a live camera has no"),
        ("spans: []", "spans: no such setting; a live camera has no start"),
        ("deadline_s: 3", "deadline_s: longer than the server's; raise deadline_s of server"),
        ("source: gopher://x", "source: cannot read frames from gopher://x; give 0 or"),
        ("source: rtsp://[::1", "source: rtsp://[::1 is no address; write it like"),
        ("source: {url: 0, loop: true}", "source.loop: only for file sources"),
        ("source: {loop: true}", "source: no source; write source: rtsp://"),
        ("sinks: []", "sinks: no sinks; write sinks: and below it"),
        ("sinks: rtsp://x/y", "sinks: must be a list of sinks, each after a dash"),
        ("sinks: [hls:x, hls:./x]", "sinks: hls:x is there twice; name each sink once"),
        ("sinks: [tape]", "sinks[0]: cannot send frames to tape; give rtsp://"),
        ("sinks: [{to: window, keep_s: 1}]", "sinks[0].keep_s: only for segments sinks"),
        ("sinks: [{too: window}]", "sinks[0].too: no such setting; did you mean to?"),
        ("source: rtsp://a:${DOOR}@h/", "source: the environment has no DOOR; set it, or write"),
        ("source: ${file:/no/such}", "source: the secret in /no/such cannot be read: No such file"),
        ("source: rtsp://a:${DOOR@h/", "source: a reference lacks its closing brace"),
    ],
)
def test_a_mistake_is_named_by_line_and_key(camera: str, line: str) -> None:
    key = camera.partition(":")[0]
    rest = CAMERA.replace("    source: testpattern\n", "") if key == "source" else CAMERA
    rest = rest.replace("    sinks: [window]\n", "") if key == "sinks" else rest
    text = f"# a comment\n{rest}    {camera}\n"
    number = len(text.splitlines())
    assert any(
        found.startswith(f'cameras.yaml:{number}: camera "door": {line}')
        for found in problems(text)
    ), problems(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("camera: {}", "cameras.yaml:1: camera: no such setting; did you mean cameras?"),
        ("{}", "cameras.yaml:1: cameras: there is none; name one with a source"),
        ("", "cameras.yaml:1: cameras: there is none; name one with a source"),
        ("- a", "cameras.yaml:1: must hold server, listen"),
        (f"listen: 9180\n{CAMERA}", "cameras.yaml:1: listen: must be a text, not 9180"),
        (f"listen: all\n{CAMERA}", "cameras.yaml:1: listen: 'all' is no address to listen on"),
        (f"shutdown_s: -1\n{CAMERA}", "cameras.yaml:1: shutdown_s: must be more than 0 seconds"),
        (f"server:\n  adress: x:1\n{CAMERA}", "cameras.yaml:2: server: adress: no such setting; "
         "did you mean address?"),
        (f"server:\n  address: http://x:1\n{CAMERA}", "cameras.yaml:2: server: address: 'http:"),
        (f"server:\n  tls: {{key: /no}}\n{CAMERA}", "cameras.yaml:2: server: tls.key: "),
        (f"defaults: {{thresold: 1}}\n{CAMERA}", "cameras.yaml:1: defaults: thresold: no such"),
        (f"{CAMERA}  door: {{}}", "cameras.yaml:5: door: given twice, first in line 2"),
        ("cameras: [", "cameras.yaml:1: not YAML: "),
        ("cameras:\n\t- a", "cameras.yaml:2: not YAML: "),
        (f"{CAMERA}    fps: !!python/object/apply:os.getcwd []", "cameras.yaml:5: the tag "),
        ("a: &a [*a]", "cameras.yaml:1: not YAML: "),
        ("a: &a " + "[" * 40 + "]" * 40, "cameras.yaml:1: not YAML: nested too deeply"),
        (f"{CAMERA}  back: {{source: 0, sinks: [hls:x]}}\n  cat: {{source: 1, sinks: [hls:x]}}",
         "cameras.yaml:6: camera \"cat\": sinks: hls:x is also a sink of camera 'back'"),
    ],
)  # fmt: skip
def test_a_mistake_outside_a_camera_is_named_too(text: str, line: str) -> None:
    assert any(found.startswith(line) for found in problems(text)), problems(text)


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


def test_all_mistakes_are_reported_at_once_in_their_order() -> None:
    text = (
        "listen: here\n"
        "defaults:\n"
        "  lookahead: 99\n"
        "cameras:\n"
        "  a: {source: testpattern, sinks: [window], audio: loud}\n"
        "  b: {source: testpattern, sinks: [window], treshold: 1}\n"
    )
    found = problems(text)
    assert [line.split(":")[1] for line in found] == ["1", "3", "3", "5", "6"]


def test_every_setting_of_a_section_that_is_wrong_is_named_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "client.key").touch()
    text = (
        "server:\n  tls:\n    root_ca: /no/ca.pem\n    certificate: /no/client.pem\n"
        f"    key: {tmp_path}/client.key\n{CAMERA}    mask:\n      expand: 9\n      cells: 9\n"
    )
    assert [line.partition(": ")[2][:38] for line in problems(text)] == [
        "server: tls: /no/client.pem is not a f",
        "server: tls.root_ca: /no/ca.pem is not",
        'camera "door": mask.expand: a mask can',
        'camera "door": mask.cells: 9 cells are',
    ]


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: No such file"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "odd.yaml").write_bytes(b"cameras: \xff")
    with pytest.raises(InputError, match="not a text in UTF-8"):
        load_config(tmp_path / "odd.yaml")


def test_a_bomb_of_aliases_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (found,) = problems("\n".join(lines))
    assert "nested too deeply" in found
    assert problems("[" * 5000) == ["cameras.yaml:1: not YAML: nested too deeply"]


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


def _reference() -> dict[str, Any]:
    return dict(yaml.safe_load(REFERENCE.read_text()))


def test_the_reference_file_is_valid() -> None:
    config = load_config(REFERENCE, environment=PASSWORDS)
    assert [camera.name for camera in config.cameras] == ["door", "yard", "test"]
    assert config.cameras[0].source.url == "rtsp://operator:p%40ss%2Fword%201@192.0.2.10/stream1"


def test_the_reference_file_has_every_setting() -> None:
    settings = {name for names in SECTIONS.values() for name in names}
    settings |= set(TOP) | {field.name for field in dataclasses.fields(TLS)}
    settings |= {"address", "model", "tls", "deadline_s", "transport"}
    text = REFERENCE.read_text()
    assert [name for name in settings if not re.search(rf"\b{name}:", text)] == []
    assert set(_reference()["defaults"]) == set(SECTIONS["camera"])


def test_the_sections_of_a_camera_are_all_there_is_to_set() -> None:
    """A setting that the options gain has to come into the file, or be kept out on purpose."""
    policy = set(to_json(Policy())) - {"spans", "cover"}
    own = {field.name for field in dataclasses.fields(CameraOptions)} - {"name", "policy"}
    assert set(SECTIONS["camera"]) == policy | own
    source = {field.name for field in dataclasses.fields(SourceOptions)} - {"kind"}
    assert set(SECTIONS["source"]) == source
    sink = {field.name for field in dataclasses.fields(SinkOptions)} - {"kind", "target"}
    assert set(SECTIONS["sink"]) == sink | {"to"}


def test_the_defaults_in_the_reference_file_are_the_codes() -> None:
    reference = _reference()
    code = read(CAMERA)
    camera, policy = code.cameras[0], Policy()
    given = reference["defaults"]
    own = {
        field.name: getattr(camera, field.name)
        for field in dataclasses.fields(CameraOptions)
        if field.name in given and field.name not in ("source", "sinks", "cover")
    }
    # YAML 1.1, as read here, takes this word for a flag; faceblur does not.
    own["hardware_decoding"] = own["hardware_decoding"] != "off"
    assert {name: given[name] for name in own} == own
    as_json = to_json(policy)
    # JSON keeps the name that older files have.
    as_json["mask"]["color"] = as_json["mask"].pop("colour")
    shared = set(as_json) & set(given) - {"cover"}
    assert {name: given[name] for name in shared} == {name: as_json[name] for name in shared}
    cover = {name: getattr(LIVE_OPTIONS, name) for name in SECTIONS["cover"]}
    assert given["cover"] == cover
    source = SourceOptions(kind="file", url="x")
    assert given["source"] == {n: getattr(source, n) for n in SECTIONS["source"] if n != "url"}
    sink = SinkOptions(kind="window")
    (shown,) = given["sinks"]
    assert {n: v for n, v in shown.items() if n != "to"} == {
        name: getattr(sink, name) for name in shown if name != "to"
    }
    (recording,) = (s for s in reference["cameras"]["yard"]["sinks"] if isinstance(s, dict))
    assert recording["segment_s"] == parse_sink("segments:x").segment_s
    assert set(shown) | set(recording) == set(SECTIONS["sink"])
    session = SessionOptions()
    assert reference["server"] == {
        "address": session.server,
        "model": session.model,
        "tls": session.tls,
        "deadline_s": SERVER_DEADLINE_S,
        "transport": session.transport,
    }
    assert (reference["listen"], reference["shutdown_s"]) == (code.listen, code.shutdown_s)
