"""The reference file `docs/cameras.yaml` is valid and complete, and its defaults are the code's."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import yaml
from config_texts import CAMERA, PASSWORDS, REFERENCE, read

from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.connection import TLS
from faceblur.live.config.cameras import SECTIONS
from faceblur.live.config.config import SERVER_DEADLINE_S, TOP, load_config
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import SinkOptions, parse_sink
from faceblur.live.sources.options import SourceOptions
from faceblur.masks.policy import Policy
from faceblur.schema.conversion import to_json
from faceblur.tracking.live import LIVE_OPTIONS


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
