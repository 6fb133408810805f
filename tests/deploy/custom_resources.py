"""Resources of KEDA, the Prometheus Operator and KubeRay, judged by their own definitions.

`schemas/KIND.json.gz` is what their CustomResourceDefinitions say of the one version that is used
here, without descriptions; `schemas/README.md` says where they are from. They are made again by

    python tests/deploy/custom_resources.py DEFINITION.yaml...
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

SCHEMAS = Path(__file__).parent / "schemas"

VERSIONS = {
    "ScaledObject": "keda.sh/v1alpha1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "RayJob": "ray.io/v1",
}
"""What the chart and the manifests use."""

_OPEN = "x-kubernetes-preserve-unknown-fields"

RULES: dict[str, Callable[[Any], bool]] = {
    "!has(self.minReplicaCount) || self.minReplicaCount <= "
    "(has(self.maxReplicaCount) ? self.maxReplicaCount : 100)": lambda spec: (
        spec.get("minReplicaCount", 0) <= spec.get("maxReplicaCount", 100)
    ),
}
"""The rules in CEL that speak of what we use, said again in Python."""


def faults(manifest: dict[str, Any]) -> Iterator[str]:
    """What its definition refuses of a manifest, or would silently leave out."""
    kind = manifest["kind"]
    if manifest["apiVersion"] != VERSIONS[kind]:
        yield f"{kind} apiVersion: {manifest['apiVersion']} is not {VERSIONS[kind]}"
    for error in _judge(kind).iter_errors(manifest):
        yield f"{kind} {'.'.join(map(str, error.absolute_path))}: {error.message}"


def _ruled(_: Any, rules: list[Any], instance: Any, __: Any) -> Iterator[ValidationError]:
    for rule in rules:
        holds = RULES.get(rule["rule"])
        if holds is None:
            yield ValidationError(f"is under a rule that nobody has judged: {rule['rule']}")
        elif not holds(instance):
            yield ValidationError(rule["message"])


_Judge = extend(Draft202012Validator, {"x-kubernetes-validations": _ruled})


@cache
def _judge(kind: str) -> Any:
    schema = json.loads(gzip.decompress((SCHEMAS / f"{kind}.json.gz").read_bytes()))
    return _Judge(_closed(schema))


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of Kubernetes in the words of JSON Schema.

    What a definition does not name is left out of what is stored: here it is refused. What has a
    default need not be given.
    """
    closed = dict(schema)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            closed[name] = _closed(schema[name])
    if "properties" in schema:
        known = schema["properties"]
        closed["properties"] = {name: _closed(each) for name, each in known.items()}
        closed["required"] = [
            name for name in schema.get("required", ()) if "default" not in known.get(name, {})
        ]
        if not schema.get(_OPEN) and "additionalProperties" not in schema:
            closed["additionalProperties"] = False
    return closed


def _bare(schema: Any) -> Any:
    """A schema without what is for people, of which most of it consists."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Properties may be called so too.
    return {
        name: {key: _bare(each) for key, each in value.items()}
        if name == "properties"
        else _bare(value)
        for name, value in schema.items()
        if name != "description"
    }


def _make(definition: Path) -> None:
    """Write the compact form of a CustomResourceDefinition."""
    spec = yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]
    kind = spec["names"]["kind"]
    group, wanted = VERSIONS[kind].split("/")
    assert spec["group"] == group
    (version,) = [each for each in spec["versions"] if each["name"] == wanted]
    schema = _bare(version["schema"]["openAPIV3Schema"])
    # The operator writes it.
    schema["properties"].pop("status", None)
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    (SCHEMAS / f"{kind}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _make(Path(name))
