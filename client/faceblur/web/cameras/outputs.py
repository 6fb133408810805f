"""Which outputs of a camera can be shown here, why others cannot, and their frames.

Never the camera itself: only what `faceblur run` gives out is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import av

from faceblur.live.sources.options import SourceKind, SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.live.views import View, ViewKind, not_own, places, view_of_label
from faceblur.redaction import HIDDEN
from faceblur.web.cameras import recordings, srt

Told = Mapping[str, Sequence[View]]
"""What a service has said of its outputs to who may know, by camera."""

_QUICKEST: Final[tuple[ViewKind, ...]] = (
    "mjpeg", "rtsp", "rtmp", "srt", "whep", "hls", "segments",
)  # fmt: skip
_STREAMS: Final[dict[ViewKind, SourceKind]] = {
    "mjpeg": "mjpeg", "rtsp": "rtsp", "rtmp": "rtmp", "hls": "hls",
}  # fmt: skip


def views(
    camera: Mapping[str, Any], cameras: Iterable[Mapping[str, Any]], told: Told
) -> list[View]:
    """Where each of a camera's sinks can be watched, or why it cannot.

    Args:
        camera: As the status of a service has it, where addresses are without credentials.
        cameras: All of them; none of their sources is opened, whatever is written there.
        told: Empty where the service does not say.
    """
    known = told.get(camera["name"], ())
    labels = [sink["label"] for sink in camera["sinks"]]
    # Else the file was read again in between, and it is another sink that runs.
    if [view.sink for view in known] == labels:
        return list(known)
    sources = places(each["source"].replace(f"{HIDDEN}@", "") for each in cameras)
    return [not_own(view_of_label(label), sources) for label in labels]


def running_views(camera: Mapping[str, Any], found: Sequence[View]) -> list[View]:
    """Which of them can be watched at this moment, the quickest first.

    Only sinks that run: at the address of another one, somebody else may give out anything.
    """
    pairs = zip(found, camera["sinks"], strict=True)
    run = {view.kind: view for view, sink in pairs if view.kind and sink["state"] == "running"}
    return [run[kind] for kind in _QUICKEST if kind in run]


def frames(
    view: View, stopping: threading.Event
) -> Generator[tuple[av.VideoFrame, float] | None, None, None]:
    """Frames and how many seconds old they are, beyond what the camera itself is behind.

    None comes now and then while there are none.

    Raises:
        InputError: It cannot be read, or not any further.
    """
    if view.kind == "segments":
        return recordings.recorded(Path(view.url), stopping)
    if view.kind == "srt":
        return srt.received(view.url, stopping)
    if view.kind == "whep":
        # Only where it is needed: asyncio and WebRTC.
        from faceblur.web.cameras import whep

        return whep.received(view.url, stopping)
    assert view.kind is not None
    return _streamed(SourceOptions(kind=_STREAMS[view.kind], url=view.url))


def _streamed(source: SourceOptions) -> Generator[tuple[av.VideoFrame, float], None, None]:
    for frame in StreamReader(source, "off").frames():
        yield frame.image, 0.0
