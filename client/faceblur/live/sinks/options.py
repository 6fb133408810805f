"""Where masked frames go, parsed from one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from faceblur.errors import InputError
from faceblur.live.addresses import parse_address, split_query, to_number
from faceblur.redaction import redact_address

SinkKind = Literal[
    "rtsp", "rtmp", "srt", "whip", "hls", "segments", "mjpeg", "window", "v4l2", "null"
]
SINKS_HINT: Final = (
    "give rtsp://…, rtmp://…, srt://…, whip:https://…, hls:FOLDER, segments:FOLDER, mjpeg:PORT, "
    "window, v4l2:/dev/videoN or null"
)
LOOPBACK: Final = "127.0.0.1"
_ADDRESSES: Final[dict[str, SinkKind]] = {
    "rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "rtmp", "rtmps": "rtmp", "srt": "srt",
}  # fmt: skip
_POSITIVE: Final = (
    *("bitrate", "keyframe_s", "open_timeout_s", "write_timeout_s", "segment_s"),
    *("keep_s", "keep_bytes"),
)


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """One place that masked frames go to.

    Attributes:
        kind: What it is.
        target: An address with its credentials, a folder, host:port, a device. Printed only by
            way of `label`.
        encoder: FFmpeg's name of the video encoder, or `auto` for the GPU's where that was measured
            to be faster; x264, tuned for low delay, when None. If it
            does not open, x264 is used instead, with a warning.
        bitrate: Bits per second, at most; by quality alone when None.
        keyframe_s: Seconds between key frames, at most: how long a new viewer waits.
        open_timeout_s: Seconds in which the peer must have accepted the stream.
        write_timeout_s: Seconds that one frame may take; then the sink counts as stuck, is killed
            and restarted.
        segment_s: Length of HLS and file segments, seconds.
        keep_s: File segments older than this are deleted; None keeps them.
        keep_bytes: The oldest file segments are deleted while all take more than this; None
            keeps them.
    """

    kind: SinkKind
    target: str = field(default="", repr=False)
    encoder: str | None = None
    bitrate: int | None = None
    keyframe_s: float = 2.0
    open_timeout_s: float = 10.0
    write_timeout_s: float = 5.0
    segment_s: float = 4.0
    keep_s: float | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges; an `InputError` says which setting is invalid."""
        if self.kind not in get_args(SinkKind):
            raise InputError(f"no sink is of the kind {self.kind!r}; {SINKS_HINT}")
        if not self.target and self.kind not in ("window", "null"):
            raise InputError(f"the sink {self.kind} lacks its target; {SINKS_HINT}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} of {self.label} must be more than 0")

    @property
    def label(self) -> str:
        """The sink for people to read, without credentials."""
        if "://" in self.target:
            return redact_address(self.target)
        return f"{self.kind}:{self.target}" if self.target else self.kind

    @property
    def folder(self) -> Path | None:
        """Where files are written, absolute; None where none are."""
        return Path(self.target).absolute() if self.kind in ("hls", "segments") else None

    @property
    def place(self) -> str | None:
        """Equal for sinks that would write to the same place; None where several may."""
        if self.kind in ("window", "null"):
            return None
        return f"{self.kind} {self.folder or self.target}"


def repeated_sink(sinks: Sequence[SinkOptions]) -> str:
    """The label of a sink that writes where another of them does; empty if there is none."""
    places = [sink.place for sink in sinks if sink.place is not None]
    twice = (sink.label for sink in sinks if sink.place and places.count(sink.place) > 1)
    return next(twice, "")


def parse_sink(text: str) -> SinkOptions:
    """Read a sink from what a user wrote.

    `rtsp://…` · `rtmp://…` · `srt://…` · `whip:https://…` · `hls:FOLDER?segment=4` ·
    `segments:FOLDER?segment=60&keep_hours=24&keep_gb=10` · `mjpeg:8090`, `mjpeg:0.0.0.0:8090` ·
    `window` · `v4l2:/dev/video10` · `null` (for measuring).

    Raises:
        InputError: It is none of these.
    """
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if kind := _ADDRESSES.get(scheme):
        parse_address(text)
        return SinkOptions(kind=kind, target=text)
    if scheme == "whip":
        if parse_address(rest).scheme not in ("http", "https"):
            raise InputError(
                f"{redact_address(rest)} is no address to send frames to; {SINKS_HINT}"
            )
        return SinkOptions(kind="whip", target=rest)
    if scheme in ("hls", "segments"):
        return _folder("hls" if scheme == "hls" else "segments", rest)
    if scheme == "mjpeg":
        host, _, port = rest.rpartition(":")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise InputError(f"mjpeg:{rest} has no port; write mjpeg:8090 or mjpeg:HOST:8090")
        return SinkOptions(kind="mjpeg", target=f"{host or LOOPBACK}:{port}")
    if scheme == "v4l2":
        return SinkOptions(kind="v4l2", target=rest)
    if text in ("window", "null"):
        return SinkOptions(kind="window" if text == "window" else "null")
    raise InputError(f"cannot send frames to {redact_address(text)}; {SINKS_HINT}")


def _folder(kind: Literal["hls", "segments"], rest: str) -> SinkOptions:
    what = f"the sink {kind}"
    known = ("segment",) if kind == "hls" else ("segment", "keep_hours", "keep_gb")
    folder, parameters = split_query(rest, what, known)
    numbers = {name: to_number(value, name, what) for name, value in parameters.items()}
    if folder and Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder; name one, or a new one")
    hours, gigabytes = numbers.get("keep_hours"), numbers.get("keep_gb")
    return SinkOptions(
        kind=kind,
        target=folder,
        segment_s=numbers.get("segment", 4.0 if kind == "hls" else 60.0),
        keep_s=None if hours is None else hours * 3600,
        keep_bytes=None if gigabytes is None else int(gigabytes * 1e9),
    )
