"""Settings that are allowed and hardly meant: what would be missed, lost or shown by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.loopback import hosts_of, is_loopback
from faceblur.live.addresses import PORTS
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sources.options import SourceOptions
from faceblur.masks.polygons import holds
from faceblur.masks.zones import Kind, Zone
from faceblur.tracking.options import MAX_DETECTION_GAP_S, too_far_apart

_LOW_DEADLINE_S: Final = 0.1
_HIGH_THRESHOLD: Final = 0.5
_KNOWN_FACE_PX: Final = 24.0
"""A face that is higher can be recognised."""
_LOW_FPS: Final = 1.0
_LOW_SIZE: Final = 320
_LOW_HOLD_S: Final = 0.2
_LONG_DELAY_S: Final = 5.0
_LOW_EXPAND: Final = 0.1
_LOW_BITRATE: Final = 50_000
_LOW_KEEP_BYTES: Final = 10_000_000
_LONG_KEYFRAME_S: Final = 15.0
_MOST: Final = 0.9
"""Share of the frame that is as good as all of it."""
_USUAL_SIZE: Final = (1920, 1080)


@dataclass(frozen=True)
class Advice:
    """One thing that is worth a warning.

    Attributes:
        key: The setting, from the camera's own settings down.
        text: What it does, and what to do.
    """

    key: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        """For people who have no line to read."""
        return f"{self.key[0]}: {self.text}"


def of_camera(camera: CameraOptions) -> Iterator[Advice]:
    """What is odd about a camera."""
    yield from _faces(camera)
    yield from _rates(camera)
    yield from _zones(camera)
    folders: dict[Path, str] = {}
    for i, sink in enumerate(camera.sinks):
        for key, text in _sink(sink):
            yield Advice(("sinks", i, *key), text)
        if _is_same(camera.source, sink):
            yield Advice(
                ("sinks", i),
                f"{sink.label} is the camera's own source, so masked frames would be masked "
                "again, or take the camera's place; send them to another path",
            )
        first = sink.folder and folders.setdefault(sink.folder, sink.label)
        if first not in (None, sink.label):
            yield Advice(("sinks", i), f"{first} writes to the same folder; give each its own")


def of_cameras(
    cameras: Sequence[CameraOptions], listen: str | None
) -> Iterator[tuple[str, Advice]]:
    """What is odd about cameras beside each other; each with the camera's name."""
    named = [(camera.name, camera) for camera in cameras]
    sources: dict[str, str] = {}
    ports: dict[int, tuple[str, str]] = {}
    folders: dict[Path, tuple[str, str]] = {}
    if listen is not None:
        ports[int(listen.rpartition(":")[2])] = "", "listen"
    for name, camera in named:
        is_stream = camera.source.kind not in ("testpattern", "file")
        first = sources.setdefault(_place(camera.source.url), name) if is_stream else name
        if first != name:
            text = f"is also the source of camera {first!r}; many cameras serve one reader only"
            yield name, Advice(("source",), text)
        for i, sink in enumerate(camera.sinks):
            key: tuple[str | int, ...] = ("sinks", i)
            if sink.kind == "mjpeg":
                port = int(sink.target.rpartition(":")[2])
                owner, label = ports.setdefault(port, (name, sink.label))
                if (owner, label) != (name, sink.label):
                    text = f"port {port} is also used by {_whose(owner, label)}; give each its own"
                    yield name, Advice(key, text)
            if sink.folder is not None:
                owner, label = folders.setdefault(sink.folder, (name, sink.label))
                if owner != name:
                    text = f"{_whose(owner, label)} writes to the same folder; give each its own"
                    yield name, Advice(key, text)
            for other_name, other in named:
                if other_name != name and _is_same(other.source, sink):
                    text = f"{sink.label} is the source of camera {other_name!r}; use another path"
                    yield name, Advice(key, text)


def of_address(listen: str) -> str:
    """What is odd about an address to listen at; empty if nothing is."""
    host = listen.rpartition(":")[0].strip("[]")
    if is_loopback(host):
        return ""
    return (
        f"{listen} can be reached from other machines, and asks nobody for a password; use "
        "127.0.0.1, or keep it in a network of your own"
    )


def of_server(session: SessionOptions) -> str:
    """What is odd about the address of a server; empty if nothing is."""
    address = session.server
    if address is None:
        return ""
    if session.tls is not None or all(map(is_loopback, hosts_of(address))):
        return ""
    return "unmasked images travel there without encryption; set tls, or use a network of your own"


def _faces(camera: CameraOptions) -> Iterator[Advice]:
    policy, cover = camera.policy, camera.cover
    detection = policy.detection
    if detection.threshold > _HIGH_THRESHOLD:
        yield Advice(
            ("threshold",),
            f"few faces reach a score of {detection.threshold:g}, and all others show; the default "
            f"is {DEFAULT_THRESHOLD:g}",
        )
    if policy.min_face >= _KNOWN_FACE_PX:
        yield Advice(
            ("min_face",),
            f"faces up to {policy.min_face:g} pixels high are shown, and can be recognised; use 0",
        )
    if detection.size < _LOW_SIZE:
        yield Advice(
            ("size",),
            f"small faces are missed in an image of {detection.size} pixels; use 640 or more",
        )
    if policy.mask.expand < _LOW_EXPAND:
        yield Advice(("mask", "expand"), "the edges of faces may show beside their masks; use 0.25")
    for name in ("hold_s", "gap_s", "trust_s"):
        value = getattr(cover, name)
        if value < _LOW_HOLD_S:
            text = f"a face that is missed in one frame shows at {value:g}; leave it at its default"
            yield Advice(("cover", name), text)
    if camera.deadline_s < _LOW_DEADLINE_S:
        yield Advice(
            ("deadline_s",),
            f"hardly any frame can be checked within {camera.deadline_s:g} s, and those that "
            "are not are withheld; use 0.5 or more",
        )


