"""Many files: mirrored, resumed, in parallel, with an audit, and none half done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import moving_face_video

from faceblur.batch.jobs import plan
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.runner import run
from faceblur.cli import main
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.errors import OutputError
from faceblur.files import file_sha256
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.reader import read_audit
from faceblur.schema.conversion import to_json

Run = Callable[..., Result]
SOLID = Policy(mask=MaskStyle(mode="solid"))


THRESHOLD = ("--threshold", "0.2")
"""At the default the official model takes a part of the astronaut's suit for a face as well."""


@pytest.fixture
def blur(session: DetectionSession) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    server = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *THRESHOLD, *map(str, arguments), "--server", server]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture
def tree(tmp_path: Path, portrait: npt.NDArray[np.uint8]) -> Path:
    """A folder with four photos, each different, in two levels."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    for number, name in enumerate(("a.jpg", "b.png", "sub/c.jpg", "sub/d.webp")):
        cv2.imwrite(str(folder / name), np.roll(small, 9 * number, axis=1))
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    """All files in a folder of results, but for the notes."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if ".faceblur" not in path.parts
    }


def outcomes(result: Result) -> dict[str, str]:
    """What the table says of each file."""
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    return {Path(line[0]).name: line[-1] for line in lines if len(line) == 5}


class TestBatch:
    def test_a_tree_is_mirrored_and_a_bad_file_in_the_middle_stops_nothing(
        self, blur: Run, tree: Path
    ) -> None:
        (tree / "bad.jpg").write_text("no picture")
        result = blur(tree, "--workers", "3")
        assert result.exit_code == 1
        mirrored = tree.with_name("in_blurred")
        assert sorted(outputs(mirrored)) == ["a.jpg", "b.png", "sub/c.jpg", "sub/d.webp"]
        titles, *rows = result.stdout.splitlines()
        assert titles.split() == ["file", "faces", "frames", "seconds", "outcome"]
        assert [Path(row.split()[0]).name for row in rows[:5]] == [
            "a.jpg", "b.png", "bad.jpg", "c.jpg", "d.webp"
        ]  # fmt: skip
        assert re.search(r"a\.jpg +1 +1 +\d+\.\d +masked$", rows[0])
        assert re.search(r"bad\.jpg +- +- +\d+\.\d +failed$", rows[2])
        assert re.match(r"4 files: \d+ faces masked in 4 frames", rows[5])
        assert rows[5].endswith("1 file failed")
        (error,) = result.stderr.splitlines()
        assert re.fullmatch(r"cannot read .*bad\.jpg: [^:]*not an image[^:]*", error)

    def test_workers_change_nothing_but_the_time(
        self, session: DetectionSession, tree: Path, tmp_path: Path
    ) -> None:
        moving_face_video(tree / "clip.mp4", frames=12, width=320, height=180)
        shutil.copy(tree / "clip.mp4", tree / "sub" / "twin.mp4")
        found = []
        for workers in (1, 4):
            out = tmp_path / f"out{workers}"
            jobs = plan([str(tree)], out)
            done = list(run(jobs, session, RunOptions(workers=workers)))
            assert [outcome.error for outcome in done] == [None] * 6
            found.append({outcome.job.source: outcome.faces for outcome in done})
        assert found[0] == found[1]
        one, four = outputs(tmp_path / "out1"), outputs(tmp_path / "out4")
        images = [name for name in one if not name.endswith("mp4")]
        assert {name: one[name] for name in images} == {name: four[name] for name in images}

    def test_one_file_is_as_it_always_was(self, blur: Run, tree: Path) -> None:
        for _ in range(2):
            result = blur(tree / "a.jpg")
            assert re.fullmatch(r".*a_blurred\.jpg: 1 face masked in 1 frame, .*\n", result.stdout)
        assert not list(tree.rglob(".faceblur"))

    def test_results_inside_the_searched_folder_are_not_blurred_again(
        self, blur: Run, tree: Path
    ) -> None:
        assert blur(tree, "-o", tree / "out").exit_code == 0
        first = outputs(tree / "out")
        result = blur(tree, "-o", tree / "out")
        assert set(outcomes(result).values()) == {"outcome", "skipped, was finished"}
        assert outputs(tree / "out") == first

    def test_an_interrupt_stops_all_workers_and_leaves_no_half_file(
        self, session: DetectionSession, tmp_path: Path
    ) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        folder.mkdir()
        moving_face_video(folder / "a.mp4", frames=300, width=960, height=540)
        shutil.copy(folder / "a.mp4", folder / "b.mp4")
        job = _start(session, folder, "-o", out, "--workers", "2")
        _wait_until(lambda: len(_partials(out)) == 2)
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=60)
        assert job.returncode == 130, errors
        assert "Traceback" not in errors
        assert outputs(out) == {}

    def test_an_interrupt_that_another_thread_receives_stops_them_too(
        self, session: DetectionSession, tmp_path: Path
    ) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        folder.mkdir()
        moving_face_video(folder / "a.mp4", frames=60, width=960, height=540)
        shutil.copy(folder / "a.mp4", folder / "b.mp4")
        interrupted = threading.Event()

        def interrupt(*_: object) -> None:
            if not interrupted.is_set():
                interrupted.set()
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        outcomes = run(
            plan([str(folder)], out), session, RunOptions(workers=2), on_progress=interrupt
        )
        with pytest.raises(KeyboardInterrupt):
            list(outcomes)
        assert outputs(out) == {}


