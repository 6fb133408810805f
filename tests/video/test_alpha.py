"""What a video hides under transparency never shows, and masks are opaque."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import pattern
from probing import decoded, probe

from faceblur.detections import Detections
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.video.alpha import drawable_with_alpha, hide
from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.orientation import Orientation, Turner
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

WIDTH, HEIGHT, HIDDEN = 96, 64, 40
"""The first columns are hidden."""
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def transparent(path: Path, *, encoder: str = "libvpx-vp9", opaque: bool = False) -> Path:
    """A video that is transparent on the left, with bright colours under it."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, : 0 if opaque else HIDDEN] = 0
    options = {"auto-alt-ref": "0"} if encoder.startswith("libvpx") else {}
    with av.open(str(path), "w") as output:
        video = output.add_stream(encoder, rate=25, options=options)
        video.width, video.height = WIDTH, HEIGHT
        formats = {"png": "rgba", "prores_ks": "yuva444p10le"}
        video.pix_fmt = formats.get(encoder, "yuva420p")
        for number, image in enumerate(pattern(5, width=WIDTH, height=HEIGHT)):
            bright = np.maximum(image, 120)
            rgba = np.dstack([bright[:, :, ::-1], alpha])
            frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def copy(source: Path, output: Path, encoder: str | None = None) -> None:
    with (
        VideoSource(source) as video,
        VideoSink(output, video, VideoOptions(encoder=encoder)) as sink,
    ):
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)


def colours_and_alpha(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What shows to players that know nothing of transparency, and the transparency."""
    shown = np.stack(decoded(path, pixel_format="rgb24"))
    codec: Any = None
    alphas = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = ALPHA_DECODERS.get(stream.codec.canonical_name)
        codec = av.CodecContext.create(name, "r") if name else stream.codec_context
        for packet in container.demux(stream):
            for frame in codec.decode(packet if packet.size else None):
                alphas.append(frame.to_ndarray(format="rgba")[:, :, 3])
    return shown, np.stack(alphas)


def assert_hidden(path: Path, *, kept: bool) -> None:
    shown, alpha = colours_and_alpha(path)
    # A few columns at the edge are blurred by the encoder.
    assert shown[:, :, : HIDDEN - 8].max() < 40
    assert shown[:, :, HIDDEN + 8 :].mean() > 120
    assert (alpha[:, :, : HIDDEN - 8].max() <= 5) == kept
    assert alpha[:, :, HIDDEN + 8 :].min() > 250


@pytest.mark.parametrize("source", ["libvpx-vp9.webm", "libvpx.webm", "png.mov", "prores_ks.mov"])
def test_what_was_hidden_never_shows(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, suffix = source.split(".")
    path = transparent(tmp_path / f"source.{suffix}", encoder=encoder)
    if encoder == "prores_ks":
        copy(path, tmp_path / "out.webm")
        assert_hidden(tmp_path / "out.webm", kept=True)
        return
    shown, _ = colours_and_alpha(path)
    assert shown[:, :, :HIDDEN].mean() > 100
    targets = [("out.webm", None, "vp9"), ("out.mp4", None, "h264")]
    if encoder == "libvpx-vp9":
        targets += [
            ("vp8.webm", "libvpx", "vp8"),
            ("out.mkv", None, "vp9"),
            ("out.mov", None, "prores"),
            ("lossless.mov", "png", "png"),
            ("hevc.mp4", "libx265", "hevc"),
            ("out.ogv", None, "vp8"),
            ("out.avi", None, "mpeg4"),
        ]
    for name, by, codec in targets:
        caplog.clear()
        output = tmp_path / name
        with caplog.at_level(logging.WARNING):
            copy(path, output, by)
        assert probe(output)["streams"][0]["codec_name"] == codec
        kept = output.suffix in (".webm", ".mkv", ".mov")
        assert_hidden(output, kept=kept)
        assert ("transparent places become black" in caplog.text) != kept


def test_the_check_notices_colours_that_stay_under_transparency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceblur.video.decoder.hide", lambda image: None)
    path = transparent(tmp_path / "source.webm")
    copy(path, tmp_path / "out.webm")
    with pytest.raises(AssertionError):
        assert_hidden(tmp_path / "out.webm", kept=True)


def test_nothing_is_said_of_a_video_that_could_be_transparent_and_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = transparent(tmp_path / "source.mov", encoder="png", opaque=True)
    copy(path, tmp_path / "out.mp4")
    assert "transparent" not in caplog.text
    assert np.stack(decoded(tmp_path / "out.mp4", pixel_format="rgb24")).mean() > 120


def frame_of(name: str) -> av.VideoFrame:
    rgba = np.dstack([pattern(1, width=63, height=49)[0], np.full((49, 63), 128, np.uint8)])
    return av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=name)


@pytest.mark.parametrize("mode", ["veil", "blur", "solid"])
@pytest.mark.parametrize("name", ["yuva420p", "yuva444p10le", "gbrap"])
def test_masks_are_opaque(name: str, mode: MaskMode) -> None:
    frame = frame_of(name)
    face = Detections(
        np.array([[20, 10, 44, 40]], np.float32),
        np.ones(1, np.float32),
        np.zeros((1, 5, 2), np.float32),
    )
    surface = VideoSurface(frame)
    assert surface.alpha is not None
    before = surface.alpha.pixels.copy()
    Masker(MaskStyle(mode=mode, shape="box", expand=0)).apply(surface, face)
    alpha = VideoSurface(frame).alpha
    assert alpha is not None
    assert (alpha.pixels[10:40, 20:44] == surface.peak).all()
    outside = np.ones(alpha.pixels.shape, np.bool_)
    outside[10:40, 20:44] = False
    assert (alpha.pixels == before)[outside].all()


@pytest.mark.parametrize("name", ["yuva420p", "gbrap"])
def test_transparency_is_turned_with_the_image(name: str) -> None:
    frame = frame_of(name)
    alpha = VideoSurface(frame).alpha
    assert alpha is not None
    alpha.pixels[:, :9] = 0
    turned = VideoSurface(Turner(Orientation(transposed=True))(frame)).alpha
    assert turned is not None
    assert (turned.pixels == alpha.pixels.T).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("yuva420p", "yuva420p"), ("yuva444p10be", "yuva444p10le"), ("rgba", "gbrap")),
        *(("ya8", "gbrap"), ("rgba64be", "gbrap16le"), ("pal8", "gbrap"), ("nv12", "yuv420p")),
        *(("ya16be", "gbrap16le"), ("bgr0", "gbrp"), ("gbrap12le", "gbrap12le")),
    ],
)
def test_every_format_with_transparency_has_one_to_draw_on(name: str, expected: str) -> None:
    assert drawable_with_alpha(name) == expected


def test_nearly_hidden_colours_go_too() -> None:
    frame = frame_of("yuva420p")
    surface = VideoSurface(frame)
    assert surface.alpha is not None
    surface.alpha.pixels[:, :20] = 4
    hide(frame)
    after = VideoSurface(frame)
    assert after.alpha is not None
    assert not after.alpha.pixels[:, :20].any()
    assert (after.planes[0].pixels[:, :20] == 16).all()
    assert (after.planes[1].pixels[:, :10] == 128).all()
