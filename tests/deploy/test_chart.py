"""The Helm chart: what it makes is valid, closed, and starts the servers that Compose starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rules import pod_of, problems
from doc_commands import Line, fault
from rendered_chart import CHART, DEFAULTS, SCHEMA, Values, invalid, of_kind, render
from resolved_compose import ROOT, command_of, resolve

from faceblur.live.config.config import load_config

FULL: Values = {
    "triton": {"model": "yolov5s-face", "options": "--log-verbose=0"},
    "tls": {"enabled": True, "serverSecret": "server", "clientSecret": "client"},
    "autoscaling": {"kind": "keda"},
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    "cameras": {"door": {"source": "rtsp://u:${DOOR}@192.0.2.1/s", "sinks": ["null"]}},
    "client": {
        "recordings": {"size": "10Gi", "storageClass": "fast"},
        "secretEnv": [{"name": "DOOR", "secret": "cameras", "key": "door"}],
        "secretFiles": ["media"],
    },
    "networkPolicy": {"tritonClients": [{"app": "archive"}]},
    "tracing": {"endpoint": "http://collector.monitoring:4318", "share": 0.02},
    "archive": {
        "from": "s3://in/2026",
        "to": "s3://out",
        "options": ["--threshold=0.2"],
        "env": {"AWS_REGION": "eu-1"},
        "secretEnv": [{"name": "AWS_SECRET_ACCESS_KEY", "secret": "store", "key": "key"}],
    },
}
CPU: Values = {
    "triton": {"backend": "cpu"},
    "autoscaling": {"kind": "hpa"},
    "camerasSecret": "mine",
    "networkPolicy": {"enabled": False},
}
RESTRICTED: Values = {"triton": {"planCache": {"kind": "none"}}}
WAYS = {"default": {}, "full": FULL, "cpu": CPU, "restricted": RESTRICTED}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_valid_and_closed(way: str) -> None:
    assert problems(render(WAYS[way])) == []


OPTIONAL: dict[str, Values] = {
    "autoscaling.yaml": {"autoscaling": {"kind": "keda"}},
    "monitoring.yaml": {"monitoring": {"enabled": True}},
}
BROKEN = [
    ("triton.yaml", "startupProbe:\n            exec: {command: [canary]}",
     "startupProbe:\n            grpc: {port: 8001}", "startupProbe is not the canary"),
    ("triton.yaml", "exec: {command: [sh, -c, '[ \"$(cat /tmp/canary-misses)\" = 0 ]']}",
     "tcpSocket: {port: 8001}", "ready by its own word"),
    ("triton.yaml", "clusterIP: None", "type: ClusterIP", "one address for all"),
    ("triton.yaml", "mountPath: /models, readOnly: true", "mountPath: /models", "may write to"),
    ("triton.yaml", "name: models, emptyDir: {sizeLimit: 2Gi}",
     "name: models, hostPath: {path: /x}", "pods share"),
    ("triton.yaml", "runAsUser: 1000", "runAsUser: 0", "run as root"),
    ("triton.yaml", "command: [chown, ", "command: [sh, -c, chown, ", "cache is root"),
    ("triton.yaml", "replicas:", "replica:", "replica"),
    ("_helpers.tpl", "capabilities: {drop: [ALL]}", "capabilities: {}", "has capabilities"),
    ("client.yaml", "seccompProfile: {type: RuntimeDefault}",
     "seccompProfile: {type: Unconfined}", "every call"),
    ("network.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "a way open"),
    ("triton.yaml", "app.kubernetes.io/component: triton\n  ports",
     "app.kubernetes.io/component: client\n  ports", "for other pods"),
    ("access.yaml", "verbs: [get, list, create, update]", 'verbs: ["*"]', "every right"),
    ("autoscaling.yaml", "scaleTargetRef: {name: ", "scaleTargetRef: {named: ", "'name' is a"),
    ("autoscaling.yaml", "queueMicroseconds | quote", "queueMicroseconds", "not of type 'string'"),
    ("autoscaling.yaml", "keda.sh/v1alpha1", "keda.sh/v1", "is not keda.sh/v1alpha1"),
    ("autoscaling.yaml", "{{ $auto.minReplicas }}", "9", "less than or equal to maxReplicaCount"),
    ("monitoring.yaml", "interval: ", "intervall: ", "'intervall' was unexpected"),
    ("monitoring.yaml", "- port: {{ $port }}", "- port: 8002", "8002 is not of type 'string'"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "ours", "broken", "complaint"), BROKEN)
def test_a_broken_chart_is_noticed(
    tmp_path: Path, file: str, ours: str, broken: str, complaint: str
) -> None:
    folder = shutil.copytree(CHART, tmp_path / "chart")
    path = folder / "templates" / file
    text = path.read_text()
    assert ours in text
    path.write_text(text.replace(ours, broken, 1))
    assert any(complaint in each for each in problems(render(OPTIONAL.get(file), folder=folder)))


@pytest.mark.parametrize(("profile", "backend"), [("gpu", "gpu"), ("cpu", "cpu")])
def test_it_starts_the_server_that_compose_starts(profile: str, backend: str) -> None:
    services = resolve(profile)
    theirs = services["triton" if profile == "gpu" else "triton-cpu"]
    (ours,) = pod_of(of_kind(render({"triton": {"backend": backend}}), "Deployment"))["containers"]
    # $$ is a dollar sign to Kubernetes too, before a bracket.
    words = [word.replace("$$(", "$(") for word in ours["command"]]
    age = [word for word in words if word.startswith("--grpc-max-connection-age")]
    assert age == [
        "--grpc-max-connection-age=30000", "--grpc-max-connection-age-grace=10000"
    ]  # fmt: skip
    assert [word for word in words if word not in age] == command_of(theirs)
    environment = {each["name"]: each["value"] for each in ours["env"]}
    assert environment["TRITON_OPTIONS"] == theirs["environment"]["TRITON_OPTIONS"]


@pytest.mark.parametrize(("profile", "step"), [("gpu", "repository"), ("cpu", "repository-cpu")])
def test_it_fills_the_repository_as_compose_does(profile: str, step: str) -> None:
    values = {"triton": {"backend": profile, "model": "yolov5s-face"}}
    steps = pod_of(of_kind(render(values), "Deployment"))["initContainers"]
    (ours,) = (each["command"] for each in steps if each["name"] == "repository")
    _, _, output, *options = command_of(resolve(profile)[step])
    assert output == "--output=/models"
    assert sorted(ours[1:]) == sorted(options)
    fetching = [each["command"] for each in steps if each["name"] == "weights"]
    assert fetching == ([resolve("gpu")["weights"]["command"]] if profile == "gpu" else [])


def test_only_weights_need_the_web() -> None:
    for values, reaches in ((FULL, True), ({}, False)):
        policy = of_kind(render(values), "NetworkPolicy", "triton")
        assert ("0.0.0.0/0" in str(policy["spec"]["egress"])) is reaches


@pytest.mark.parametrize("values", [{}, FULL])
def test_clients_read_their_cameras_and_reach_their_servers(
    values: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(values)
    text = of_kind(manifests, "ConfigMap")["data"]["cameras.yaml"]
    tree = yaml.safe_load(text)
    host, _, port = tree["server"]["address"].removeprefix("dns:///").partition(":")
    service = of_kind(manifests, "Service", "triton")
    assert host == service["metadata"]["name"]
    assert int(port) in [each["port"] for each in service["spec"]["ports"]]
    client = pod_of(of_kind(manifests, "StatefulSet"))
    (container,) = client["containers"]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    for path in tree["server"].pop("tls", {}).values():
        assert str(Path(path).parent) in mounts
    for each in container["env"]:
        monkeypatch.setenv(each["name"], "x")
    file = tmp_path / "cameras.yaml"
    file.write_text(yaml.safe_dump(tree))
    config = load_config(file)
    assert config.listen == f"0.0.0.0:{container['ports'][0]['containerPort']}"
    assert [camera.name for camera in config.cameras] == list(values.get("cameras", {"demo": 0}))
    assert container["args"][1] == "/etc/faceblur/cameras.yaml"


def test_an_archive_is_masked_by_a_command_that_exists() -> None:
    manifests = render(FULL)
    (container,) = pod_of(of_kind(manifests, "Job"))["containers"]
    words = ("faceblur", *container["args"])
    assert fault(Line(words, whole=True), {}) is None
    assert fault(Line((*words, "--thresold=1"), whole=True), {}) is not None
    policy = of_kind(manifests, "NetworkPolicy", "triton")
    assert "'app.kubernetes.io/component': 'archive'" in str(policy["spec"]["ingress"])
    assert [m["kind"] for m in render({}) if "archive" in m["metadata"]["name"]] == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"triton": {"replicas": "two"}}, "at '/triton/replicas': got string, want integer"),
        ({"triton": {"bakend": "cpu"}}, "at '/triton': additional properties 'bakend'"),
        ({"triton": {"size": 600}}, "at '/triton/size'"),
        ({"client": {"leaseSeconds": 1}}, "at '/client/leaseSeconds': minimum: got 1, want 5"),
        ({"autoscaling": {"kind": "vpa"}}, "at '/autoscaling/kind': value must be one of"),
        ({"tls": {"enabled": True}}, "at '/tls/serverSecret'"),
        ({"client": {"secretEnv": [{"name": "A", "value": "hunter2"}]}},
         "at '/client/secretEnv/0': "),
        ({"cameras": {"door": "rtsp://x"}}, "at '/cameras/door': got string, want object"),
        ({"archive": {"from": "az://in"}}, "at '/archive/to': minLength"),
        ({"archive": {"from": "s3://key:secret@in", "to": "s3://out"}}, "at '/archive/from'"),
        ({"networkPolicy": {"api": "everywhere"}}, "at '/networkPolicy/api'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_values_is_named(values: Values, says: str) -> None:
    with pytest.raises(Exception, match="values don't meet") as caught:
        render(values)
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["keda", "hpa"])
def test_least_servers_are_no_more_than_most(kind: str) -> None:
    values: Values = {"autoscaling": {"kind": kind, "minReplicas": 5}}
    with pytest.raises(Exception, match=r"autoscaling\.minReplicas is 5, and maxReplicas only 4"):
        render(values)
    values["autoscaling"]["maxReplicas"] = 5
    assert list(invalid(render(values))) == []


def test_every_value_is_in_the_schema_and_every_key_has_a_value() -> None:
    def keys(tree: Any, schema: Any, path: str = "") -> Iterator[tuple[str, bool, bool]]:
        known = schema.get("properties", {})
        if not known:
            return
        for name in sorted({*tree, *known}):
            yield f"{path}/{name}", name in tree, name in known
            if isinstance(tree.get(name), dict):
                yield from keys(tree[name], known[name], f"{path}/{name}")

    lacking = [key for key in keys(DEFAULTS, SCHEMA) if not all(key[1:])]
    # Of parent charts.
    assert lacking == [("/global", False, True)]


def _script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_node_builds_one_plan_for_each_kind_of_gpu(tmp_path: Path) -> None:
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    programs.mkdir()
    cache.mkdir()
    _script(programs, "nvidia-smi", "cat $GPU_FILE")
    _script(
        programs,
        "faceblur-export",
        # As --keep-plan does: what is there is kept.
        f"""folder=${{2#--output=}}
[ -e "$folder/plan" ] && exit 0
sleep 0.2
mkdir -p "$folder"
echo "$@" >>{tmp_path}/built
echo plan >"$folder/plan" """,
    )

    def fill(number: int, gpu: str, *options: str, version: str = "1") -> subprocess.Popen[bytes]:
        models = tmp_path / f"models{number}"
        models.mkdir()
        (tmp_path / f"gpu{number}").write_text(gpu)
        return subprocess.Popen(
            [ROOT / "deploy" / "docker" / "fill-repository", "--keep-plan", *options],
            env={
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "GPU_FILE": str(tmp_path / f"gpu{number}"),
                "MODELS": str(models),
                "PLAN_CACHE": str(cache),
                "PLAN_CACHE_VERSION": version,
            },
        )

    old = cache / "old"
    (old / "models").mkdir(parents=True)
    os.utime(old, (0, 0))
    pods = [
        fill(1, "NVIDIA L4, 580.1"),
        fill(2, "NVIDIA L4, 580.1"),
        fill(3, "Tesla T4, 580.1"),
        fill(4, "NVIDIA L4, 580.1", version="2"),
        fill(5, "NVIDIA L4, 580.1", "--precision=fp32"),
    ]
    assert [pod.wait(120) for pod in pods] == [0] * 5
    assert [(tmp_path / f"models{n}" / "plan").is_file() for n in range(1, 6)] == [True] * 5
    assert len((tmp_path / "built").read_text().splitlines()) == 4, "the first two share one"
    assert not old.exists()
    assert len(list(cache.iterdir())) == 4
