"""What a written file says about itself: nothing but what players need, unless asked to."""

from __future__ import annotations

import math
from typing import Any, Final

import av

from faceblur.video.containers import Container
from faceblur.video.options import VideoOptions
from faceblur.video.source import VideoSource
from faceblur.video.subtitles import holds_position
from faceblur.video.tracks import is_language

_MAX_MOVIE_TIMESCALE: Final = 10_000_000
_OWN_TAGS: Final = frozenset(
    (
        *("encoder", "duration", "timecode", "rotate", "handler_name"),
        *("major_brand", "minor_version", "compatible_brands"),
    )
)
"""Tags about the source's file rather than about what is in it."""


def muxer_options(
    container: Container, source: VideoSource, options: VideoOptions
) -> dict[str, str]:
    """Options for FFmpeg's muxer.

    No random numbers, dates or names of programs get into the file. MP4 starts with its index,
    so that it plays while it loads, and times are kept to the tick of each track.
    """
    settings = {"fflags": "+bitexact"}
    if container.edit_lists:
        flags = "+faststart+use_metadata_tags" if options.keep_metadata else "+faststart"
        settings |= {
            "movflags": flags,
            "movie_timescale": str(_movie_timescale(source)),
            "write_tmcd": "0",
        }
    return settings


def describe(
    output: av.container.OutputContainer,
    video: av.VideoStream,
    source: VideoSource,
    options: VideoOptions,
) -> None:
    """Give an output that has not been started its chapters and, if asked for, its tags."""
    if is_language(source.stream.language):
        video.metadata["language"] = source.stream.language
    video.disposition = source.stream.disposition
    # A chapter's title is what makes it one; everything else about it goes.
    chapters: list[Any] = [
        {**chapter, "metadata": {"title": _title(chapter, options)}} for chapter in source.chapters
    ]
    if chapters:
        output.set_chapters(chapters)
    if options.keep_metadata:
        kept = source.metadata.items()
        output.metadata.update({key: value for key, value in kept if _is_content(key)})


def _title(chapter: dict[str, Any], options: VideoOptions) -> str:
    """A chapter's title, unless a device has written a position or the time into it."""
    title = str(chapter["metadata"].get("title", ""))
    return title if options.keep_subtitles or not holds_position(title) else ""


def _is_content(key: str) -> bool:
    return key.lower() not in _OWN_TAGS


def _movie_timescale(source: VideoSource) -> int:
    """One in which every track's start and end is a whole number, where there is one."""
    bases = [source.stream.time_base, *(stream.time_base for stream in source.tracks)]
    scales = [base.denominator for base in bases if base]
    common = math.lcm(*scales)
    return common if common <= _MAX_MOVIE_TIMESCALE else max(scales)
