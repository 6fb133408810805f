"""Mutual TLS on top of docker-compose.yml, with the certificates that our own script makes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from resolved_compose import ROOT, SERVERS, Service, resolve, tritons
from wheel_server import Machine, canary

from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.errors import ServerError

FOLDER = ROOT / "deploy" / "tls"
OVERLAY = FOLDER / "docker-compose.yml"
INSIDE = "/run/certificates"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "new"
    make(folder, "gpu.example.org", "192.0.2.4")
    return folder


def make(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FOLDER / "make-certificates", folder, *names], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def triton_of(profile: str, **settings: str) -> Service:
    services = resolve(profile, on_top=OVERLAY, **settings)
    (name,) = tritons(services)
    return services[name]


@pytest.mark.parametrize("profile", SERVERS)
def test_every_server_wants_certificates(profile: str) -> None:
    triton, plain = triton_of(profile), resolve(profile)
    options = triton["environment"]["TRITON_OPTIONS"]
    for wanted in ("--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true"):
        assert wanted in options
    # What the profile asked for itself is still there.
    (name,) = tritons(plain)
    assert plain[name]["environment"]["TRITON_OPTIONS"] in options
    assert triton["command"] == plain[name]["command"]
    named = set(re.findall(rf"{INSIDE}/[\w.]+", str(triton["environment"])))
    mounted = {mount["target"]: mount for mount in triton["volumes"] if mount["type"] == "bind"}
    assert named == set(mounted)
    assert all(mount["read_only"] for mount in mounted.values())


def test_the_server_leaves_the_machine_only_when_told() -> None:
    assert [p["host_ip"] for p in triton_of("cpu")["ports"]] == ["127.0.0.1"]
    opened = triton_of("cpu", TRITON_LISTEN="192.0.2.4")
    assert [p["host_ip"] for p in opened["ports"]] == ["192.0.2.4"]


def test_the_client_has_its_own_key_and_no_other() -> None:
    client = resolve("cpu", on_top=OVERLAY)["client"]
    mounted = {mount["target"]: mount["source"] for mount in client["volumes"]}
    cameras = yaml.safe_load(Path(mounted["/etc/faceblur/cameras.yaml"]).read_text())
    assert set(cameras["server"]["tls"].values()) == {
        target for target in mounted if target.startswith(INSIDE)
    }
    assert not any(name.endswith(("server.key", "ca.key")) for name in mounted)


def test_only_the_key_of_the_authority_signs(certificates: Path) -> None:
    assert {path.name for path in certificates.iterdir()} == {
        "ca.key", "ca.pem", "client.key", "client.pem", "server.key", "server.pem"
    }  # fmt: skip
    assert [p.name for p in certificates.glob("*.key") if p.stat().st_mode & 0o077] == []
    text = subprocess.run(
        ["openssl", "x509", "-in", certificates / "server.pem", "-noout", "-ext", "subjectAltName"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    for name in ("DNS:triton", "DNS:gpu.example.org", "192.0.2.4"):
        assert name in text
    again = make(certificates)
    assert again.returncode != 0
    assert "there already" in again.stderr


def test_a_name_that_is_none_makes_nothing(tmp_path: Path) -> None:
    done = make(tmp_path / "new", "gpu.example.org", "a name,DNS:another")
    assert done.returncode != 0
    assert "'a name,DNS:another' is no name" in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_command_serves_by_tls_alone(
    machine: Machine, certificates: Path, tmp_path: Path
) -> None:
    triton = triton_of("gpu")
    settings: dict[str, Any] = {
        key: value.replace(INSIDE, str(certificates))
        for key, value in triton["environment"].items()
    }
    with machine.serving(triton, options=settings["TRITON_OPTIONS"]) as served:
        pid, address = served.process.pid, f"localhost:{served.port}"
        assert canary(tmp_path, pid, server=address, options=settings["CANARY_OPTIONS"]) == 0
        with pytest.raises(ServerError):
            TritonDetector(Connection(address=address, deadline_s=2))
