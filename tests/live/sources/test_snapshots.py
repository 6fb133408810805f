"""Cameras that give one image at a time, as a real web server gives them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from running import SIZE, Run, finish, shown, until

from faceblur.errors import InputError
from faceblur.live import CameraStats, parse_source
from faceblur.live.service.probe_worker import describe
from faceblur.live.sources import snapshots
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.snapshots import MAX_BYTES, Snapshots, decode
from faceblur.live.sources.testpattern import TestPattern
from rig.clips import PORTRAIT
from rig.judge import Judge
from rig.ports import free_port

PASSWORD = "p@ss/word 1"
LIMIT_S = 20.0
"""Until a camera counts as frozen, on the clock that the test moves."""

QUICK = {"interval_s": 0.05, "stall_timeout_s": LIMIT_S, "open_timeout_s": LIMIT_S}


class SnapshotCamera:
    """Answers what it is told to.

    Attributes:
        body: Makes the image of each answer, from its number.
        status: Of the answers.
        kind: Of the content.
        headers: More of them.
        takes_s: How long each answer takes, on the clock of who asks.
        ahead_s: By so much that clock has come to be ahead.
        heals_after: After so many more answers all is well again.
        auth: What it asks for: Basic, Digest or another, or nothing.
        asked: Requests so far.
    """

    def __init__(self) -> None:
        self.body: Callable[[int], bytes] = image
        self.status, self.kind, self.headers = 200, "image/jpeg", dict[str, str]()
        self.takes_s, self.ahead_s, self.heals_after = 0.0, 0.0, -1
        self.cut, self.auth = 0, ""
        self.asked = 0
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if self.auth and not self._knows(request):
            nonce = (
                ' realm="cam", nonce="abc", qop="auth"' if self.auth == "Digest" else ' realm="cam"'
            )
            request.send_response(401)
            request.send_header("WWW-Authenticate", self.auth + nonce)
            request.end_headers()
            return
        self.asked += 1
        self.ahead_s += self.takes_s
        if self.heals_after == 0:
            self.body, self.status, self.kind = image, 200, "image/jpeg"
        self.heals_after -= 1
        data = self.body(self.asked)
        request.send_response(self.status)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", str(len(data)))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        data = data[: len(data) - self.cut]
        with contextlib.suppress(OSError):
            request.wfile.write(data)

    def clock(self) -> float:
        """That of who asks."""
        return time.monotonic() + self.ahead_s

    def _knows(self, request: http.server.BaseHTTPRequestHandler) -> bool:
        given = request.headers.get("Authorization", "")
        if self.auth == "Basic":
            return given == "Basic " + base64.b64encode(f"op:{PASSWORD}".encode()).decode()
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if not given.startswith("Digest ") or "response" not in said:
            return False
        ha1 = hashlib.md5(f"op:cam:{PASSWORD}".encode()).hexdigest()
        ha2 = hashlib.md5(f"GET:{request.path}".encode()).hexdigest()
        whole = ":".join([ha1, "abc", said["nc"], said["cnonce"], "auth", ha2])
        return said["response"] == hashlib.md5(whole.encode()).hexdigest()


def image(number: int, *, form: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    values = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, form)
    return file.getvalue()


@pytest.fixture
def snap(monkeypatch: pytest.MonkeyPatch) -> Iterator[SnapshotCamera]:
    camera = SnapshotCamera()
    clock = SimpleNamespace(monotonic=camera.clock, sleep=time.sleep)
    monkeypatch.setattr(snapshots, "time", clock)
    yield camera
    camera.close()


def source(snap: SnapshotCamera, user: str = "", **settings: float) -> SourceOptions:
    return replace(
        parse_source(f"http://{user}{snap.address}/snap.jpg?channel=1"), **QUICK, **settings
    )


def images(options: SourceOptions, most: int) -> list[av.VideoFrame]:
    return list(islice(Snapshots(options).images(), most))


@pytest.mark.parametrize(
    ("text", "kind", "url"),
    [
        ("http://u:p@h/a/snap.JPG?x=1", "snapshot", "http://u:p@h/a/snap.JPG?x=1"),
        ("https://h/now.png", "snapshot", "https://h/now.png"),
        ("snapshot:http://h/cgi-bin/snapshot.cgi", "snapshot", "http://h/cgi-bin/snapshot.cgi"),
        ("mjpeg:http://h/stream.jpg", "mjpeg", "http://h/stream.jpg"),
        ("http://h/stream", "mjpeg", "http://h/stream"),
    ],
)
def test_addresses_of_images_are_told_from_those_of_streams(text: str, kind: str, url: str) -> None:
    assert (parse_source(text).kind, parse_source(text).url) == (kind, url)


def test_what_is_no_address_of_images_is_refused() -> None:
    for text in ("snapshot:rtsp://h/x", "snapshot:http://", "snapshot:ftp://h/x.jpg"):
        with pytest.raises(InputError):
            parse_source(text)
    with pytest.raises(InputError, match="cannot be asked every 0 s; use"):
        replace(parse_source("http://h/x.jpg"), interval_s=0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_images_are_fetched_at_the_interval(snap: SnapshotCamera, form: str) -> None:
    snap.body = lambda number: image(number, form=form)
    started_s = time.monotonic()
    found = images(source(snap), 4)
    assert time.monotonic() - started_s >= 3 * 0.05
    assert {(each.width, each.height) for each in found} == {(64, 48)}
    assert snap.asked == 4


def test_a_image_that_lies_on_its_side_is_turned() -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(file, "JPEG", exif=exif)
    assert (decode(file.getvalue()).width, decode(file.getvalue()).height) == (48, 64)


@pytest.mark.parametrize("auth", ["Basic", "Digest"])
def test_the_user_and_password_are_given_as_asked_for(snap: SnapshotCamera, auth: str) -> None:
    snap.auth = auth
    assert len(images(source(snap, user="op:p%40ss%2Fword%201@"), 2)) == 2
    for user in ("", "op:wrong@"):
        with pytest.raises(InputError, match=r"another user or password \(401\)") as caught:
            images(source(snap, user=user), 1)
        assert "wrong" not in str(caught.value)


def _page(snap: SnapshotCamera) -> None:
    snap.kind, snap.body = "text/html", lambda _: b"<html>please log in</html>"


def _nothing(snap: SnapshotCamera) -> None:
    snap.body = lambda _: b"please log in"


def _error(snap: SnapshotCamera) -> None:
    snap.status = 404


def _cut(snap: SnapshotCamera) -> None:
    snap.cut = 200


def _damaged(snap: SnapshotCamera) -> None:
    snap.body = lambda number: image(number)[:-700]


def _endless(snap: SnapshotCamera) -> None:
    snap.body = lambda _: bytes(MAX_BYTES + 1)


def _huge(snap: SnapshotCamera) -> None:
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    snap.body = lambda _: file.getvalue()


def _tiny(snap: SnapshotCamera) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    snap.body = lambda _: file.getvalue()


def _slow(snap: SnapshotCamera) -> None:
    snap.takes_s = LIMIT_S + 1


def _stream(snap: SnapshotCamera) -> None:
    snap.kind = "multipart/x-mixed-replace; boundary=x"


def _token(snap: SnapshotCamera) -> None:
    snap.auth = "Bearer"


def _old(snap: SnapshotCamera) -> None:
    snap.headers["Last-Modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"


def _away(snap: SnapshotCamera) -> None:
    snap.status, snap.headers = 302, {"Location": "file:///etc/hostname"}
    snap.takes_s = LIMIT_S / 4


@pytest.mark.parametrize(
    ("goes_wrong", "says"),
    [
        (_page, "it sends text/html and no image"),
        (_nothing, "what it sends is no image"),
        (_error, "it answers 404"),
        (_cut, "the image is cut off"),
        (_damaged, "the image is damaged or cut off"),
        (_endless, "more than 32 MB"),
        (_huge, "8000 × 8000 pixels are too many"),
        (_tiny, "8 × 8 pixels are too few"),
        (_slow, "no whole image within 20 s"),
        (_stream, "it is a stream of images; write its address as mjpeg:http"),
        (_token, "another way than Basic or Digest"),
        (_old, "s old"),
        (_away, "it answers 302"),
    ],
)
def test_what_is_no_image_ends_it_with_a_sentence(
    snap: SnapshotCamera, goes_wrong: Callable[[SnapshotCamera], None], says: str
) -> None:
    goes_wrong(snap)
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        images(source(snap), 1)
    assert str(caught.value).startswith(f"http://{snap.address}/snap.jpg?channel=1: ")


@pytest.mark.parametrize("goes_wrong", [_page, _error, _damaged])
def test_a_failure_that_passes_is_waited_for_and_one_that_stays_is_not(
    snap: SnapshotCamera, goes_wrong: Callable[[SnapshotCamera], None]
) -> None:
    arriving = Snapshots(source(snap)).images()
    next(arriving)
    goes_wrong(snap)
    snap.heals_after = 3
    next(arriving)
    assert snap.asked == 5
    goes_wrong(snap)
    snap.takes_s, started_s = LIMIT_S / 4, snap.clock()
    with pytest.raises(InputError):
        list(islice(arriving, 5))
    assert LIMIT_S <= snap.clock() - started_s < 2 * LIMIT_S
    assert snap.asked >= 5 + 4


def test_the_same_image_again_is_no_new_one(snap: SnapshotCamera) -> None:
    snap.body = lambda number: image(number // 3)
    assert len(images(source(snap), 4)) == 4
    assert snap.asked >= 9
    snap.body, snap.takes_s = lambda _: image(1), LIMIT_S / 4
    with pytest.raises(InputError, match="it sends the same image again and again"):
        images(source(snap), 2)


def test_nobody_there_is_said() -> None:
    nobody = replace(
        parse_source(f"http://127.0.0.1:{free_port()}/snap.jpg"), **QUICK | {"open_timeout_s": 0.2}
    )
    with pytest.raises(InputError, match="Connection refused"):
        images(nobody, 1)


def test_check_says_what_they_are(snap: SnapshotCamera) -> None:
    assert describe(source(snap), "off") == "images of 64x48, asked for every 0.05 s"


def test_a_camera_of_snapshots_is_masked_and_a_frozen_one_is_offline(
    snap: SnapshotCamera, run: Run, tmp_path: Path
) -> None:
    pattern, numbers, frozen = TestPattern(SIZE, face=PORTRAIT), count(), threading.Event()
    lock, last = threading.Lock(), [b""]

    def body(_: int) -> bytes:
        with lock:
            if not frozen.is_set():
                file = io.BytesIO()
                image = pattern.image(next(numbers) / 10).to_ndarray(format="rgb24")
                Image.fromarray(image).save(file, "JPEG", quality=90)
                last[0] = file.getvalue()
            return last[0]

    snap.body = body
    options = replace(source(snap), interval_s=0.1, stall_timeout_s=2.0, open_timeout_s=5.0)
    camera = run("", f"segments:{tmp_path}", options=options)
    until(camera, shown(12))
    frozen.set()

    def is_frozen(stats: CameraStats) -> bool:
        said = "the same image again" in stats.last_error or "no new frame" in stats.last_error
        return said and stats.state == "offline"

    until(camera, is_frozen)
    until(camera, lambda stats: stats.frames_placeholder > 2)
    finish(camera)
    judge, seen = Judge(SIZE[1]), 0
    for path in tmp_path.glob("*.mp4"):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                seen += 1
                assert not judge(frame.to_ndarray(format="bgr24")).face
    assert seen > 12
