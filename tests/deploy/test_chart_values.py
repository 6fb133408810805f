"""The chart's values: what its schema lets pass, Kubernetes takes; and what it scales by."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from rendered_chart import SCHEMA, Values, invalid, of_kind, render
from resolved_compose import ROOT
from test_monitoring import program

ASCII = st.characters(min_codepoint=32, max_codepoint=126)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema, as far as it uses what ours does."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values_of(each) for each in schema["anyOf"]])
    kind = schema["type"]
    if isinstance(kind, list):
        return st.one_of([values_of({**schema, "type": each}) for each in kind])
    if kind == "boolean":
        return st.booleans()
    if kind == "number":
        return st.floats(0.001, schema["maximum"], allow_nan=False)
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        high = schema.get("maximum", 10**6)
        return st.integers(schema["minimum"] // step, high // step).map(lambda n: n * step)
    if kind == "string":
        longest = schema.get("maxLength", 40)
        pattern = schema.get("pattern")
        texts = st.text("ab-./_ Z9", max_size=9) if pattern is None else _texts(pattern)
        return texts.filter(lambda text: len(text) <= longest)
    if kind == "array":
        return st.lists(values_of(schema["items"]), max_size=2, unique_by=str)
    required = set(schema.get("required", ()))
    known = {name: values_of(each) for name, each in schema.get("properties", {}).items()}
    if not known:
        names = _texts(schema["propertyNames"]["pattern"]) if "propertyNames" in schema else None
        if names is None or not isinstance(schema.get("additionalProperties"), dict):
            return st.just({})
        # Kubernetes' own limit, of the name and of what stands before its slash.
        short = names.filter(lambda name: len(name) <= 60)
        least = schema.get("minProperties", 0)
        inside = values_of(schema["additionalProperties"])
        return st.dictionaries(short, inside, min_size=least, max_size=2)
    return st.fixed_dictionaries(
        {name: known[name] for name in required},
        optional={name: each for name, each in known.items() if name not in required},
    )


@cache
def _texts(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True, alphabet=ASCII)


SECTIONS = {
    name: each for name, each in SCHEMA["properties"].items()
    if name not in ("global", "defaults", "cameras")
}  # fmt: skip
NONSENSE = st.one_of(
    st.integers(-5, -1), st.just("no such thing!"), st.just([{}]), st.just({"odd": 1}), st.just(0.5)
)


@cache
def _section(name: str) -> st.SearchStrategy[Values]:
    return values_of(SECTIONS[name]).map(lambda section: {name: section})


def _complete(values: Values) -> Values:
    """Have what belongs together fit: no halves, and no least that is more than the most."""
    tls = values.get("tls", {})
    if tls.get("enabled") and not (tls.get("serverSecret") and tls.get("clientSecret")):
        tls["enabled"] = False
    scaling = values.get("autoscaling", {})
    least, most = scaling.get("minReplicas", 1), scaling.get("maxReplicas", 4)
    if least > most:
        scaling["minReplicas"], scaling["maxReplicas"] = most, least
    archive = values.get("archive", {})
    if not (archive.get("from") and archive.get("to")):
        archive.pop("from", None)
        archive.pop("to", None)
    return values


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from(sorted(SECTIONS)).flatmap(_section))
def test_what_fits_the_schema_is_taken_by_kubernetes(values: Values) -> None:
    usual = render()
    changed = [each for each in render(_complete(values)) if each not in usual]
    assert list(invalid(changed)) == []


def _leaves(schema: dict[str, Any], *path: str) -> list[tuple[str, ...]]:
    known = schema.get("properties", {})
    if not known:
        return [path]
    return [leaf for name, each in known.items() for leaf in _leaves(each, *path, name)]


def _at(path: tuple[str, ...]) -> dict[str, Any]:
    found = SCHEMA
    for name in path:
        found = found["properties"][name]
    return found


LEAVES = [
    path for name, each in SECTIONS.items() for path in _leaves(each, name)
    # Helm itself leaves a section as it is where no section is given in its place.
    if _at(path).get("type") != "object" and path not in {("triton", "options")}
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LEAVES), NONSENSE)
def test_nonsense_is_refused_by_its_name(path: tuple[str, ...], nonsense: object) -> None:
    # Of a share it is one.
    assume(nonsense != 0.5 or _at(path).get("type") != "number")
    values: Values = {path[-1]: nonsense}
    for name in reversed(path[:-1]):
        values = {name: values}
    with pytest.raises(Exception, match="values don't meet") as caught:
        render(values)
    assert f"at '/{'/'.join(path)}" in str(caught.value)


def keda_query(**autoscaling: str) -> str:
    manifests = render({"autoscaling": {"kind": "keda", **autoscaling}})
    (trigger,) = of_kind(manifests, "ScaledObject")["spec"]["triggers"]
    assert trigger["metricType"] == "Value"
    return str(trigger["metadata"]["query"])


def adapter_query() -> str:
    """What the page has prometheus-adapter serve, as that asks for it."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    (text,) = re.findall(r"```yaml\n(externalRules:.*?)```", page, re.DOTALL)
    (rule,) = yaml.safe_load(text)["externalRules"]
    metric = of_kind(render({"autoscaling": {"kind": "hpa"}}), "HorizontalPodAutoscaler")
    asked = metric["spec"]["metrics"][0]["external"]["metric"]
    assert rule["name"]["as"] == asked["name"]
    labels = {"namespace": "video", **asked["selector"]["matchLabels"]}
    matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
    query = rule["metricsQuery"].replace("<<.LabelMatchers>>", matchers)
    return f"avg without (service) ({query})"


@pytest.mark.parametrize("ask", [keda_query, adapter_query])
@pytest.mark.parametrize(
    ("broken", "is_right"), [(None, True), (("queue", "exec"), False), (("sum", "max"), False)]
)
def test_servers_are_added_by_what_a_request_waits(
    broken: tuple[str, str] | None, is_right: bool, ask: Callable[[], str], tmp_path: Path
) -> None:
    query = ask()
    if broken:
        assert broken[0] in query
        query = query.replace(*broken)
    rule = {"record": "waits", "expr": query}
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "keda", "rules": [rule]}]})
    )
    labels = 'model="yolov5_face",namespace="video",service="fb-triton"'
    counters = {
        # Two servers: 100 requests a second that wait 30 ms, 300 that wait 10 ms; and others' ones.
        f'nv_inference_queue_duration_us{{{labels},pod="a"}}': "0+45000000x20",
        f'nv_inference_request_success{{{labels},pod="a"}}': "0+1500x20",
        f'nv_inference_queue_duration_us{{{labels},pod="b"}}': "0+45000000x20",
        f'nv_inference_request_success{{{labels},pod="b"}}': "0+4500x20",
        f'nv_inference_exec_duration_us{{{labels},pod="b"}}': "0+1x20",
        f"nv_inference_queue_duration_us{{{labels.replace('video', 'other')}}}": "0+9e9x20",
        f"nv_inference_queue_duration_us{{{labels.replace('yolov5_face', 'other')}}}": "0+9e9x20",
    }
    test = {
        "interval": "15s",
        "input_series": [{"series": s, "values": v} for s, v in counters.items()],
        "promql_expr_test": [
            {"expr": "waits", "eval_time": "4m",
             "exp_samples": [{"labels": "waits", "value": 15_000}]},
        ],
    }  # fmt: skip
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [test]})
    )
    done = subprocess.run(
        [program("promtool"), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode == 0) is is_right, done.stdout + done.stderr
