"""What a camera gives out, read again from where it gives it: what the page's wall shows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import media
import numpy as np
import pytest
from running import PATIENCE_S, PATTERN, SIZE, Run, until

from faceblur.errors import InputError, ServerUnavailableError
from faceblur.live import parse_sink
from faceblur.live.options import CameraOptions
from faceblur.live.sources.options import parse_source
from faceblur.live.views import View, view_of, view_of_label, views_of
from faceblur.masks.policy import Policy
from faceblur.redaction import redact
from faceblur.web.cameras import recordings
from faceblur.web.cameras import wall as wall_module
from faceblur.web.cameras.outputs import frames, running_views, views
from faceblur.web.cameras.wall import NO_OUTPUT, Wall
from faceblur.web.cameras.watching import Shown, Watcher
from rig import srt_server as srt
from rig.judge import Judge
from rig.ports import free_port
from rig.rtmp_server import rtmp_server
from rig.srt_server import srt_server
from rig.whip_server import whip_server

PASSPHRASE = "a+b & 100%'s"
SRT = "srt://h:8890?pkt_size=1316&streamid="


@pytest.mark.parametrize(
    ("sink", "kind", "address"),
    [
        ("mjpeg:0.0.0.0:8090", "mjpeg", "http://127.0.0.1:8090/"),
        ("mjpeg:[::]:8090", "mjpeg", "http://127.0.0.1:8090/"),
        ("mjpeg:[fd00::1]:8090", "mjpeg", "http://[fd00::1]:8090/"),
        ("rtsp://me:pw@h:8554/door", "rtsp", "rtsp://me:pw@h:8554/door"),
        ("rtmps://h/live/k3y?user=a&pass=b", "rtmp", "rtmps://h/live/k3y?user=a&pass=b"),
        ("hls:/srv/door", "hls", "/srv/door/index.m3u8"),
        ("segments:/srv/door?segment=9", "segments", "/srv/door"),
        # MediaMTX, with and without a user, …
        (f"{SRT}publish:door", "srt", f"{SRT}read:door"),
        (f"{SRT}publish:a/b:me:pw&latency=9", "srt", f"{SRT}read:a/b:me:pw&latency=9"),
        (f"{SRT}publish%3Adoor", "srt", f"{SRT}read%3Adoor"),
        # … what SRT's guidelines say, which MediaMTX, SRS and others take, …
        (f"{SRT}#!::m=publish,r=door,s=pw", "srt", f"{SRT}#!::m=request,r=door,s=pw"),
        (f"{SRT}#!::r=live/door,m=publish", "srt", f"{SRT}#!::r=live/door,m=request"),
        (f"{SRT}%23!::r=m=publish,m=publish&x=1", "srt", f"{SRT}%23!::r=m=publish,m=request&x=1"),
        # … and Restreamer.
        (f"{SRT}door,mode:publish,token:t", "srt", f"{SRT}door,mode:request,token:t"),
        ("whip:https://:tok@h/door/whip", "whep", "https://:tok@h/door/whep"),
        ("whip:http://h/whip/whip?jwt=x", "whep", "http://h/whip/whep?jwt=x"),
        ("whip:http://h/rtc/v1/whip/?app=live&stream=door", "whep",
         "http://h/rtc/v1/whep/?app=live&stream=door"),
        ("whip:http://h/api/whip", "whep", "http://h/api/whep"),
        # These give nothing back, or to one alone.
        ("whip:http://h/publish/whipped", None, "whip"),
        ("srt://h:8890", None, "srt"),
        ("srt://h:8890?streamid=door", None, "srt"),
        ("srt://h:8890?streamid=read:door", None, "srt"),
        ("srt://0.0.0.0:8890?mode=listener&streamid=publish:door", None, "srt"),
        ("null", None, "null"),
        ("window", None, "window"),
        ("v4l2:/dev/video10", None, "v4l2"),
    ],
)  # fmt: skip
def test_the_place_to_watch_follows_from_the_sink(sink: str, kind: str, address: str) -> None:
    found = view_of(parse_sink(sink))
    assert (found.kind, found.url or found.why) == (kind, address)
    assert View.from_json(found.to_json()) == found
    for secret in ("pw", "k3y", ":tok", "pass=b"):
        assert secret not in f"{found} {found.label} {redact(sink)}"
    # Without credentials a label tells the same, or that it does not tell.
    label = parse_sink(sink).label
    told = view_of_label(label)
    assert told.why == "hidden" if "***" in label.replace("***@", "") else told.kind == kind


def test_nothing_is_watched_where_a_camera_is_read() -> None:
    def found(source: str, sink: str) -> str:
        camera = CameraOptions(
            name="door", source=parse_source(source), sinks=(parse_sink(sink),), policy=Policy()
        )
        by_service = views_of([camera])["door"][0].why
        status = {
            "name": "door",
            "source": camera.source.label,
            "sinks": [{"label": camera.sinks[0].label, "state": "running"}],
        }
        (by_label,) = views(status, [status], {})
        assert by_label.why in (by_service, "hidden")
        return by_service

    assert found("rtsp://cam/a", "rtsp://user:pw@cam:554/a/") == "own"
    assert found("rtsp://user:pw@localhost:8554/a", "rtsp://127.0.0.1:8554/a") == "own"
    assert found("rtmp://cam/live/key", "rtmp://cam:1935/live/key") == "own"
    assert found("http://127.0.0.1:8090", "mjpeg:8090") == "own"
    assert found("rtsp://cam/a", "rtsp://cam/b") == ""
    assert found("rtmp://cam/live/one", "rtmp://cam/live/other") == ""


def test_only_outputs_that_run_are_watched_the_quickest_first() -> None:
    labels = ["segments:/srv/r", "hls:/srv/door", "rtsp://***@h/door", "mjpeg:8090", "null"]
    labels[3] = parse_sink(labels[3]).label

    def kinds(*states: str) -> list[str | None]:
        sinks = [
            {"label": label, "state": state} for label, state in zip(labels, states, strict=True)
        ]
        camera = {"name": "door", "source": "testpattern", "sinks": sinks}
        return [view.kind for view in running_views(camera, views(camera, [camera], {}))]

    assert kinds(*["running"] * 5) == ["mjpeg", "rtsp", "hls", "segments"]
    # Its place is taken: what is there is somebody else's.
    for state in ("waiting", "starting", "stopped"):
        assert kinds("running", state, "running", state, "running") == ["rtsp", "segments"]


def test_every_output_is_watched_masked(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("aiortc", reason='needs aiortc: pip install -e ".[whip]"')
    if srt.library() is None:
        pytest.skip(srt.MISSING)
    rtmp_port, srt_port, whip_port = (free_port() for _ in range(3))
    folder, rtmp = tmp_path / "recordings", f"rtmp://127.0.0.1:{rtmp_port}/live/k3y"
    sinks = (
        f"segments:{folder}?segment=1",
        f"srt://127.0.0.1:{srt_port}?streamid=publish:d00r&passphrase={quote(PASSPHRASE, safe='')}",
        f"whip:http://:s3cret@127.0.0.1:{whip_port}/door/whip",
        rtmp,
    )
    with (
        srt_server(srt_port, PASSPHRASE),
        rtmp_server(rtmp),
        whip_server(whip_port, tmp_path / "seen", token="s3cret"),
    ):
        camera = run(PATTERN, *sinks)
        until(camera, lambda stats: all(sink.state == "running" for sink in stats.sinks))
        watched = {view.kind: view for view in views_of([camera.options])["door"]}
        assert list(watched) == ["segments", "srt", "whep", "rtmp"]
        shown, programs = _first_shown(list(watched.values()))
        # One of ours publishes and one reads, and no other user can see what they know.
        for option in ("-fpre", "concat"):
            assert [each for each in programs if f"\0{option}\0" in each]
        for secret in ("publish:d00r", "read:d00r", PASSPHRASE, quote(PASSPHRASE, safe="")):
            assert not [each for each in programs if secret in each]
        # Whoever has no token is told so, and of the rest nothing is told.
        wrong = Watcher(View(kind="whep", url=watched["whep"].url.replace("s3cret", "wr0ng")))
        assert wrong.after(0, timeout_s=PATIENCE_S) is None
        assert "401" in wrong.trouble or "nauthorized" in wrong.trouble
        assert "wr0ng" not in wrong.trouble
    judge = Judge(SIZE[1])
    for kind, each in shown.items():
        image = cv2.imdecode(np.frombuffer(each.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        verdict = judge(np.asarray(image, np.uint8))
        assert not verdict.face, kind
        assert not verdict.placeholder, kind
        assert (each.age_s > 0.5) == (kind == "segments")


def _first_shown(wanted: list[View]) -> tuple[dict[str | None, Shown], set[str]]:
    """A frame of each, as the wall gets it: what cannot be read yet is tried again.

    Returns:
        These, and the arguments of all programs called ffmpeg that have run meanwhile.
    """
    watchers, shown = [Watcher(view) for view in wanted], dict[str | None, Shown]()
    programs: set[str] = set()
    end_s = time.monotonic() + PATIENCE_S
    try:
        while len(shown) < len(wanted):
            assert time.monotonic() < end_s, [(w.view, w.trouble) for w in watchers]
            programs |= _programs()
            for number, watcher in enumerate(watchers):
                found = watcher.after(0, timeout_s=0.1)
                if found is not None:
                    shown[watcher.view.kind] = found
                elif watcher.ended and watcher.view.kind not in shown:
                    watchers[number] = Watcher(watcher.view)
        # Once more, as what has shown the last frame may have started since.
        programs |= _programs()
    finally:
        for watcher in watchers:
            watcher.close()
    return shown, programs


def _programs() -> set[str]:
    """The arguments of each ffmpeg that this process and those that it has started have started."""
    parents, arguments = dict[int, int](), dict[int, str]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            number = int(process.name)
            arguments[number] = (process / "cmdline").read_bytes().decode(errors="replace")
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            parents[number] = int(fields[1])

    def is_ours(number: int) -> bool:
        return number == os.getpid() or (number in parents and is_ours(parents[number]))

    return {
        text
        for number, text in arguments.items()
        if Path(text.partition("\0")[0]).name == "ffmpeg" and is_ours(number)
    }


def _recording(folder: Path, *, began_s: float, ended_s: float, end: str = ".mp4") -> Path:
    """A recording of the sink, of frames that differ."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(began_s))
    path = folder / f"{moment}.{int(began_s % 1 * 1000):03d}Z.mp4"
    rate = media.Recording().rate
    media.record(written := folder / "new.mp4", media.pattern(round((ended_s - began_s) * rate)))
    os.utime(written, (ended_s, ended_s))
    return written.rename(path.with_suffix(end))


