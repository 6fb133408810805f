"""A window on the screen."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import cv2

from faceblur.errors import OutputError
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import Output, ViewerLeftError

_TITLE: Final = "faceblur (q quits)"
_QUIT_KEYS: Final = (ord("q"), ord("Q"), 27)


class WindowWriter:
    """Shows every frame; `q`, Escape or closing the window ends the camera."""

    def __init__(self, _: SinkOptions) -> None:
        self._is_open = False
        self._meter = _Meter()

    def write(self, output: Output) -> None:
        """Show a frame; opens the window with the first one.

        Raises:
            OutputError: There is no screen, or this OpenCV cannot show windows.
            ViewerLeftError: The user has closed it.
        """
        format_ = output.format
        try:
            if not self._is_open:
                cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
                cv2.resizeWindow(_TITLE, format_.width, format_.height)
                self._is_open = True
            image = format_.bgr(output.samples)
            self._meter.write_on(image, output)
            cv2.imshow(_TITLE, image)
            key = cv2.waitKey(1) & 0xFF
            gone = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            raise OutputError(
                "cannot open a window: this OpenCV has none (opencv-python-headless); install "
                "opencv-python, or use another sink, such as mjpeg:8090"
            ) from error
        if key in _QUIT_KEYS or gone:
            raise ViewerLeftError

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            cv2.destroyAllWindows()


class _Meter:
    """Writes frames per second and delay into a corner."""

    def __init__(self) -> None:
        self._shown: deque[float] = deque(maxlen=30)

    def write_on(self, image: Any, output: Output) -> None:
        now_s = time.monotonic()
        self._shown.append(now_s)
        elapsed_s = now_s - self._shown[0]
        text = f"{(len(self._shown) - 1) / elapsed_s:.1f} fps" if elapsed_s > 0 else ""
        if output.arrived_s is not None:
            text += f"  {1000 * (now_s - output.arrived_s):.0f} ms"
        place = (8, output.format.height - 10)
        for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width)
