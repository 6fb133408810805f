"""`faceblur verify` finds what was not masked in a video, and says when it cannot know."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from media import pattern, record
from probing import decoded
from verified_clips import FRAMES, LEAK, Clip, Run, encode, leaks, plant

from faceblur.cli import main
from faceblur.image.pixels import BgrImage
from faceblur.proof.verify.media import Frame, pair_frames

# Videos


@pytest.mark.parametrize(
    "given", [(), ("--source",), ("--audit",), ("--source", "--audit")], ids=" ".join
)
def test_a_masked_clip_is_clean(run: Run, clip: Clip, given: tuple[str, ...]) -> None:
    paths = {"--source": clip.source, "--audit": clip.audit}
    result = run("verify", clip.output, *(word for name in given for word in (name, paths[name])))
    assert result.exit_code == 0, result.output
    assert "no leak found" in result.stdout
    assert f"{FRAMES} frames" in result.stdout


@pytest.mark.parametrize("crf", [18, 38])
@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_a_leak_of_one_frame_is_found(
    run: Run, clip: Clip, tmp_path: Path, crf: int, beside: bool
) -> None:
    planted, found, sheet = plant(clip, tmp_path / "planted.mp4", crf=crf), tmp_path / "f", None
    arguments: list[str | Path] = [planted, "--json", found]
    if beside:
        sheet = tmp_path / "sheet.png"
        arguments += ["--source", clip.source, "--sheet", sheet]
    result = run("verify", *arguments)
    assert result.exit_code == 1, result.output
    # Compressed so hard, something else may look a little like a face as well.
    (leak,) = (leak for leak in json.loads(found.read_text())["leaks"] if leak["score"] > 0.5)
    assert leak["frame"] == LEAK
    assert leak["time_s"] == pytest.approx(LEAK / 25)
    assert cv2.norm(np.array(leak["box"]), clip.boxes[LEAK].astype(float), cv2.NORM_INF) < 30
    assert f"frame {LEAK} at {LEAK / 25:.3f} s" in result.stderr
    if sheet is not None:
        assert cv2.imread(str(sheet)) is not None


def test_no_image_is_written_unless_asked(run: Run, clip: Clip, tmp_path: Path) -> None:
    planted = plant(clip, tmp_path / "planted.mp4", crf=20)
    run("verify", planted, "--source", clip.source)
    assert [path.name for path in tmp_path.iterdir()] == ["planted.mp4"]


def test_another_source_proves_nothing(run: Run, clip: Clip, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    record(other, pattern(FRAMES, width=480, height=272))
    result = run("verify", clip.output, "--source", other)
    assert result.exit_code == 2
    assert f"does not show what the source shows in {FRAMES} frames" in result.stderr
    assert "no leak found" not in result.stdout


def test_a_source_of_another_size_is_refused(run: Run, clip: Clip, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    record(other, pattern(3, width=320, height=240))
    result = run("verify", clip.output, "--source", other)
    assert result.exit_code == 2
    assert result.stderr.startswith("faceblur: ")
    assert "480 × 272" in result.stderr


@pytest.mark.parametrize(
    ("kept", "words"), [("without", "lacks 1 frame"), ("twice", "has 1 frame")]
)
def test_frames_that_are_missing_or_more_are_an_error(
    run: Run, clip: Clip, tmp_path: Path, kept: str, words: str
) -> None:
    images = decoded(clip.output, pixel_format="bgr24")
    times = [2 * index for index in range(FRAMES)]
    if kept == "without":
        del images[7], times[7]
    else:
        images.insert(8, images[7])
        times.insert(8, 15)
    changed = tmp_path / "changed.mp4"
    encode(changed, images, crf=18, times=times)
    result = run("verify", changed, "--source", clip.source)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    where = "0.280 s" if kept == "without" else "0.300 s"
    assert where in result.stderr


def test_an_edited_audit_is_an_error(run: Run, clip: Clip, tmp_path: Path) -> None:
    audit = Path(shutil.copytree(clip.audit, tmp_path / "audit"))
    manifest = audit / "00000001.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    lines[LEAK] = lines[LEAK].replace('"boxes":[[', '"boxes":[[1,1,2,2],[')
    manifest.write_text("".join(lines))
    result = run("verify", clip.output, "--source", clip.source, "--audit", audit)
    assert result.exit_code == 2
    assert "does not hold" in result.stderr


def test_an_output_that_was_changed_after_its_audit_is_an_error(
    run: Run, clip: Clip, tmp_path: Path
) -> None:
    changed = tmp_path / clip.output.name
    encode(changed, decoded(clip.output, pixel_format="bgr24"), crf=16)
    result = run("verify", changed, "--audit", clip.audit)
    assert result.exit_code == 2
    assert "was changed afterwards" in result.stderr


@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_what_an_audit_says_was_masked_must_be(
    run: Run, clip: Clip, tmp_path: Path, beside: bool
) -> None:
    planted, found = plant(clip, tmp_path / clip.output.name, crf=18), tmp_path / "found.json"
    source = ("--source", clip.source) if beside else ()
    # So sure must the detector be that it sees nothing: the audit alone says where to look.
    strictly = ("--threshold", "0.99", "--audit", clip.audit, "--json", found)
    result = run("verify", planted, *source, *strictly)
    assert result.exit_code == 1, result.output
    assert leaks(result, found) == [LEAK]
    assert "the audit says that this was masked" in result.stderr
    assert "was changed afterwards" in result.stderr


def test_a_source_that_the_audit_does_not_name_is_an_error(
    run: Run, clip: Clip, tmp_path: Path
) -> None:
    other = Path(shutil.copy(clip.source, tmp_path / "clip.mp4"))
    with other.open("ab") as file:
        file.write(b"\0\0\0\x08free")
    result = run("verify", clip.output, "--source", other, "--audit", clip.audit)
    assert result.exit_code == 2
    assert "is not the file that" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("missing.png",),
        ("text.png",),
        ("photo.png", "--source", "missing.png"),
        ("photo.png", "--audit", "missing"),
        ("photo.png", "--sheet", "sheet.jpg"),
        ("photo.png", "--tls-ca", "ca.pem"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_found_out_is_an_error_of_its_own(
    portrait: BgrImage, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", portrait)
    Path("text.png").write_text("no picture")
    server = () if "--tls-ca" in arguments else ("--server", "localhost:9")
    result = CliRunner().invoke(main, ["verify", *arguments, *server], prog_name="faceblur")
    assert result.exit_code == 2
    assert result.stderr.startswith("faceblur: ")
    assert result.stderr.count("\n") == 1


def test_frames_are_matched_by_their_times() -> None:
    def frames(*times: float) -> Any:
        grey = np.zeros((4, 4), np.uint8)
        return iter(
            Frame(i, Fraction(round(t * 1000), 1000), grey, None) for i, t in enumerate(times)
        )

    pairs = pair_frames(
        frames(0, 0.04, 0.08, 0.12), frames(0.001, 0.05, 0.079, 0.12, 0.2), Fraction(1, 500)
    )
    matched = [(p.source and p.source.index, p.output and p.output.index) for p in pairs]
    assert matched == [(0, 0), (1, None), (None, 1), (2, 2), (3, 3), (None, 4)]
