"""Whether a face still shows, by its pixels alone."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from verified_clips import FACE

from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.proof.verify.evidence import Surroundings, compare, shows_face, still_shown
from faceblur.proof.verify.wholes import is_dim


def test_a_mask_in_the_fog_makes_it_no_clearer(portrait: BgrImage) -> None:
    fog = np.asarray(_grey(portrait) * 0.1 + 180, np.uint8)
    masked = fog.copy()
    masked[100:200, 100:200] = 0
    assert is_dim(fog)
    assert not is_dim(masked)
    assert not is_dim(_grey(portrait))
    assert not is_dim(np.full_like(fog, 16))


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
