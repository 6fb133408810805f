"""MJPEG over HTTP, which any browser shows."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Final

import cv2
import numpy as np

from faceblur.live.http_server import Handler, serve
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import Output

_BOUNDARY: Final = "frame"
_QUALITY: Final = 80
_MAX_VIEWERS: Final = 16


class MjpegWriter:
    """Serves the newest frame to every viewer, each at the pace it takes."""

    def __init__(self, options: SinkOptions) -> None:
        """Listen.

        Raises:
            OutputError: The address is taken.
        """
        self._newest = _Newest()
        handler = partial(_Handler, self._newest)
        self._server = serve(options.target, handler, advice="choose another port")

    def write(self, output: Output) -> None:
        """Encode a frame if there is a viewer, and have it sent to all of them."""
        if not self._newest.viewers:
            return
        image = output.format.bgr(output.samples)
        done, jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
        if done:
            self._newest.put(np.asarray(jpeg, np.uint8).tobytes())

    def close(self) -> None:
        """Send the viewers away, and stop listening."""
        self._newest.put(None)
        self._server.shutdown()
        self._server.server_close()


class _Newest:
    """The newest frame, and those who wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.number = 0
        self._jpeg: bytes | None = None
        self.viewers = 0

    def put(self, jpeg: bytes | None) -> None:
        """Set it; None ends all viewers."""
        with self._changed:
            self._jpeg, self.number = jpeg, self.number + 1
            self._changed.notify_all()

    def join(self, change: int) -> bool:
        """Count a viewer in or out; False if there are too many."""
        with self._changed:
            if change > 0 and self.viewers >= _MAX_VIEWERS:
                return False
            self.viewers += change
            return True

    def after(self, number: int) -> tuple[int, bytes | None]:
        """Wait for a frame after that number; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.number > number)
            return self.number, self._jpeg


class _Handler(Handler):
    def __init__(self, newest: _Newest, *request: Any) -> None:
        self._newest = newest
        super().__init__(*request)

    def do_GET(self) -> None:  # noqa: N802
        """Send frames until the viewer goes."""
        if not self._newest.join(1):
            self.send_error(503, "too many viewers")
            return
        try:
            self._stream()
        except OSError:
            self.close_connection = True
        finally:
            self._newest.join(-1)

    def _stream(self) -> None:
        number = self._newest.number
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        while True:
            number, jpeg = self._newest.after(number)
            if jpeg is None:
                return
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
            self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
