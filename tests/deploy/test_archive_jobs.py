"""The manifests for archives: what Kubernetes takes, and lines that faceblur takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from doc_commands import Line, fault
from rendered_chart import ROOT, Manifest, invalid

from faceblur.cluster.shards import Shard, parse_shard

FOLDER = ROOT / "deploy" / "kubernetes"


def _manifests(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def _as_pods(job: Manifest) -> Iterator[Manifest]:
    """The pods of a RayJob, for Kubernetes to judge too: it may be newer than the operator."""
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = deepcopy(group["template"])
        pod["metadata"]["name"] = "pod"
        yield {"apiVersion": "v1", "kind": "Pod", **pod}


def _containers(manifests: list[Manifest]) -> Iterator[Any]:
    for each in manifests:
        if each["kind"] == "RayJob":
            yield from (pod["spec"]["containers"][0] for pod in _as_pods(each))
        elif each["kind"] == "Job":
            yield from each["spec"]["template"]["spec"]["containers"]


def _fault(*words: str) -> str | None:
    return fault(Line(words, True), {})


@pytest.mark.parametrize("name", ["shards.yaml", "rayjob.yaml"])
def test_kubernetes_takes_them_and_pods_have_few_rights(name: str) -> None:
    manifests = _manifests(name)
    pods = [pod for each in manifests if each["kind"] == "RayJob" for pod in _as_pods(each)]
    assert list(invalid([*manifests, *pods])) == []
    containers = list(_containers(manifests))
    assert containers
    for container in containers:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["envFrom"] == [{"secretRef": {"name": "faceblur-archive"}}]
        values = {each["name"]: each.get("value") for each in container["env"]}
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert values["TMPDIR"] in mounts
        # Without them no embedded server starts: detection is in one process, and slower.
        assert {"/tmp", "/dev/shm"} <= mounts
        assert not {"KEY", "TOKEN", "SECRET"} & {part for n in values for part in n.split("_")}
    broken = deepcopy(manifests[-1])
    broken["spec"]["podSelektor"] = {}
    assert list(invalid([broken])) != []


@pytest.mark.parametrize(
    ("ours", "broken", "complaint"),
    [
        ("authOptions: {mode: token}", "authOptions: {mode: tokens}", "authOptions.mode: 'tokens'"),
        ('{num-cpus: "4"}', "{num-cpus: 4}", "num-cpus: 4 is not of type 'string'"),
        ("rayClusterSpec:", "rayCluster:", "'rayCluster' was unexpected"),
        ("containerPort: 6379", "port: 6379", "'containerPort' is a required property"),
        ("groupName: cpu", "name: cpu", "'groupName' is a required property"),
        ("ray.io/v1\n", "ray.io/v1alpha1\n", "is not ray.io/v1"),
        ("backoffLimit: 3", "backoffLimit: 3\n  managedBy: me", "nobody has judged"),
    ],
)
def test_a_broken_ray_job_is_noticed(ours: str, broken: str, complaint: str) -> None:
    text = (FOLDER / "rayjob.yaml").read_text()
    assert ours in text
    job = next(yaml.safe_load_all(text.replace(ours, broken, 1)))
    assert re.search(complaint, "\n".join(invalid([job])))


def test_every_shard_of_the_indexed_job_is_masked_by_one_pod() -> None:
    (job,) = _manifests("shards.yaml")
    (container,) = _containers([job])
    words = container["args"]
    shard = words[words.index("--shard") + 1]
    count = job["spec"]["completions"]
    shards = [parse_shard(shard.replace("$(JOB_COMPLETION_INDEX)", str(n))) for n in range(count)]
    assert shards == [Shard(n, count) for n in range(count)]
    assert job["spec"]["parallelism"] == count
    assert _fault("faceblur", *(word.replace(shard, "0/8") for word in words)) is None


def test_the_ray_job_runs_a_line_that_faceblur_takes_and_reports_to_nobody() -> None:
    job, policy = _manifests("rayjob.yaml")
    assert _fault(*shlex.split(job["spec"]["entrypoint"])) is None
    assert _fault("faceblur", "blur", "s3://in/", "--onn", "ray") is not None
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for container in _containers([job]):
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(chosen <= pod["metadata"]["labels"].items() for pod in _as_pods(job))
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert group["rayStartParams"]["num-cpus"] == limits["cpu"]
        assert group["rayStartParams"].get("num-gpus") == limits.get("nvidia.com/gpu")
