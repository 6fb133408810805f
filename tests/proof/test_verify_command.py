"""`faceblur verify` finds what was not masked, and says when it cannot know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import Recording, decoded, moving_face_video, pattern, record
from PIL import Image

from faceblur.cli import main
from faceblur.detection.session import DetectionSession
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.proof.verify.evidence import Surroundings, compare, shows_face, still_shown
from faceblur.proof.verify.media import Frame, pair_frames
from faceblur.proof.verify.wholes import is_dim

Run = Callable[..., Result]
FRAMES = 14
LEAK = 8
"""The frame in which tests plant one."""

FACE = np.array([190, 70, 262, 178], np.float32)
"""In the portrait."""


@dataclass(frozen=True)
class Clip:
    """A video, what became of it, and where its face is."""

    source: Path
    output: Path
    audit: Path
    boxes: Sequence[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def run(session: DetectionSession) -> Run:
    """Run `faceblur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    server = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = [*map(str, arguments), "--server", server]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="module")
def clip(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("verify")
    source, output, audit = folder / "clip.mp4", folder / "masked.mp4", folder / "audit"
    boxes = moving_face_video(source, frames=FRAMES, width=480, height=272)
    assert run("blur", source, "-o", output, "--audit", audit).exit_code == 0
    return Clip(source, output, audit, boxes)


@pytest.fixture
def two_faces(portrait: BgrImage) -> BgrImage:
    """Two faces side by side."""
    return np.concatenate([portrait[:, 60:360], portrait[:, 60:360]], axis=1)


def plant(clip: Clip, path: Path, *, crf: int, frames: Sequence[int] = (LEAK,)) -> Path:
    """Put the source's face back into single frames of the masked video, and encode it again."""
    images = decoded(clip.output, pixel_format="bgr24")
    originals = decoded(clip.source, pixel_format="bgr24")
    for index in frames:
        x1, y1, x2, y2 = (round(float(value)) for value in clip.boxes[index])
        margin = (y2 - y1) // 3
        part = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
        images[index][part] = originals[index][part]
    _encode(path, images, crf=crf)
    return path


def leaks(result: Result, found: Path) -> list[int]:
    """The frames that are named in the JSON file."""
    assert result.exit_code in (0, 1, 2)
    return sorted({leak["frame"] for leak in json.loads(found.read_text())["leaks"]})


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
    _encode(changed, images, crf=18, times=times)
    result = run("verify", changed, "--source", clip.source)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    where = "0.280 s" if kept == "without" else "0.300 s"
    assert where in result.stderr


# The audit


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
    _encode(changed, decoded(clip.output, pixel_format="bgr24"), crf=16)
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
    "policy",
    [("--min-face", "400"), ("--never", "0,0 100%,0 100%,100% 0,100%")],
    ids=["small", "zone"],
)
def test_what_the_policy_leaves_alone_is_no_leak(
    run: Run, portrait: BgrImage, tmp_path: Path, policy: tuple[str, ...]
) -> None:
    source, output, audit = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "audit"
    cv2.imwrite(str(source), portrait)
    assert run("blur", source, "-o", output, "--audit", audit, *policy).exit_code == 0
    assert run("verify", output, "--source", source).exit_code == 1
    result = run("verify", output, "--source", source, "--audit", audit)
    assert result.exit_code == 0, result.output
    assert "left alone on purpose" in result.stdout
    alone = run("verify", output, "--audit", audit)
    assert alone.exit_code == 0, alone.output


# Images


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_one_unmasked_face_of_two_is_found(
    run: Run, two_faces: BgrImage, tmp_path: Path, suffix: str, beside: bool
) -> None:
    source, output, found = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "found"
    cv2.imwrite(str(source), two_faces)
    assert run("blur", source, "-o", output).exit_code == 0
    given = ("--source", source) if beside else ()
    assert run("verify", output, *given).exit_code == 0
    masked = cv2.imread(str(output))
    masked[:, 300:] = cv2.imread(str(source))[:, 300:]
    cv2.imwrite(str(output), masked, [cv2.IMWRITE_JPEG_QUALITY, 40])
    result = run("verify", output, *given, "--json", found)
    assert result.exit_code == 1, result.output
    (leak,) = json.loads(found.read_text())["leaks"]
    assert leak["box"][0] > 300


def test_a_face_that_fills_the_image_can_be_judged(
    run: Run, portrait: BgrImage, tmp_path: Path
) -> None:
    source, output, other = (tmp_path / f"{name}.png" for name in ("a", "b", "c"))
    near = portrait[20:230, 115:325]
    cv2.imwrite(str(source), cv2.resize(near, (512, 512), interpolation=cv2.INTER_CUBIC))
    assert run("blur", source, "-o", output, "--expand", "0.45").exit_code == 0
    result = run("verify", output, "--source", source)
    assert result.exit_code == 0, result.output
    assert "no leak found" in result.stdout
    # What is left around the mask still tells another image apart.
    cv2.imwrite(str(other), cv2.imread(str(source))[::-1, ::-1])
    result = run("verify", output, "--source", other)
    assert result.exit_code == 2, result.output
    assert "does not show what the source shows" in result.stderr


@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_frames_too_dark_or_flat_to_judge_are_no_proof(
    run: Run, portrait: BgrImage, tmp_path: Path, beside: bool
) -> None:
    source, found = tmp_path / "a.mp4", tmp_path / "found.json"
    clear = np.full((272, 272, 3), 90, np.uint8)
    clear[:, 136:] = 200
    face = cv2.resize(portrait, (272, 272), interpolation=cv2.INTER_AREA)
    fog, dark = (np.asarray(face * 0.1 + level, np.uint8) for level in (180, 4))
    black = np.zeros_like(fog)
    _encode(source, [clear, fog, dark, black, clear], crf=12)
    given = ("--source", source) if beside else ()
    # Nothing was found in it, so nothing was masked.
    result = run("verify", source, *given, "--threshold", "0.95", "--json", found)
    assert result.exit_code == 2, result.output
    assert "too dark or flat to judge in 2 frames (0.040 s, 0.080 s)" in result.stderr
    assert "not verified" in result.stdout
    assert result.stdout.endswith("; 2 frames too dark or flat to judge\n")
    report = json.loads(found.read_text())
    assert report["result"] == "error"
    assert [frame["frame"] for frame in report["too_dark_or_flat"]] == [1, 2]


def test_a_mask_in_the_fog_makes_it_no_clearer(portrait: BgrImage) -> None:
    fog = np.asarray(_grey(portrait) * 0.1 + 180, np.uint8)
    masked = fog.copy()
    masked[100:200, 100:200] = 0
    assert is_dim(fog)
    assert not is_dim(masked)
    assert not is_dim(_grey(portrait))
    assert not is_dim(np.full_like(fog, 16))


def test_a_crowd_is_looked_at_in_parts(run: Run, portrait: BgrImage, tmp_path: Path) -> None:
    source, output = tmp_path / "a.png", tmp_path / "b.png"
    tile = cv2.resize(portrait[0:400, 60:460], (64, 64), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(source), np.tile(tile, (20, 30, 1)))
    assert run("blur", source, "-o", output).exit_code == 0
    masked = cv2.imread(str(output))
    masked[64:128, 128:192] = tile
    cv2.imwrite(str(output), masked)
    found = tmp_path / "found.json"
    result = run("verify", output, "--source", source, "--json", found, "-v")
    assert result.exit_code == 1, result.output
    assert result.stderr.count("it is detected in parts") == 1
    boxes = np.array([leak["box"] for leak in json.loads(found.read_text())["leaks"]])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(middles - (160, 96)).max() < 40


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_one_page_of_many_is_found(
    run: Run, portrait: BgrImage, tmp_path: Path, suffix: str
) -> None:
    source, output, found = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "found"
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    _pages(source, [np.roll(small, 20 * index, axis=1) for index in range(3)])
    assert run("blur", source, "-o", output).exit_code == 0
    assert run("verify", output, "--source", source).exit_code == 0
    pages = [_page(output, 0), _page(source, 1), _page(output, 2)]
    _pages(output, pages)
    result = run("verify", output, "--source", source, "--json", found)
    assert result.exit_code == 1, result.output
    assert leaks(result, found) == [1]
    _pages(output, pages[:2])
    assert "lacks 1 frame" in run("verify", output, "--source", source).stderr


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_frames_that_masking_made_the_same_are_no_missing_ones(
    run: Run, portrait: BgrImage, tmp_path: Path, suffix: str
) -> None:
    source, output, audit = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "audit"
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    # Few colours, so that a palette holds them, and a pixel that is seen under no mask.
    few = np.asarray(Image.fromarray(small).quantize(64).convert("RGB"))
    winking = few.copy()
    middle = ((FACE[:2] + FACE[2:]) / 2 * 200 / 512).astype(int)
    winking[middle[1], middle[0]] ^= 1
    frames = [few, winking, few, *(np.roll(each, 20, axis=1) for each in (few, winking))]
    _pages(source, frames)
    line = ("blur", source, "-o", output, "--audit", audit, "--mask", "solid", "--shape", "box")
    assert run(*line).exit_code == 0
    with Image.open(output) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    beside = ("--source", source)
    for given in (beside, ("--audit", audit), (*beside, "--audit", audit)):
        result = run("verify", output, *given)
        assert (result.exit_code, "5 frames" in result.stdout) == (0, True), result.output
    # Something else has moved, so a frame is missing.
    frames[1] = frames[1].copy()
    frames[1][:10, :10] = 255 - frames[1][:10, :10]
    other = tmp_path / f"other{suffix}"
    _pages(other, frames)
    result = run("verify", output, "--source", other)
    assert result.exit_code == 2
    assert "lacks 1 frame (0.100 s)" in result.stderr
    # The last one is not shown long enough to stand for two.
    pages = [Image.fromarray(_page(output, index)[:, :, ::-1]) for index in range(2)]
    pages[0].save(output, save_all=True, append_images=pages[1:], duration=[300, 100])
    result = run("verify", output, "--source", source)
    assert result.exit_code == 2
    assert "lacks 1 frame (0.400 s)" in result.stderr
    # All of them may become one, which is no animation any more.
    _pages(source, [few, winking, few])
    assert run(*line).exit_code == 0
    assert not getattr(Image.open(output), "is_animated", False)
    assert run("verify", output, *beside, "--audit", audit).exit_code == 0


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


# What counts as shown


@pytest.mark.parametrize("mode", get_args(MaskMode))
@pytest.mark.parametrize(("shape", "feather"), [("ellipse", 0.0), ("ellipse", 0.5), ("box", 0.0)])
@pytest.mark.parametrize("height", [32, 96])
def test_no_mask_shows_the_face_however_hard_it_was_compressed(
    portrait: BgrImage, mode: MaskMode, shape: Any, feather: float, height: int
) -> None:
    image, box = _scaled(portrait, height)
    overlay = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    masked = image.copy()
    style = MaskStyle(mode=mode, shape=shape, feather=feather, image=overlay)
    Masker(style).apply(ArraySurface(masked), _detections(box))
    for quality in (95, 60, 25, 8):
        assert _shown(image, _compressed(masked, quality), box) is False


@pytest.mark.parametrize("height", [32, 96, 200])
def test_an_unmasked_or_weakly_blurred_face_is_shown_however_hard_it_was_compressed(
    portrait: BgrImage, height: int
) -> None:
    image, box = _scaled(portrait, height)
    for quality in (95, 60, 25, 8):
        assert _shown(image, _compressed(image, quality), box) is True
    weak = cv2.GaussianBlur(image, (0, 0), max(0.8, height / 80))
    blurred = image.copy()
    x1, y1, x2, y2 = box.astype(int)
    blurred[y1:y2, x1:x2] = weak[y1:y2, x1:x2]
    assert _shown(image, blurred, box) is True


def test_a_mask_beside_the_face_leaves_it_shown(portrait: BgrImage) -> None:
    image, box = _scaled(portrait, 96)
    masked = image.copy()
    aside = box + np.array([0.8, 0, 0.8, 0], np.float32) * (box[2] - box[0])
    Masker(MaskStyle()).apply(ArraySurface(masked), _detections(aside))
    assert _shown(image, masked, box) is True


def test_without_a_source_a_face_has_detail_and_a_veil_has_none(portrait: BgrImage) -> None:
    image, box = _scaled(portrait, 96)
    assert shows_face(_grey(image), box) is True
    for mode in ("veil", "solid"):
        masked = image.copy()
        Masker(MaskStyle(mode=mode)).apply(ArraySurface(masked), _detections(box))
        assert shows_face(_grey(_compressed(masked, 60)), box) is False


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


def _encode(path: Path, images: list[Any], *, crf: int, times: Sequence[int] | None = None) -> None:
    options = {"preset": "veryfast", "crf": str(crf)}
    base = None if times is None else Fraction(1, 50)
    record(path, images, Recording(options=options, times=times, time_base=base))


def _pages(path: Path, pages: Sequence[BgrImage]) -> None:
    first, *rest = [Image.fromarray(page[:, :, ::-1]) for page in pages]
    first.save(path, save_all=True, append_images=rest, duration=100)


def _page(path: Path, index: int) -> BgrImage:
    with Image.open(path) as image:
        image.seek(index)
        return np.asarray(image.convert("RGB"), np.uint8)[:, :, ::-1]


def _scaled(portrait: BgrImage, height: int) -> tuple[BgrImage, npt.NDArray[np.float32]]:
    """The portrait with a face so many pixels high, and its box."""
    scale = height / (FACE[3] - FACE[1])
    size = round(512 * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(portrait, (size, size), interpolation=how)
    return np.asarray(image, np.uint8), FACE * np.float32(size / 512)


def _detections(box: npt.NDArray[np.float32]) -> Detections:
    row = np.zeros((1, 15), np.float32)
    row[0, :4], row[0, 4] = box, 1
    return Detections.from_rows(row)


def _compressed(image: BgrImage, quality: int) -> BgrImage:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _grey(image: BgrImage) -> BgrImage:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _shown(source: BgrImage, output: BgrImage, box: npt.NDArray[np.float32]) -> bool | None:
    a, b = _grey(source), _grey(output)
    region = compare(a, b, box)
    assert region is not None
    margin = (box[2:] - box[:2]) * 0.3
    taken = np.concatenate([box[:2] - margin, box[2:] + margin])[None]
    return still_shown(region, Surroundings(a, b, taken).of(box))
