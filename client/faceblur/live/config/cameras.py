"""The part of `cameras.yaml` that describes one camera, and the defaults of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from faceblur.detection.options import DetectionOptions
from faceblur.errors import InputError
from faceblur.live.config.advice import Advice
from faceblur.live.config.secrets import Secrets
from faceblur.live.config.yaml_tree import Located, Problems
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import SinkOptions, parse_sink, repeated_sink
from faceblur.live.sources.options import SourceOptions, parse_source
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.masks.zones import Zone
from faceblur.moving.options import MovingOptions
from faceblur.redaction import holds_secret
from faceblur.schema.mistakes import shown
from faceblur.tracking import TrackingOptions
from faceblur.tracking.live import LIVE_OPTIONS


def _names(kind: Any, *without: str) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in without)


Value = TypeVar("Value")
Options = TypeVar("Options", SourceOptions, SinkOptions)

_NOT_LIVE: Final = {
    "spans": "a live camera has no start to count time from; use zones",
}

POLICY_KEYS: Final = (
    *_names(DetectionOptions, "deadline_s", *_NOT_LIVE),
    *_names(Policy, "detection", "cover", *_NOT_LIVE),
)
"""Settings of `Policy` that a camera has."""

MASK_KEYS: Final = _names(MaskStyle)
_MOVING: Final = _names(MovingOptions)

_OWN: Final = _names(CameraOptions, "name", "source", "sinks", "policy", "cover")
# Set beside it, for the camera itself.
_COVER: Final = _names(TrackingOptions, "detect_every", "max_frames")
_SOURCE: Final = _names(SourceOptions, "kind", "url")
_SINK: Final = _names(SinkOptions, "kind", "target")
_SOURCE_KINDS: Final = {
    "rtsp_transport": ("rtsp",),
    "interval_s": ("snapshot",),
    "loop": ("file",),
    "size": ("webcam", "testpattern"),
    "fps": ("webcam", "testpattern"),
    "face": ("testpattern",),
}
_SINK_KINDS: Final = {
    "segment_s": ("hls", "segments"),
    "keep_s": ("segments",),
    "keep_bytes": ("segments",),
}

SECTIONS: Final = {
    "camera": ("source", "sinks", *POLICY_KEYS, "cover", *_OWN),
    "mask": MASK_KEYS,
    "moving": _MOVING,
    "cover": _COVER,
    "source": ("url", *_SOURCE),
    "sink": ("to", *_SINK),
}
"""Every setting of a camera, by section."""

_MERGED: Final = ("source", "mask", "moving", "cover")
_STAND_IN: Final = SourceOptions(kind="testpattern", url="testpattern")


class CameraReader:
    """Reads cameras, each on top of the defaults; what is wrong is noted in `problems`."""

    def __init__(self, defaults: Located, problems: Problems, secrets: Secrets) -> None:
        self._problems = problems
        self._secrets = secrets
        self._defaults = self._section(defaults)

    def read(self, name: str, at: Located) -> CameraOptions | None:
        """One camera; None if it has problems, which were noted."""
        settings = self._settings(at)
        source = self._source(name, settings, at)
        sinks = self._sinks(name, settings, at)
        cover, policy = self._cover(settings), self._policy(settings, at)
        make = partial(
            CameraOptions,
            name=name,
            source=source or _STAND_IN,
            sinks=sinks or (SinkOptions(kind="null"),),
            policy=policy or Policy(),
            cover=cover or LIVE_OPTIONS,
        )
        own = {key: settings[key] for key in _OWN if key in settings}
        camera = self._problems.build(CameraOptions, own, at, make)
        return camera if source and sinks and policy else None

    def place_of(self, key: str, at: Located) -> Located:
        """Where a setting of a camera stands."""
        return self._settings(at).get(key, at)

    def warn(self, advice: Advice, at: Located) -> None:
        """Note that a setting of a camera is hardly meant."""
        name = str(advice.key[0])
        found = self._settings(at).get(name) or replace(at, key=name)
        self._problems.warn(found.at(advice.key[1:]), advice.text)

    def _section(self, at: Located) -> dict[str, Located]:
        section = self._problems.members(at, "settings of a camera")
        return self._problems.known(section, SECTIONS["camera"], _NOT_LIVE)

    def _settings(self, at: Located) -> dict[str, Located]:
        own = self._section(at)
        merged = {**self._defaults, **own}
        for name in _MERGED:
            if name in own and name in self._defaults:
                below, above = _long(name, self._defaults[name]), _long(name, own[name])
                if isinstance(below.value, dict) and isinstance(above.value, dict):
                    merged[name] = replace(above, value={**below.value, **above.value})
        return merged

    def _text(self, at: Located, name: str) -> str | None:
        """An address or a path, with its secrets filled in."""
        if isinstance(at.value, bool) or not isinstance(at.value, str | int):
            self._problems.add(at, f"must be a text, not {shown(at.plain())}")
            return None
        if holds_secret(str(at.value)):
            self._problems.warn(
                at,
                "the password stands here for everybody who can read this file; write "
                "${NAME} for a variable of the environment, or ${file:/path}",
            )
        return self._tried(at, partial(self._secrets.expand, str(at.value), camera=name))

    def _tried(self, at: Located, make: Callable[[], Value]) -> Value | None:
        """What is made; None if it cannot be, which is noted."""
        try:
            return make()
        except InputError as error:
            self._problems.add(at, str(error))
            return None

    def _source(self, name: str, settings: dict[str, Located], at: Located) -> SourceOptions | None:
        where = settings.get("source")
        section = {} if where is None else self._problems.members(_long("source", where), "url")
        if where is None or "url" not in section:
            self._problems.add(where or at, "no source; write source: rtsp://… or another")
            return None
        section = self._problems.known(section, SECTIONS["source"])
        parsed = self._parsed(parse_source, section.pop("url"), name)
        if parsed is None:
            return None
        for key in list(section):
            # What the address itself says counts more than a default for all cameras.
            if section[key].where == "defaults" and (
                parsed.kind not in _SOURCE_KINDS.get(key, (parsed.kind,))
                or getattr(parsed, key) != getattr(_STAND_IN, key)
            ):
                del section[key]
        return self._options(parsed, section, where, _SOURCE_KINDS, "sources")

    def _sinks(
        self, name: str, settings: dict[str, Located], at: Located
    ) -> tuple[SinkOptions, ...]:
        where = settings.get("sinks")
        listed = [] if where is None else self._problems.entries(where, "sinks")
        if not listed:
            self._problems.add(where or at, "no sinks; write sinks: and below it - rtsp://…")
        sinks = [self._sink(name, each) for each in listed]
        whole = tuple(sink for sink in sinks if sink is not None)
        if where is not None and (twice := repeated_sink(whole)):
            self._problems.add(where, f"{twice} is there twice; name each sink once")
            return ()
        return whole if len(whole) == len(sinks) else ()

    def _sink(self, name: str, at: Located) -> SinkOptions | None:
        section = self._problems.members(_long("sinks", at), "to")
        section = self._problems.known(section, SECTIONS["sink"])
        if "to" not in section:
            self._problems.add(at, "a sink lacks its target; write to: rtsp://… or another")
            return None
        parsed = self._parsed(parse_sink, section.pop("to"), name)
        return parsed and self._options(parsed, section, at, _SINK_KINDS, "sinks")

    def _parsed(self, parse: Callable[[str], Options], at: Located, name: str) -> Options | None:
        text = self._text(at, name)
        return None if text is None else self._tried(at, partial(parse, text))

    def _options(
        self,
        parsed: Options,
        section: dict[str, Located],
        at: Located,
        kinds: Mapping[str, tuple[str, ...]],
        noun: str,
    ) -> Options | None:
        """What an address says, and the settings beside it."""
        for key in kinds.keys() & section.keys():
            if parsed.kind not in kinds[key]:
                self._problems.add(section.pop(key), f"only for {' and '.join(kinds[key])} {noun}")
        return self._problems.build(type(parsed), section, at, partial(replace, parsed))

    def _cover(self, settings: dict[str, Located]) -> TrackingOptions | None:
        if "cover" not in settings:
            return None
        at = settings["cover"]
        section = self._problems.members(at, "the settings of the cover")
        section = self._problems.known(section, _COVER)
        return self._problems.build(TrackingOptions, section, at, partial(replace, LIVE_OPTIONS))

    def _policy(self, settings: dict[str, Located], at: Located) -> Policy | None:
        given = {key: settings[key] for key in POLICY_KEYS if key in settings}
        made: dict[str, list[Any]] = {}
        if "mask" in given:
            made["mask"] = [self._mask(given["mask"])]
            given["mask"] = replace(given["mask"], value=made["mask"][0])
        if "moving" in given:
            made["moving"] = [self._moving(given["moving"])]
            given["moving"] = replace(given["moving"], value=made["moving"][0])
        if "zones" in given:
            entries = self._problems.entries(given["zones"], "zones")
            made["zones"] = [self._zone(each) for each in entries]
            zones = [replace(at, value=zone) for zone in made["zones"]]
            given["zones"] = replace(given["zones"], value=zones)
        broken = [key for key, values in made.items() if None in values]
        whole = {key: value for key, value in given.items() if key not in broken}
        policy = self._problems.build(Policy, whole, at)
        return None if broken else policy

    def _mask(self, at: Located) -> MaskStyle | None:
        section = self._problems.members(_long("mask", at), "the settings of the mask")
        section = self._problems.known(section, (*MASK_KEYS, "colour"))
        if "colour" in section:
            section["color"] = section.pop("colour")
        image = section.get("image")
        if image is not None and isinstance(image.value, str):
            section["image"] = replace(image, value=Path(image.value))
        return self._problems.build(MaskStyle, section, at)

    def _moving(self, at: Located) -> MovingOptions | None:
        section = self._problems.members(_long("moving", at), "the settings of what moves")
        section = self._problems.known(section, _MOVING)
        return self._problems.build(MovingOptions, section, at)

    def _zone(self, at: Located) -> Zone | None:
        section = self._problems.members(at, "kind and corners")
        hints = {"time": _NOT_LIVE["spans"]}
        section = self._problems.known(section, ("kind", "corners"), hints)
        corners = section.get("corners", at).value
        if not isinstance(corners, str):
            return self._problems.build(Zone, section, at)
        kind: Any = section.get("kind", replace(at, value=None)).plain()
        zone = self._tried(at, partial(Zone.parse, kind, corners))
        if zone is not None and zone.time is not None:
            self._problems.add(at, _NOT_LIVE["spans"])
        return zone


def _long(name: str, at: Located) -> Located:
    """The long form of a section that may be written as one text."""
    main = {"source": "url", "sinks": "to", "mask": "mode", "moving": "mode"}.get(name)
    if main is None or at.value is None or isinstance(at.value, dict | list):
        return at
    return replace(at, value={main: at})
