"""Videos made for the tests, with everything about them known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from faceblur.image.pixels import BgrImage
from faceblur.video.opening import open_encoder

Box = npt.NDArray[np.float32]

FACE = (182.0, 66.0, 268.0, 181.0)
"""The face in `skimage.data.astronaut()`, forehead to chin, x1 y1 x2 y2."""

NTSC = Fraction(30000, 1001)


@dataclass(frozen=True)
class Pose:
    """Where the face is in a frame.

    Attributes:
        x: Its centre, as a fraction of the frame's width.
        y: Its centre, as a fraction of the frame's height.
        height: Its height, as a fraction of the frame's.
    """

    x: float
    y: float
    height: float


def drift(progress: float) -> Pose:
    """A slow circle with a zoom, all of the face in the frame all the time."""
    angle = 2 * math.pi * progress
    return Pose(0.5 + 0.2 * math.cos(angle), 0.5 + 0.12 * math.sin(angle), 0.3 + 0.15 * progress)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How a video is recorded.

    Attributes:
        rate: Frames per second.
        times: When each frame is shown, in ticks; evenly by the rate when None.
        time_base: Seconds to one tick; one frame when None.
        encoder: FFmpeg's name.
        pixel_format: What the encoder is given.
        options: The encoder's.
        setup: Last changes to the video stream before it is opened.
        sounds: Languages of the audio tracks; each is a tone of its own.
        sound_encoder: FFmpeg's name.
        subtitles: Start and end in seconds and text of each.
        chapters: Start and end in seconds and title of each.
        metadata: The container's.
        thumbnail: Attach an image.
        attachments: Name, kind and content of each attached file (.mkv only).
        positions: Add a track of timed metadata, as drones store where they were (.ts only).
    """

    rate: Fraction = Fraction(25)
    times: Sequence[int] | None = None
    time_base: Fraction | None = None
    encoder: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast"})
    setup: Callable[[av.VideoStream], None] = lambda stream: None
    sounds: Sequence[str] = ()
    sound_encoder: str = "aac"
    subtitles: Sequence[tuple[float, float, str]] = ()
    chapters: Sequence[tuple[float, float, str]] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    thumbnail: bool = False
    attachments: Sequence[tuple[str, str, bytes]] = ()
    positions: bool = False


def record(path: Path, images: Iterable[BgrImage], recording: Recording | None = None) -> None:
    """Write frames (uint8 [H, W, 3] BGR) as a video."""
    how = recording or Recording()
    images = list(images)
    time_base = how.time_base or 1 / how.rate
    times = how.times or [round(i / how.rate / time_base) for i in range(len(images))]
    end_s = float(times[-1] * time_base + 1 / how.rate)
    height, width = images[0].shape[:2]
    with av.open(str(path), "w") as output:
        output.metadata.update(how.metadata)
        video = output.add_stream(how.encoder, rate=how.rate, options=dict(how.options))
        video.width, video.height, video.pix_fmt = width, height, how.pixel_format
        video.codec_context.time_base = time_base
        how.setup(video)
        open_encoder(video.codec_context)
        sounds = [_add_sound(output, language, how.sound_encoder) for language in how.sounds]
        extras = _Extras(output, path, how)
        for image, pts in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame = frame.reformat(format=how.pixel_format)
            frame.pts, frame.time_base = pts, time_base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for number, sound in enumerate(sounds):
            _write_tone(output, sound, 440 * (number + 1), end_s)
        extras.write()


