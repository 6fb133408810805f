"""The part of `cameras.yaml` that describes one camera, and the defaults of all."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, get_type_hints

from faceblur.errors import InputError
from faceblur.live.config.advice import Advice
from faceblur.live.config.secrets import Secrets
from faceblur.live.config.values import build, entries, known_only, members, shown, typed
from faceblur.live.config.yaml_tree import Located, Problems
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import SinkOptions, named_twice, parse_sink
from faceblur.live.sources.options import SourceOptions, parse_source
from faceblur.masks.overlay import Overlay
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.masks.zones import Zone
from faceblur.redaction import holds_secret
from faceblur.tracking import TrackingOptions
from faceblur.tracking.live import LIVE_OPTIONS

_NOT_LIVE: Final = {
    "spans": "a live camera has no start to count time from; use zones",
    "tiles": "videos and cameras are always looked at as a whole; raise size instead",
}

POLICY_KEYS: Final = tuple(
    name for name in Policy().to_json() if name != "cover" and name not in _NOT_LIVE
)
"""Settings of `Policy` that a camera has."""

MASK_KEYS: Final = tuple(MaskStyle().to_json())

_OWN: Final = {
    name: hint
    for name, hint in get_type_hints(CameraOptions).items()
    if name not in ("name", "source", "sinks", "policy", "cover")
}
_COVER: Final = {
    # Set beside it, for the camera itself.
    name: hint
    for name, hint in get_type_hints(TrackingOptions).items()
    if name not in ("detect_every", "max_frames")
}
_SOURCE: Final = {
    name: hint
    for name, hint in get_type_hints(SourceOptions).items()
    if name not in ("kind", "url")
}
_SINK: Final = {
    name: hint
    for name, hint in get_type_hints(SinkOptions).items()
    if name not in ("kind", "target")
}
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
    "cover": tuple(_COVER),
    "source": ("url", *_SOURCE),
    "sink": ("to", *_SINK),
}
"""Every setting of a camera, by section."""

_MERGED: Final = ("source", "mask", "cover")
_STAND_IN: Final = SourceOptions(kind="testpattern", url="testpattern")


class CameraReader:
    """Reads cameras, each on top of the defaults.

    Args:
        defaults: Settings that hold for all cameras but for what these say themselves.
        problems: Where to note what is wrong.
        secrets: What references stand for.
    """

    def __init__(self, defaults: Located, problems: Problems, secrets: Secrets) -> None:
        self._problems = problems
        self._secrets = secrets
        self._defaults = self._section(defaults)

    def read(self, name: str, at: Located) -> CameraOptions | None:
        """One camera; None if it has problems, which were noted."""
        settings = self._settings(at)
        source = self._source(name, settings, at)
        sinks = self._sinks(name, settings, at)
        places = {key: settings.get(key, at) for key in (*_OWN, "cover", "policy")}
        values = typed(settings, _OWN, self._problems)
        cover, policy = self._cover(settings), self._policy(settings, at)
        if cover is not None:
            values["cover"] = cover
        camera = build(
            CameraOptions,
            values,
            places,
            at,
            self._problems,
            name=name,
            source=source or _STAND_IN,
            sinks=sinks or (SinkOptions(kind="null"),),
            policy=policy or Policy(),
        )
        return camera if source and sinks and policy else None

    def place_of(self, key: str, at: Located) -> Located:
        """Where a setting of a camera stands."""
        return self._settings(at).get(key, at)

    def warn(self, advice: Advice, at: Located) -> None:
        """Note that a setting of a camera is hardly meant."""
        name = str(advice.key[0])
        found = self._settings(at).get(name) or dataclasses.replace(at, key=name)
        for step in advice.key[1:]:
            inner = found.value
            if isinstance(inner, dict) and step in inner:
                found = inner[str(step)]
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                found = inner[step]
        self._problems.warn(found, advice.text)

    def _section(self, at: Located) -> dict[str, Located]:
        section = members(at, "settings of a camera", self._problems)
        known_only(section, SECTIONS["camera"], self._problems, _NOT_LIVE)
        return {name: member for name, member in section.items() if name in SECTIONS["camera"]}

    def _settings(self, at: Located) -> dict[str, Located]:
        own = self._section(at)
        merged = {**self._defaults, **own}
        for name in _MERGED:
            if name in own and name in self._defaults:
                below, above = _long(name, self._defaults[name]), _long(name, own[name])
                if isinstance(below.value, dict) and isinstance(above.value, dict):
                    merged[name] = dataclasses.replace(above, value={**below.value, **above.value})
        return merged

    def _text(self, at: Located, name: str) -> str | None:
        """An address or a path, with its secrets filled in."""
        if isinstance(at.value, bool) or not isinstance(at.value, str | int):
            self._problems.add(at, f"must be a text, not {shown(at)}")
            return None
        if holds_secret(str(at.value)):
            self._problems.warn(
                at,
                "the password stands here for everybody who can read this file; write "
                "${NAME} for a variable of the environment, or ${file:/path}",
            )
        try:
            return self._secrets.expand(str(at.value), camera=name)
        except InputError as error:
            self._problems.add(at, str(error))
            return None

    def _source(self, name: str, settings: dict[str, Located], at: Located) -> SourceOptions | None:
        where = settings.get("source")
        section = {} if where is None else members(_long("source", where), "url", self._problems)
        if where is None or "url" not in section:
            self._problems.add(where or at, "no source; write source: rtsp://… or another")
            return None
        known_only(section, SECTIONS["source"], self._problems)
        text = self._text(section["url"], name)
        parsed = None if text is None else self._parsed(parse_source, text, section["url"])
        if parsed is None:
            return None
        values = typed(section, _SOURCE, self._problems)
        for key, kinds in _SOURCE_KINDS.items():
            if key in values and parsed.kind not in kinds:
                if section[key].where != "defaults":
                    self._problems.add(section[key], f"only for {' and '.join(kinds)} sources")
                del values[key]
        for key in list(values):
            # What the address itself says counts more than a default for all cameras.
            own_default = getattr(_STAND_IN, key)
            if section[key].where == "defaults" and getattr(parsed, key) != own_default:
                del values[key]
        return build(
            lambda **changed: dataclasses.replace(parsed, **changed),
            values,
            section,
            where,
            self._problems,
        )

    def _sinks(
        self, name: str, settings: dict[str, Located], at: Located
    ) -> tuple[SinkOptions, ...]:
        where = settings.get("sinks")
        listed = [] if where is None else entries(where, "sinks", self._problems)
        if not listed:
            self._problems.add(where or at, "no sinks; write sinks: and below it - rtsp://…")
        sinks = [self._sink(name, each) for each in listed]
        whole = tuple(sink for sink in sinks if sink is not None)
        if where is not None and (twice := named_twice(whole)):
            self._problems.add(where, f"{twice} is there twice; name each sink once")
            return ()
        return whole if len(whole) == len(sinks) else ()

    def _sink(self, name: str, at: Located) -> SinkOptions | None:
        section = members(_long("sinks", at), "to", self._problems)
        known_only(section, SECTIONS["sink"], self._problems)
        if "to" not in section:
            self._problems.add(at, "a sink lacks its target; write to: rtsp://… or another")
            return None
        text = self._text(section["to"], name)
        parsed = None if text is None else self._parsed(parse_sink, text, section["to"])
        if parsed is None:
            return None
        values = typed(section, _SINK, self._problems)
        for key, kinds in _SINK_KINDS.items():
            if key in values and parsed.kind not in kinds:
                self._problems.add(section[key], f"only for {' and '.join(kinds)} sinks")
                del values[key]
        return build(
            lambda **changed: dataclasses.replace(parsed, **changed),
            values,
            section,
            at,
            self._problems,
        )

    def _parsed(self, parse: Any, text: str, at: Located) -> Any:
        try:
            return parse(text)
        except InputError as error:
            self._problems.add(at, str(error))
            return None

    def _cover(self, settings: dict[str, Located]) -> TrackingOptions | None:
        if "cover" not in settings:
            return None
        at = settings["cover"]
        section = members(at, "the settings of the cover", self._problems)
        known_only(section, _COVER, self._problems)
        return build(
            lambda **changed: dataclasses.replace(LIVE_OPTIONS, **changed),
            typed(section, _COVER, self._problems),
            section,
            at,
            self._problems,
        )

    def _policy(self, settings: dict[str, Located], at: Located) -> Policy | None:
        values: dict[str, Any] = {}
        places = {key: settings[key] for key in POLICY_KEYS if key in settings}
        for key, where in places.items():
            if key == "mask":
                values[key] = self._mask(where)
            elif key == "zones":
                values[key] = [self._zone(each) for each in entries(where, "zones", self._problems)]
            else:
                values[key] = where.plain()
        broken = [key for key in ("mask", "zones") if _is_broken(values.get(key, ()))]
        whole = {key: value for key, value in values.items() if key not in broken}
        policy = build(_policy_of, whole, places, at, self._problems)
        return None if broken else policy

    def _mask(self, at: Located) -> dict[str, Any] | None:
        long = _long("mask", at)
        section = members(long, "the settings of the mask", self._problems)
        known_only(section, MASK_KEYS, self._problems)
        values = {key: section[key].plain() for key in MASK_KEYS if key in section}
        if isinstance(values.get("image"), str):
            try:
                values["image"] = Overlay.load(values["image"]).to_json()
            except InputError as error:
                self._problems.add(section["image"], str(error))
                return None
        made = build(_mask_of, values, section, at, self._problems)
        return None if made is None else values

    def _zone(self, at: Located) -> dict[str, Any] | None:
        section = members(at, "kind and corners", self._problems)
        known_only(section, ("kind", "corners"), self._problems, {"time": _NOT_LIVE["spans"]})
        value = {name: member.plain() for name, member in section.items() if name != "time"}
        try:
            if isinstance(value.get("corners"), str):
                kind: Any = value.get("kind")
                value = Zone.parse(kind, value["corners"]).to_json()
            zone = Zone.from_json(value)
        except InputError as error:
            self._problems.add(at, str(error))
            return None
        if zone.time is not None:
            self._problems.add(at, _NOT_LIVE["spans"])
        return zone.to_json()


def _long(name: str, at: Located) -> Located:
    """The long form of a section that may be written as one text."""
    main = {"source": "url", "sinks": "to", "mask": "mode"}.get(name)
    if main is None or at.value is None or isinstance(at.value, dict | list):
        return at
    return dataclasses.replace(at, value={main: at})


def _is_broken(value: Any) -> bool:
    """Whether a part of a policy had problems, which were noted."""
    return value is None or None in value


def _policy_of(**values: Any) -> Policy:
    return Policy.from_json(values)


def _mask_of(**values: Any) -> MaskStyle:
    return MaskStyle.from_json(values)
