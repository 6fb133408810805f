"""Where what a camera gives out can be watched: read addresses for the targets of its sinks.

Of servers that pass a stream on, this is the address at which the same server gives the very stream
that was published. Never the camera's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from faceblur.errors import InputError
from faceblur.live.addresses import PORTS, split_address
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import SinkOptions
from faceblur.redaction import HIDDEN, redact_address

ViewKind = Literal["mjpeg", "rtsp", "rtmp", "srt", "whep", "hls", "segments"]
Unseen = Literal["null", "window", "v4l2", "srt", "whip", "hidden", "folder", "own"]

_PLAYLIST: Final = "index.m3u8"
_FOLDERS: Final = ("hls", "segments")
_HERE: Final = ("0.0.0.0", "::", "::1", "localhost")
_LISTENS: Final = re.compile(r"(?:^|&)mode=(?:listener|rendezvous)(?:&|$)")
_STREAM: Final = re.compile(r"(?P<name>(?:^|&)(?:srt_)?streamid=)(?P<id>[^&]*)")
_COLON, _COMMA, _EQUALS = "(?::|%3[Aa])", "(?:,|%2[Cc])", "(?:=|%3[Dd])"
_PUBLISHES: Final = (
    # As MediaMTX has it, …
    (re.compile(f"^publish(?={_COLON})"), "read"),
    # … as SRT's own guidelines have it, which many servers know, …
    (re.compile(f"^((?:#|%23)(?:!|%21){_COLON}{_COLON}(?:.*{_COMMA})?m{_EQUALS})publish"
                f"(?={_COMMA}|$)"), r"\1request"),
    # … and as Restreamer has it.
    (re.compile(f"({_COMMA}mode{_COLON})publish(?={_COMMA}|$)"), r"\1request"),
)  # fmt: skip
"""What a stream's name says of who publishes it, and what it says of who reads it."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Where one sink's frames can be watched, or why they cannot.

    Attributes:
        kind: How; None where they cannot.
        url: An address with its credentials, or a folder. Printed only by way of `label`.
        why: Empty where they can.
        sink: The sink's label.
    """

    kind: ViewKind | None = None
    url: str = field(default="", repr=False)
    why: Unseen | Literal[""] = ""
    sink: str = ""

    @property
    def label(self) -> str:
        """The place for people to read, without credentials."""
        return redact_address(self.url)

    @property
    def place(self) -> str:
        """Equal for addresses of the same place, whoever asks there and however."""
        return _place(self.url)

    def to_json(self) -> dict[str, Any]:
        """For who may know it, with credentials."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Any) -> View:
        """Read what `to_json` gave.

        Raises:
            ValueError: It is something else.
        """
        try:
            view = cls(**{name: said[name] for name in ("kind", "url", "why", "sink")})
        except (TypeError, KeyError) as error:
            raise ValueError("this is no view") from error
        kinds, reasons = (*get_args(ViewKind), None), (*get_args(Unseen), "")
        is_text = isinstance(view.url, str) and isinstance(view.sink, str)
        if view.kind not in kinds or view.why not in reasons or not is_text:
            raise ValueError("this is no view")
        return view


def view_of(sink: SinkOptions) -> View:
    """Where a sink's frames can be watched."""
    return replace(_view_of(sink), sink=sink.label)


def _view_of(sink: SinkOptions) -> View:
    if sink.kind == "mjpeg":
        return View(kind="mjpeg", url=f"http://{_here(sink.target)}/")
    if sink.kind == "rtsp":
        return View(kind="rtsp", url=sink.target)
    if sink.kind == "rtmp":
        # Its server gives it to whoever asks for the same name.
        return View(kind="rtmp", url=sink.target)
    if sink.kind == "srt":
        return _of_srt(sink.target)
    if sink.kind == "whip":
        return _of_whip(sink.target)
    if sink.folder is not None:
        is_list = sink.kind == "hls"
        return View(
            kind="hls" if is_list else "segments",
            url=str(sink.folder / _PLAYLIST if is_list else sink.folder),
        )
    if sink.kind == "window" or sink.kind == "v4l2":
        return View(why=sink.kind)
    return View(why="null")


def view_of_label(label: str) -> View:
    """The same from a sink's label, as far as that tells: it has no credentials."""
    return replace(_view_of_bare(label.replace(f"{HIDDEN}@", "")), sink=label)


def _view_of_bare(bare: str) -> View:
    if HIDDEN in bare:
        return View(why="hidden")
    kind, _, rest = bare.partition(":")
    if kind in _FOLDERS and not rest.startswith("/"):
        return View(why="folder")
    if kind in PORTS or kind == "srt":
        kind, rest = {"http": "whip", "https": "whip"}.get(kind, kind.removesuffix("s")), bare
    try:
        return _view_of(SinkOptions(kind=kind, target=rest))  # type: ignore[arg-type]
    except InputError:
        return View(why="null")


def views_of(cameras: Collection[CameraOptions]) -> dict[str, tuple[View, ...]]:
    """By camera, where each of its sinks can be watched; none is where a camera is read."""
    sources = places(camera.source.url for camera in cameras)
    return {
        camera.name: tuple(not_own(view_of(sink), sources) for sink in camera.sinks)
        for camera in cameras
    }


def places(addresses: Iterable[str]) -> frozenset[str]:
    """Of addresses, to compare; see `View.place`."""
    return frozenset(map(_place, addresses))


def not_own(view: View, sources: Collection[str]) -> View:
    """A view, but for one that is among the places of cameras: these are not masked."""
    is_own = view.kind is not None and view.place in sources
    return View(why="own", sink=view.sink) if is_own else view


def _of_srt(target: str) -> View:
    address, _, query = target.partition("?")
    found = _STREAM.search(query)
    if found is not None and not _LISTENS.search(query):
        for pattern, reads in _PUBLISHES:
            name, count = pattern.subn(reads, found["id"])
            if count:
                query = f"{query[: found.start('id')]}{name}{query[found.end('id') :]}"
                return View(kind="srt", url=f"{address}?{query}")
    return View(why="srt")


def _of_whip(target: str) -> View:
    parts = urlsplit(target)
    segments = parts.path.split("/")
    if "whip" not in segments:
        return View(why="whip")
    last = len(segments) - 1 - segments[::-1].index("whip")
    segments[last] = "whep"
    return View(kind="whep", url=urlunsplit(parts._replace(path="/".join(segments))))


def _here(address: str) -> str:
    """Where this machine reaches what listens at an address."""
    host, port = split_address(address)
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    if host is None:
        return url.rstrip("/")
    scheme = parts.scheme.lower()
    host = "127.0.0.1" if host in _HERE else host
    query = f"?{parts.query}#{parts.fragment}" if scheme == "srt" else ""
    return f"{scheme}://{host}:{port or PORTS.get(scheme)}{parts.path.rstrip('/')}{query}"
