"""Depth, levels, size and quality of images are those of the source."""

from __future__ import annotations

import logging
import struct
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from copies import copy, grey
from media import Recording, pattern, record
from probing import luma, probe

from faceblur.video.options import VideoOptions


@pytest.mark.parametrize(
    ("how", "suffix", "expected"),
    [
        ({"pixel_format": "yuv420p"}, ".mp4", ("h264", "yuv420p")),
        ({"pixel_format": "yuvj420p"}, ".mp4", ("h264", "yuvj420p")),
        ({"pixel_format": "yuv422p"}, ".mp4", ("h264", "yuv422p")),
        ({"pixel_format": "yuv420p10le"}, ".mp4", ("hevc", "yuv420p10le")),
        ({"pixel_format": "yuv422p10le"}, ".mkv", ("hevc", "yuv422p10le")),
        ({"pixel_format": "yuv420p10le"}, ".webm", ("av1", "yuv420p10le")),
        ({"pixel_format": "gray"}, ".mp4", ("h264", "yuv420p")),
        ({"encoder": "ffv1", "options": {}, "pixel_format": "bgr0"}, ".mp4", ("h264", "yuv420p")),
    ],
)
def test_the_depth_and_the_brightness_of_images_are_kept(
    tmp_path: Path, how: dict[str, Any], suffix: str, expected: tuple[str, str]
) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / f"out{suffix}"
    record(source, pattern(4, width=96, height=64), Recording(**how))
    copy(source, output, VideoOptions(quality=100))
    (stream,) = probe(output)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == expected
    assert np.abs(grey(output) - grey(source)).mean() < 2


FULL_RANGE = [".avi", ".wmv", ".ogv", ".mpg", ".mov"]


def test_levels_are_kept_where_full_range_cannot_be_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "camera.avi"
    how = Recording(encoder="mjpeg", pixel_format="yuvj422p", options={"qscale": "2"})
    record(source, pattern(4, width=96, height=64), how)
    for suffix in FULL_RANGE:
        caplog.clear()
        output = tmp_path / f"out{suffix}"
        copy(source, output, VideoOptions(quality=100))
        # VP8 itself loses a level of saturated colours.
        allowed = 2 if suffix == ".ogv" else 1
        assert np.abs(_levels(output) - _levels(source)).max() < allowed, suffix
        converted = suffix != ".mov"
        assert ("cannot say that frames use the full range" in caplog.text) == converted
        halved = suffix in (".avi", ".wmv", ".ogv")
        assert ("keeps colours in less detail (4:2:0 of 4:2:2)" in caplog.text) == halved


def test_the_check_of_levels_notices_full_range_that_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceblur.video.encoders._SAY_RANGE", frozenset(("mpeg4",)))
    source, output = tmp_path / "camera.avi", tmp_path / "out.avi"
    how = Recording(encoder="mjpeg", pixel_format="yuvj422p", options={})
    record(source, pattern(4, width=96, height=64), how)
    copy(source, output, VideoOptions(quality=100))
    assert np.abs(_levels(output) - _levels(source)).max() > 5


