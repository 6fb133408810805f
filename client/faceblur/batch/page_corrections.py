"""What corrections change of a photo, and page by page of an animation or a document."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from faceblur.batch.annotations import MediaAnnotations
from faceblur.batch.corrections import ALIKE, Correction, FrameTimes, meant_face
from faceblur.batch.following import Part, View, parts_of, placed, walk, with_drawn
from faceblur.boxes import box_iou, box_overlap
from faceblur.detections import Detections, Float64Array
from faceblur.errors import InputError
from faceblur.image.io import ImageFile, read_image
from faceblur.image.pixels import rgb8

logger = logging.getLogger(__name__)

_UNTIMED_S: Final = 0.1
"""How long players show frames that name no time."""


@dataclass(frozen=True, eq=False)
class CorrectedPages:
    """What corrections change of a list.

    Attributes:
        boxes: What is masked beside it, by the page, from 0 on: (N, 4) x1 y1 x2 y2, pixels.
        gone: Places in the list of the page's faces that are not masked, likewise.
        drawn_on: Pages that somebody drew on, and what is to be said where that is beside them.
    """

    boxes: Mapping[int, Float64Array] = field(default_factory=dict)
    gone: Mapping[int, Sequence[int]] = field(default_factory=dict)
    drawn_on: Mapping[int, str] = field(default_factory=dict)

    def apply(
        self, index: int, faces: Detections, size: tuple[int, int]
    ) -> tuple[Detections, Detections]:
        """The faces of a page of a size, width and height, corrected, and those that are removed.

        Raises:
            InputError: What was drawn on it is beside it.
        """
        boxes = self.boxes.get(index)
        if boxes is not None and index in self.drawn_on:
            shared, *_ = box_overlap(boxes, [0, 0, *size])
            if not shared.all():
                raise InputError(self.drawn_on[index])
        is_gone = np.zeros(len(faces), np.bool_)
        is_gone[list(self.gone.get(index, ()))] = True
        return with_drawn(faces.select(~is_gone), boxes), faces.select(is_gone)


def correct_pages(
    image: ImageFile, recorded: MediaAnnotations, *, on_frame: Callable[[], None] = lambda: None
) -> CorrectedPages:
    """Place what corrections draw, and find what they remove.

    Where they follow something, the file is read once before. `on_frame` is called for each page
    that is; what it raises breaks this off.

    Raises:
        InputError: A correction is unclear, or the file cannot be read.
    """
    if not recorded.corrections:
        return CorrectedPages()
    if len(recorded.log) < image.page_count:
        raise InputError(
            f"{recorded.where} lists {len(recorded.log)} of {image.page_count} pages: list each, "
            'with "faces": [] if there are none'
        )
    times = recorded.times(paged=True)
    parts: list[Part] = []
    gone: defaultdict[int, list[int]] = defaultdict(list)
    notes: list[str] = []
    drawn_on: dict[int, str] = {}
    for number, each in enumerate(recorded.corrections, start=1):
        name = f"correction {number}"
        where = f"{name} of {recorded.where}"
        if image.page_count == 1:
            _check_photo(each, where)
        if each.remove is not None:
            notes += _remove(each, times, recorded, where, gone)
            continue
        drawn = parts_of(each, times, name, recorded.where)
        if image.page_count > 1 and not image.is_animation:
            if any(keyframe.follow for keyframe in each.keyframes):
                raise InputError(f"{where} follows, but pages do not move: leave follow out")
            beside = f"{where} has a box that lies beside its page"
            drawn_on |= {part.first: beside for part in drawn}
        parts += drawn
    if parts:
        walk(_views(image, times), parts, on_frame=on_frame)
    boxes, lost = placed(parts)
    notes += lost
    for note in notes:
        logger.warning("%s: %s", image.path, note)
    return CorrectedPages(boxes, gone, drawn_on)


def _check_photo(correction: Correction, where: str) -> None:
    at = [correction.remove.at] if correction.remove else [key.at for key in correction.keyframes]
    for moment in at:
        if moment is not None and moment.seconds:
            raise InputError(f"{where} is at {moment}, but an image is at 0")


def _remove(
    correction: Correction,
    times: FrameTimes,
    recorded: MediaAnnotations,
    where: str,
    gone: defaultdict[int, list[int]],
) -> list[str]:
    """Note which faces a correction removes; say where it does not, up to its end."""
    removal = correction.remove
    assert removal is not None
    if removal.at is None or removal.box is None:
        raise InputError(f"{where} names a track, and an image has none; give at and box")
    first = times.index(removal.at, f"the face that {where} removes")
    try:
        place = meant_face(_boxes(recorded, first), removal.box)
    except InputError as error:
        raise InputError(f"{where} {error}") from error
    gone[first].append(place)
    if correction.until is None:
        return []
    box = _boxes(recorded, first)[place]
    end = times.end(correction.until, where)
    left = range(first + 1, len(recorded.log) if end is None else end)
    others = 0
    for index in left:
        faces = _boxes(recorded, index)
        alike = np.flatnonzero(box_iou(faces, box)[:, 0] >= ALIKE)
        if len(alike) == 1:
            gone[index].append(int(alike[0]))
        else:
            others += bool((box_overlap(faces, box)[0] > 0).any())
    if not others:
        return []
    return [f"what {where} removes stays masked on {others} of {len(left)} pages: it has moved"]


def _boxes(recorded: MediaAnnotations, index: int) -> Float64Array:
    return recorded.log[index].detections.boxes.astype(np.float64)


def _views(image: ImageFile, times: FrameTimes) -> Iterator[View]:
    if not image.is_animation:
        yield from (View(i, i * _UNTIMED_S, None) for i in range(image.page_count))
        return
    # Its pages are given once, to whoever masks them.
    for index, page in enumerate(read_image(image.path).pages):
        grey = cv2.cvtColor(rgb8(page.pixels), cv2.COLOR_RGB2GRAY)
        time_s = page.pts_s if times.are_times else index * _UNTIMED_S
        yield View(index, time_s, np.asarray(grey, np.uint8))