def _rates(camera: CameraOptions) -> Iterator[Advice]:
    fps = camera.fps or camera.source.fps
    key = "fps" if camera.fps is not None else "source"
    if fps is not None and fps < _LOW_FPS:
        text = f"at {fps:g} frames a second most of what passes is never seen; use 1 or more"
        yield Advice((key,), text)
    if camera.source.kind == "snapshot":
        fps = min(fps or 240, 1 / camera.source.interval_s)
    if fps is None:
        return
    if camera.lookahead_s(fps) > _LONG_DELAY_S:
        delay = f"{camera.lookahead_s(fps):.3g} s of delay"
        text = f"{camera.lookahead} frames at {fps:g} fps are {delay}; use fewer"
        yield Advice(("lookahead",), text)
    interval_s = camera.detect_every / fps
    if camera.detect_every == 1:
        return
    if interval_s > MAX_DETECTION_GAP_S:
        yield Advice(("detect_every",), too_far_apart(interval_s))
    elif camera.lookahead < camera.detect_every:
        yield Advice(
            ("lookahead",),
            f"whoever comes in shows for up to {interval_s - 1 / fps:.2g} s before the next "
            f"detection; use {camera.detect_every} or more, or detect_every: 1",
        )


def _zones(camera: CameraOptions) -> Iterator[Advice]:
    kinds: tuple[tuple[Kind, str], ...] = (
        ("never", "no face is masked in nearly all of the image; make the zones smaller"),
        ("always", "nearly all of the image is masked always; make the zones smaller"),
    )
    for kind, text in kinds:
        zones = [zone for zone in camera.policy.zones if zone.kind == kind]
        if zones and _share(zones, camera.source.size or _USUAL_SIZE) >= _MOST:
            yield Advice(("zones", camera.policy.zones.index(zones[0])), text)


def _share(zones: Sequence[Zone], size: tuple[int, int]) -> float:
    """The part of the frame that zones cover together."""
    x, y = np.meshgrid(np.linspace(0.01, 0.98, 40), np.linspace(0.01, 0.98, 40))
    corners = np.stack([x, y], -1).reshape(-1, 2) * size
    points = np.concatenate([corners, corners + 0.01], axis=1)
    return float(np.any([holds(zone.polygon(*size), points) for zone in zones], axis=0).mean())


def _sink(sink: SinkOptions) -> Iterator[tuple[tuple[str, ...], str]]:
    if sink.keep_s is not None and sink.keep_s < sink.segment_s:
        yield (
            ("keep_s",),
            f"files of {sink.segment_s:g} s are deleted after {sink.keep_s:g} s, so hardly "
            "anything is kept; use more than segment_s",
        )
    if sink.keep_bytes is not None and sink.keep_bytes < _LOW_KEEP_BYTES:
        text = f"{sink.keep_bytes} bytes hold a few seconds of video; use 1000000000 (1 GB) or more"
        yield ("keep_bytes",), text
    if sink.bitrate is not None and sink.bitrate < _LOW_BITRATE:
        text = f"{sink.bitrate} bits a second show nothing; 2000000 is 2 Mbit/s"
        yield ("bitrate",), text
    if sink.keyframe_s > _LONG_KEYFRAME_S:
        yield ("keyframe_s",), f"new viewers wait up to {sink.keyframe_s:g} s; use 2"
    if sink.kind == "mjpeg" and (text := of_address(sink.target)):
        yield (), text


def _is_same(source: SourceOptions, sink: SinkOptions) -> bool:
    """Whether a sink writes to where a source reads from."""
    if sink.kind == "segments" and source.kind == "file":
        return Path(source.url).absolute().parent == sink.folder
    if sink.kind == "mjpeg":
        url = urlsplit(source.url)
        port = url.port or PORTS.get(url.scheme)
        is_here = url.scheme == "http" and is_loopback(url.hostname or "")
        return is_here and port == int(sink.target.rpartition(":")[2])
    if sink.kind in ("hls", "window", "null", "segments"):
        return False
    return _place(sink.target) == _place(source.url)


def _place(address: str) -> str:
    """An address without credentials and settings, in one way of writing."""
    if "://" not in address:
        return address
    url = urlsplit(address)
    host = (url.hostname or "").replace("localhost", "127.0.0.1")
    port = url.port or PORTS.get(url.scheme, 0)
    return f"{url.scheme}://{host}:{port}{url.path.rstrip('/')}?{url.query}"


def _whose(camera: str, label: str) -> str:
    return f"{label} of camera {camera!r}" if camera else label
