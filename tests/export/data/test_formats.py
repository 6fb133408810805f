"""Every label format gives the same faces; every broken one gives one sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder

BOX = [10.0, 20.0, 40.0, 60.0]
"""x1 y1 x2 y2 in an image of 100 × 80 pixels: what every fixture below describes."""

POINTS = [[15, 30], [35, 30], [25, 40], [18, 50], [32, 50]]


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((80, 100, 3), np.uint8))
    return path


def plain(folder: Path) -> None:
    image(folder / "images/a.png")
    (folder / "labels.txt").write_text("images/a.png\n1\n10 20 30 40 face\n")


def wider(folder: Path) -> None:
    image(folder / "WIDER_train/images/0--Parade/a.png")
    rows = "0--Parade/a.png\n1\n10 20 30 40 0 0 0 0 0 0\n0--Parade/b.png\n0\n0 0 0 0 0 0 0 0 0 0\n"
    image(folder / "WIDER_train/images/0--Parade/b.png")
    (folder / "wider_face_train_bbx_gt.txt").write_text(rows)


def retinaface(folder: Path) -> None:
    image(folder / "images/a.png")
    marks = " ".join(f"{x} {y} 0.0" for x, y in POINTS)
    (folder / "label.txt").write_text(f"# a.png\n10 20 30 40 {marks} 0.9\n")


def yolo(folder: Path) -> None:
    image(folder / "images/a.png")
    (folder / "labels").mkdir()
    marks = " ".join(f"{x / 100} {y / 80}" for x, y in POINTS)
    (folder / "labels/a.txt").write_text(f"0 0.25 0.5 0.3 0.5 {marks}\n")


def voc(folder: Path) -> None:
    image(folder / "images/a.png")
    (folder / "annotations").mkdir()
    box = "<xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax>"
    xml = f"<annotation><object><name>f</name><bndbox>{box}</bndbox></object></annotation>"
    (folder / "annotations/a.xml").write_text(xml)


MAKERS = {"labels.txt": plain, "wider": wider, "retinaface": retinaface, "yolo": yolo, "voc": voc}


@pytest.mark.parametrize("name", MAKERS)
def test_formats_describe_the_same_face(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    first = read_folder(tmp_path)[0].in_pixels(100, 80)
    assert first.format == name
    assert first.labelled
    assert first.path.name == "a.png"
    np.testing.assert_allclose(first.boxes, [BOX], atol=1e-4)
    if name in ("retinaface", "yolo"):
        np.testing.assert_allclose(first.landmarks, [POINTS], atol=1e-4)
    else:
        assert np.isnan(first.landmarks).all()


def test_wider_row_of_zeros_means_a_image_without_faces(tmp_path: Path) -> None:
    wider(tmp_path)
    second = read_folder(tmp_path)[1]
    assert second.labelled
    assert len(second.boxes) == 0


def test_wider_as_it_is_unpacked_has_each_image_once(tmp_path: Path) -> None:
    wider(tmp_path)
    (tmp_path / "wider_face_split").mkdir()
    name = "wider_face_train_bbx_gt.txt"
    (tmp_path / name).rename(tmp_path / "wider_face_split" / name)
    image(tmp_path / "WIDER_train/images/0--Parade/unlisted.png")
    found = {p.path.name: p.labelled for p in read_folder(tmp_path)}
    assert found == {"a.png": True, "b.png": True, "unlisted.png": False}
    assert len(read_folder(tmp_path)) == 3


def test_wider_images_alone_find_their_list(tmp_path: Path) -> None:
    """A folder to train on that holds no image of the validation set."""
    wider(tmp_path)
    (tmp_path / "wider_face_split").mkdir()
    name = "wider_face_train_bbx_gt.txt"
    (tmp_path / name).rename(tmp_path / "wider_face_split" / name)
    image(tmp_path / "WIDER_val/images/c.png")
    found = read_folder(tmp_path / "WIDER_train")
    assert [(p.path.name, p.labelled) for p in found] == [("a.png", True), ("b.png", True)]


def test_voc_as_it_is_published(tmp_path: Path) -> None:
    """`JPEGImages` and `Annotations`, and parts of objects that are no faces."""
    voc(tmp_path)
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    (tmp_path / "annotations").rename(tmp_path / "Annotations")
    label = tmp_path / "Annotations" / "a.xml"
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    part = f"<part><name>hand</name><bndbox>{box}</bndbox></part></object>"
    label.write_text(label.read_text().replace("</object>", part))
    (found,) = read_folder(tmp_path)
    np.testing.assert_allclose(found.boxes, [BOX])


def test_images_of_one_name_keep_their_own_labels(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        image(tmp_path / f"images/{split}/a.png")
        (tmp_path / f"labels/{split}").mkdir(parents=True)
        (tmp_path / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.1 0.1\n" * (number + 1))
    assert [len(p.boxes) for p in read_folder(tmp_path)] == [1, 2]


def test_a_list_that_leaves_images_out(tmp_path: Path) -> None:
    plain(tmp_path)
    image(tmp_path / "images/b.png")
    assert [(p.path.name, p.labelled) for p in read_folder(tmp_path)] == [
        ("a.png", True),
        ("b.png", False),
    ]


def test_every_problem_is_kept_when_asked(tmp_path: Path) -> None:
    plain(tmp_path)
    text = "gone.png\n1\n1 2 3 4 f\n\nimages/a.png\n1\n1 2 -3 4 f\n"
    (tmp_path / "labels.txt").write_text(text)
    found = read_folder(tmp_path, strict=False)
    assert [p.problem[:19] for p in found] == ["labels.txt line 1: ", "labels.txt line 7: "]
    with pytest.raises(InputError, match="must be positive"):
        found[1].in_pixels(100, 80)


def test_retinaface_minus_one_means_landmarks_not_labelled(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    marks = " ".join(["-1.0 -1.0 -1.0"] * 5)
    (tmp_path / "label.txt").write_text(f"# a.png\n10 20 30 40 {marks} 0.9\n")
    assert np.isnan(read_folder(tmp_path)[0].landmarks).all()


def test_images_without_labels_are_unknown_not_empty(tmp_path: Path) -> None:
    image(tmp_path / "one/x.png")
    image(tmp_path / "two/images/y.png")
    plain(tmp_path / "three")
    found = {p.path.name: p.labelled for p in read_folder(tmp_path)}
    assert found == {"x.png": False, "y.png": False, "a.png": True}


def test_shared_training_data_is_read(shared: Path) -> None:
    images = read_folder(shared / "data" / "train")
    assert len({p.path for p in images}) == len(images) > 4000
    assert sum(p.labelled for p in images) == 1202


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("", "is empty"),
        ("images/gone.png\n1\n1 2 3 4 face\n", "does not exist"),
        ("images/a.png\n1\n1 2 -3 4 face\n", "must be positive"),
        ("images/a.png\n1\n1 2 three 4 face\n", "expected 4 numbers"),
        ("images/a.png\n1\n1 2 nan 4 face\n", "expected 4 numbers"),
        ("images/a.png\n3\n1 2 3 4 face\n", "3 faces announced, 1 listed"),
        ("images/a.png\nface\n", "expected the number of faces"),
        ("images/a.png\n0\nimages/a.png\n1\n1 2 3 4 face\n", "listed a second time"),
    ],
)
def test_broken_labels_are_named(tmp_path: Path, labels: str, sentence: str) -> None:
    plain(tmp_path)
    (tmp_path / "labels.txt").write_text(labels)
    with pytest.raises(InputError, match=sentence) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("box", ["200 20 30 40", "10 20 300 40", "-60 20 30 40"])
def test_boxes_outside_the_image_are_named(tmp_path: Path, box: str) -> None:
    plain(tmp_path)
    (tmp_path / "labels.txt").write_text(f"images/a.png\n1\n{box} face\n")
    with pytest.raises(InputError, match=r"lies outside a\.png of 100 × 80"):
        read_folder(tmp_path)[0].in_pixels(100, 80)


def test_boxes_a_little_over_the_border_are_clipped(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "labels.txt").write_text("images/a.png\n1\n-3 -2 30 90 face\n")
    np.testing.assert_allclose(read_folder(tmp_path)[0].in_pixels(100, 80).boxes, [[0, 0, 27, 80]])


@pytest.mark.parametrize(
    ("make", "name", "text", "sentence"),
    [
        (yolo, "labels/a.txt", "0 25 50 30 50\n", "are not fractions"),
        (yolo, "labels/a.txt", "0 0.5 0.5\n", "expected 5 numbers"),
        (voc, "annotations/a.xml", "<annotation>", "is not a Pascal VOC label"),
        (
            voc,
            "annotations/a.xml",
            "<a><object><bndbox><xmin>1</xmin></bndbox></object></a>",
            "expected 4 numbers",
        ),
        (retinaface, "label.txt", "# a.png\n1 2 3\n", "expected 4 numbers"),
        (retinaface, "label.txt", "# a.png\n1 2 3 4 5 6 0\n", "expected 19 numbers"),
        (retinaface, "label.txt", "1 2 3 4\n# a.png\n", "before the first"),
    ],
)
def test_broken_label_files_are_named(
    tmp_path: Path, make, name: str, text: str, sentence: str
) -> None:
    make(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_folder(tmp_path)


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "nowhere")
