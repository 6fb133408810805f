"""From folders of images to a pack for training, labelled by a teacher if there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2

from faceblur.detection.cores import cpu_share
from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_export.evaluation.inference import open_detector
from faceblur_training.data import pack
from faceblur_training.data.duplicates import duplicates
from faceblur_training.data.pack import Pack
from faceblur_training.data.shards import has_shards, open_shards
from faceblur_training.loop.teacher_labels import VIEWS, View, label


def prepare(
    data: Path,
    out: Path,
    *,
    side: int = 640,
    teacher: Path | None = None,
    views: Sequence[View] = VIEWS,
    leave_out: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Pack:
    """Decode a data set into a pack.

    Args:
        data: A folder in any of the formats of `formats`, or a bundle, which keeps its faces.
        out: Folder of the pack.
        side: Longest side that is kept, pixels.
        teacher: Checkpoint that labels the images nobody labelled, and adds landmarks.
        views: Its passes over them.
        leave_out: Text files that name images to leave out, one a line as below `data`; and
            folders of images that must not be trained on, of which copies are left out.
        say: Gets lines of progress.

    Raises:
        InputError: An image or a label cannot be used.
        ModelError: The teacher cannot be used.
        OutputError: The pack cannot be written.
    """
    if has_shards(data):
        return open_shards(data, out)
    cv2.setNumThreads(1)
    images, left_out = _parted(read_folder(data), data, leave_out)
    for name in left_out:
        say(f"left out: {name}")
    write = partial(
        pack.write,
        out,
        images,
        root=data,
        side=side,
        left_out=left_out,
        progress=lambda items: _counted(items, say),
    )
    if teacher is None:
        return write()
    with open_detector(str(teacher), threads=cpu_share()[1]) as detector:
        return write(teach=partial(label, detector, views=views))


def _parted(
    images: Sequence[LabelledImage], data: Path, leave_out: Sequence[Path]
) -> tuple[list[LabelledImage], list[str]]:
    """The images without those to leave out, and the names of those."""
    names = {image.path: Path(os.path.relpath(image.path, data)).as_posix() for image in images}
    unwanted: set[str] = set()
    for source in leave_out:
        if source.is_dir():
            pairs = duplicates(list(names), [image.path for image in read_folder(source)])
            unwanted |= {names[path] for path, _ in pairs}
            continue
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--leave-out {source} cannot be read: {error}") from error
        unwanted |= {line.strip() for line in lines} - {""}
        if unknown := sorted(unwanted - set(names.values())):
            raise InputError(f"--leave-out {source}: there is no {unknown[0]} in {data}")
    kept = [image for image in images if names[image.path] not in unwanted]
    if not kept:
        raise InputError(f"--leave-out leaves no image of {data}")
    return kept, sorted(unwanted)


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
    prepare(data, run / "data", teacher=teacher, say=say)
    return run / "data"


def _any_labelled(data: Path) -> bool:
    return any(item.labelled and len(item.boxes) for item in read_folder(data))


def _counted(items: Iterable[LabelledImage], say: Callable[[str], None]) -> Iterable[LabelledImage]:
    for number, item in enumerate(items, 1):
        yield item
        if number % 500 == 0:
            say(f"{number} images prepared")
