"""Where a camera's frames come from, parsed from one line of text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import unquote

from faceblur.errors import InputError
from faceblur.live.addresses import Size, parse_address, split_query, to_flag, to_number, to_size
from faceblur.redaction import redact_address

SourceKind = Literal["webcam", "rtsp", "rtmp", "hls", "mjpeg", "snapshot", "file", "testpattern"]
RtspTransport = Literal["tcp", "udp"]
_ADDRESSES: Final[dict[str, SourceKind]] = {
    "rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "rtmp", "rtmps": "rtmp", "rtmpe": "rtmp",
    "rtmpt": "rtmp", "http": "mjpeg", "https": "mjpeg",
}  # fmt: skip
_IMAGES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SOURCES_HINT: Final = (
    "give 0 or /dev/video0 for a webcam, rtsp://…, rtmp://…, http://…/stream.m3u8 (HLS), "
    "http://… (MJPEG), http://…/snap.jpg or snapshot:http://… (single images), "
    "the path of a video file, or testpattern"
)


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """One source of frames.

    Attributes:
        kind: What it is.
        url: What FFmpeg opens: an address with its credentials, a device, a path. Printed only
            by way of `label`.
        rtsp_transport: How RTP travels for RTSP.
        open_timeout_s: Seconds in which the first frame must have come.
        stall_timeout_s: Seconds without a new frame after which a stream counts as frozen and is
            reopened; for snapshots on top of `interval_s`.
        interval_s: For snapshots: seconds from asking for one image to asking for the next.
        loop: For files: start again at the end. A file that does not loop ends its camera.
        size: Width and height, pixels: of a test pattern, or what to ask a webcam for.
        fps: Frames per second: of a test pattern, or what to ask a webcam for.
        face: For test patterns: an image that moves across it.
    """

    kind: SourceKind
    url: str = field(repr=False)
    rtsp_transport: RtspTransport = "tcp"
    open_timeout_s: float = 10.0
    stall_timeout_s: float = 5.0
    interval_s: float = 1.0
    loop: bool = False
    size: Size | None = None
    fps: float | None = None
    face: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges; an `InputError` says which setting is invalid."""
        if self.kind not in get_args(SourceKind):
            raise InputError(f"no source is of the kind {self.kind!r}; {SOURCES_HINT}")
        if self.rtsp_transport not in get_args(RtspTransport):
            raise InputError(f"RTSP travels over tcp or udp, not {self.rtsp_transport!r}")
        if not 0.05 <= self.interval_s <= 3600:
            raise InputError(
                f"{self.label} cannot be asked every {self.interval_s:g} s; use 0.05 to 3600"
            )
        for name in ("open_timeout_s", "stall_timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} of {self.label} must be longer than 0 seconds")
        if self.fps is not None and not 0 < self.fps <= 240:
            raise InputError(f"{self.label} cannot come at {self.fps:g} fps; use up to 240")
        if self.face is not None and not self.face.is_file():
            raise InputError(f"there is no image {self.face} for the test pattern")

    @property
    def label(self) -> str:
        """The source for people to read, without credentials."""
        return redact_address(self.url)

    @property
    def quiet_s(self) -> float:
        """Seconds without a new frame that are nothing to worry about."""
        return self.stall_timeout_s + (self.interval_s if self.kind == "snapshot" else 0.0)

    @property
    def ends(self) -> bool:
        """Whether an end of the source is the end of the camera."""
        return self.kind == "file" and not self.loop


def parse_source(text: str) -> SourceOptions:
    """Read a source from what a user wrote.

    `0`, `/dev/video0` · `rtsp://…` · `rtmp://…` · `http://….m3u8` · `http://…` ·
    `http://….jpg`, `snapshot:http://…`, `mjpeg:http://….jpg` ·
    `clip.mp4`, `file:clip.mp4?loop=yes` · `testpattern`,
    `testpattern:?size=640x360&fps=15&face=portrait.jpg`. RTSP addresses go to the camera as they
    are; use `SourceOptions` (or `dataclasses.replace`) for time-outs and the transport.

    Raises:
        InputError: It is none of these.
    """
    if re.fullmatch(r"\d{1,3}", text):
        return SourceOptions(kind="webcam", url=f"/dev/video{text}")
    if text.startswith("/dev/"):
        return SourceOptions(kind="webcam", url=text)
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme in ("snapshot", "mjpeg") and "://" in rest:
        if parse_address(rest).scheme.lower() not in ("http", "https"):
            raise InputError(f"{redact_address(text)} is no address of images; {SOURCES_HINT}")
        return SourceOptions(kind="snapshot" if scheme == "snapshot" else "mjpeg", url=rest)
    kind = _ADDRESSES.get(scheme)
    if kind is not None and "://" in text:
        path = parse_address(text).path.lower()
        if kind == "mjpeg" and path.endswith((".m3u8", ".m3u")):
            kind = "hls"
        elif kind == "mjpeg" and path.endswith(_IMAGES):
            kind = "snapshot"
        return SourceOptions(kind=kind, url=text)
    if scheme.partition("?")[0] == "testpattern":
        return _test_pattern(text)
    if "://" in text:
        raise InputError(f"cannot read frames from {redact_address(text)}; {SOURCES_HINT}")
    return _file(text)


def _test_pattern(text: str) -> SourceOptions:
    what = "a test pattern"
    rest = text.removeprefix("testpattern").removeprefix(":")
    _, parameters = split_query(rest, what, ("size", "fps", "face"))
    face = parameters.get("face")
    return SourceOptions(
        kind="testpattern",
        url=text,
        size=to_size(parameters.get("size", "640x360"), what),
        fps=to_number(parameters.get("fps", "15"), "fps", what),
        face=None if face is None else Path(face),
    )


def _file(text: str) -> SourceOptions:
    what = "a file"
    path, parameters = text, dict[str, str]()
    if text.startswith("file:"):
        path, parameters = split_query(text.removeprefix("file:"), what, ("loop",))
        path = unquote(path)
    if not Path(path).is_file():
        raise InputError(f"there is no video file {path}; {SOURCES_HINT}")
    return SourceOptions(
        kind="file", url=path, loop=to_flag(parameters.get("loop", "no"), "loop", what)
    )
