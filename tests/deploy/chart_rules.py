"""The rules by which manifests of the Helm chart are judged: valid, closed and careful."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rendered_chart import Manifest, invalid, of_kind


def pod_of(manifest: Manifest) -> dict[str, Any]:
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod


def problems(manifests: list[Manifest]) -> list[str]:
    """What is wrong with a release that shall mask cameras."""
    found = list(invalid(manifests))
    for manifest in manifests:
        found += _open(manifest)
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            found += [f"{manifest['kind']}: {what}" for what in _careless(pod_of(manifest))]
            found += _astray(manifest, manifests)
    return [*found, *_served(pod_of(of_kind(manifests, "Deployment")))]


def _astray(pods: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    """What belongs to pods by its name and not by its labels."""
    labels = pods["spec"]["template"]["metadata"]["labels"]
    component = labels["app.kubernetes.io/component"]
    for other in manifests:
        if component not in other["metadata"]["name"]:
            continue
        if other["kind"] == "PodDisruptionBudget":
            wanted = other["spec"]["selector"]["matchLabels"]
        elif other["kind"] == "Service":
            wanted = other["spec"]["selector"]
            if other["spec"].get("clusterIP") != "None":
                yield f"{component} has one address for all"
        else:
            continue
        if not wanted.items() <= labels.items():
            yield f"the {other['kind']} of {component} is for other pods"


def _served(triton: dict[str, Any]) -> Iterator[str]:
    (server,) = triton["containers"]
    for probe in ("startupProbe", "livenessProbe"):
        if server.get(probe, {}).get("exec") != {"command": ["canary"]}:
            yield f"the {probe} is not the canary"
    if "canary" not in str(server.get("readinessProbe")):
        yield "it is ready by its own word"
    if triton["automountServiceAccountToken"]:
        yield "Triton has a token of the cluster"
    mounts = {m["mountPath"]: m for m in server["volumeMounts"]}
    if not mounts["/models"].get("readOnly") or "/cache" in mounts:
        yield "Triton may write to what it serves"
    volumes = {v["name"]: v for v in triton["volumes"]}
    if "emptyDir" not in volumes["models"]:
        yield "pods share what they serve"


def _careless(pod: dict[str, Any]) -> Iterator[str]:
    context = pod["securityContext"]
    if not context["runAsNonRoot"] or context["runAsUser"] == 0:
        yield "it may run as root"
    if context["seccompProfile"] != {"type": "RuntimeDefault"}:
        yield "it may make every call of the kernel"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        name, own = container["name"], container["securityContext"]
        is_owner = name == "cache"
        if own["allowPrivilegeEscalation"] or not own["readOnlyRootFilesystem"]:
            yield f"{name} may change itself"
        if own["capabilities"] != {"drop": ["ALL"], **({"add": ["CHOWN"]} if is_owner else {})}:
            yield f"{name} has capabilities"
        if own.get("runAsUser", 1) == 0 and container["command"] != [
            "chown",
            "1000:1000",
            "/cache",
        ]:
            yield f"{name} is root"
        if not {"cpu", "memory"} <= container["resources"].get("requests", {}).keys():
            yield f"{name} asks for nothing"
        if "memory" not in container["resources"].get("limits", {}):
            yield f"{name} may take all memory"
        for each in container.get("env", []):
            if re.search("PASSWORD|SECRET|KEY|TOKEN", each["name"]) and "value" in each:
                yield f"{name}: {each['name']} stands in the manifest"


def _open(manifest: Manifest) -> Iterator[str]:
    name = manifest["metadata"]["name"]
    if manifest["kind"] == "Secret":
        yield f"{name} is a secret of the chart's own"
    if manifest["kind"] == "Role" and any(
        "*" in str(rule) for rule in manifest["spec" if "spec" in manifest else "rules"]
    ):
        yield f"{name} gives every right"
    if manifest["kind"] == "NetworkPolicy":
        if manifest["spec"]["policyTypes"] != ["Ingress", "Egress"]:
            yield f"{name} leaves a way open"
        rules = [*manifest["spec"]["ingress"], *(manifest["spec"].get("egress") or [])]
        if any("from" not in rule and "to" not in rule for rule in rules):
            yield f"{name} is for everybody"
