"""docker-compose.yml, resolved by the real Compose, is complete and closed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from resolved_compose import ROOT, SERVERS, Service, command_of, resolve, tritons

from faceblur.live.addresses import split_address as split_listen
from faceblur.live.config.config import load_config

TRITON_FLAGS = {
    "--model-control-mode=none",
    "--disable-auto-complete-config",
    "--strict-readiness=true",
    "--exit-on-error=true",
    "--allow-http=false",
}


@pytest.fixture(scope="module")
def profiles() -> dict[str, dict[str, Service]]:
    resolved = {name: resolve(name) for name in SERVERS}
    resolved["gpu and monitoring"] = resolve("gpu", "monitoring")
    resolved["monitoring"] = resolve("monitoring")
    resolved["default"] = resolve()
    return resolved


def problems(services: dict[str, Service]) -> list[str]:
    """What is wrong with a set of services that shall mask cameras."""
    found = [f"{len(tritons(services))} Tritons"] if len(tritons(services)) != 1 else []
    for name in tritons(services):
        triton = services[name]
        waits = services["client"]["depends_on"].get(name, {})
        if waits.get("condition") != "service_healthy":
            found.append(f"the client does not wait for {name}")
        if triton["healthcheck"].get("test") != ["CMD", "canary"]:
            found.append(f"{name}'s health is not the canary")
        if "triton" not in (triton["networks"]["serving"] or {}).get("aliases", []):
            found.append(f"{name} is not called triton")
        found += [f"{name} lacks {f}" for f in TRITON_FLAGS - set(command_of(triton))]
        if int(triton.get("shm_size", 64 << 20)) < 256 << 20:
            found.append(f"{name} has little shared memory")
        (step,) = triton["depends_on"]
        if services[step]["command"][:2] != ["faceblur-export", "repository"]:
            found.append(f"nothing fills the repository of {name}")
        if triton["depends_on"][step]["condition"] != "service_completed_successfully":
            found.append(f"{name} does not wait for its repository")
        (mount,) = triton["volumes"]
        if not mount.get("read_only") or mount["source"] != services[step]["volumes"][0]["source"]:
            found.append(f"{name} serves another volume, or may write to it")
    for name, service in services.items():
        found += [f"{name}: {what}" for what in careless(service)]
    return found


def careless(service: Service) -> list[str]:
    """What a container may do that it need not."""
    tag = service["image"].rpartition(":")[2]
    checks = {
        "runs as root": not re.fullmatch(r"[1-9]\d*:\d+", service.get("user", "")),
        "may write to its image": not service.get("read_only"),
        "keeps capabilities": service.get("cap_drop") != ["ALL"] or "cap_add" in service,
        "may gain privileges": service.get("security_opt") != ["no-new-privileges:true"],
        "is privileged": service.get("privileged", False),
        "shares the host's network": service.get("network_mode", "none") != "none",
        "has no fixed version": tag in ("latest", service["image"]) or "/" in tag,
        "listens beyond this machine": any(
            port.get("host_ip") != "127.0.0.1" for port in service.get("ports", [])
        ),
    }
    return [text for text, is_so in checks.items() if is_so]


@pytest.mark.parametrize("name", [*SERVERS, "gpu and monitoring", "default"])
def test_one_server_and_nothing_careless(
    profiles: dict[str, dict[str, Service]], name: str
) -> None:
    assert problems(profiles[name]) == []


def test_a_gpu_and_the_board_are_the_default(profiles: dict[str, dict[str, Service]]) -> None:
    assert profiles["default"] == profiles["gpu and monitoring"]


def test_monitoring_adds_the_board_alone(profiles: dict[str, dict[str, Service]]) -> None:
    added = {"prometheus", "grafana"}
    assert set(profiles["gpu and monitoring"]) == set(profiles["gpu"]) | added
    assert set(profiles["monitoring"]) == added
    assert [careless(service) for service in profiles["monitoring"].values()] == [[], []]


def test_only_the_gpu_profiles_get_a_gpu(profiles: dict[str, dict[str, Service]]) -> None:
    for name, wanted in (("gpu", "deploy"), ("jetson", "runtime"), ("cpu", None)):
        for triton in (tritons(profiles[name])[0], *profiles[name]):
            service = profiles[name][triton]
            has = [key for key in ("deploy", "runtime") if key in service]
            is_ours = triton in tritons(profiles[name]) or triton.startswith("repository")
            assert has == ([wanted] if wanted and is_ours else []), (name, triton)


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = to

    return change


def fetching_problems(services: dict[str, Service]) -> list[str]:
    """What keeps the official weights from Triton, or opens more than their step to the network."""
    weights, step = services["weights"], services["repository"]
    (given,) = weights["volumes"]
    taken = [volume for volume in step["volumes"] if volume["target"] == "/weights"]
    model = command_of(weights)[3]
    checks = {
        "nobody waits for the weights": step["depends_on"].get("weights", {}).get("condition")
        != "service_completed_successfully",
        "the weights do not arrive": [volume["source"] for volume in taken] != [given["source"]],
        "the step may change the weights": not all(volume.get("read_only") for volume in taken),
        "another place": {each["environment"].get("FACEBLUR_CACHE") for each in (weights, step)}
        != {given["target"]},
        "another model": f"--model={model}" not in command_of(step),
        "no way without the network": any(
            "--or-bundled" not in command_of(each) for each in (weights, step)
        ),
        "the step has the network": step.get("network_mode") != "none",
    }
    return [text for text, is_so in checks.items() if is_so]


def test_the_weights_of_a_gpu_are_fetched_by_a_step_of_their_own() -> None:
    services = resolve("gpu")
    assert fetching_problems(services) == []
    assert command_of(services["weights"])[3] == "yolov5s-face"
    assert "--model=bundled" in command_of(resolve("gpu", MODEL="bundled")["repository"])
    assert all("weights" not in resolve(profile) for profile in ("cpu", "jetson"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("repository", "depends_on", to={}), "nobody waits"),
        (_set("repository", "volumes", 1, "source", to="models"), "do not arrive"),
        (_set("repository", "volumes", 1, "read_only", to=False), "may change"),
        (_set("repository", "environment", to={}), "another place"),
        (_set("weights", "command", 3, to="yolov5m-face"), "another model"),
        (_set("weights", "command", 4, to="--quiet"), "no way without"),
        (_set("repository", "network_mode", to="bridge"), "has the network"),
    ],
)
def test_a_change_that_keeps_the_weights_away_is_caught(
    change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    services = resolve("gpu")
    change(services)
    assert problem in "; ".join(fetching_problems(services))


def test_every_server_gets_the_same_command(profiles: dict[str, dict[str, Service]]) -> None:
    commands = {tuple(command_of(profiles[n][tritons(profiles[n])[0]])) for n in SERVERS}
    assert len(commands) == 1


def test_triton_and_its_plan_come_from_one_image(profiles: dict[str, dict[str, Service]]) -> None:
    for name in SERVERS:
        (triton,) = tritons(profiles[name])
        (step,) = profiles[name][triton]["depends_on"]
        for key in ("image", "build"):
            assert profiles[name][triton][key] == profiles[name][step][key]


def test_the_releases_of_triton_are_the_ones_that_fit() -> None:
    gpu = resolve("gpu")["triton"]["build"]["args"]["TRITON_IMAGE"]
    named = re.fullmatch(r"nvcr\.io/nvidia/tritonserver:(\d\d\.\d\d)-py3", gpu)
    assert named is not None
    page = (ROOT / "docs" / "security.md").read_text()
    asked = re.findall(r"^\| .* \| (\d\d\.\d\d) \|$", page, re.MULTILINE)
    # What NVIDIA's bulletins ask for, and no release that the page does not speak of.
    assert len(asked) == 4
    assert min(asked) > "26.02", "the page says that Jetson's release has none of the fixes"
    assert "none of the four is fixed there" in page
    assert re.search(r"read on \d+ \w+ 20\d\d", page)
    assert named[1] >= max(asked), "name a newer release in .env, Dockerfile and docs/security.md"
    assert f"`.env` names {named[1]}." in page
    assert (
        f"TRITON_IMAGE=nvcr.io/nvidia/tritonserver:{named[1]}-py3\n"
        in (ROOT / "Dockerfile").read_text()
    )
    services = resolve("jetson")
    jetson = services["triton-jetson"]["build"]["args"]["TRITON_IMAGE"]
    release = re.fullmatch(r"nvcr\.io/nvidia/tritonserver:(\d\d\.\d\d)-py3-igpu", jetson)
    assert release is not None
    assert release[1] <= "26.02"
    assert f"stay at {release[1]}" in page
    # The table of drivers is that of these releases.
    drivers = (ROOT / "docs" / "deploy.md").read_text()
    assert f"| `TRITON_IMAGE`, release {named[1]} |" in drivers
    assert f"| `TRITON_JETSON_IMAGE`, release {release[1]} |" in drivers
    # Ensembles hang on full queues before 26.03.
    assert "--jetson" in services["repository-jetson"]["command"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("triton-cpu", "healthcheck", "test", to=["CMD", "curl", "localhost:8000/ready"]),
         "health is not the canary"),
        (_set("client", "depends_on", "triton-cpu", "condition", to="service_started"),
         "does not wait for triton-cpu"),
        (_set("triton-cpu", "networks", "serving", to=None), "is not called triton"),
        (_set("triton-cpu", "command", 5, to="--model-control-mode=poll"), "lacks --model-control"),
        (_set("triton-cpu", "shm_size", to="67108864"), "little shared memory"),
        (_set("triton-cpu", "volumes", 0, "read_only", to=False), "may write to it"),
        (_set("triton-cpu", "volumes", 0, "source", to="models"), "serves another volume"),
        (_set("repository-cpu", "command", to=["sleep", "1"]), "nothing fills"),
        (_set("client", "read_only", to=False), "client: may write to its image"),
        (_set("triton-cpu", "user", to="0:0"), "runs as root"),
        (_set("media", "user", to=""), "media: runs as root"),
        (_set("media", "cap_drop", to=["NET_RAW"]), "keeps capabilities"),
        (_set("client", "security_opt", to=[]), "may gain privileges"),
        (_set("client", "privileged", to=True), "is privileged"),
        (_set("client", "network_mode", to="host"), "shares the host's network"),
        (_set("triton-cpu", "ports", 0, "host_ip", to=""), "beyond this machine"),
        (_set("media", "image", to="bluenviron/mediamtx:latest"), "has no fixed version"),
        (_set("media", "image", to="bluenviron/mediamtx"), "has no fixed version"),
    ],
)  # fmt: skip
def test_a_careless_change_is_caught(
    change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    services = resolve("cpu")
    assert problems(services) == []
    change(services)
    assert problem in "; ".join(problems(services))


def test_a_second_server_is_caught(tmp_path: Path) -> None:
    changed = tmp_path / "docker-compose.yml"
    text = (ROOT / "docker-compose.yml").read_text()
    changed.write_text(text.replace("profiles: [gpu]", "profiles: [gpu, cpu]"))
    assert problems(resolve("cpu", file=changed))[0] == "2 Tritons"


def test_the_cameras_reach_the_services_by_their_names() -> None:
    services = resolve("cpu")
    config = load_config(ROOT / "deploy" / "cameras.yaml")
    assert config.session.server == "triton:8001"
    assert config.session.transport == "raw"
    targets = [sink.target for camera in config.cameras for sink in camera.sinks]
    assert targets
    assert all(target.startswith("rtsp://media:8554/") for target in targets)
    # All addresses, but of the container; Compose publishes it on this machine alone.
    assert config.listen is not None
    assert split_listen(config.listen) == ("0.0.0.0", services["client"]["ports"][0]["target"])
    assert set(services["client"]["networks"]) == {"serving", "streams"}
    assert set(services["media"]["networks"]) == {"streams"}


def test_the_media_server_does_nothing_else() -> None:
    media = yaml.safe_load((ROOT / "deploy" / "mediamtx.yml").read_text())
    protocols = (
        "api",
        "metrics",
        "pprof",
        "playback",
        "rtmp",
        "srt",
        "moq",
        "rtsp",
        "hls",
        "webrtc",
    )
    assert {name for name in protocols if media[name]} == {"rtsp", "hls", "webrtc"}
    assert media["pathDefaults"] == {"overridePublisher": False, "record": False}
    ports = {int(port["target"]) for port in resolve("cpu")["media"]["ports"]}
    addresses = (media["rtspAddress"], media["hlsAddress"], media["webrtcAddress"])
    assert ports == {8189, *(int(address.lstrip(":")) for address in addresses)}


def test_env_holds_no_secret() -> None:
    names = [
        line.partition("=")[0]
        for line in (ROOT / ".env").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    ]
    assert names
    assert [name for name in names if re.search("PASS|SECRET|TOKEN|KEY", name)] == []
