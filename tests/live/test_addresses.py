"""Addresses of sources and sinks, and what is printed of them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from faceblur.errors import InputError
from faceblur.live import (
    CameraOptions,
    SinkOptions,
    SourceOptions,
    parse_sink,
    parse_source,
)
from faceblur.live.srt_address import as_playlist, as_preset, split_srt
from faceblur.masks.policy import Policy
from faceblur.masks.spans import Span
from faceblur.redaction import RedactingFilter, redact
from faceblur.times import TimeSpan


@pytest.mark.parametrize(
    ("text", "kind", "url"),
    [
        ("0", "webcam", "/dev/video0"),
        ("/dev/video2", "webcam", "/dev/video2"),
        ("rtsp://user:pass@host/stream", "rtsp", "rtsp://user:pass@host/stream"),
        ("rtsps://host/stream", "rtsp", "rtsps://host/stream"),
        ("rtmp://host/live/door", "rtmp", "rtmp://host/live/door"),
        ("http://host/live/index.m3u8?token=1", "hls", "http://host/live/index.m3u8?token=1"),
        ("http://host/video.cgi", "mjpeg", "http://host/video.cgi"),
        ("testpattern", "testpattern", "testpattern"),
    ],
)
def test_sources_are_known_by_their_address(text: str, kind: str, url: str) -> None:
    source = parse_source(text)
    assert (source.kind, source.url) == (kind, url)


def test_a_file_plays_once_or_in_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.touch()
    assert parse_source(str(path)).ends
    assert not parse_source(f"file:{path}?loop=yes").ends


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing.mp4", "no video file nothing.mp4"),
        ("gopher://host/x", "cannot read frames from gopher://host/x"),
        ("testpattern:?size=wide", "write it like 640x360"),
        ("testpattern:?colour=red", "has no setting 'colour'"),
        ("testpattern:?fps=-3", "a number above 0"),
        ("testpattern:?face=nobody.png", "no image nobody.png"),
        ("gopher://user:pass@host/x", "gopher://***@host/x"),
        ("rtsp://", "rtsp:// is no address; write it like rtsp://HOST:PORT/PATH"),
        ("rtsp://[::1", "is no address"),
        ("http://host:99999/x", "http://host:99999/x is no address"),
        ("rtsp://user:pass/@host/x", "rtsp://***@host/x is no address"),
    ],
)
def test_a_source_that_makes_no_sense_says_why(text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        parse_source(text)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("rtsp://host/x", "rtsp", "rtsp://host/x"),
        ("whip:https://host/whip", "whip", "https://host/whip"),
        ("srt://host:9000?passphrase=x", "srt", "srt://host:9000?passphrase=x"),
        ("mjpeg:8090", "mjpeg", "127.0.0.1:8090"),
        ("mjpeg:0.0.0.0:8090", "mjpeg", "0.0.0.0:8090"),
        ("hls:folder?segment=2", "hls", "folder"),
        ("window", "window", ""),
    ],
)
def test_sinks_are_known_by_their_address(text: str, kind: str, target: str) -> None:
    sink = parse_sink(text)
    assert (sink.kind, sink.target) == (kind, target)


def test_file_segments_have_a_length_and_an_end() -> None:
    sink = parse_sink("segments:folder?segment=30&keep_hours=2&keep_gb=1.5")
    assert (sink.segment_s, sink.keep_s, sink.keep_bytes) == (30, 7200, 1_500_000_000)


@pytest.mark.parametrize(
    "text",
    [
        *("mjpeg:x", "rtsp://", "hls:", "hls:x?keep_gb=1", "disk", "whip:x", "whip:rtsp://h/x"),
        *("rtsp://[::1", "rtmp://host:99999/live/x", "srt://host:port"),
    ],
)
def test_a_sink_that_makes_no_sense_says_what_does(text: str) -> None:
    with pytest.raises(InputError, match=r"rtsp://…|HOST:8090|it knows segment|PORT/PATH"):
        parse_sink(text)


def test_a_camera_has_no_time_spans() -> None:
    policy = Policy(spans=(Span("hide", TimeSpan.parse("0:01-0:02")),))
    with pytest.raises(InputError, match="no start to count time from"):
        CameraOptions(
            name="door", source=parse_source("0"), sinks=(parse_sink("null"),), policy=policy
        )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:pass@host:554/x", "rtsp://***@host:554/x"),
        ("cannot open rtsp://u:p@ss/w@host/x: refused", "cannot open rtsp://***@host/x: refused"),
        ("rtmp://a.example/live2/ab12-cd34: broken", "rtmp://a.example/live2/***: broken"),
        ("srt://h:9?passphrase=abc&latency=20", "srt://h:9?passphrase=***&latency=20"),
        ("https://h/whip?access_token=x", "https://h/whip?access_token=***"),
        ("two: http://a:b@c/ and http://d:e@f/", "two: http://***@c/ and http://***@f/"),
        ("no address: a@b.c, 3://4", "no address: a@b.c, 3://4"),
    ],
)
def test_credentials_are_never_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_what_srt_addresses_keep_secret_is_taken_out_of_them() -> None:
    url = "srt://me:pw@[::1]:9?mode=caller&passphrase=a%26b%2B'c&streamid=#!::r=d,s=x y&token=t"
    address = split_srt(f"{url}&pbkeylen=32&passphrase=")
    assert address.open == "srt://[::1]:9?mode=caller&pbkeylen=32"
    assert address.secrets == {"passphrase": "a&b+'c", "streamid": "#!::r=d,s=x y"}
    assert "'c" not in repr(address)
    assert as_preset(address) == b"passphrase=a&b+'c\nstreamid=#!::r=d,s=x y\n"
    assert as_playlist(address, timeout=9).decode().splitlines() == [
        "ffconcat version 1.0",
        "file 'srt://[::1]:9?mode=caller&pbkeylen=32'",
        r"option passphrase 'a&b+'\''c'",
        "option streamid '#!::r=d,s=x y'",
        "option timeout '9'",
    ]
    assert split_srt("srt://h:9").open == "srt://h:9"
    # It would be one more option.
    with pytest.raises(InputError, match=r"the streamid of srt://h:9\?streamid=\*\*\* holds"):
        split_srt("srt://h:9?streamid=read:a%0Apassphrase=x")


@pytest.mark.parametrize("password", ["pa'ss", "pa ss", 'pa"ss', "<pass>", "pa@ss"])
def test_a_label_shows_no_credentials_whatever_is_in_them(password: str) -> None:
    address = f"rtsp://user:{password}@host/x"
    assert parse_source(address).label == "rtsp://***@host/x"
    assert parse_sink(address).label == "rtsp://***@host/x"


def test_options_do_not_show_credentials_when_printed() -> None:
    options = [
        parse_source("rtsp://user:pass@host/x"),
        parse_sink("rtsp://user:pass@host/x"),
        SourceOptions(kind="rtsp", url="rtsp://user:pass@host/x"),
        SinkOptions(kind="rtsp", target="rtsp://user:pass@host/x"),
    ]
    assert "pass" not in repr(options)


def test_the_log_shows_no_credentials(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The handler is that of all tests.
    monkeypatch.setattr(caplog.handler, "filters", [RedactingFilter()])
    try:
        raise ValueError("rtsp://user:pass@host/x")
    except ValueError:
        logging.getLogger("faceblur").exception("cannot open %s", "rtsp://user:pass@host/x")
    assert "rtsp://***@host/x" in caplog.text
    assert "pass" not in caplog.text
