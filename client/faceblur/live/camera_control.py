"""What can be done with a camera, whatever it is."""

from __future__ import annotations

from typing import Protocol

from faceblur.live.options import CameraOptions
from faceblur.live.stats import CameraState, CameraStats


class CameraControl(Protocol):
    """What can be done with a camera; `Camera` is one.

    Nothing that happens to the source, the sinks or the detector raises here: it shows in `state`
    and `stats`.
    """

    @property
    def options(self) -> CameraOptions:
        """As given."""

    @property
    def state(self) -> CameraState:
        """What it is doing."""

    def start(self) -> None:
        """Begin, and return at once."""

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End: flush and close the sinks, end the child processes; kill what does not end in time.

        Returns when nothing of the camera is left. Calling it again does nothing.
        """

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the camera has ended by itself (a file's end, a closed window) or by `stop`.

        Returns:
            Whether it has.
        """

    def stats(self) -> CameraStats:
        """Counters and state at this moment; from any thread, at any time."""

    @property
    def failed(self) -> bool:
        """Whether it has ended by an error of its own."""

    @property
    def idle_s(self) -> float:
        """Seconds since its loop last turned; about one at most while it is well."""
