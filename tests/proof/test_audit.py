"""An audit shows what was changed in it, and holds through crashes and crowds."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from faceblur.detection.detector import ModelInfo
from faceblur.detections import ROW_WIDTH, Detections, FrameDetections, MediaDetections
from faceblur.errors import OutputError
from faceblur.files import canonical_sha256, file_sha256
from faceblur.proof.audit import facts as audit_facts
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.manifest import AuditError, FileFacts, Manifest
from faceblur.proof.audit.reader import read_audit

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
SETTINGS = {"policy": {"threshold": 0.25}}
KEY = b"a key of the tests"
HERE = os.pathsep.join(map(str, Path(__file__).parents[:2]))
"""Where another process finds this module."""


def add(log: AuditLog, name: str = "photo.jpg", *, faces: int = 2, frames: int = 3) -> None:
    """Append the manifest of a made-up output."""
    rows = np.arange(faces * ROW_WIDTH, dtype=np.float32).reshape(faces, ROW_WIDTH)
    found = [FrameDetections(i, i / 25, Detections.from_rows(rows)) for i in range(frames)]
    log.append(_manifest(name, found), found)


def _manifest(name: str, found: list[FrameDetections]) -> Manifest:
    facts = FileFacts(name=name, sha256=canonical_sha256({"of": name}), size_bytes=1000)
    return Manifest(
        source=facts,
        output=facts,
        kind="video",
        width=640,
        height=360,
        model=ModelInfo("bundled", "ab" * 32),
        detector="embedded",
        settings=SETTINGS,
        settings_sha256=canonical_sha256(SETTINGS),
        frames=audit_facts.tally(MediaDetections(Path(name), 640, 360, found)),
        started=NOW,
        ended=NOW,
        tools=audit_facts.tools({"onnxruntime": "1.0"}),
        platform=audit_facts.system(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit of five outputs."""
    log = AuditLog(tmp_path / "audit")
    for number in range(1, 6):
        add(log, f"photo{number}.jpg")
    return tmp_path / "audit"


def test_what_was_written_is_read(folder: Path) -> None:
    audit = read_audit(folder)
    assert [entry.manifest.output.name for entry in audit.entries] == [
        f"photo{number}.jpg" for number in range(1, 6)
    ]
    entry = audit.entries[2]
    assert (entry.number, entry.previous) == (3, audit.entries[1].sha256)
    assert entry.manifest.settings == SETTINGS
    assert entry.manifest.started == NOW
    assert entry.manifest.frames.checked == 3
    assert (entry.manifest.frames.with_faces, entry.manifest.frames.faces) == (3, 6)
    frames = list(entry.frames())
    assert [(f.index, f.pts_s) for f in frames] == [(0, 0.0), (1, 0.04), (2, 0.08)]
    assert frames[0].boxes.tolist() == [[0, 1, 2, 3], [15, 16, 17, 18]]
    assert audit.head == audit.entries[-1].sha256
    assert audit.of_output(entry.manifest.output.sha256 or "") == entry
    assert audit.of_output("0" * 64) is None


@pytest.mark.parametrize("name", ["head.json", "00000001.jsonl"])
def test_an_audit_of_a_later_version_is_said_to_be_one(folder: Path, name: str) -> None:
    path = folder / name
    first, *others = path.read_text().split("\n", 1)
    fields = json.loads(path.read_text() if name == "head.json" else first)
    text = json.dumps({**fields, "format": 99})
    path.write_text(text if name == "head.json" else "\n".join([text, *others]))
    with pytest.raises(AuditError) as raised:
        read_audit(folder)
    assert str(raised.value) == f"{path} has the format 99; update faceblur"


def test_nothing_but_boxes_is_kept_of_a_face(folder: Path) -> None:
    line = (folder / "00000001.jsonl").read_text().splitlines()[1]
    assert set(json.loads(line)) == {"pts_s", "faces", "boxes"}


