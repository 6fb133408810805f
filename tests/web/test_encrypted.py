"""The page beyond this machine: encrypted, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser
from web_page import Served
from web_programs import TOKEN

from faceblur.cli import main
from faceblur.errors import InputError
from faceblur.web import certificate
from faceblur.web.names import Names

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"
ELSEWHERE = certificate.own_address() or "127.0.0.2"
"""An address of this machine that others reach it at, if it has one."""


def test_others_see_the_page_encrypted_and_know_whose_it_is(
    start: Start, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEBLUR_WEB_TOKEN", TOKEN)
    site = start("--host", ELSEWHERE, "--https-self-signed")
    assert site.base.startswith(f"https://{ELSEWHERE}:")
    assert site.process.stderr is not None
    said = site.process.stderr.readline()
    port = int(site.base.rpartition(":")[2])
    seen = ssl.get_server_certificate((ELSEWHERE, port))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(seen)).hexdigest().upper()
    assert ":".join(digest[at : at + 2] for at in range(0, 64, 2)) in said
    # Nobody is talked to in the clear.
    plain = http.client.HTTPConnection(ELSEWHERE, port, timeout=10)
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.request("GET", "/") or plain.getresponse()
    plain.close()
    # Whoever has compared the fingerprint talks to this one alone.
    pinned = site.uploads / "pinned.pem"
    pinned.write_text(seen)
    shown = {"Authorization": f"Bearer {TOKEN}"}
    jobs = f"{site.base}/api/jobs"

    def code(**headers: str) -> int:
        return requests.get(jobs, headers=headers, verify=str(pinned), timeout=60).status_code

    assert code(**shown) == 200
    assert code() == 401
    assert code(**shown, Host=f"evil.example:{port}") == 421
    assert code(**shown, Host=f"localhost:{port}") == 421
    assert code(**shown, Origin=f"http://{ELSEWHERE}:{port}") == 403
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    opened = page.goto(site.address)
    assert opened is not None
    assert "strict-transport-security" not in opened.all_headers()
    (cookie,) = context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert cookie["name"] == f"__Host-faceblur-{port}"
    page.set_input_files("#files", PHOTO)
    page.wait_for_selector("li[data-verdict=clean]")
    # What programs send is not the page's, and the other way round.
    told = requests.get(jobs, headers=shown, verify=str(pinned), timeout=60)
    assert told.json()["jobs"] == []
    context.close()


def test_a_certificate_of_ones_own_is_taken_and_kept_to(start: Start, tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "*.example.org")
    whole, trusted = tmp_path / "server.pem", tmp_path / "authority.pem"
    made.private_key_and_cert_chain_pem.write_to_path(whole)
    authority.cert_pem.write_to_path(trusted)
    site = start("--host", "0.0.0.0", "--https-cert", str(whole))
    assert site.base.startswith("https://localhost:")
    opened = requests.get(site.address, verify=str(trusted), timeout=60)
    assert (opened.status_code, "faceblur" in opened.text) == (200, True)
    assert opened.headers["strict-transport-security"] == "max-age=86400"
    # A machine of a network is called by its address, too.
    address = {"Host": site.base.partition("://")[2].replace("localhost", ELSEWHERE)}
    by_address = requests.get(site.base, headers=address, verify=str(trusted), timeout=60)
    assert by_address.status_code == 403


def test_what_it_is_called_is_what_its_certificate_says() -> None:
    names = Names(
        scheme="https", port=8443, hosts=frozenset({"faces.example.org", "*.lan", "192.0.2.7"})
    )
    for host in (
        "faces.example.org:8443",
        "Faces.Example.ORG:8443",
        "a.lan:8443",
        "192.0.2.7:8443",
    ):
        assert names.includes(host), host
    strangers = (None, "", "faces.example.org", "faces.example.org:80", "lan:8443", "a.b.lan:8443")
    for host in (
        *strangers,
        "192.0.2.8:8443",
        "evil.example:8443",
        "a.lan:8443:8443",
        "[::1]:8443",
    ):
        assert not names.includes(host), host
    anywhere = Names(scheme="https", port=443, hosts=frozenset(), any_address=True)
    assert all(map(anywhere.includes, ("192.0.2.8", "192.0.2.8:443", "[2001:db8::1]")))
    assert not any(map(anywhere.includes, ("192.0.2.8.evil.example", "evil.example", "[x]")))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), "add --https-self-signed"),
        (("--host", "192.0.2.7"), "encrypted or not at all"),
        (("--https-key", "key.pem"), "needs --https-cert"),
        (("--https-self-signed", "--https-cert", "c.pem"), "leave out --https-cert"),
        (("--https-cert", "missing.pem"), "cannot read missing.pem"),
    ],
)
def test_what_would_not_be_safe_is_refused(arguments: tuple[str, ...], told: str) -> None:
    refused = CliRunner().invoke(main, ["web", "--no-browser", *arguments])
    assert refused.exit_code == 3
    assert told in refused.output
    assert "Traceback" not in refused.output


def test_a_certificate_that_does_not_work_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    good, other = (authority.issue_cert("localhost") for _ in range(2))
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    old = authority.issue_cert("localhost", not_after=yesterday)
    cert, key, expired, locked = (tmp_path / name for name in ("c.pem", "k.pem", "e.pem", "l.pem"))
    good.cert_chain_pems[0].write_to_path(cert)
    other.private_key_pem.write_to_path(key)
    old.private_key_and_cert_chain_pem.write_to_path(expired)
    readable = serialization.load_pem_private_key(good.private_key_pem.bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    written = serialization.PrivateFormat.PKCS8
    locked.write_bytes(readable.private_bytes(serialization.Encoding.PEM, written, secret))
    for certificate_path, key_path, told in (
        (cert, key, "no certificate with its key"),
        (cert, cert, "no certificate with its key"),
        (cert, locked, "without a passphrase"),
        (PHOTO, PHOTO, "no certificate with its key"),
        (expired, expired, "has expired"),
        (tmp_path, tmp_path, "cannot read"),
    ):
        with pytest.raises(InputError, match=told):
            certificate.read(certificate_path, key_path)
    shutil.copy(key, tmp_path / "fits.pem")
    good.private_key_pem.write_to_path(tmp_path / "fits.pem")
    assert certificate.read(cert, tmp_path / "fits.pem").names == ("localhost",)
