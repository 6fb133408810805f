"""What moves in a file whose view is fixed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from faceblur.detections import Detections
from faceblur.moving.learning import Samples, background_of
from faceblur.moving.mover import MovingMask
from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Bitmap
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

logger = logging.getLogger(__name__)

_MANY: Final = 0.1
"""Share of frames masked wholly that is worth a warning."""


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
    ) -> FixedView:
        """Go through a file once, only for its background.

        Args:
            source: The file.
            options: How what moves is told.
            on_frame: Called after each frame.

        Raises:
            InputError: The source cannot be read to its end.
        """
        samples = Samples()
        with VideoSource(source) as video:
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

    def find(self, frame: SourceFrame, faces: Detections) -> Bitmap:
        """What moves in the next frame."""
        surface = VideoSurface(frame.image)
        sight = self._moving.size.look(surface.planes, peak=surface.peak)
        found = self._moving.find(sight, time_s=float(frame.pts_s), faces=faces.boxes)
        self.whole += self._moving.whole
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
