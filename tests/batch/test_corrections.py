"""A face that no detector found is drawn once, and stays masked wherever it goes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from click.testing import CliRunner, Result
from media import FACE, Recording, record
from probing import decoded

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.following import correct
from faceblur.boxes import box_iou
from faceblur.cli import main
from faceblur.detection.detect import detect
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.proof.verify.audited import AuditedOutput
from faceblur.tracking.follower import Follower

Array = npt.NDArray[Any]

RATE, FRAMES = 25, 50
WIDTH, HEIGHT = 320, 180
SIZE = 40
REACH = 0.02
"""Of the face that may lie bare at an edge, as a share of its area."""


def mosaic(seed: int, *, width: int = WIDTH, height: int = HEIGHT) -> Array:
    """A background of patches in many shades."""
    coarse = np.random.default_rng(seed).integers(30, 220, (12, 20, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def truth(index: int) -> tuple[float, float, float, float]:
    """Where the face is: it goes there and back, and comes nearer."""
    turn = 2 * np.pi * index / FRAMES
    x, y = 160 + 90 * np.sin(turn), 90 + 30 * np.sin(2 * turn)
    half = SIZE * (1 + 0.2 * np.sin(turn)) / 2
    return x - half, y - 1.3 * half, x + half, y + 1.3 * half


def frame(index: int, *, background: int = 1, face: bool = True) -> Array:
    """A frame with a real face, which goes over a background that stays."""
    canvas = mosaic(background).astype(np.float32)
    if not face:
        return canvas.astype(np.uint8)
    portrait = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR).astype(np.float32)
    x0, y0, x1, y1 = truth(index)
    fx0, fy0, fx1, fy1 = FACE
    scale = np.array([(x1 - x0) / (fx1 - fx0), (y1 - y0) / (fy1 - fy0)])
    shift = np.array([x0, y0]) - scale * [fx0, fy0]
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    moved = cv2.warpAffine(portrait, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
    return np.asarray(np.where(ellipse(index)[..., None], moved, canvas), np.uint8)


def ellipse(index: int) -> npt.NDArray[np.bool_]:
    x0, y0, x1, y1 = truth(index)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    across = (x - (x0 + x1) / 2) / (x1 - x0)
    return np.asarray(across**2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2 < 0.25)


def film(path: Path, images: Sequence[Array]) -> Path:
    record(path, images, Recording(encoder="ffv1", options={}, pixel_format="yuv444p"))
    return path


def listing(
    clip: Path, corrections: Any, *, faces: Callable[[int], list[Any]] = lambda index: [],
    tracks: Sequence[Any] = (), frames: int = FRAMES,
) -> Path:  # fmt: skip
    """A list of faces with corrections, as a person would write it."""
    path = clip.with_suffix(".json")
    listed = [{"index": i, "pts_s": round(i / RATE, 6), "faces": faces(i)} for i in range(frames)]
    media = {"path": str(clip), "width": WIDTH, "height": HEIGHT, "frames": listed}
    media |= {"tracks": list(tracks), "corrections": corrections}
    policy = {"mask": {"mode": "solid", "shape": "box", "expand": 0.1}}
    path.write_text(json.dumps({"version": 2, "policy": policy, "media": [media]}))
    return path


def mask(clip: Path, boxes: Path) -> tuple[Result, list[Any]]:
    """Mask a clip by a list, where no detector can be opened; and what was masked."""
    output, found = clip.with_name("out.mkv"), clip.with_name("masked.json")
    output.unlink(missing_ok=True)

    def refuse(*_: object) -> None:
        raise AssertionError("a replay must not look for faces")

    line = ["blur", clip, "-o", output, "--boxes", boxes, "--json", found, "--encoder", "ffv1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("faceblur.cli.blur"), "open_session", refuse)
        result = CliRunner().invoke(
            main, [*map(str, line)], prog_name="faceblur", catch_exceptions=False
        )
    if result.exit_code:
        assert not output.exists()
        return result, []
    frames = json.loads(found.read_text())["media"][0]["frames"]
    return result, [[face["box"] for face in frame["faces"]] for frame in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("follow") / "clip.mkv"
    return film(path, [frame(index) for index in range(FRAMES)])


def keyframe(index: int, **more: Any) -> dict[str, Any]:
    return {"at": index / RATE, "box": truth(index), **more}


def bare(index: int, frame: Array) -> float:
    """The share of the face that is not black."""
    return float((frame[ellipse(index)].max(axis=1) > 16).mean())


def test_one_box_follows_a_face_there_and_back(clip: Path) -> None:
    result, found = mask(clip, listing(clip, [{"keyframes": [keyframe(0, follow=True)]}]))
    assert result.exit_code == 0, result.output
    assert "lost" not in result.output
    frames = decoded(clip.with_name("out.mkv"), pixel_format="bgr24")
    assert max(bare(index, frame) for index, frame in enumerate(frames)) <= REACH
    assert min(box_iou(found[i], [truth(i)])[0, 0] for i in range(FRAMES)) > 0.6
    # Elsewhere nothing is changed.
    assert (frames[0] == decoded(clip, pixel_format="bgr24")[0]).mean() > 0.85


def test_following_is_broken_off_at_the_next_frame(clip: Path) -> None:
    listed = AnnotationFile.read(listing(clip, [{"keyframes": [keyframe(0, follow=True)]}]))
    read = iter([None] * 3)
    with pytest.raises(StopIteration):
        correct(clip, listed.media(clip), on_frame=lambda: next(read))


def test_a_box_that_does_not_follow_goes_straight(clip: Path) -> None:
    keyframes = [keyframe(0), keyframe(10), {**keyframe(13), "follow": False}]
    result, found = mask(clip, listing(clip, [{"keyframes": keyframes}]))
    assert result.exit_code == 0, result.output
    middle = (np.array(truth(0)) + np.array(truth(10))) / 2
    assert found[5][0] == pytest.approx(middle, abs=0.02)
    assert [len(boxes) for boxes in found] == [1] * 14 + [0] * (FRAMES - 14)
    result, found = mask(clip, listing(clip, [{"keyframes": [{"at": "0:01.2", "box": truth(30)}]}]))
    assert [index for index, boxes in enumerate(found) if boxes] == [30]


def test_following_meets_the_next_keyframe(clip: Path) -> None:
    """The second box is wider: what lies between grows into it, without a jump."""
    wide = np.add(truth(20), (-16, -6, 16, 6))
    keyframes = [keyframe(0, follow=True), {"at": 20 / RATE, "box": wide.tolist()}]
    _, found = mask(clip, listing(clip, [{"keyframes": keyframes}]))
    assert found[20][0] == pytest.approx(wide, abs=0.02)
    assert not found[21]
    boxes = np.array([each[0] for each in found[:21]])
    assert np.abs(np.diff(boxes, axis=0)).max() < 20
    for index in range(20):
        x0, y0, x1, y1 = boxes[index]
        tx0, ty0, tx1, ty1 = truth(index)
        assert max(x0 - tx0, y0 - ty0, tx1 - x1, ty1 - y1) < 2


def test_what_is_lost_stays_masked_and_grows_until_the_next_keyframe(
    tmp_path: Path,
) -> None:
    """It goes behind something; the rest of the frame stays, so that it is no cut."""
    hidden = range(12, 40)
    path = film(tmp_path / "lost.mkv", [frame(i, face=i not in hidden) for i in range(FRAMES)])
    keyframes = [keyframe(0, follow=True), keyframe(45, follow=True)]
    result, found = mask(path, listing(path, [{"keyframes": keyframes}]))
    assert result.exit_code == 0, result.output
    assert "correction 1 lost what it followed at 0:00.44; masked, and growing" in result.stdout
    assert all(len(each) == 1 for each in found)
    sizes = [each[0][2] - each[0][0] for each in found]
    assert all(later > earlier for earlier, later in pairwise(sizes[14:27]))
    assert sizes[28] > 2 * sizes[11]
    frames = decoded(path.with_name("out.mkv"), pixel_format="bgr24")
    assert max(bare(i, frames[i]) for i in range(FRAMES) if i not in hidden) <= REACH
    until = [{"keyframes": [keyframe(0, follow=True)], "until": "0:01"}]
    result, found = mask(path, listing(path, until))
    assert [index for index, boxes in enumerate(found) if boxes] == [*range(25)]


def test_a_cut_ends_following_and_is_told(tmp_path: Path) -> None:
    shots = [frame(i, background=1 if i < 20 else 7, face=i < 20) for i in range(40)]
    path = film(tmp_path / "cut.mkv", shots)
    boxes = listing(path, [{"keyframes": [keyframe(0, follow=True)]}], frames=40)
    result, found = mask(path, boxes)
    assert "correction 1 ends at the cut at 0:00.8: add a keyframe" in result.stdout
    assert [index for index, boxes in enumerate(found) if boxes] == [*range(20)]


def test_one_keyframe_removes_a_false_mask_for_its_whole_track(clip: Path) -> None:
    def faces(index: int) -> list[Any]:
        poster = {"box": [10, 10, 40, 50], "track": 7} if index >= 5 else None
        other = {"box": [200, 100, 240, 150], "track": 8}
        return [each for each in (poster, other) if each]

    tracks = [{"id": 7, "certain": [[0.2, 1.2]]}, {"id": 8, "certain": [[0, 2]]}]
    for remove in ({"track": 7}, {"at": "0:00.6", "box": [12, 12, 38, 44]}):
        path = listing(clip, [{"remove": remove}], faces=faces, tracks=tracks)
        result, found = mask(clip, path)
        assert result.exit_code == 0, result.output
        assert "track 7 stays masked in 19 of 45 frames, where it may be" in result.stdout
        masked = [[200, 100, 240, 150] in boxes for boxes in found]
        assert all(masked)
        assert [i for i, boxes in enumerate(found) if len(boxes) == 2] == [*range(31, FRAMES)]


@pytest.mark.parametrize(
    ("correction", "reason"),
    [
        ({"remove": {"track": 9}}, "removes track 9, which the list does not have; it has 7"),
        ({"remove": {"at": 1, "box": [60, 60, 90, 90]}}, "removes a face where the list has none"),
        ({"remove": {"at": 1, "box": [0, 0, 99, 99]}}, "removes a face where the list has 2"),
        ({"remove": {}}, "removes nothing: give a track, or a time"),
        ({}, "needs keyframes, or remove, and not both"),
        ({"keyframes": [{"at": "soon", "box": [1, 2, 3, 4]}]}, "seconds such as 62.5, or 1:02.5"),
        ({"keyframes": [{"at": 7, "box": [1, 2, 3, 4]}]}, "but the video lasts from 0:00 to 0:02"),
        ({"keyframes": [{"at": 1, "box": [3, 2, 1, 4]}]}, "the box ends before it starts"),
        ({"keyframes": [{"at": 1, "box": [1, 2, 3, 4], "folow": True}]}, "did you mean follow?"),
        ({"keyframes": [{"at": 1, "box": [0.1, 0.2, 0.3, 0.4]}]}, "in pixels of the upright frame"),
        ({"keyframes": [{"at": 1, "box": [900, 2, 980, 90]}]}, "no box touches the upright frame"),
        (
            {"keyframes": [{"at": at, "box": [1, 2, 3, 4]} for at in (1, 0.5)]},
            "put them in order of time, each once",
        ),
        (
            {"keyframes": [{"at": at, "box": [1, 2, 3, 4]} for at in (1, 1.01)]},
            "two keyframes in the frame at 0:01.01",
        ),
    ],
)
def test_an_unclear_correction_is_one_sentence(
    clip: Path, correction: dict[str, Any], reason: str
) -> None:
    def faces(index: int) -> list[Any]:
        return [{"box": [10, 10, 40, 50], "track": 7}, {"box": [20, 20, 60, 60], "track": 0}]

    boxes = listing(clip, [correction], faces=faces, tracks=[{"id": 7, "certain": []}])
    result, _ = mask(clip, boxes)
    assert result.exit_code == 3
    assert len(result.stderr.strip().splitlines()) == 1
    assert reason in result.stderr


@pytest.mark.parametrize("place", ["media", "outside", "frame"])
def test_corrections_that_nothing_would_read_are_refused(clip: Path, place: str) -> None:
    boxes = listing(clip, [])
    content = json.loads(boxes.read_text())
    entry = content["media"][0]
    corrections = [{"keyframes": [keyframe(5, follow=True)]}]
    where, key = {
        "media": (entry, "corections"),
        "outside": (content, "corrections"),
        "frame": (entry["frames"][3], "Keyframes"),
    }[place]
    # What else somebody notes does no harm.
    entry["comment"] = entry["frames"][3]["checked by"] = "me"
    boxes.write_text(json.dumps(content))
    assert mask(clip, boxes)[0].exit_code == 0
    where[key] = corrections
    boxes.write_text(json.dumps(content))
    result, _ = mask(clip, boxes)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (3, 1)
    assert f"has '{key}' " in result.stderr
    assert "beside its " in result.stderr


def test_a_track_that_is_listed_twice_is_refused(clip: Path) -> None:
    tracks = [{"id": 7, "certain": [[0, 1]]}, {"id": 7, "certain": [[0, 2]]}]
    boxes = listing(clip, [{"remove": {"track": 7}}], tracks=tracks)
    result, _ = mask(clip, boxes)
    assert (result.exit_code, "several tracks with one id" in result.stderr) == (3, True)


def test_a_photo_is_corrected_at_time_0_and_its_audit_says_so(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), mosaic(3))
    boxes = [10, 10, 50, 60], [30, 20, 70, 70], [200, 40, 240, 90]
    faces = [{"box": box, "score": 0.9} for box in boxes]
    media: dict[str, Any] = {"path": str(photo), "width": WIDTH, "height": HEIGHT}
    media["frames"] = [{"index": 0, "pts_s": 0, "faces": faces}]

    def blur(*corrections: Any, options: Sequence[str] = ()) -> Result:
        listed = tmp_path / "found.json"
        listed.write_text(
            json.dumps({"version": 2, "media": [{**media, "corrections": corrections}]})
        )
        line = ["blur", photo, "-o", tmp_path / "out.png", "--boxes", listed, "--mask", "solid"]
        line += ["--audit", tmp_path / "audit", "--again", *options]
        return CliRunner().invoke(main, [*map(str, line)], catch_exceptions=False)

    drawn = {"keyframes": [{"at": 0, "box": [120, 100, 160, 150], "follow": True}]}
    removed = {"remove": {"at": 0, "box": [30, 20, 70, 71]}}
    result = blur(drawn, removed)
    assert result.exit_code == 0, result.output
    masked = cv2.imread(str(tmp_path / "out.png"))
    assert masked is not None
    is_black = (masked == 0).all(axis=2)
    assert [is_black[y, x] for x, y in ((30, 35), (220, 65), (140, 125), (68, 45))] == [1, 1, 1, 0]
    audit = AuditedOutput.of(tmp_path / "audit", tmp_path / "out.png", photo)
    assert len(audit.masked(Fraction(0))) == 3
    sought = np.array([[31, 21, 69, 71], [200, 40, 240, 90]], np.float32)
    assert [audit.left_alone(box, None) for box in sought] == [True, False]
    # What somebody drew is masked, however small, and wherever nothing else is.
    spared = ["--min-face", "60", "--never", "0%,0% 100%,0% 100%,100% 0%,100%"]
    assert blur(drawn, options=spared).exit_code == 0
    masked = cv2.imread(str(tmp_path / "out.png"))
    assert masked is not None
    is_black = (masked == 0).all(axis=2)
    assert [is_black[y, x] for x, y in ((30, 35), (220, 65), (140, 125))] == [0, 0, 1]
    for wrong, reason in (
        ({"remove": {"track": 3}}, "an image has none; give at and box"),
        ({"remove": {"at": 0, "box": [35, 30, 40, 40]}}, "the list has 2; give the very box"),
        ({"keyframes": [{"at": 7, "box": [1, 2, 9, 9]}]}, "is at 0:07, but an image is at 0"),
    ):
        refused = blur(wrong)
        assert refused.exit_code == 3
        assert reason in refused.stderr


def test_nothing_is_followed_where_there_is_nothing_to_see() -> None:
    flat = np.full((180, 320), 90, np.uint8)
    follower = Follower(flat, np.array([100.0, 50, 140, 100]))
    assert not follower.step(np.random.default_rng(0).integers(0, 255, flat.shape, np.uint8))
    assert follower.box.tolist() == [100, 50, 140, 100]


def test_a_real_face_is_followed_as_the_detector_finds_it(
    shared: Path, session: DetectionSession
) -> None:
    with av.open(str(shared / "media" / "single_face.mp4")) as container:
        decoding = islice(container.decode(video=0), 40)
        frames = [frame.to_ndarray(format="bgr24") for frame in decoding]
    options = DetectionOptions()
    follower = Follower(frames[0][..., 1], detect(session.detector, frames[0], options).boxes[0])
    for index, frame in enumerate(frames[1:], start=1):
        assert follower.step(np.ascontiguousarray(frame[..., 1])), index
        if index % 13 == 0:
            found = detect(session.detector, frame, options).boxes[:1]
            assert box_iou(found, [follower.box])[0, 0] > 0.6
