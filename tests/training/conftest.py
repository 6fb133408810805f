"""Small labelled data sets for the training tests, made of a real face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from faceblur_export.data.labelled_image import LabelledImage
from faceblur_training.data.pack import Pack, write

MakePack = Callable[..., Pack]


def face_image(rng: np.random.Generator, *, side: int = 128) -> tuple[np.ndarray, list[list[int]]]:
    """An image (side, side, 3) RGB of colours with one or two faces, and their x y w h."""
    face = astronaut()[70:210, 165:285]
    colours = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = cv2.resize(colours, (side, side), interpolation=cv2.INTER_CUBIC)
    boxes = []
    for half in range(int(rng.integers(1, 3))):
        height = int(rng.integers(side // 8, side * 3 // 7))
        width = height * 6 // 7
        x = half * side // 2 + int(rng.integers(0, side // 2 - width))
        y = int(rng.integers(0, side - height))
        resized = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
        image[y : y + height, x : x + width] = resized
        boxes.append([x, y, width, height])
    return image, boxes


@pytest.fixture
def labelled_folder(tmp_path: Path) -> Path:
    """Twenty images with a `labels.txt`."""
    folder = tmp_path / "faces"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(20):
        image, boxes = face_image(rng)
        cv2.imwrite(str(folder / "images" / f"{number:02d}.png"), image[..., ::-1])
        lines += [f"images/{number:02d}.png", str(len(boxes))]
        lines += [f"{x} {y} {w} {h} face" for x, y, w, h in boxes]
    (folder / "labels.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def make_pack(tmp_path: Path) -> MakePack:
    """Packs of given RGB images with given boxes x1 y1 x2 y2 and landmarks."""

    def make(
        images: list[np.ndarray],
        boxes: list[list[list[float]]],
        *,
        landmarks: np.ndarray | None = None,
        labelled: bool = True,
    ) -> Pack:
        items = []
        for number, (image, faces) in enumerate(zip(images, boxes, strict=True)):
            path = tmp_path / f"{number}.png"
            cv2.imwrite(str(path), image[..., ::-1])
            table = np.asarray(faces, np.float32).reshape(-1, 4)
            points = np.full((len(table), 5, 2), np.nan, np.float32)
            if landmarks is not None:
                points = np.asarray(landmarks, np.float32).reshape(-1, 5, 2)
            items.append(LabelledImage(path, table, points, labelled))
        return write(tmp_path / "pack", items, root=tmp_path)

    return make
