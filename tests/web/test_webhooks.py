"""Who is told of a finished file, how they know that it is true, and who is never asked."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from receiver import Receiver, receiving
from web_programs import TOKEN, programs

from faceblur.cli import main
from faceblur.errors import InputError
from faceblur.web import webhooks
from faceblur.web.options import WebOptions
from faceblur.web.receivers import Receivers

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
ROOT = Path(__file__).resolve().parents[2]
PHOTO = (ROOT / "docs" / "images" / "before.jpg").read_bytes()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def _is_true(headers: Message, body: bytes, secret: str) -> bool:
    """As the page says it."""
    page = (ROOT / "docs" / "api.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Callable[..., bool]] = {}
    exec(code, names)
    return names["is_true"](headers, body, secret)


def test_whoever_asked_is_told_once_and_can_tell_that_it_is_true(
    receiver: Receiver, tmp_path: Path
) -> None:
    receivers = Receivers(hosts=frozenset({receiver.address}), secret=SECRET)
    options = WebOptions(token=TOKEN, receivers=receivers)
    with programs(tmp_path, options, retries_s=(0.01, 0.01)) as served:
        hook = f"http://{receiver.address}/done?of=a%26b"
        job = served.send(PHOTO, webhook=hook).json()["id"]
        # A redirect leads where nobody has allowed anything, so it is no success.
        receiver.answers += [500, 307]
        served.finish(job)
        (path, first, body), second, third = (receiver.told.get(timeout=60) for _ in range(3))
        assert path == "/done?of=a%26b"
        said = json.loads(body)
        assert (said["type"], said["data"]["id"]) == ("job.failed", job)
        assert said["data"]["error"] == "it is damaged"
        assert _is_true(first, body, SECRET)
        assert not _is_true(first, body + b" ", SECRET)
        assert not _is_true(first, body, f"whsec_{base64.b64encode(bytes(32)).decode()}")
        later = first["webhook-timestamp"]
        first.replace_header("webhook-timestamp", str(int(later) + 1))
        assert not _is_true(first, body, SECRET)
        assert [each[1]["webhook-id"] for each in (second, third)] == [first["webhook-id"]] * 2
        assert second[0] == third[0] == path
        # Told once, and tried no more often than it should be.
        receiver.answers += [500, 500, 500]
        other = served.send(PHOTO, webhook=hook).json()["id"]
        served.ask("POST", f"/api/jobs/{other}/cancel")
        told = [json.loads(receiver.told.get(timeout=60)[2]) for _ in range(3)]
        assert {each["data"]["error"] for each in told} == {"cancelled"}
        last = served.send(PHOTO, webhook=hook).json()["id"]
        served.finish(last)
        assert json.loads(receiver.told.get(timeout=60)[2])["data"]["id"] == last
        # Without an address, and for what was deleted, nobody is.
        served.finish(served.send(PHOTO).json()["id"])
        served.ask("DELETE", f"/api/jobs/{served.send(PHOTO, webhook=hook).json()['id']}")
        served.finish(served.send(PHOTO, webhook=hook).json()["id"])
        receiver.told.get(timeout=60)
        assert receiver.told.empty()
        refused = served.send(PHOTO, webhook="https://169.254.169.254/")
        assert refused.status_code == 422
        assert "nobody has allowed webhooks to 169.254.169.254" in refused.json()["error"]


def test_a_receiver_that_answers_for_ever_keeps_nobody_waiting(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_TIMEOUT_S", 0.5)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        asked, _ = listener.accept()
        with asked, suppress(OSError):
            asked.sendall(b"HTTP/1.1 204 No Content\r\nX: ")
            while not ended.wait(0.05):
                asked.sendall(b"a")

    connect = socket.create_connection

    def connect_late(address: tuple[str, int], timeout: float, *others: Any) -> socket.socket:
        # As where the first of its addresses does not answer.
        if address[1] == listener.getsockname()[1]:
            ended.wait(1.5 * timeout)
        return connect(address, timeout, *others)

    monkeypatch.setattr(socket, "create_connection", connect_late)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = f"127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        receivers = Receivers(hosts=frozenset({receiver.address, slow}), secret=SECRET)
        try:
            options = WebOptions(token=TOKEN, receivers=receivers)
            # The other one may be too busy to take it in half a second, the first times.
            with programs(tmp_path, options, retries_s=(0.01,) * 20) as served:
                for host in (slow, receiver.address):
                    hook = f"http://{host}/"
                    served.finish(served.send(PHOTO, webhook=hook).json()["id"])
                assert receiver.told.get(timeout=60)
        finally:
            ended.set()
            thread.join()


def test_by_https_only_who_has_the_certificate_of_the_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with receiving(tls) as receiver:
        hosts = [receiver.address, receiver.address.replace("127.0.0.1", "localhost")]
        receivers = Receivers(hosts=frozenset(hosts), secret=SECRET)
        options = WebOptions(token=TOKEN, receivers=receivers)
        with programs(tmp_path, options, retries_s=()) as served:
            for host in hosts:
                job = served.send(PHOTO, webhook=f"https://{host}/").json()["id"]
                served.finish(job)
            _, headers, body = receiver.told.get(timeout=60)
            assert json.loads(body)["data"]["id"] == job
            assert headers["Host"] == hosts[1]
            assert receiver.told.empty()


def test_only_what_was_allowed_is_ever_asked() -> None:
    hosts = frozenset({"hooks.example.org", "10.0.0.7:8443", "127.0.0.1:9000", "[::1]:9000"})
    receivers = Receivers(hosts=hosts, secret=SECRET)
    for allowed in (
        "https://hooks.example.org/a?b=c",
        "https://HOOKS.example.org:443",
        "https://10.0.0.7:8443/",
        "http://127.0.0.1:9000/",
        "http://[::1]:9000/",
    ):
        assert receivers.check(allowed).hostname
    for refused in (
        "",
        "hooks.example.org",
        "//hooks.example.org/",
        "http://hooks.example.org/",
        "http://10.0.0.7:8443/",
        "https://hooks.example.org:8443/",
        "https://10.0.0.7/",
        "https://127.0.0.1/",
        "https://hooks.example.org@evil.example/",
        "https://hooks.example.org:x/",
        "https://hooks.example.org.evil.example/",
        "https://evil.example/#hooks.example.org",
        "https://evil.example\\@hooks.example.org/",
        "https://hooks.example.org\n.evil.example/",
        "https://[::1/",
        "file:///etc/passwd",
        "https://hooks.example.org/" + "a" * 2000,
    ):
        with pytest.raises(InputError):
            receivers.check(refused)
    with pytest.raises(InputError, match="nobody has allowed"):
        Receivers().check("https://hooks.example.org/")


@pytest.mark.parametrize(
    ("host", "secret", "told"),
    [
        ("hooks.example.org", None, "set FACEBLUR_WEBHOOK_SECRET"),
        ("hooks.example.org", "whsec_c2hvcnQ=", "24 bytes or more"),
        ("https://hooks.example.org/", SECRET, "is no host"),
        ("hooks..example.org", SECRET, "is no host"),
    ],
)
def test_what_cannot_be_told_is_said_at_the_start(
    host: str, secret: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if secret is not None:
        monkeypatch.setenv("FACEBLUR_WEBHOOK_SECRET", secret)
    refused = CliRunner().invoke(main, ["web", "--no-browser", "--webhook-host", host])
    assert refused.exit_code == 3
    assert told in refused.output