def pattern(frames: int, *, width: int = 160, height: int = 120) -> list[BgrImage]:
    """Frames that differ from each other everywhere, and compress well."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return [
        np.stack(
            [
                (x * 255 // width + 7 * i) % 256,
                (y * 255 // height + 3 * i) % 256,
                np.full_like(x, 60 + 5 * i % 160),
            ],
            axis=2,
        ).astype(np.uint8)
        for i in range(frames)
    ]


def moving_faces(
    frames: int,
    *,
    width: int,
    height: int,
    motion: Callable[[float], Pose] = drift,
    effect: Callable[[int, BgrImage], BgrImage] = lambda index, image: image,
) -> tuple[list[BgrImage], list[Box]]:
    """A real face that moves through frames, and exactly where it is.

    Args:
        frames: How many.
        width: Of the frames.
        height: Of the frames.
        motion: From 0 at the first frame to 1 at the last to where the face is.
        effect: Changes each frame afterwards, such as noise or an occlusion.

    Returns:
        The frames, uint8 BGR, and for each the box x1 y1 x2 y2 of the face, float32 [4].
    """
    portrait = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    images, boxes = [], []
    x1, y1, x2, y2 = FACE
    for index in range(frames):
        pose = motion(index / max(1, frames - 1))
        scale = pose.height * height / (y2 - y1)
        shift_x = pose.x * width - scale * (x1 + x2) / 2
        shift_y = pose.y * height - scale * (y1 + y2) / 2
        boxes.append(
            np.array(
                [
                    scale * x1 + shift_x,
                    scale * y1 + shift_y,
                    scale * x2 + shift_x,
                    scale * y2 + shift_y,
                ],
                np.float32,
            )
        )
        # OpenCV counts from the middle of the first pixel, boxes from its corner.
        middle = (scale - 1) / 2
        matrix = np.array([[scale, 0, shift_x + middle], [0, scale, shift_y + middle]])
        source = cv2.GaussianBlur(portrait, (0, 0), 0.5 / scale) if scale < 0.7 else portrait
        image = cv2.warpAffine(
            source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        images.append(effect(index, np.asarray(image, np.uint8)))
    return images, boxes


def moving_face_video(
    path: Path,
    *,
    frames: int,
    width: int = 640,
    height: int = 360,
    motion: Callable[[float], Pose] = drift,
    effect: Callable[[int, BgrImage], BgrImage] = lambda index, image: image,
    recording: Recording | None = None,
) -> list[Box]:
    """Write a video of `moving_faces` and return where the face is in each frame."""
    images, boxes = moving_faces(frames, width=width, height=height, motion=motion, effect=effect)
    record(path, images, recording)
    return boxes


def _add_sound(output: av.container.OutputContainer, language: str, encoder: str) -> Any:
    sound = output.add_stream(encoder, rate=48_000)
    sound.codec_context.layout = "mono"
    sound.metadata["language"] = language
    sound.metadata["title"] = f"title of {language}"
    return sound


def _write_tone(output: Any, sound: Any, hertz: int, end_s: float) -> None:
    t = np.arange(round(end_s * 48_000)) / 48_000
    tone = (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[None]
    for start in range(0, tone.shape[1], 4800):
        frame = av.AudioFrame.from_ndarray(tone[:, start : start + 4800], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        output.mux(sound.encode(frame))
    output.mux(sound.encode(None))


class _Extras:
    """What else can be in a file."""

    def __init__(self, output: Any, path: Path, how: Recording) -> None:
        self._output, self._how = output, how
        self._mp4 = path.suffix in (".mp4", ".mov")
        self._subtitles = self._positions = self._thumbnail = None
        if how.subtitles:
            self._subtitles = output.add_mux_stream("mov_text" if self._mp4 else "subrip")
            self._subtitles.time_base = Fraction(1, 1000)
            self._subtitles.metadata["language"] = "eng"
        if how.positions:
            self._positions = output.add_data_stream("klv")
            self._positions.time_base = Fraction(1, 1000)
        if how.thumbnail:
            self._thumbnail = output.add_mux_stream("mjpeg", width=64, height=64)
            self._thumbnail.disposition = av.stream.Disposition.attached_pic
        for name, kind, content in how.attachments:
            output.add_attachment(name, kind, content)
        if how.chapters:
            output.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(start * 1000),
                        "end": round(end * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title, "comment": "secret"},
                    }
                    for number, (start, end, title) in enumerate(how.chapters)
                ]
            )

    def write(self) -> None:
        for start, end, text in self._how.subtitles:
            content = text.encode()
            if self._mp4:
                content = len(content).to_bytes(2, "big") + content
            self._mux(self._subtitles, content, round(start * 1000), round((end - start) * 1000))
        if self._positions is not None:
            for number in range(5):
                self._mux(self._positions, b"N48.858 E2.294", number * 100, 100)
        if self._thumbnail is not None:
            image = np.full((64, 64, 3), 128, np.uint8)
            self._mux(self._thumbnail, cv2.imencode(".jpg", image)[1].tobytes(), 0, 0)

    def _mux(self, stream: Any, content: bytes, pts: int, duration: int) -> None:
        packet = av.Packet(content)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = pts
        packet.duration = duration
        packet.is_keyframe = True
        self._output.mux(packet)
