"""Files that people edit: every mistake at once, with its place; and those of older versions."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.finished import CacheKey, ResultCache, is_intact
from faceblur.errors import InputError
from faceblur.live.config.config import read_config
from faceblur.live.config.secrets import Secrets
from faceblur.masks.policy import Policy
from faceblur.proof.audit.reader import read_audit
from faceblur.schema.conversion import from_json, to_json

# Written by the version of 26 November 2026, before files were read by types.
POLICY = """{"threshold": 0.4, "size": 1280, "tiles": "auto", "min_face": 12.0, "mask": {"mode":
"solid", "shape": "ellipse", "expand": 1.0, "cells": 6, "feather": 0.0, "colour": [1, 2, 3],
"image": null}, "zones": [{"kind": "always", "corners": [[0.0, 0.0], ["10%", 0.0], ["10%", 20.5]],
"time": {"start_s": 1.0, "end_s": 2.5}}, {"kind": "never", "corners": [["0%", 0.0], [9.0, 0.0],
[9.0, 9.0]], "time": null}], "spans": [{"effect": "hide", "start_s": "1001/30000", "end_s": null},
{"effect": "spare", "start_s": 3.0, "end_s": 4.0}], "cover": {"lead_s": 0.5, "hold_s": 0.5,
"gap_s": 1.0, "trust_s": 0.3, "track_threshold": null, "detect_every": 1, "max_frames": 128}}"""
MANIFEST = (
    '{"format":"faceblur-audit/1","entry":1,"previous":"' + "0" * 64 + '","started":'
    '"2026-05-01T12:00:00.000+00:00","ended":"2026-05-01T12:00:00.000+00:00","kind":"image",'
    '"source":{"name":"a/b.jpg","sha256":"' + "ab" * 32 + '","bytes":1000},"output":{"name":'
    '"a/b.jpg","sha256":"' + "ab" * 32 + '","bytes":1000},"width":640,"height":360,"model":{"name":'
    '"bundled","sha256":"' + "cd" * 32 + '"},"detector":"embedded","settings":{"policy":{'
    '"threshold":0.11,"size":640,"tiles":"auto","min_face":0.0,"mask":{"mode":"veil","shape":'
    '"ellipse","expand":0.25,"cells":6,"feather":0.0,"colour":[0,0,0],"image":null},"zones":[{"kind"'
    ':"never","corners":[["0%",0.0],[9.0,0.0],[9.0,9.0]],"time":null}],"spans":[{"effect":"hide",'
    '"start_s":3.0,"end_s":4.0}],"cover":{"lead_s":0.5,"hold_s":0.5,"gap_s":1.0,"trust_s":0.3,'
    '"track_threshold":null,"detect_every":1,"max_frames":128}}},"settings_sha256":"' + "ef" * 32
    + '","frames":{"checked":1,"with_faces":1,"faces":1,"dropped":0,"held":0},"tools":{"python":'
    '"3.11"},"platform":"Linux x86_64"}\n{"pts_s":0.0,"faces":1,"boxes":[[0.0,1.0,2.0,3.0]]}\n'
)  # fmt: skip
HEAD = (
    '{"format": "faceblur-audit-head/1", "entries": 1, "sha256": '
    '"bbd0178f2a69010da81cdd729b61ae057e90ba0d8bfea08a27d13757b5621c04"}'
)
NOTE = (
    '{"name":"a.jpg","ingredients":{"source_sha256":"1","settings_sha256":"2","model_sha256":"3",'
    '"version":"0.1.0"},"output_sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921'
    'a4881","faces":2,"frames":1}\n'
)
CAMERAS = """
server: {address: null, model: null, tls: null, deadline_s: 2.0, transport: auto}
listen: 127.0.0.1:9180
shutdown_s: 10.0
defaults:
  source: {rtsp_transport: udp, stall_timeout_s: 9, loop: true, size: 320x240, fps: null}
  fps: null
  threshold: 0.2
  mask: {mode: veil, expand: 0.25, colour: [0, 0, 0], image: null}
  zones: []
  cover: {lead_s: 0.5, hold_s: 0.7, track_threshold: null}
  on_failure: placeholder
  hardware_decoding: off
cameras:
  door:
    source: rtsp://host/x
    mask: solid
    zones: [{kind: never, corners: "0%,0% 20%,0% 20%,30%"}]
    sinks: ["rtsp://localhost/y", {to: "segments:x", segment_s: 60, keep_s: 86400, encoder: null}]