def test_the_machine_and_its_users_are_not_named(folder: Path) -> None:
    text = "".join(path.read_text() for path in folder.glob("*.jsonl"))
    assert not re.search(r'"(/|[A-Z]:\\)', text)
    assert os.uname().nodename not in text
    overlay = {"mask": {"image": {"path": "/home/anna/logo.png", "sha256": "12"}}}
    assert audit_facts.without_folders([overlay]) == [
        {"mask": {"image": {"path": "logo.png", "sha256": "12"}}}
    ]


def _edit(folder: Path) -> None:
    path = folder / "00000003.jsonl"
    text = path.read_text()
    assert text.count('"faces":2') == 3
    path.write_text(text.replace('"faces":2', '"faces":1', 1))


def _edit_last(folder: Path) -> None:
    path = folder / "00000005.jsonl"
    path.write_text(path.read_text().replace("photo5.jpg", "photo6.jpg"))


def _remove(folder: Path) -> None:
    (folder / "00000002.jsonl").unlink()


def _remove_last(folder: Path) -> None:
    (folder / "00000005.jsonl").unlink()


def _remove_and_close_up(folder: Path) -> None:
    for number in (2, 3, 4):
        (folder / f"{number + 1:08d}.jsonl").replace(folder / f"{number:08d}.jsonl")
    head = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**head, "entries": 4}))


def _swap(folder: Path) -> None:
    one, two = folder / "00000002.jsonl", folder / "00000004.jsonl"
    text = one.read_text()
    one.write_text(two.read_text().replace('"entry":4', '"entry":2'))
    two.write_text(text.replace('"entry":2', '"entry":4'))


def _rename(folder: Path) -> None:
    one, two = folder / "00000002.jsonl", folder / "00000004.jsonl"
    text = one.read_text()
    one.write_text(two.read_text())
    two.write_text(text)


def _add(folder: Path) -> None:
    shutil.copy(folder / "00000005.jsonl", folder / "00000006.jsonl")


def _remove_head(folder: Path) -> None:
    (folder / "head.json").unlink()


def _lower_head(folder: Path) -> None:
    fourth = json.loads((folder / "00000005.jsonl").read_text().splitlines()[0])["previous"]
    head = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**head, "entries": 4, "sha256": fourth}))


def _spoil_head(folder: Path) -> None:
    (folder / "head.json").write_text("{}")


def _count_without_end(folder: Path) -> None:
    text = (folder / "head.json").read_text()
    (folder / "head.json").write_text(text.replace('"entries": 5', '"entries": 1e999'))


def _cut(folder: Path) -> None:
    path = folder / "00000004.jsonl"
    path.write_bytes(path.read_bytes()[:100])


