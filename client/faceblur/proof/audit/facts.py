"""What a manifest says of the tools and the machine; no more of either than explains a result."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any

import av
import cv2
import numpy as np
import PIL

from faceblur.detections import FrameDetections, MediaDetections
from faceblur.proof.audit.manifest import FrameTally, TrackTally


def tools(detector: Mapping[str, str]) -> dict[str, str]:
    """Versions of what had a part in a result."""
    return {**_client_tools(), **detector}


def system() -> str:
    """The system and the processor, such as `Linux x86_64`; no name of a machine or a user."""
    return f"{platform.system()} {platform.machine()}"


def tally(report: MediaDetections) -> FrameTally:
    """Count what was found in a file; nothing of a file is dropped or held."""
    counts = [len(frame.detections) for frame in report.frames]
    return FrameTally(
        checked=len(counts), with_faces=sum(count > 0 for count in counts), faces=sum(counts)
    )


def track_tallies(report: MediaDetections) -> tuple[TrackTally, ...]:
    """Count in how many frames each track was masked, and in how many it was seen."""
    unmasked = frames_of_tracks(report.unmasked)
    masked = frames_of_tracks(report.frames) + frames_of_tracks(report.covered)
    return tuple(
        TrackTally(id=track, masked=masked[track], unmasked=unmasked[track])
        for track in sorted(masked.keys() | unmasked.keys())
        if track
    )


def frames_of_tracks(frames: Iterable[FrameDetections]) -> Counter[int]:
    """In how many of some frames each track is."""
    return Counter(track for frame in frames for track in set(frame.detections.tracks.tolist()))


def without_folders(settings: Any) -> Any:
    """Settings as they may be seen by others: of every path only the file's own name."""
    if isinstance(settings, Mapping):
        return {
            name: PurePath(value).name
            if name == "path" and isinstance(value, str)
            else without_folders(value)
            for name, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [without_folders(value) for value in settings]
    return settings


@cache
def _client_tools() -> dict[str, str]:
    found = {"python": platform.python_version(), "faceblur": _version("faceblur-triton")}
    found |= {"numpy": np.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__}
    found |= {"av": av.__version__}
    for library, version in av.library_versions.items():
        if library in ("libavcodec", "libavformat"):
            found[library] = ".".join(map(str, version))
    return found


@cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
