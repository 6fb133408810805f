"""Samples depend on seed and number alone, and faces move exactly with their pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from faceblur_training.augmentation.config import AugmentConfig
from faceblur_training.augmentation.damage import Damage
from faceblur_training.augmentation.plan import Plan, plan_sample
from faceblur_training.augmentation.sample import MIRROR, move_faces, render
from faceblur_training.data.pack import Entry, write_pack

STILL = dataclasses.replace(
    AugmentConfig(), colour=0, low_light=0, noise=0, blur=0, shrink=0, jpeg=0, perspective=0
)
BOX = [60.0, 50.0, 100.0, 90.0]
CORNERS = [[60, 50], [99, 50], [80, 70], [60, 89], [99, 89]]


@pytest.fixture
def red_square(make_pack):
    """A grey image with a red square as its only face, four corners and middle as landmarks."""
    image = np.full((160, 200, 3), 90, np.uint8)
    image[50:90, 60:100] = (255, 0, 0)
    return make_pack([image], [[BOX]], landmarks=np.asarray(CORNERS))


def red_box(image: np.ndarray) -> np.ndarray:
    red = (image[..., 0] > 172) & (image[..., 1] < 45)
    ys, xs = np.nonzero(red)
    return np.asarray([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def samples(pack, config: AugmentConfig, count: int):
    for number in range(count):
        plan = plan_sample(pack, number, seed=3, config=config)
        yield plan, render(pack, plan)


@pytest.mark.parametrize("rotate", [0.0, 2.0])
def test_faces_move_with_their_pixels(red_square, rotate: float) -> None:
    config = dataclasses.replace(
        STILL, side=256, mosaic=0, rotate=rotate, face_crop=1, face_heights=(20, 80)
    )
    compared = 0
    for _, sample in samples(red_square, config, 40):
        if len(sample.faces) == 0:
            continue
        box = sample.faces[0, :4]
        if box.min() < 1 or box.max() > 255:
            continue
        # Turning by two degrees moves the corners of an 80 px square by less than 3 px.
        np.testing.assert_allclose(box, red_box(sample.image), atol=2 + rotate)
        compared += 1
    assert compared > 10


def test_faces_move_with_their_pixels_in_perspective(red_square) -> None:
    config = dataclasses.replace(
        STILL, side=256, mosaic=0, rotate=0, perspective=1, face_crop=1, face_heights=(40, 80)
    )
    compared = 0
    for plan, sample in samples(red_square, config, 40):
        assert plan.tiles[0].matrix[2, :2].any()
        if len(sample.faces) and sample.faces[0, :4].min() > 1 and sample.faces[0, :4].max() < 255:
            np.testing.assert_allclose(sample.faces[0, :4], red_box(sample.image), atol=2)
            compared += 1
    assert compared > 10


def test_perspective_turns_no_image_inside_out(tmp_path: Path) -> None:
    size = 2000
    entry = Entry("large", size, size, labelled=True, faces=np.zeros((0, 15), np.float32))
    pack = write_pack(tmp_path / "pack", [(entry, np.zeros((size, size, 3), np.uint8))])
    corners = np.asarray([[x, y, 1] for x in (0, size) for y in (0, size)])
    config = dataclasses.replace(STILL, perspective=1)
    for number in range(60):
        for tile in plan_sample(pack, number, seed=3, config=config).tiles:
            assert (corners @ tile.matrix[2] > 0.2).all()


def test_landmarks_move_with_the_box_and_change_sides_in_a_mirror(red_square) -> None:
    config = dataclasses.replace(STILL, side=256, mosaic=0, rotate=1e-6, face_crop=1)
    mirrored = set()
    for plan, sample in samples(red_square, config, 40):
        for face in sample.faces:
            points = face[5:].reshape(5, 2)
            # Whatever happened, the left eye is left of the right one in the image.
            assert points[0, 0] < points[1, 0]
            assert points[3, 0] < points[4, 0]
            mirrored.add(plan.tiles[0].mirrored)
    assert mirrored == {True, False}


def test_a_mirror_without_the_swap_is_caught(red_square) -> None:
    """The check above fails for a flip that keeps the order of the landmarks."""
    plan = next(
        p
        for p, s in samples(red_square, dataclasses.replace(STILL, mosaic=0, face_crop=1), 40)
        if p.tiles[0].mirrored and len(s.faces)
    )
    faces = red_square.entry(0).faces
    right = move_faces(faces, plan.tiles[0])[0, 5:].reshape(5, 2)
    wrong = right[list(MIRROR)]
    assert right[0, 0] < right[1, 0]
    assert not wrong[0, 0] < wrong[1, 0]


def test_samples_follow_from_seed_and_number(red_square) -> None:
    config = AugmentConfig(side=128)
    first, again = (
        render(red_square, plan_sample(red_square, 7, seed=1, config=config)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.faces, again.faces)
    others = [
        render(red_square, plan_sample(red_square, number, seed=seed, config=config)).image
        for number, seed in ((8, 1), (7, 2))
    ]
    assert all((first.image != other).any() for other in others)


def test_small_faces_are_as_small_as_asked(red_square) -> None:
    config = dataclasses.replace(
        STILL, side=320, mosaic=0, rotate=0, face_crop=1, face_heights=(12, 16)
    )
    heights = [f[3] - f[1] for _, s in samples(red_square, config, 20) for f in s.faces]
    # Some are cut by the border.
    assert np.quantile(heights, 0.4) > 11
    assert max(heights) < 17


def test_mosaics_hold_four_images_and_know_what_is_labelled(make_pack) -> None:
    images = [np.full((64, 64, 3), value, np.uint8) for value in (0, 80, 160, 240)]
    pack = make_pack(images, [[]] * 4, labelled=False)
    config = dataclasses.replace(STILL, side=128, mosaic=1)
    _, sample = next(samples(pack, config, 1))
    assert not sample.known.any()
    plan = plan_sample(pack, 0, seed=0, config=config)
    assert len(plan.tiles) == 4
    covered = np.zeros((128, 128), int)
    for tile in plan.tiles:
        x1, y1, x2, y2 = tile.window
        covered[y1:y2, x1:x2] += 1
    assert (covered == 1).all()


def test_copies_fill_the_gaps_only_when_asked(red_square) -> None:
    for repeat, grey in ((0.0, True), (1.0, False)):
        config = dataclasses.replace(
            STILL, side=256, mosaic=0, face_crop=0, scales=(0.2, 0.2), repeat=repeat, rotate=0
        )
        _, sample = next(samples(red_square, config, 1))
        assert ((sample.image == 114).all(2).mean() > 0.3) == grey
        assert len(sample.faces) <= 1


@pytest.mark.parametrize(
    "damage",
    [
        Damage(noise=10),
        Damage(blur=1.5),
        Damage(motion=(7, 30.0)),
        Damage(shrink=2.0, jpeg=40),
        Damage(jpeg=30),
        Damage(gamma=2.2, contrast=0.6, saturation=0.3),
    ],
)
def test_damage_changes_pixels_and_nothing_else(red_square, damage: Damage) -> None:
    plan = plan_sample(red_square, 0, seed=0, config=AugmentConfig.none(160))
    whole = render(red_square, plan)
    hurt = render(red_square, Plan(plan.side, plan.tiles, damage, 1))
    assert hurt.image.shape == whole.image.shape
    assert (hurt.image != whole.image).any()
    np.testing.assert_array_equal(hurt.faces, whole.faces)


def test_unchanged_samples_are_the_image(red_square) -> None:
    plan = plan_sample(red_square, 0, seed=0, config=AugmentConfig.none(200))
    sample = render(red_square, plan)
    np.testing.assert_array_equal(sample.image[20:180], red_square.image(0))
    np.testing.assert_allclose(sample.faces[0, :4], [60, 70, 100, 110])
