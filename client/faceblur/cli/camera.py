"""`faceblur camera`: one camera, masked and published."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, get_args

import click

from faceblur.cli.live_options import live_options, live_policy_options, live_session_options
from faceblur.cli.options import given, logging_options, option
from faceblur.cli.sections import sectioned
from faceblur.detection.detector import Detector
from faceblur.detection.session import SessionOptions
from faceblur.errors import FaceblurError, InputError
from faceblur.live.camera import Camera
from faceblur.live.config import advice
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.options import Audio, CameraOptions
from faceblur.live.service.devices import measure_devices
from faceblur.live.service.open_files import make_room
from faceblur.live.sinks.options import parse_sink
from faceblur.live.sources.options import SourceOptions, parse_source
from faceblur.live.stats import CameraStats
from faceblur.masks.policy import Policy

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.2


@click.command(
    cls=sectioned("Most used", "--to --name --audio --mask --size --always --never --server")
)
@click.argument("source")
@option(
    "--to",
    "sinks",
    multiple=True,
    required=True,
    metavar="SINK",
    help="Where the masked frames go, such as rtsp://localhost:8554/door, hls:FOLDER, "
    "segments:FOLDER?segment=60&keep_hours=24, mjpeg:8090, window. Repeatable.",
)
@option("--name", default="camera", help="For logs and notices.")
@live_policy_options
@live_options
@option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    default=1.0,
    help="For single images: how often one is requested.",
)
@option(
    "--audio",
    type=click.Choice(get_args(Audio)),
    default="drop",
    help="Keep the audio; voices are not masked.",
)
@option(
    "--encoder",
    metavar="NAME",
    show_default="x264",
    help="Video encoder of FFmpeg, such as h264_nvenc, or auto for the GPU's where that was "
    "measured to be faster; x264 where it does not work.",
)
@live_session_options
@logging_options
def camera(
    *,
    source: str,
    sinks: tuple[str, ...],
    name: str,
    policy: Policy,
    live: dict[str, Any],
    interval_s: float,
    audio: Audio,
    encoder: str | None,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Mask the faces of one camera and pass its frames on, until Ctrl-C.

    SOURCE is 0 for the first webcam, rtsp://..., rtmp://..., http://.../x.m3u8 (HLS), http://...
    (MJPEG), http://.../x.jpg (single images, one a second unless --interval says otherwise;
    snapshot:http://... where the address ends otherwise), a video file, or testpattern. While
    frames cannot be checked, none is shown.
    """
    options = CameraOptions(
        name=name,
        source=_asked_every(parse_source(source), interval_s),
        sinks=tuple(replace(parse_sink(sink), encoder=encoder) for sink in sinks),
        policy=policy,
        deadline_s=session.deadline_s,
        audio=audio,
        **live,
    )
    make_room([options])
    measure_devices([options])
    for each in advice.of_camera(options):
        logger.warning("%s", each)
    with (
        ReconnectingDetector(session, size=policy.detection.size) as detector,
        running(options, detector, quiet=quiet) as started,
    ):
        # A signal that another thread happens to receive does not wake this one.
        while not started.wait(_POLL_S):
            pass
    stats = started.stats()
    if stats.frames_in == 0 and stats.last_error:
        raise FaceblurError(stats.last_error)


def _asked_every(source: SourceOptions, interval_s: float) -> SourceOptions:
    """A source of single images that is asked so often; an `InputError` for other kinds."""
    if "interval_s" not in given():
        return source
    if source.kind != "snapshot":
        raise InputError(f"{source.label} is not asked for single images; leave out --interval")
    return replace(source, interval_s=interval_s)


@contextmanager
def running(options: CameraOptions, detector: Detector, *, quiet: bool) -> Iterator[Camera]:
    """A camera that runs until Ctrl-C or the end of the block, and then what it has done.

    Raises:
        FaceblurError: It has ended by an error of its own.
    """
    camera = Camera(options, detector)
    camera.start()
    try:
        yield camera
    except KeyboardInterrupt:
        pass
    finally:
        camera.stop()
    if not quiet:
        click.echo(summary(camera.stats()))
    if camera.failed:
        raise FaceblurError("the camera has failed; the log above says why")


def summary(stats: CameraStats) -> str:
    """What a camera has done, in a line."""
    text = f"{stats.frames_checked} of {stats.frames_in} frames shown, {stats.faces} masks"
    if stats.frames_dropped:
        text += f", {stats.frames_dropped} dropped"
    if stats.frames_held:
        text += f", {stats.frames_held} withheld"
    if stats.delay.count:
        p50, p99 = (1000 * delay for delay in (stats.delay.p50_s, stats.delay.p99_s))
        text += f"; delay {p50:.0f} ms (99 %: {p99:.0f} ms)"
    return text
