"""A camera of the network: an MJPEG stream of one image, and nobody else to ask."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import numpy.typing as npt

_PAUSE_S = 0.2


@contextmanager
def serving(
    image: npt.NDArray[np.uint8],
    *,
    user: str = "",
    password: str = "",
    shows: threading.Event | None = None,
) -> Iterator[str]:
    """Give out an image again and again at an address, to whoever has the password.

    Args:
        image: What it shows, BGR.
        user: Who may see it; anybody where it is empty.
        password: Theirs.
        shows: Before this is set, it connects and shows nothing.
    """
    done, jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))
    assert done
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
        len(jpeg), jpeg.tobytes()
    )  # fmt: skip
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else None
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if wanted is not None and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                while not ended.wait(_PAUSE_S):
                    if shows is None or shows.is_set():
                        self.wfile.write(part)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/video"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
