"""The Helm chart, rendered by Helm's own code and judged by the schemas of what it makes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from custom_resources import VERSIONS, faults
from resolved_compose import ROOT

CHART = ROOT / "deploy" / "helm" / "faceblur"
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
KUBERNETES = "1.37"

Manifest = dict[str, Any]
Values = dict[str, Any]


@lru_cache
def _chart(folder: Path) -> Any:
    chart = pytest.importorskip("helm_python.chart", reason="needs helm-python-sdk")
    return chart.Chart.load(folder)


def render(values: Values | None = None, *, folder: Path = CHART) -> list[Manifest]:
    """What the chart makes of values on top of its own, as a release `fb` in `video`.

    Raises:
        HelmError: Its schema refuses them, or a template fails.
    """
    rendered = _chart(folder).render(copy.deepcopy(values), name="fb", namespace="video")
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each is not None]


def of_kind(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The one manifest of that kind whose name ends so."""
    found = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(name)]
    assert len(found) == 1, [m["metadata"]["name"] for m in found]
    return found[0]


def invalid(manifests: list[Manifest]) -> Iterator[str]:
    """What Kubernetes and its operators would not take; unknown members too."""
    for manifest in manifests:
        if manifest["kind"] in VERSIONS:
            yield from faults(manifest)
        else:
            yield from _verdict(json.dumps(manifest))


@cache
def _verdict(text: str) -> tuple[str, ...]:
    judge = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    manifest = json.loads(text)
    try:
        judge.validate(manifest, KUBERNETES, strict=True)
    except judge.ValidationError as error:
        return (f"{manifest['kind']} {'.'.join(map(str, error.path))}: {error.message}",)
    return ()
