"""What is wrong in `cameras.yaml` is named by line and key, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import CAMERA, problems

from faceblur.errors import InputError
from faceblur.live.config.config import load_config


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
