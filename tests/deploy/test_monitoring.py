"""Prometheus's files and the Grafana board, on metrics that Prometheus itself scraped."""

from __future__ import annotations

import http
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendered_chart import of_kind, render
from resolved_compose import ROOT, resolve
from waiting import until

from faceblur.detection import models
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from rig.ports import free_port

FOLDER = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
BOARD = json.loads((GRAFANA / "dashboards" / "faceblur.json").read_text())

WITH_A_GPU_ALONE = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"}
"""Metrics that Triton serves where it has a GPU; their names are in its own library."""

WITH_LEASES_ALONE = {"faceblur_leases_up"}
"""Metrics of a service that shares its cameras: tests/live/sharding has them."""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: apt-get install prometheus")
    return found


def promtool(*words: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *words], cwd=folder, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


CHECKS = (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml"))


@pytest.mark.parametrize("words", CHECKS, ids=lambda words: words[2])
def test_promtool_is_content(words: tuple[str, ...]) -> None:
    done = promtool(*words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "ours", "broken", "words"),
    [
        ("prometheus.yml", "scrape_interval", "scrape_intervall", CHECKS[0]),
        ("alerts.yml", "sum by (camera) (rate(", "sum by (camera) rate((", CHECKS[0]),
        ("alerts.yml", "faceblur_detector_up == 0", "faceblur_detector_up == 1", CHECKS[1]),
        ("alerts.yml", "for: 30s", "for: 5m", CHECKS[1]),
    ],
)
def test_promtool_is_heard(
    tmp_path: Path, file: str, ours: str, broken: str, words: tuple[str, ...]
) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "prometheus")
    text = (folder / file).read_text()
    assert ours in text
    (folder / file).write_text(text.replace(ours, broken, 1))
    assert promtool(*words, folder=folder).returncode != 0


def test_every_alert_is_tried() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = {
        each["alertname"] for t in tests for each in t["alert_rule_test"] if each["exp_alerts"]
    }
    assert fired == alerts


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now.

        Raises:
            AssertionError: Prometheus cannot evaluate it.
        """
        address = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode(
            {"query": expression}
        )
        try:
            with urllib.request.urlopen(address, timeout=60) as reply:
                found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:  # it is still starting
                raise
            raise AssertionError(error.read().decode()) from error
        return found

    def names(self) -> set[str]:
        """All metrics it has."""
        with urllib.request.urlopen(
            f"http://{self.address}/api/v1/label/__name__/values", timeout=60
        ) as reply:
            return set(json.load(reply)["data"])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with our configuration, which scrapes a Triton and cameras that run."""
    folder = tmp_path_factory.mktemp("monitoring")
    command = program("prometheus")
    onnx, model = models.find(BUNDLED_MODEL)
    metrics, client, own = (f"127.0.0.1:{free_port()}" for _ in range(3))
    options = ServerOptions(
        onnx=onnx,
        model=model,
        instances=2,
        threads=1,
        metrics_port=int(metrics.split(":")[1]),
        chained=True,
    )
    with ExitStack() as running:
        triton = running.enter_context(TritonServer(options))
        cameras = folder / "cameras.yaml"
        cameras.write_text(
            f"server: {{address: '{triton.address}'}}\n"
            f"listen: {client}\n"
            "cameras:\n"
            "  door: {source: 'testpattern:?size=320x180&fps=5', sinks: ['null']}\n"
        )
        running.enter_context(
            _process([sys.executable, "-m", "faceblur", "run", str(cameras)], folder / "client")
        )
        configuration = _scraping({"triton": metrics, "faceblur": client}, folder)
        words = [
            command,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={own}",
        ]
        running.enter_context(_process(words, folder / "prometheus"))
        prometheus = Prometheus(own)
        _wait_for_frames(prometheus, folder)
        yield prometheus


def _scraping(targets: dict[str, str], folder: Path) -> Path:
    """Our configuration, but for where the targets are and how often they are asked."""
    tree = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert {job["job_name"] for job in tree["scrape_configs"]} == set(targets)
    tree["global"]["scrape_interval"] = "1s"
    tree["rule_files"] = [str(FOLDER / name) for name in tree["rule_files"]]
    tree["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": [target]}]}
        for name, target in targets.items()
    ]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


