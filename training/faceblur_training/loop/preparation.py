"""From folders of images to a pack for training, labelled by a teacher if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2

from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.data import pack
from faceblur_training.data.pack import Pack
from faceblur_training.data.shards import has_shards, open_shards
from faceblur_training.loop import teacher_labels
from faceblur_training.loop.teacher_labels import Views


def prepare(
    data: Path,
    out: Path,
    *,
    side: int = 640,
    teacher: Path | None = None,
    views: Views | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pack:
    """Decode a data set into a pack.

    Args:
        data: A folder in any of the formats of `formats`, or a bundle, which keeps its faces.
        out: Folder of the pack.
        side: Longest side that is kept, pixels.
        teacher: Checkpoint that labels the images nobody labelled, and adds landmarks.
        views: How it looks at them.
        say: Gets lines of progress.

    Raises:
        InputError: An image or a label cannot be used.
        ModelError: The teacher cannot be used.
        OutputError: The pack cannot be written.
    """
    if has_shards(data):
        return open_shards(data, out)
    network = load_model(teacher)[0].fuse() if teacher else None
    images = read_folder(data)
    made = pack.write(
        out, images, root=data, side=side, progress=lambda items: _counted(items, say)
    )
    if network is None:
        return made
    cv2.setNumThreads(1)
    faces = []
    for number, entry in enumerate(made.entries()):
        seen = teacher_labels.label(network, made.image(number), views or Views())
        faces.append(teacher_labels.combine(entry, seen))
        if (number + 1) % 500 == 0:
            say(f"{number + 1} of {len(made)} images labelled by the teacher")
    made.rewrite_faces(faces)
    return Pack(out)


def pack_for(data: Path, run: Path, *, teacher: Path | None, say: Callable[[str], None]) -> Path:
    """The pack to train on: the folder itself if it is one, else a new one inside the run.

    Raises:
        InputError: There is nothing to train on.
    """
    if (data / "index.npz").is_file():
        return data
    if not data.is_dir():
        raise InputError(f"{data} is not a folder; give one that holds images, or a pack")
    # Before the images are decoded, which may take long.
    if not (teacher or has_shards(data) or _any_labelled(data)):
        raise InputError(
            f"{data} holds no labelled face to learn from; add labels or give --teacher"
        )
    prepare(data, run / "data", teacher=teacher, views=Views(sides=(640,), mirrored=False), say=say)
    return run / "data"


def _any_labelled(data: Path) -> bool:
    return any(item.labelled and len(item.boxes) for item in read_folder(data))


def _counted(items: Iterable[LabelledImage], say: Callable[[str], None]) -> Iterable[LabelledImage]:
    for number, item in enumerate(items, 1):
        yield item
        if number % 1000 == 0:
            say(f"{number} images decoded")
