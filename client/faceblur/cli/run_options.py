"""How results of `faceblur blur` are written, and how many at a time."""

from __future__ import annotations

from typing import get_args

import click

from faceblur.batch.image import ImageOptions
from faceblur.batch.memory import default_workers
from faceblur.batch.outcome import RunOptions
from faceblur.cli.options import FilePath, bundle, option
from faceblur.cli.sound import SoundOption, sound_of
from faceblur.video.options import HardwareDecoding, VideoOptions


def _run_options(
    quality: int | None,
    encoder: str | None,
    hardware_decoding: HardwareDecoding,
    audio: tuple[str, ...],
    keep_metadata: bool,
    keep_subtitles: bool,
    workers: int | None,
    again: bool,
) -> RunOptions:
    sound = sound_of(audio)
    return RunOptions(
        image=ImageOptions(quality=quality, keep_metadata=keep_metadata),
        video=VideoOptions(
            quality=quality,
            encoder=encoder,
            hardware_decoding=hardware_decoding,
            audio=sound.audio,
            muted=sound.muted,
            keep_metadata=keep_metadata,
            keep_subtitles=keep_subtitles,
        ),
        workers=workers or default_workers(),
        again=again,
    )


run_options = bundle(
    "options",
    _run_options,
    option("--quality", type=click.IntRange(1, 100), show_default="like the source", help="1-100."),
    option(
        "--encoder",
        help="Video encoder, such as libx264 or hevc_nvenc; or auto for the GPU's where that was "
        "measured to be faster.",
    ),
    option(
        "--hardware-decoding",
        type=click.Choice(get_args(HardwareDecoding)),
        default="auto",
        help="What decodes videos: a device where that was measured to be faster, one that is "
        "named, or the CPU. The frames are the same.",
    ),
    option(
        "--audio",
        cls=SoundOption,
        multiple=True,
        default=("keep",),
        metavar="keep|drop|mute START-END|beep START-END",
        help="Keep the audio, whose voices are not masked, or drop it; or leave silence or a tone "
        "in a part of it, such as mute 0:10-0:14, and no subtitles. Repeatable.",
    ),
    option("--keep-metadata", is_flag=True, help="Keep titles, dates and places."),
    option(
        "--keep-subtitles",
        is_flag=True,
        help="Keep subtitles that do not look like speech too: positions, readings, bitmaps.",
    ),
    option(
        "--workers",
        type=click.IntRange(1, 64),
        metavar="N",
        show_default="two for each core",
        help="Of several files, mask so many at the same time.",
    ),
    option("--again", is_flag=True, help="Redo results of a batch that are finished."),
)
"""--quality, --encoder, --audio, --workers and so on, as `RunOptions`."""

AUDIT_OPTION = option(
    "--audit",
    type=FilePath,
    metavar="DIR",
    help="Write a manifest of each result to this folder, chained to the one before.",
)