@contextmanager
def _process(words: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_frames(prometheus: Prometheus, folder: Path, timeout_s: float = 120) -> None:
    """Wait until frames were checked between two scrapes of both."""
    wanted = (
        "rate(faceblur_camera_frames_checked_total[10s]) > 0",
        'rate(nv_inference_count{model="face_postprocess"}[10s]) > 0',
    )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if all(prometheus.query(each) for each in wanted):
                return
        except OSError:
            pass
        time.sleep(0.5)
    logs = {name: (folder / name).read_text()[-2000:] for name in ("client", "prometheus")}
    pytest.fail(f"no frames in {timeout_s:g} s: {logs}")


def queries() -> list[tuple[str, str]]:
    """Title and expression of all that the board asks for."""
    return [
        (panel["title"], target["expr"])
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
    ]


def metrics_in(expression: str) -> set[str]:
    """Names of metrics in an expression."""
    return set(re.findall(r"\b(?:faceblur|nv|process)_\w+|\bup\b", expression))


def silent(prometheus: Prometheus, expression: str) -> bool:
    """Whether an expression of the board gives nothing to draw."""
    asked = expression.replace("$__rate_interval", "20s").replace("$camera", ".*")
    assert "$" not in asked
    series = prometheus.query(asked)
    return not series or all(each["value"][1] == "NaN" for each in series)


def test_every_panel_has_something_to_draw(prometheus: Prometheus) -> None:
    empty: list[tuple[str, str]] = []

    def are_drawn() -> bool:
        """Where a scrape came late, it needs another."""
        empty[:] = [each for each in queries() if silent(prometheus, each[1])]
        return {name for _, e in empty for name in metrics_in(e)} <= WITH_A_GPU_ALONE

    until(are_drawn, "something to draw in each panel, but not in", seen=empty)


def test_a_misspelt_metric_draws_nothing(prometheus: Prometheus) -> None:
    expression = 'sum(rate(faceblur_camera_frame_in_total{camera=~"$camera"}[$__rate_interval]))'
    assert silent(prometheus, expression)


def test_the_chart_scales_by_what_triton_serves(prometheus: Prometheus) -> None:
    def asked(matchers: str) -> list[dict[str, Any]]:
        manifests = render({"autoscaling": {"kind": "keda", "matchers": matchers}})
        (trigger,) = of_kind(manifests, "ScaledObject")["spec"]["triggers"]
        return prometheus.query(trigger["metadata"]["query"])

    until(lambda: len(asked('job="triton"')) == 1, "how long requests wait")
    (waits,) = asked('job="triton"')
    assert 0 <= float(waits["value"][1]) < 1e6, "microseconds, where hardly anything waits"
    # KEDA leaves the number of servers as it is then.
    assert asked('job="no such job"') == []


def test_every_alert_watches_metrics_that_exist(prometheus: Prometheus) -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    names = prometheus.names()
    for group in rules["groups"]:
        for rule in group["rules"]:
            prometheus.query(rule["expr"])
            assert metrics_in(rule["expr"])
            assert metrics_in(rule["expr"]) - WITH_LEASES_ALONE <= names, rule["alert"]
    states = {"offline", "waiting"}
    found = prometheus.query('{__name__=~"faceblur_(camera|sink)_state"}')
    assert states <= {each["metric"]["state"] for each in found}


def test_the_gpus_metrics_are_known_to_triton() -> None:
    from faceblur.detection.triton.runtime import TritonRuntime

    (library,) = TritonRuntime.find().libraries[0].glob("libtritonserver*.so")
    content = library.read_bytes()
    missing = [name for name in WITH_A_GPU_ALONE if not _holds(content, name.encode())]
    assert missing == []
    assert not _holds(content, b"nv_gpu_temperature_celsius")


def _holds(content: bytes, text: bytes) -> bool:
    # A compiler may keep a text as numbers of eight bytes within the code.
    parts = [text[i : i + 8] for i in range(0, len(text) - len(text) % 8, 8)]
    return text in content or all(part in content for part in parts)


def test_the_board_is_found_and_asks_the_right_prometheus() -> None:
    mounts = {m["target"]: Path(m["source"]) for m in resolve("monitoring")["grafana"]["volumes"]
              if m["type"] == "bind"}  # fmt: skip
    provisioning = mounts["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "faceblur.yml").read_text())[
        "providers"
    ]
    assert mounts[provider["options"]["path"]] == GRAFANA / "dashboards"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    host = urllib.parse.urlsplit(source["url"])
    assert (host.hostname, host.port) == ("prometheus", 9090)
    used = [t["datasource"]["uid"] for p in BOARD["panels"] for t in p.get("targets", [])]
    assert set(used) == {source["uid"]}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_prometheus_asks_every_triton_of_that_name() -> None:
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    }
    services = resolve("gpu", "monitoring")
    (found,) = jobs["triton"]["dns_sd_configs"]
    assert found["names"] == services["triton"]["networks"]["serving"]["aliases"]
    assert f"--metrics-port={found['port']}" in services["triton"]["command"]
    assert "serving" in services["prometheus"]["networks"]
    ((target,),) = (config["targets"] for config in jobs["faceblur"]["static_configs"])
    assert target == f"client:{services['client']['ports'][0]['target']}"