class TestResume:
    def test_what_is_finished_is_skipped(self, blur: Run, tree: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert blur(tree, "-o", out).exit_code == 0
        before = _versions(out)
        result = blur(tree, "-o", out)
        assert result.exit_code == 0
        assert _versions(out) == before
        assert "4 files skipped" in result.stdout
        assert re.search(r"a\.jpg +1 +1 +\d\.\d +skipped", result.stdout)

    def test_a_tree_that_was_moved_is_still_finished(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        assert blur(tree, "-o", tmp_path / "out").exit_code == 0
        shutil.move(tmp_path / "out", tmp_path / "moved")
        assert "4 files skipped" in blur(tree, "-o", tmp_path / "moved").stdout

    def test_only_what_changes_a_result_redoes_it(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        for path in (tree / "sub").iterdir():
            path.unlink()
        line = (tree, "-o", tmp_path / "out")
        assert blur(*line).exit_code == 0
        idle = ("--workers", "1", "--deadline", "20", "--transport", "raw")
        assert "2 files skipped" in blur(*line, *idle).stdout
        for options in (
            ("--threshold", "0.5"),
            ("--mask", "solid"),
            ("--quality", "50"),
            ("--again",),
            ("--json", tmp_path / "found.json"),
        ):
            assert "skipped" not in blur(*line, *options).stdout
        found = json.loads((tmp_path / "found.json").read_text())
        assert len(found["media"]) == 2

    def test_what_changed_is_redone_and_nothing_else(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        """Neither names nor sizes nor times decide."""
        out = tmp_path / "out"
        assert blur(tree, "-o", out).exit_code == 0
        _swap_bytes(tree / "b.png", cv2.imread(str(tree / "sub" / "c.jpg")))
        spoilt = bytearray((out / "sub" / "c.jpg").read_bytes())
        spoilt[-100] ^= 1
        times = (out / "sub" / "c.jpg").stat()
        (out / "sub" / "c.jpg").write_bytes(spoilt)
        os.utime(out / "sub" / "c.jpg", ns=(times.st_atime_ns, times.st_mtime_ns))
        (out / "sub" / "d.webp").unlink()
        os.utime(tree / "a.jpg")
        shutil.copy(tree / "a.jpg", tree / "copy.jpg")
        result = blur(tree, "-o", out)
        assert {name for name, what in outcomes(result).items() if what == "masked"} == {
            "b.png", "c.jpg", "d.webp", "copy.jpg"
        }  # fmt: skip
        assert "5 files skipped" in blur(tree, "-o", out).stdout

    def test_an_original_under_the_result_s_name_is_not_taken_for_the_result(
        self, blur: Run, tree: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        assert blur(tree, "-o", out).exit_code == 0
        shutil.copy(tree / "a.jpg", out / "a.jpg")
        assert outcomes(blur(tree, "-o", out))["a.jpg"] == "masked"
        assert (out / "a.jpg").read_bytes() != (tree / "a.jpg").read_bytes()

    def test_spoilt_notes_cost_time_alone(self, blur: Run, tree: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert blur(tree, "-o", out).exit_code == 0
        notes = out / ".faceblur" / "finished.jsonl"
        notes.write_bytes(notes.read_bytes()[:-30] + b"\xff\x00")
        result = blur(tree, "-o", out)
        assert list(outcomes(result).values()).count("masked") == 1
        assert "4 files skipped" in blur(tree, "-o", out).stdout

    def test_a_batch_that_was_killed_goes_on_where_it_was(
        self, session: DetectionSession, blur: Run, portrait: npt.NDArray[np.uint8], tmp_path: Path
    ) -> None:
        folder, out, audit = tmp_path / "in", tmp_path / "out", tmp_path / "audit"
        folder.mkdir()
        small = cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA)
        for number in range(30):
            cv2.imwrite(str(folder / f"{number}.png"), np.roll(small, number, axis=0))
        job = _start(session, folder, "-o", out, "--audit", audit, "--workers", "2")
        _wait_until(lambda: len(list(out.glob("[0-9]*.png"))) >= 5)
        job.kill()
        job.communicate()
        finished = {path.name for path in out.glob("[0-9]*.png")}
        assert 5 <= len(finished) < 30
        manifests = read_audit(audit)
        for name in finished:
            assert manifests.of_output(file_sha256(out / name)) is not None
            face = cv2.imread(str(out / name))
            assert cv2.norm(face, cv2.imread(str(folder / name)), cv2.NORM_INF) > 50
        before = _versions(out)
        result = blur(folder, "-o", out, "--audit", audit)
        assert result.exit_code == 0, result.output
        skipped = {name for name, what in outcomes(result).items() if what.startswith("skipped")}
        # What appeared in the very last moment may not have been noted.
        assert len(finished) - 2 <= len(skipped) <= len(finished)
        assert all(_versions(out)[name] == before[name] for name in skipped)
        assert len(outputs(out)) == 30
        audited = read_audit(audit)
        assert all(audited.of_output(file_sha256(out / f"{n}.png")) for n in range(30))


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


def _versions(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
        if ".faceblur" not in path.parts
    }


def _swap_bytes(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Put another image into a file, and leave its size and time as they were."""
    facts = path.stat()
    content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert len(content) <= facts.st_size
    path.write_bytes(content.ljust(facts.st_size, b"\0"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _start(session: DetectionSession, *arguments: str | Path) -> subprocess.Popen[str]:
    assert session.server is not None
    line = [sys.executable, "-m", "faceblur", "blur", *THRESHOLD, *map(str, arguments)]
    line += ["--server", session.server.address]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*partial*") if path.stat().st_size > 0]


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if reached():
                return
        except FileNotFoundError:
            continue
        time.sleep(0.02)
    raise AssertionError("it did not come to that")
