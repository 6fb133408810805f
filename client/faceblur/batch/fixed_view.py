"""What moves in a file whose view is fixed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from faceblur.batch.faces import FrameFaces
from faceblur.detections import Detections
from faceblur.moving.learning import Samples, background_of
from faceblur.moving.mover import Found, MovingMask, cover_coming
from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Bitmap
from faceblur.times import TimeSpan
from faceblur.video.frames import SourceFrame
from faceblur.video.options import HardwareDecoding
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

logger = logging.getLogger(__name__)

_MANY: Final = 0.1
"""Share of frames masked wholly that is worth a warning."""
_AHEAD: Final = 6
"""Frames held back: enough for who comes at 25 frames a second, and little memory at 4K."""

Timed = tuple[FrameFaces, TimeSpan | None]


class FixedView:
    """What moves in the frames of a file, whose background was learnt from the whole of it.

    Attributes:
        whole: Frames that are masked wholly.
    """

    def __init__(self, moving: MovingMask) -> None:
        self._moving = moving
        self.whole = 0

    @classmethod
    def learn(
        cls,
        source: Path,
        options: MovingOptions,
        on_frame: Callable[[], None],
        hardware: HardwareDecoding = "off",
    ) -> FixedView:
        """Go through a file once, only for its background.

        Args:
            source: The file.
            options: How what moves is told.
            on_frame: Called after each frame.
            hardware: What decodes.

        Raises:
            InputError: The source cannot be read to its end.
        """
        samples = Samples()
        with VideoSource(source, hardware=hardware) as video:
            moving = MovingMask(video.properties.width, video.properties.height, options)
            for item in video.read():
                if not isinstance(item, SourceFrame):
                    continue
                if samples.wants_next():
                    surface = VideoSurface(item.image)
                    samples.add(moving.size.look(surface.planes, peak=surface.peak))
                on_frame()
        learnt = background_of(samples.sights, moving.size)
        if learnt is not None:
            moving.set(*learnt)
        return cls(moving)

    def follow(self, frames: Iterable[Timed]) -> Iterator[tuple[Timed, Bitmap]]:
        """What moves in each frame, in order; a few are held back for who comes after them.

        Args:
            frames: The frames with their faces, and when they are shown.
        """
        waiting: deque[tuple[Timed, Found]] = deque()
        for timed in frames:
            found = self._find(timed[0].frame, timed[0].faces)
            cover_coming((earlier for _, earlier in waiting), found)
            waiting.append((timed, found))
            if len(waiting) > _AHEAD:
                due, what = waiting.popleft()
                yield due, what.masked
        yield from ((due, what.masked) for due, what in waiting)

    def _find(self, frame: SourceFrame, faces: Detections) -> Found:
        surface = VideoSurface(frame.image)
        sight = self._moving.size.look(surface.planes, peak=surface.peak)
        found = self._moving.find(sight, time_s=float(frame.pts_s))
        self._moving.protect(found, faces.boxes)
        self.whole += found.whole
        return found

    def tell(self, source: Path, frames: int) -> None:
        """Say how much is masked wholly, if it is much."""
        if self.whole > _MANY * frames:
            logger.warning(
                "%s: %d of %d frames are masked wholly: the view moves, is not learnt or its light "
                "changes; --moving is for fixed views",
                source,
                self.whole,
                frames,
            )
