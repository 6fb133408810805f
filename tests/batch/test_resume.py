"""What is finished of a folder is skipped, and what changes a result redoes it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from trees import Run, outcomes, outputs, start
from waiting import until

from faceblur.files import file_sha256
from faceblur.proof.audit.reader import read_audit


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
        self, far_server: str, blur: Run, portrait: npt.NDArray[np.uint8], tmp_path: Path
    ) -> None:
        folder, out, audit = tmp_path / "in", tmp_path / "out", tmp_path / "audit"
        folder.mkdir()
        small = cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA)
        for number in range(30):
            cv2.imwrite(str(folder / f"{number}.png"), np.roll(small, number, axis=0))
        job = start(far_server, folder, "-o", out, "--audit", audit, "--workers", "2")
        until(lambda: len(list(out.glob("[0-9]*.png"))) >= 5, "5 of 30 results are there")
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
