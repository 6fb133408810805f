"""The audit of a folder: each result has its manifest, or is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from media import moving_face_video
from trees import SOLID, Run, outputs

from faceblur.batch.jobs import plan
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.runner import run
from faceblur.cli import main
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.errors import OutputError
from faceblur.files import file_sha256
from faceblur.masks.policy import Policy
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.reader import read_audit
from faceblur.schema.conversion import to_json


class TestAudit:
    def test_each_result_has_its_manifest(self, blur: Run, tree: Path, tmp_path: Path) -> None:
        out, folder = tmp_path / "out", tmp_path / "audit"
        moving_face_video(tree / "clip.mp4", frames=12, width=320, height=180)
        result = blur(tree, "-o", out, "--audit", folder, "--workers", "3")
        assert result.exit_code == 0, result.output
        audit = read_audit(folder)
        assert len(audit.entries) == 5
        assert result.stdout.splitlines()[-1] == f"{folder}: 5 manifests, head {audit.head}"
        for name in ("a.jpg", "sub/d.webp", "clip.mp4"):
            entry = audit.of_output(file_sha256(out / name))
            assert entry is not None
            manifest = entry.manifest
            assert (manifest.source.name, manifest.output.name) == (name, name)
            assert manifest.source.sha256 == file_sha256(tree / name)
            assert manifest.output.size_bytes == (out / name).stat().st_size
            frames = 12 if name == "clip.mp4" else 1
            assert manifest.frames.checked == len(list(entry.frames())) == frames
            assert manifest.frames.faces == sum(len(f.boxes) for f in entry.frames()) > 0
            assert manifest.settings["policy"] == json.loads(
                json.dumps(to_json(Policy(detection=DetectionOptions(threshold=0.2))))
            )
            assert {"faceblur", "av", "libavcodec", "numpy", "opencv", "tritonserver"} <= set(
                manifest.tools
            )
            assert manifest.started <= manifest.ended
        text = "".join(path.read_text() for path in folder.glob("*.jsonl"))
        assert str(tmp_path) not in text

    def test_listed_faces_are_audited_with_their_list(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        boxes, folder = tmp_path / "found.json", tmp_path / "audit"
        assert blur(tree, "-o", tmp_path / "first", "--json", boxes).exit_code == 0
        line = ["blur", tree, "-o", tmp_path / "out", "--boxes", boxes, "--audit", folder]
        result = CliRunner().invoke(main, list(map(str, line)))
        assert result.exit_code == 0, result.output
        (entry, *_) = read_audit(folder).entries
        assert entry.manifest.detector == "boxes"
        assert entry.manifest.settings["boxes"] == {"sha256": file_sha256(boxes)}
        assert "4 files skipped" in CliRunner().invoke(main, list(map(str, line))).stdout
        boxes.write_text(boxes.read_text() + "\n")
        assert "skipped" not in CliRunner().invoke(main, list(map(str, line))).stdout

    def test_one_file_is_audited_by_its_own_name(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        result = blur(tree / "a.jpg", "--audit", tmp_path / "audit")
        assert result.exit_code == 0
        (entry,) = read_audit(tmp_path / "audit").entries
        assert entry.manifest.output.name == "a_blurred.jpg"
        assert entry.manifest.output.sha256 == file_sha256(tree / "a_blurred.jpg")

    def test_a_result_without_manifest_is_not_finished(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        assert blur(tree, "-o", tmp_path / "out").exit_code == 0
        line = (tree, "-o", tmp_path / "out", "--audit", tmp_path / "audit")
        assert "4 files skipped" not in blur(*line).stdout
        assert "4 files skipped" in blur(*line).stdout

    def test_a_tampered_audit_is_refused_before_any_work(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "audit"
        assert blur(tree / "a.jpg", "--audit", folder).exit_code == 0
        path = folder / "00000001.jsonl"
        path.write_text(path.read_text().replace('"faces":1', '"faces":0'))
        result = blur(tree, "-o", tmp_path / "out", "--audit", folder)
        assert result.exit_code == 3
        assert len(result.stderr.splitlines()) == 1
        assert "does not hold" in result.stderr
        assert not (tmp_path / "out").exists()

    def test_no_result_appears_before_its_manifest(
        self, session: DetectionSession, tree: Path, tmp_path: Path, monkeypatch: Any
    ) -> None:
        """The manifest cannot be written: nor is the result."""

        def full(*arguments: object) -> None:
            assert not (tmp_path / "out" / "a.jpg").exists()
            raise OutputError("the disk is full")

        audit = AuditLog(tmp_path / "audit")
        monkeypatch.setattr(AuditLog, "append", full)
        done = _masked(session, tree, tmp_path / "out", audit)
        assert {str(outcome.error) for outcome in done} == {"the disk is full"}
        assert outputs(tmp_path / "out") == {}

    def test_a_manifest_whose_result_did_not_appear_is_not_trusted(
        self, session: DetectionSession, tree: Path, tmp_path: Path, monkeypatch: Any
    ) -> None:
        """Killed between the manifest and the result: the next run masks again."""
        append = AuditLog.append

        def die_after(*arguments: Any) -> None:
            append(*arguments)
            raise OutputError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(AuditLog, "append", die_after)
            _masked(session, tree, tmp_path / "out", AuditLog(tmp_path / "audit"))
        assert outputs(tmp_path / "out") == {}
        assert len(read_audit(tmp_path / "audit").entries) == 4
        done = _masked(session, tree, tmp_path / "out", AuditLog(tmp_path / "audit"))
        assert [outcome.error for outcome in done] == [None] * 4
        assert len(read_audit(tmp_path / "audit").entries) == 8

    def test_a_source_that_grows_while_it_is_read_is_not_vouched_for(
        self, session: DetectionSession, tree: Path, tmp_path: Path, monkeypatch: Any
    ) -> None:
        def read_and_grow(path: Path) -> Any:
            image = read_image(path)
            with path.open("ab") as file:
                file.write(b"more")
            return image

        from faceblur.batch.image import read_image

        monkeypatch.setattr("faceblur.batch.image.read_image", read_and_grow)
        done = _masked(session, tree, tmp_path / "out", AuditLog(tmp_path / "audit"))
        assert all("changed while it was read" in str(outcome.error) for outcome in done)
        assert outputs(tmp_path / "out") == {}
        assert read_audit(tmp_path / "audit").entries == ()

    def test_a_sealed_audit_needs_its_key(
        self, blur: Run, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = (tree / "a.jpg", "--audit", tmp_path / "audit")
        monkeypatch.setenv("FACEBLUR_AUDIT_KEY", "correct horse")
        assert blur(*line).exit_code == 0
        assert read_audit(tmp_path / "audit", key=b"correct horse").checked_with_key
        assert blur(*line).exit_code == 0
        monkeypatch.setenv("FACEBLUR_AUDIT_KEY", "wrong")
        assert blur(*line).exit_code == 3
        monkeypatch.delenv("FACEBLUR_AUDIT_KEY")
        assert blur(*line).exit_code == 3


def _masked(session: DetectionSession, tree: Path, out: Path, audit: AuditLog) -> list[Outcome]:
    return list(run(plan([str(tree)], out), session, RunOptions(policy=SOLID, audit=audit)))