TAMPERINGS = [
    _edit, _edit_last, _remove, _remove_last, _remove_and_close_up, _swap, _rename, _add,
    _remove_head, _lower_head, _spoil_head, _count_without_end, _cut,
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_what_was_changed_shows_and_nothing_is_appended(
    folder: Path, tamper: Callable[[Path], None]
) -> None:
    tamper(folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*.json*")}
    with pytest.raises(AuditError, match=re.escape(str(folder))) as caught:
        read_audit(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(AuditError):
        AuditLog(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.json*")} == before


@pytest.mark.parametrize("tamper", [_edit_last, _remove_last, _remove_head, _add, _lower_head])
def test_what_was_changed_at_the_end_meanwhile_is_not_built_upon(
    folder: Path, tamper: Callable[[Path], None]
) -> None:
    log = AuditLog(folder)
    tamper(folder)
    with pytest.raises(AuditError):
        add(log)


def test_the_manifest_at_fault_is_named(folder: Path) -> None:
    _edit(folder)
    with pytest.raises(AuditError, match=r"00000003\.jsonl"):
        read_audit(folder)


def test_no_audit_is_an_error_to_read_and_a_beginning_to_write(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no audit"):
        read_audit(tmp_path)
    AuditLog(tmp_path)
    assert read_audit(tmp_path).entries == ()


def _forge(folder: Path) -> None:
    """Take the last output out of an audit, as somebody would who knows how it is made."""
    _remove_last(folder)
    head = json.loads((folder / "head.json").read_text())
    head |= {"entries": 4, "sha256": file_sha256(folder / "00000004.jsonl")}
    (folder / "head.json").write_text(json.dumps(head))


def test_a_forged_audit_shows_by_the_head_that_was_noted(folder: Path) -> None:
    noted = read_audit(folder).head
    assert read_audit(folder).holds(noted[:12])
    assert not read_audit(folder).holds(noted[:4])
    _forge(folder)
    assert not read_audit(folder).holds(noted)


def test_a_forged_audit_shows_by_its_seal(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, key=KEY)
    for number in range(1, 6):
        add(log, f"photo{number}.jpg")
    audit = read_audit(tmp_path, key=KEY)
    assert (audit.sealed, audit.checked_with_key) == (True, True)
    unchecked = read_audit(tmp_path)
    assert (unchecked.sealed, unchecked.checked_with_key) == (True, False)
    with pytest.raises(AuditError, match="another key"):
        read_audit(tmp_path, key=b"not the key")
    with pytest.raises(AuditError, match="FACEBLUR_AUDIT_KEY"):
        AuditLog(tmp_path)
    _forge(tmp_path)
    with pytest.raises(AuditError):
        read_audit(tmp_path, key=KEY)


def test_an_audit_without_a_seal_is_not_taken_for_a_sealed_one(folder: Path) -> None:
    with pytest.raises(AuditError, match="not sealed"):
        read_audit(folder, key=KEY)


def test_threads_and_processes_append_to_one_chain(tmp_path: Path) -> None:
    folder, count = tmp_path / "audit", 8
    code = f"from test_audit import add, AuditLog; log = AuditLog({str(folder)!r})\n"
    code += f"for i in range({count}): add(log, 'p' + str(i))"
    environment = {**os.environ, "PYTHONPATH": HERE}
    other = subprocess.Popen([sys.executable, "-c", code], env=environment)
    log = AuditLog(folder)
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda number: add(log, f"t{number}"), range(count)):
            read_audit(folder)
    assert other.wait(timeout=120) == 0
    assert len(read_audit(folder).entries) == 2 * count


def test_a_crash_at_any_moment_leaves_a_chain_that_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before each of its changes on the disk in turn."""

    class CrashError(Exception):
        pass

    for survived in itertools.count():
        steps = itertools.count()

        def mortal(
            do: Callable[..., object], steps: Iterator[int] = steps, last: int = survived
        ) -> Callable[..., object]:
            def do_or_die(*arguments: object) -> object:
                if next(steps) == last:
                    raise CrashError
                return do(*arguments)

            return do_or_die

        before = len(read_audit(folder).entries)
        log = AuditLog(folder)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", mortal(Path.replace))
            patch.setattr(os, "fsync", mortal(os.fsync))
            try:
                add(log, f"crash{survived}.jpg")
            except CrashError:
                finished = False
            else:
                finished = True
        after = read_audit(folder)
        assert len(after.entries) - before in ((1,) if finished else (0, 1))
        assert [frame.index for frame in after.entries[-1].frames()] == [0, 1, 2]
        add(AuditLog(folder), "next.jpg")
        assert read_audit(folder).entries[-1].manifest.output.name == "next.jpg"
        if finished:
            break
    assert survived >= 4


def test_a_killed_writer_leaves_a_chain_that_holds(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    code = f"from test_audit import add, AuditLog; log = AuditLog({str(folder)!r})\n"
    code += "print(flush=True)\nwhile True: add(log, frames=200)"
    environment = {**os.environ, "PYTHONPATH": HERE}
    line = [sys.executable, "-c", code]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        until(lambda: len(read_audit(folder).entries) >= 5, "some manifests are written")
        assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
    before = len(read_audit(folder).entries)
    add(AuditLog(folder))
    assert len(read_audit(folder).entries) == before + 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        AuditLog(tmp_path / "file" / "audit")


def test_settings_have_one_hash() -> None:
    assert canonical_sha256({"a": 1, "b": [2]}) == canonical_sha256({"b": [2], "a": 1})
    assert canonical_sha256({"a": 1}) != canonical_sha256({"a": 2})
