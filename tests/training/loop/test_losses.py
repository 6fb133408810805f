"""Each loss does what it is for, and a broken variant of it does not pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from faceblur_export.network import build
from faceblur_training.loop import losses
from faceblur_training.loop.anchor_matching import Matches, match
from faceblur_training.loop.batches import Batch
from faceblur_training.loop.losses import Gains, Grid, ciou, detection_loss, wing

SIDE = 128


@pytest.fixture(scope="module")
def grid() -> Grid:
    model = build("yolov5n-0.5")
    return Grid(model.anchors, tuple(model.strides))


def blank_maps(grid: Grid, batch: int = 1) -> list[Tensor]:
    maps = [torch.zeros(batch, 3, SIDE // s, SIDE // s, 16) for s in grid.strides]
    for level in maps:
        level[..., 4] = -9
        level[..., 15] = 9
    return maps


def face(x1: float, y1: float, x2: float, y2: float, *, points: bool = True) -> Tensor:
    marks = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    flat = [v for u, w in marks for v in (x1 + u * (x2 - x1), y1 + w * (y2 - y1))]
    values = [x1, y1, x2, y2, 1.0, *(flat if points else [float("nan")] * 10)]
    return torch.tensor([values])


def answering(boxes: Tensor, grid: Grid) -> list[Matches]:
    """The pairs that answer for faces of one image."""
    levels = match(
        boxes,
        torch.zeros(len(boxes), dtype=torch.long),
        anchors=grid.anchors,
        strides=grid.strides,
        shapes=[(SIDE // s, SIDE // s) for s in grid.strides],
    )
    assert all(len(m.answers) == 9 * len(boxes) for m in levels)
    return [Matches(*(part[m.answers > 0] for part in vars(m).values())) for m in levels]


def perfect_maps(faces: Tensor, grid: Grid) -> list[Tensor]:
    """Maps that decode to the faces at every anchor that answers for them."""
    maps = blank_maps(grid)
    for level, m in enumerate(answering(faces[:, :4], grid)):
        stride, anchor = grid.strides[level], grid.anchors[level][m.anchor]
        rows = faces[m.face]
        cell = torch.stack((m.x, m.y), 1)
        centre = (rows[:, :2] + rows[:, 2:4]) / 2 / stride - cell
        size = rows[:, 2:4] - rows[:, :2]
        values = torch.zeros(len(rows), 16)
        values[:, :2] = torch.logit((centre + 0.5) / 2, eps=1e-6)
        values[:, 2:4] = torch.logit((size / anchor).sqrt() / 2, eps=1e-6)
        values[:, 4] = values[:, 15] = 12
        points = rows[:, 5:].view(-1, 5, 2).nan_to_num() - cell[:, None] * stride
        values[:, 5:15] = (points / anchor[:, None]).flatten(1)
        maps[level][m.image, m.anchor, m.y, m.x] = values
    return maps


def loss_of(maps: list[Tensor], faces: Tensor, grid: Grid, **options) -> dict[str, Tensor]:
    images = torch.zeros(len(faces), dtype=torch.long)
    return detection_loss(maps, faces, images, grid, gains=Gains(), **options)


# --- matching ---------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(40, 40, 46, 48), (40, 30, 80, 80), (4, 4, 124, 124)])
def test_every_face_is_answered_for_next_to_its_centre(grid: Grid, box) -> None:
    found = answering(torch.tensor([box], dtype=torch.float32), grid)
    assert sum(len(m.face) for m in found) >= 3
    for level, m in enumerate(found):
        cells = torch.stack((m.x, m.y), 1) + 0.5
        centre = torch.tensor([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        # The head reaches from −0.5 to 1.5 of a cell.
        assert ((cells - centre / grid.strides[level]).abs() <= 1 + 1e-6).all()


def test_anchors_of_another_size_do_not_answer(grid: Grid) -> None:
    small = answering(torch.tensor([[40.0, 40.0, 46.0, 48.0]]), grid)
    assert len(small[0].face)
    assert not len(small[2].face)


def test_four_levels_match_too() -> None:
    model = build("yolov5n6")
    grid = Grid(model.anchors, tuple(model.strides))
    maps = [torch.zeros(1, 3, SIDE // s, SIDE // s, 16) for s in grid.strides]
    known = torch.ones(1, SIDE // 8, SIDE // 8, dtype=torch.bool)
    parts = loss_of(maps, face(10, 10, 120, 120), grid, known=known)
    assert all(torch.isfinite(v) for v in parts.values())


# --- CIoU -------------------------------------------------------------------------------------


def check_ciou(score: Callable[[Tensor, Tensor], Tensor]) -> None:
    box = torch.tensor([[50.0, 50.0, 20.0, 30.0]])
    assert score(box, box).item() == pytest.approx(1, abs=1e-5)
    # Apart without overlap: being nearer is better, so there is a gradient to follow.
    far, near = (torch.tensor([[x, 50.0, 20.0, 30.0]]) for x in (200.0, 120.0))
    assert score(far, box) < score(near, box) - 0.05 < 0
    # Same overlap, same centre: the right aspect is better.
    wide, tall = torch.tensor([[50.0, 50.0, 40.0, 15.0]]), torch.tensor([[50.0, 50.0, 14.15, 21.2]])
    assert score(tall, box) > score(wide, box)
    # Worked by hand: overlap ½ of equal boxes shifted by a third; centres 6⅔ apart, hull 26⅔ × 30.
    shifted = torch.tensor([[50.0 + 20 / 3, 50.0, 20.0, 30.0]])
    by_hand = 0.5 - (20 / 3) ** 2 / ((80 / 3) ** 2 + 30**2)
    assert score(shifted, box).item() == pytest.approx(by_hand, abs=1e-4)


def test_ciou() -> None:
    check_ciou(ciou)


def iou_alone(a: Tensor, b: Tensor) -> Tensor:
    low = torch.max(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.min(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(1)
    return shared / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - shared)


@pytest.mark.parametrize(
    "broken", [iou_alone, lambda a, b: ciou(a, a), lambda a, b: ciou(a[:, [0, 1, 3, 2]], b)]
)
def test_a_broken_ciou_is_caught(broken) -> None:
    with pytest.raises(AssertionError):
        check_ciou(broken)


# --- wing -------------------------------------------------------------------------------------


def check_wing(loss: Callable[[Tensor], Tensor]) -> None:
    assert loss(torch.zeros(1)).item() == 0
    errors = torch.tensor([0.1, 9.999, 10.001, 50.0], requires_grad=True)
    values = loss(errors)
    (slope,) = torch.autograd.grad(values.sum(), errors)
    assert abs(values[2] - values[1]) < 0.01  # no step where the two pieces meet
    assert slope[0] > 3 * slope[3]  # small errors count more than in L1
    assert float(slope[3]) == pytest.approx(float(slope[2]), rel=1e-4)  # large: as L1
    assert torch.allclose(loss(-errors), values)


def test_wing() -> None:
    check_wing(wing)


@pytest.mark.parametrize("broken", [torch.abs, torch.square, lambda e: wing(e) + 1])
def test_a_broken_wing_is_caught(broken) -> None:
    with pytest.raises(AssertionError):
        check_wing(broken)


# --- all together -----------------------------------------------------------------------------


def check_detection(loss: Callable[..., dict[str, Tensor]], grid: Grid) -> None:
    faces = torch.cat((face(40, 40, 62, 68), face(80, 20, 90, 33, points=False)))
    known = torch.ones(1, SIDE // 8, SIDE // 8, dtype=torch.bool)
    good = perfect_maps(faces, grid)
    assert sum(loss(good, faces, grid, known=known).values()) < 0.02
    for columns, name in (
        (slice(0, 2), "box"),
        (slice(2, 4), "box"),
        (slice(4, 5), "obj"),
        (slice(5, 15), "lmk"),
        (slice(15, 16), "cls"),
    ):
        bad = [m.clone() for m in good]
        for level in bad:
            level[..., columns] -= (1.5 if name in ("box", "lmk") else 9) * (level[..., 4:5] > 0)
        worse = loss(bad, faces, grid, known=known)
        before = loss(good, faces, grid, known=known)
        assert worse[name] > before[name] + 0.005, name
    # A face nobody labelled costs where a person looked, and nothing where nobody did.
    false = [m.clone() for m in good]
    false[0][0, 0, 15, 1, 4] = 5
    assert loss(false, faces, grid, known=known)["obj"] > 0.1
    assert loss(false, faces, grid, known=~known)["obj"] < 0.02


def test_detection_loss(grid: Grid) -> None:
    check_detection(loss_of, grid)


def without(name: str) -> Callable[..., dict[str, Tensor]]:
    def broken(*args, **options) -> dict[str, Tensor]:
        parts = loss_of(*args, **options)
        return parts | {name: parts[name] * 0}

    return broken


@pytest.mark.parametrize("name", ["box", "obj", "lmk", "cls"])
def test_a_missing_part_is_caught(grid: Grid, name: str) -> None:
    with pytest.raises(AssertionError):
        check_detection(without(name), grid)


def test_ignoring_who_looked_is_caught(grid: Grid) -> None:
    with pytest.raises(AssertionError):
        check_detection(lambda m, f, g, known: loss_of(m, f, g, known=None), grid)


def test_landmarks_that_nobody_labelled_have_no_gradient(grid: Grid) -> None:
    faces = face(40, 40, 62, 68, points=False)
    maps = [m.clone().requires_grad_() for m in perfect_maps(faces, grid)]
    sum(loss_of(maps, faces, grid).values()).backward()
    assert all((m.grad[..., 5:15] == 0).all() for m in maps)
    assert any((m.grad[..., :4] != 0).any() for m in maps)


def test_a_student_like_its_teacher_has_nothing_to_learn(grid: Grid) -> None:
    teacher = [torch.randn(2, 3, SIDE // s, SIDE // s, 16) for s in grid.strides]
    faces = torch.zeros(0, 15)
    same = loss_of([t.clone() for t in teacher], faces, grid, teacher=teacher)
    assert sum(same.values()).item() == pytest.approx(0, abs=1e-3)
    for column, name in ((0, "raw"), (2, "box"), (4, "obj"), (8, "lmk"), (15, "cls")):
        other = [t.clone() for t in teacher]
        for level in other:
            level[..., column] += 1
        assert loss_of(other, faces, grid, teacher=teacher)[name] > 0.01


def test_labels_lift_the_objectness_a_teacher_misses(grid: Grid) -> None:
    faces = face(40, 40, 62, 68)
    maps = perfect_maps(faces, grid)
    blind = [m.clone() for m in maps]
    for level in blind:
        level[..., 4] = -9
    assert loss_of(maps, faces, grid, teacher=blind)["obj"] < 0.02
    assert loss_of(blind, faces, grid, teacher=blind)["obj"] > 0.5
    nothing = loss_of(blind, torch.zeros(0, 15), grid, teacher=blind)["obj"]
    assert float(nothing) == pytest.approx(0, abs=2e-3)


def test_gains_scale_their_part(grid: Grid) -> None:
    faces = face(40, 40, 62, 68)
    maps = blank_maps(grid)
    images = torch.zeros(1, dtype=torch.long)
    once = detection_loss(maps, faces, images, grid, gains=Gains())
    twice = detection_loss(
        maps, faces, images, grid, gains=dataclasses.replace(Gains(), box=2 * Gains().box)
    )
    assert twice["box"].item() == pytest.approx(2 * once["box"].item(), rel=1e-5)
    assert twice["lmk"] == once["lmk"]


def test_wing_constants_are_in_tenths_of_an_anchor() -> None:
    assert losses.WING_CURVE < losses.WING_WIDTH


def test_room_for_more_faces_changes_nothing(grid: Grid) -> None:
    """A record of a step has room for as many faces as any batch may have."""
    torch.manual_seed(0)
    faces = torch.cat((face(40, 40, 62, 68), face(80, 20, 90, 33, points=False)))
    pixels = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    known = torch.ones(2, SIDE // 8, SIDE // 8, dtype=torch.bool)
    few = Batch(pixels, None, faces, torch.tensor([0, 1]), known)
    for teacher in (None, [torch.randn(2, 3, SIDE // s, SIDE // s, 16) for s in grid.strides]):
        maps = [torch.randn(2, 3, SIDE // s, SIDE // s, 16) for s in grid.strides]
        results = []
        for batch in (few, few.padded(50)):
            own = [m.clone().requires_grad_() for m in maps]
            parts = detection_loss(
                own, batch.faces, batch.images, grid, gains=Gains(), teacher=teacher, known=known
            )
            torch.stack(list(parts.values())).sum().backward()
            results.append(({name: part.detach() for name, part in parts.items()}, own))
        (without, own), (padded, others) = results
        torch.testing.assert_close(padded, without, rtol=1e-5, atol=1e-6)
        assert float(without["box"].detach()) > 0
        for mine, other in zip(own, others, strict=True):
            torch.testing.assert_close(other.grad, mine.grad, rtol=1e-5, atol=1e-7)
