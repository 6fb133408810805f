"""What moves is covered on every plane, rounded outwards, and spared as zones and times say."""

from __future__ import annotations

import numpy as np
import pytest

from faceblur.detections import Detections
from faceblur.image.pixels import Plane
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.silhouettes import silhouettes
from faceblur.masks.spans import Span
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.masks.zones import Zone
from faceblur.times import TimeSpan

WIDTH, HEIGHT = 203, 101


def bitmap(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Shapes on a bitmap of 64 x 32."""
    drawn = np.zeros((32, 64), np.uint8)
    for x0, y0, x1, y1 in boxes:
        drawn[y0:y1, x0:x1] = 255
    return drawn


@pytest.mark.parametrize(("step_x", "step_y"), [(1, 1), (2, 2), (2, 1), (4, 4)])
def test_every_sample_that_a_shape_touches_is_covered(step_x: int, step_y: int) -> None:
    shape = bitmap((5, 4, 9, 20), (40, 2, 60, 30))
    rows, columns = -(-HEIGHT // step_y), -(-WIDTH // step_x)
    plane = Plane(np.zeros((rows, columns), np.uint8), step_x, step_y)
    covered = np.zeros((rows, columns), np.bool_)
    for region in silhouettes(shape, WIDTH, HEIGHT):
        region.view(Plane(covered, step_x, step_y))[:] |= region.cover(plane)
    y, x = np.mgrid[:rows, :columns]
    touched = np.zeros_like(covered)
    for down in np.linspace(0, 0.999, 5):
        for right in np.linspace(0, 0.999, 5):
            row = ((y + down) / rows * 32).astype(int)
            touched |= shape[row, ((x + right) / columns * 64).astype(int)] > 0
    assert covered[touched].all()
    assert covered.mean() < 1.5 * touched.mean()


def draw(policy: Policy, moving: np.ndarray, shown: TimeSpan | None = None) -> np.ndarray:
    """What is left of a white image, True where it is covered."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    choice = Selection(policy, WIDTH, HEIGHT).choose(Detections.empty(), shown, moving=moving)
    Masker(policy.mask).apply(ArraySurface(image), choice.faces, choice.areas)
    covered: np.ndarray = (image != 255).any(axis=2)
    return covered


@pytest.mark.parametrize("mode", ["veil", "blur", "pixelate", "solid"])
def test_every_style_covers_what_moves(mode: str) -> None:
    covered = draw(Policy(mask=MaskStyle(mode=mode)), bitmap((20, 8, 30, 24)))  # type: ignore[arg-type]
    assert covered[26:75, 64:95].all()
    assert not covered[:, :50].any()


def test_a_zone_spares_what_lies_wholly_in_it_and_nothing_that_reaches_out() -> None:
    zone = Zone.parse("never", "0%,0% 50%,0% 50%,100% 0%,100%")
    policy = Policy(zones=(zone,), mask=MaskStyle(mode="solid"))
    assert not draw(policy, bitmap((4, 4, 20, 20))).any()
    assert draw(policy, bitmap((20, 4, 40, 20)))[30, 80]
    assert draw(policy, bitmap((0, 0, 64, 32))).all()


def test_a_spared_time_spares_what_moves_and_areas_stay() -> None:
    spare = Span("spare", TimeSpan.parse("0:01-0:02"))
    always = Zone.parse("always", "0,0 20,0 20,20 0,20")
    policy = Policy(spans=(spare,), zones=(always,), mask=MaskStyle(mode="solid"))
    shape = bitmap((20, 4, 40, 20))
    within = draw(policy, shape, TimeSpan.parse("0:01.2-0:01.4"))
    assert within[:20, :20].all()
    assert within.sum() == 400
    assert draw(policy, shape, TimeSpan.parse("0:00.8-0:01.4"))[30, 100]
