"""Start a real RTSP server: GStreamer's gst-rtsp-server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from rig.ports import free_port

MISSING = (
    "needs GStreamer's RTSP server: apt-get install -y gir1.2-gst-rtsp-server-1.0 python3-gi "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
PYTHON = "/usr/bin/python3"
_PROBE = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; "
    "Gst.init(None); assert all(Gst.ElementFactory.find(n) for n in "
    "('h264parse', 'rtph264pay', 'mpegtsmux', 'appsrc'))"
)


@lru_cache
def is_available() -> bool:
    """Whether this machine has one."""
    if shutil.which(PYTHON) is None:
        return False
    return subprocess.run([PYTHON, "-c", _PROBE], capture_output=True, check=False).returncode == 0


class RtspServer:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int, credentials: str) -> None:
        self._process = process
        self._port = port
        self._credentials = credentials

    def url(self, name: str, *, credentials: str | None = None) -> str:
        """The address of a mount, with the right credentials or the given ones."""
        chosen = self._credentials if credentials is None else credentials
        return f"rtsp://{chosen + '@' if chosen else ''}127.0.0.1:{self._port}/{name}"

    def tell(self, command: str) -> None:
        """`freeze NAME`, `resume NAME` or `switch NAME CLIP`."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End it at once, as if its machine were switched off."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def rtsp_server(
    mounts: Sequence[str], *, credentials: str = "", port: int | None = None
) -> Iterator[RtspServer]:
    """Run a server.

    Args:
        mounts: `play:NAME:CLIP` and `record:NAME:FOLDER`.
        credentials: user:password that it wants.
        port: Where it listens; any that is free when None.
    """
    chosen = port or free_port()
    script = Path(__file__).with_name("rtsp_server.py")
    process = subprocess.Popen(
        [PYTHON, str(script), str(chosen), credentials, *mounts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    server = RtspServer(process, chosen, credentials)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the RTSP server did not start")
        time.sleep(0.1)
        yield server
    finally:
        server.stop()
