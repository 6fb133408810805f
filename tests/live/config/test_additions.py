"""Cameras that are added to a file which people have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceblur.errors import InputError, OutputError
from faceblur.live.config.additions import NewCamera, add_camera, split_credentials, with_camera
from faceblur.live.config.config import load_config, read_config
from faceblur.live.config.secrets import Secrets

WRITTEN = """\
# Ours.
listen: 127.0.0.1:9999   # not the usual one

cameras:
    door:          # the front one
        source: testpattern
        sinks: ["null"]
        # deadline_s: 3

# What holds for all of them.
defaults:
    fps: 5
"""


def _added(text: str, name: str = "yard") -> str:
    return with_camera(text, name, "testpattern", ["mjpeg:8090"], file="cameras.yaml")


def test_every_other_line_stays_as_it_is() -> None:
    block = '    yard:\n        source: testpattern\n        sinks:\n            - "mjpeg:8090"\n'
    comment = "        # deadline_s: 3\n"
    assert _added(WRITTEN) == WRITTEN.replace(comment, comment + block)
    for end in ("", "\n", "\n\n\n", "\n# the end\n"):
        text = f"cameras:\n  door: {{source: testpattern, sinks: ['null']}}{end}"
        added = _added(text, "back yard: 2 #1")
        assert added.startswith(text.rstrip("\n").removesuffix("# the end").rstrip())
        config = read_config(added, file="f", secrets=Secrets({}))
        assert [camera.name for camera in config.cameras] == ["door", "back yard: 2 #1"]
    for text in ("", "# Nothing yet.\n", "listen:\n", "cameras:\nlisten:\n", "listen:\ncameras:"):
        added = _added(text, "true")
        config = read_config(added, file="f", secrets=Secrets({}))
        assert [camera.name for camera in config.cameras] == ["true"]
        assert all(line in added.splitlines() for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        (WRITTEN, "door", "has a camera 'door' already"),
        (WRITTEN, " ", "needs a name"),
        (WRITTEN, "a\nb", "needs a name"),
        ("cameras: {door: {source: testpattern}}", "yard", "no camera can be added to"),
        ("{listen: null}", "yard", "no camera can be added to"),
        ("cameras:\n- door\n", "yard", "no camera can be added to"),
        ("cameras: &all\n  a: {source: x}\nmore: *all\n", "yard", "no camera can be added to"),
        ("cameras: [", "yard", "not YAML"),
    ],
)
def test_what_cannot_be_added_is_one_sentence(text: str, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        _added(text, name)


def test_a_password_is_in_no_file_but_its_own(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    password = "p${HOME}:/ @ä"
    camera = NewCamera(
        name="yard 2",
        address="rtsp://192.0.2.1:554/a?b=$c",
        user="op/$x",
        password=password,
        sinks=["null"],
    )
    assert password not in repr(camera)
    add_camera(file, camera)
    assert file.stat().st_mode & 0o777 == 0o600
    secret = tmp_path / "secrets" / "yard-2-password"
    assert (secret.stat().st_mode & 0o777, secret.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password not in file.read_text()
    (read,) = load_config(file, environment={}).cameras
    bare, user, found = split_credentials(read.source.url)
    assert (bare, user, found) == (camera.address, camera.user, password)
    file.chmod(0o640)
    # Nothing of another camera is written over.
    with pytest.raises(InputError, match="is there already"):
        add_camera(file, NewCamera(name="yard-2", address="rtsp://192.0.2.2/", password="x"))
    add_camera(file, NewCamera(name="gate", address="rtsp://192.0.2.2/", sinks=["null"]))
    assert file.stat().st_mode & 0o777 == 0o640
    assert len(load_config(file, environment={}).cameras) == 2


def test_without_a_place_for_its_password_no_camera_is_added(tmp_path: Path) -> None:
    (tmp_path / "secrets").touch()
    file = tmp_path / "cameras.yaml"
    camera = NewCamera(name="yard", address="rtsp://192.0.2.1/", password="x", sinks=["null"])
    with pytest.raises(OutputError, match="for passwords cannot be made: File exists"):
        add_camera(file, camera)
    assert not file.exists()
