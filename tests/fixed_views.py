"""A made room with somebody in it, whose place is known exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import Plane
from faceblur.moving.mover import Found, MovingMask
from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Bitmap, Sight

WIDTH, HEIGHT = 320, 180
RATE = 5
NOBODY = np.zeros((0, 4), np.float32)
Light = npt.NDArray[np.float32]


def room(seed: int = 3) -> Light:
    """Boards and furniture: (HEIGHT, WIDTH) levels."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH), 130.0, np.float32)
    image[:, ::20] = 80
    for x, y in rng.integers(0, 150, (6, 2)).tolist():
        image[y : y + 25, 2 * x : 2 * x + 18] = rng.uniform(40, 220)
    return image


def somebody(x: int, *, width: int = 30, height: int = 90) -> npt.NDArray[np.bool_]:
    """Where somebody stands whose left side is at x."""
    where = np.zeros((HEIGHT, WIDTH), np.bool_)
    where[HEIGHT - 20 - height : HEIGHT - 20, max(0, x) : max(0, x + width)] = True
    return where


class View:
    """A camera on a made room, frame by frame.

    Attributes:
        masked: What was masked of the last frame, at its size.
    """

    def __init__(self, **settings: object) -> None:
        self.options = MovingOptions(**{"mode": "mask", "hold_s": 4.0, **settings})  # type: ignore[arg-type]
        self.moving = MovingMask(WIDTH, HEIGHT, self.options)
        self.background = room()
        self.time_s = 100.0
        self._rng = np.random.default_rng(1)

    def sight(
        self, who: npt.NDArray[np.bool_] | None = None, tone: float = 25.0, change: float = 0.0
    ) -> Sight:
        light = self.background + change
        if who is not None:
            light = np.where(who, np.float32(tone), light)
        light = light + self._rng.normal(0, 1.5, light.shape)
        luma = np.clip(light, 0, 255).astype(np.uint8)
        grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
        return self.moving.size.look([Plane(luma), Plane(grey, 2, 2), Plane(grey, 2, 2)])

    def show(
        self,
        who: npt.NDArray[np.bool_] | None = None,
        *,
        tone: float = 25.0,
        change: float = 0.0,
        faces: npt.NDArray[np.float32] = NOBODY,
    ) -> npt.NDArray[np.bool_]:
        """Take a frame; what is masked of it."""
        found = self.find(who, tone=tone, change=change)
        self.moving.protect(found, faces)
        return enlarged(found.masked)

    def find(
        self, who: npt.NDArray[np.bool_] | None = None, *, tone: float = 25.0, change: float = 0.0
    ) -> Found:
        """Take a frame; what moves in it."""
        self.time_s += 1 / RATE
        return self.moving.find(self.sight(who, tone, change), time_s=self.time_s)

    def run(self, seconds: float, **frame: object) -> Iterator[npt.NDArray[np.bool_]]:
        """The same for a while."""
        for _ in range(round(seconds * RATE)):
            yield self.show(**frame)  # type: ignore[arg-type]

    def learn(self) -> None:
        """Watch the empty room until it is known."""
        *_, last = self.run(self.options.hold_s + 1.5)
        assert not last.any()


def enlarged(bitmap: Bitmap) -> npt.NDArray[np.bool_]:
    """A bitmap at the size of the frame."""
    rows, columns = bitmap.shape
    return np.kron(bitmap, np.ones((HEIGHT // rows, WIDTH // columns), np.uint8)) > 0