def _levels(path: Path) -> Any:
    """Mean red, green and blue, as ffmpeg shows them."""
    line = ["ffmpeg", "-v", "error", "-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    shown = subprocess.run(line, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(shown, np.uint8).reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(
    ("suffix", "pixel_format", "size"),
    [
        *((".webm", "yuv420p", (95, 63)), (".mkv", "yuv420p", (95, 63))),
        *((".mp4", "yuv444p", (95, 63)), (".mp4", "yuv420p", (96, 64))),
        (".wmv", "yuv420p", (96, 64)),
    ],
)
def test_odd_sizes_are_kept_or_extended_by_a_pixel(
    tmp_path: Path,
    suffix: str,
    pixel_format: str,
    size: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, output = tmp_path / "odd.mkv", tmp_path / f"out{suffix}"
    how = Recording(encoder="ffv1", options={}, pixel_format=pixel_format)
    record(source, pattern(4, width=95, height=63), how)
    copy(source, output, VideoOptions(quality=100))
    after = luma(output)
    assert after[0].shape[::-1] == size
    assert ("to make 96 × 64" in caplog.text) == (size == (96, 64))
    for old, new in zip(luma(source), after, strict=True):
        assert np.abs(new[:63, :95].astype(int) - old).mean() < 2


@pytest.mark.parametrize(("first", "order"), [("tff", "tt"), ("bff", "bb")])
def test_interlaced_video_stays_interlaced(tmp_path: Path, first: str, order: str) -> None:
    if first == "bff" and not hasattr(av.VideoCodecContext, "field_order"):
        pytest.skip("this PyAV cannot tell which field comes first: use 18 or later")
    source, output = tmp_path / "source.mp4", tmp_path / "out.mp4"
    options = {"preset": "medium", "flags": "+ildct+ilme", "x264-params": f"{first}=1"}
    record(source, pattern(10), Recording(options=options))
    copy(source, output)
    orders = [probe(path)["streams"][0]["field_order"] for path in (source, output)]
    assert orders == [order, order]


HDR = (
    "log-level=none:hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):"
    "max-cll=1000,400"
)


@pytest.mark.parametrize(
    ("suffix", "encoder"), [(".mp4", None), (".mkv", "libx264"), (".webm", "libsvtav1")]
)
def test_hdr_stays_hdr(tmp_path: Path, suffix: str, encoder: str | None) -> None:
    source, output = tmp_path / "hdr.mp4", tmp_path / f"out{suffix}"
    options = {"preset": "superfast", "x265-params": HDR}
    how = Recording(encoder="libx265", pixel_format="yuv420p10le", options=options)
    record(source, pattern(5, width=128, height=96), how)
    copy(source, output, VideoOptions(encoder=encoder))
    assert _hdr(output) == _hdr(source)
    stream = probe(output)["streams"][0]
    assert stream["color_transfer"] == "smpte2084"
    assert (stream["color_space"], stream["color_primaries"]) == ("bt2020nc", "bt2020")


def test_losing_depth_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "deep.mp4"
    record(source, pattern(3), Recording(pixel_format="yuv420p10le"))
    with caplog.at_level(logging.WARNING):
        copy(source, tmp_path / "out.mp4", VideoOptions(encoder="mpeg4"))
    assert "8 of 10 bits" in caplog.text


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4"])
def test_more_quality_is_more_bytes_and_fewer_errors(tmp_path: Path, encoder: str) -> None:
    source = tmp_path / "noise.mkv"
    noise = np.random.default_rng(0)
    images = [
        np.clip(image + noise.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
        for image in pattern(6, width=160, height=96)
    ]
    record(source, images, Recording(encoder="ffv1", options={}))
    sizes, errors = [], []
    for quality in (30, 80, 100):
        output = tmp_path / f"{quality}.mkv"
        assert copy(source, output, VideoOptions(encoder=encoder, quality=quality)) == encoder
        sizes.append(output.stat().st_size)
        errors.append(np.abs(grey(output) - grey(source)).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def _hdr(path: Path) -> dict[str, tuple[float, ...]]:
    """Mastering display and light level as decoders report them, in units of HEVC's."""
    found: dict[str, tuple[float, ...]] = {}
    with av.open(str(path)) as container:
        for data in next(container.decode(video=0)).side_data:
            if data.type.name == "MASTERING_DISPLAY_METADATA":
                numbers = struct.unpack_from("=20i", bytes(data))
                values = [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
                found["display"] = tuple(round(value, 3) for value in values)
            elif data.type.name == "CONTENT_LIGHT_LEVEL":
                found["light"] = struct.unpack_from("=2I", bytes(data))
    assert set(found) == {"display", "light"}
    return found