class StillClock(threading.Event):
    """Time that passes only where somebody waits for this event."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = time.time()

    def time(self) -> float:
        return self.now_s

    monotonic = time

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0.0
        return self.is_set()


def test_a_recording_is_shown_one_file_late_and_an_old_one_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StillClock()
    monkeypatch.setattr(recordings, "time", clock)
    now_s = clock.now_s
    _recording(tmp_path, began_s=now_s - 3602, ended_s=now_s - 3600)
    _recording(tmp_path, began_s=now_s - 1, ended_s=now_s, end=".mp4.part")
    (tmp_path / "holiday.mp4").write_bytes(b"not ours")
    view = View(kind="segments", url=str(tmp_path))
    with pytest.raises(InputError, match="its first recording is not finished yet"):
        next(frames(view, clock))
    _recording(tmp_path, began_s=now_s - 3, ended_s=now_s - 1)
    found = frames(view, clock)
    first, age_s = _next_shown(found)
    # It was finished a second ago, so it begins a second after its beginning.
    assert first.time is not None
    assert first.time == pytest.approx(1.0, abs=0.1)
    assert age_s == pytest.approx(2.0, abs=0.1)
    # The newest one comes next.
    newest = _recording(tmp_path, began_s=now_s - 2, ended_s=now_s)
    while (after := _next_shown(found)[0]).time is not None and after.time > first.time:
        first = after
    assert after.time is not None
    assert after.time == pytest.approx(1.0, abs=0.1)
    assert newest.exists()
    clock.set()
    assert list(found) == []


def _next_shown(found: Iterator[Any]) -> tuple[Any, float]:
    return next((frame, age_s) for frame, age_s in filter(None, found))


def test_the_wall_takes_another_output_where_one_fails_and_leaves_what_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks = [
        {"label": f"rtsp://127.0.0.1:{free_port()}/door", "state": "running"},
        {"label": "segments:recordings", "state": "running"},
        {"label": "null", "state": "running"},
    ]
    camera: dict[str, Any] = {
        "name": "door", "source": "testpattern", "sinks": sinks, "state": "running", "width": 1,
        "height": 1, "fps": 1.0, "delay": {"p50_s": None}, "faces": 0, "frames_dropped": 0,
        "frames_held": 0, "last_error": "",
    }  # fmt: skip
    for sink in sinks:
        sink |= {"last_error": "", "dropped": 0}
    recordings = View(kind="segments", url=str(tmp_path), sink="segments:recordings")
    told = {"door": [view_of_label(sinks[0]["label"]), recordings, view_of_label("null")]}
    monkeypatch.setattr(wall_module, "service_status", lambda _: {"cameras": [camera]})
    monkeypatch.setattr(wall_module, "service_views", lambda _: told)

    def seen() -> Shown | None:
        try:
            return wall.shown("door", 0)
        except ServerUnavailableError as error:
            said.append(str(error))
            return None

    with Wall(tmp_path / "cameras.yaml", Policy()) as wall:
        (shown,) = wall.state()["cameras"]
        assert shown["can_show"]
        assert shown["unseen"] == [{"sink": "null", "why": "null"}]
        said: list[str] = []
        end_s = time.monotonic() + PATIENCE_S
        while (image := seen()) is None:
            assert time.monotonic() < end_s, said
            now_s = time.time()
            _recording(tmp_path, began_s=now_s - 2, ended_s=now_s)
        assert image.age_s > 1
        # Its place may be somebody else's as soon as the output has ended.
        watcher = wall._watchers["door"]
        for sink in sinks:
            sink["state"] = "waiting"
        wall.state()
        assert watcher.ended
        with pytest.raises(ServerUnavailableError, match=NO_OUTPUT):
            wall.shown("door", 0)

    # What it says of other sinks than those that run is nothing to go by, …
    told["door"].reverse()
    assert [v.why for v in views(camera, [camera], told)] == ["", "folder", "null"]

    # … and of somebody else's service nothing is known but its status.
    def refuses(_: str) -> dict[str, tuple[View, ...]]:
        raise InputError("the token is missing, or is another one")

    monkeypatch.setattr(wall_module, "service_views", refuses)
    with Wall(tmp_path / "cameras.yaml", Policy()) as other:
        (shown,) = other.state()["cameras"]
    assert [each["why"] for each in shown["unseen"]] == ["folder", "null"]
    assert running_views(camera, views(camera, [camera], {})) == []