"""


def _entry(content: bytes, frames: list[Any]) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"path": "a.jpg", "sha256": sha256, "width": 8, "height": 9, "frames": frames}


def _listed(folder: Path, frames: list[Any], policy: object) -> AnnotationFile:
    model = {"name": "bundled", "sha256": "00", "threshold": 0.11, "size": 640}
    content = {"version": 1, "model": model, "policy": policy, "media": [_entry(b"x", frames)]}
    path = folder / "found.json"
    path.write_text(json.dumps(content))
    (folder / "a.jpg").write_bytes(b"x")
    return AnnotationFile.read(path)


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    old = json.loads(POLICY)
    policy = from_json(old, Policy, "the policy")
    # What has been added since is off.
    assert to_json(policy) == old | {"moving": to_json(Policy())["moving"]}
    assert policy.moving.mode == "off"

    face = {"box": [1.5, 2, 3, 4], "score": 0.5, "landmarks": [[1, 2]] * 5}
    frames = [{"index": 0, "pts_s": 0.0, "faces": [face, {"box": [0, 0, 1, 1]}]}]
    listed = _listed(tmp_path, frames, old)
    assert (listed.model and listed.model.name, listed.policy) == ("bundled", old)
    faces = listed.media(tmp_path / "a.jpg").faces(0, 0.0)
    assert faces.rows()[:, :7].tolist() == [[1.5, 2, 3, 4, 0.5, 1, 2], [0, 0, 1, 1, 1, 0.5, 0.5]]

    (tmp_path / "00000001.jsonl").write_text(MANIFEST)
    (tmp_path / "head.json").write_text(HEAD)
    (entry,) = read_audit(tmp_path).entries
    assert from_json(entry.manifest.settings["policy"], Policy, "it").zones[0].kind == "never"
    assert [frame.boxes.tolist() for frame in entry.frames()] == [[[0, 1, 2, 3]]]

    (tmp_path / ".faceblur").mkdir()
    (tmp_path / ".faceblur" / "finished.jsonl").write_text(NOTE)
    key = CacheKey(source_sha256="1", settings_sha256="2", model_sha256="3", version="0.1.0")
    note = ResultCache(tmp_path).note_of("a.jpg")
    assert note is not None
    assert (note.is_of(key), is_intact(tmp_path / "a.jpg", note), note.faces) == (True, True, 2)

    camera = read_config(CAMERAS, file="cameras.yaml", secrets=Secrets({})).cameras[0]
    assert (camera.source.rtsp_transport, camera.policy.mask.mode) == ("udp", "solid")
    assert (camera.cover.hold_s, camera.sinks[1].keep_s, camera.policy.zones[0].kind) == (
        0.7, 86400, "never",
    )  # fmt: skip


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    wrong = {
        "treshold": 1,
        "size": 9,
        "min_face": "low",
        "mask": {"expand": 9, "cells": 9, "colour": [1, 2, "red"], "image": {"sha256": "0"}},
        "zones": [{"kind": "never"}, {"kind": "never", "corners": [[0, 0], [1, 1], [2, 2]]}, 3],
        "cover": {"hold_s": -1, "gap_s": 99, "hold": 1},
    }
    with pytest.raises(InputError) as caught:
        from_json(wrong, Policy, "the policy")
    assert caught.value.several_lines
    head, *lines = str(caught.value).splitlines()
    assert head == f"the policy has {len(lines)} mistakes:"
    assert [re.sub("[;:].*", "", line) for line in sorted(lines)] == [
        "cells in the mask of the policy",
        "color[2] in the mask of the policy must be a whole number, not 'red'",
        "expand in the mask of the policy",
        "gap_s in the cover of the policy",
        "hold_s in the cover of the policy",
        "image in the mask of the policy was no file",
        "min_face in the policy must be a number, not 'low'",
        "size in the policy",
        "the cover of the policy has no setting 'hold'",
        "the policy has no setting 'treshold'",
        "zones[0] in the policy lacks 'corners'",
        "zones[1] in the policy",
        "zones[2] in the policy must be an object with named values, not 3",
    ]
    assert "no setting 'treshold'; did you mean threshold?" in str(caught.value)


def test_of_many_mistakes_the_first_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    frames = [{"index": i, "pts_s": i, "faces": [{"box": [3, 0, 2, 1]}]} for i in range(99)]
    with pytest.raises(InputError) as caught:
        _listed(tmp_path, frames, {}).media(tmp_path / "a.jpg")
    head, first, *_, last = str(caught.value).splitlines()
    assert (" has 99 mistakes:" in head, last) == (True, "and 79 more")
    assert first.startswith("faces[0] in frames[0] in the entry of a.jpg in ")
    assert first.endswith(": the box ends before it starts; give left, top, right and bottom")


def test_importing_does_not_load_the_converter() -> None:
    check = "import sys, faceblur, faceblur.cli.blur; sys.exit('cattrs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
