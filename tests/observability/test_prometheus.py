"""The dashboard's queries and the alerts, on a real Prometheus that scrapes a real service."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from loadtest.common.service import free_port
from tests.conftest import wav
from tests.support.service import ROOT, Running, started, wait_until
from whisper_serve.telemetry.metrics import REPLICA_DEATHS, SERIES, Series

DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
SETTINGS = {"MODEL__ENGINE": "fake", "VAD__METHOD": "off", "SERVER__MAX_UPLOAD_MB": "2"}
NAME = re.compile(r"\bray_\w+")
REPORTED_S = 45  # Ray gathers figures every ten seconds; a rate needs them twice

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="there is no prometheus; apt-get install prometheus",
)


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "1m") for query in queries]


def rules() -> list[dict[str, Any]]:
    text = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def names_of(series: Series) -> set[str]:
    ends = ("_bucket", "_count", "_sum") if series.kind == "histogram" else ("",)
    return {series.exported + end for end in ends}


KNOWN = {name for series in SERIES.values() for name in names_of(series)}


@pytest.mark.parametrize("query", [*dashboard_queries(), *(rule["expr"] for rule in rules())])
def test_a_query_names_only_series_that_exist(query: str) -> None:
    own = {name for name in NAME.findall(query) if name.startswith("ray_whisper_serve_")}
    assert own <= KNOWN
    assert NAME.findall(query) or query.startswith("up{")


def test_every_series_is_on_the_dashboard() -> None:
    queried = set(NAME.findall(" ".join(dashboard_queries())))
    assert [series.name for series in SERIES.values() if not names_of(series) & queried] == []


@needs_prometheus
def test_promtool_accepts_the_shipped_configuration() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules())} rules found" in checked.stdout


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with started(SETTINGS) as running:
        yield running.wait_until_ready()


def traffic(service: Running) -> None:
    """Requests that produce a value of every series but REPLICA_DEATHS."""
    with service.client() as client:
        for prompt in ("", "full context", "crash", "say Subtitles by the Amara.org community"):
            for seconds in (2, 40):
                file = ("a.wav", wav(seconds))
                client.post(
                    "/transcribe", files={"audio_file": file}, data={"prompt": prompt, "language": "en"}
                )
        client.post(
            "/v1/audio/transcriptions", files={"file": ("a.wav", wav(9))}, data={"model": "whisper-1"}
        )
        assert client.post("/asr", files={"audio_file": ("a.wav", wav(70))}).status_code == 413
        client.get("/nowhere")


@pytest.fixture(scope="module")
def prometheus(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus with the shipped configuration, pointed at `service`, with shorter intervals."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("localhost:8000", service.url.removeprefix("http://")).replace(
        "interval: 15s", "interval: 2s"
    )
    text = text.replace("scrape_timeout: 10s", "scrape_timeout: 2s")
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client:
            wait_until(lambda: ready(client))
            traffic(service)
            wait_until(lambda: values(client, SERIES["dropped_segments"].exported), REPORTED_S)
            traffic(service)
            wait_until(lambda: rises(client), REPORTED_S)
            yield client
    finally:
        process.terminate()
        process.wait(20)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/status/buildinfo").is_success
    except httpx.TransportError:
        return False


def values(client: httpx.Client, query: str) -> list[float]:
    answer = client.get("/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return [float(result["value"][1]) for result in answer["data"]["result"]]


def rises(client: httpx.Client) -> bool:
    return any(rate > 0 for rate in values(client, f"rate({SERIES['dropped_segments'].exported}[1m])"))


@needs_prometheus
def test_prometheus_scrapes_the_service(prometheus: httpx.Client) -> None:
    targets = prometheus.get("/targets").json()["data"]["activeTargets"]
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]


@needs_prometheus
@pytest.mark.parametrize("query", dashboard_queries())
def test_a_panel_has_something_to_show(prometheus: httpx.Client, query: str) -> None:
    assert values(prometheus, query), query


@needs_prometheus
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_resolves_each_series_it_names(prometheus: httpx.Client, rule: dict[str, Any]) -> None:
    for name in {*NAME.findall(rule["expr"])} - {REPLICA_DEATHS.exported}:  # absent until a replica dies
        assert values(prometheus, name), name


@needs_prometheus
def test_prometheus_evaluates_the_alerts_and_an_engine_failure_raises_one(prometheus: httpx.Client) -> None:
    def firing() -> set[str]:
        return {alert["labels"]["alertname"] for alert in prometheus.get("/alerts").json()["data"]["alerts"]}

    wait_until(lambda: "EngineFails" in firing(), REPORTED_S)
    groups = prometheus.get("/rules").json()["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert firing() & {"ServiceDown", "NodeSilent", "Stalled"} == set()


@needs_prometheus
def test_ingress_and_every_replica_are_seen_at_one_address(prometheus: httpx.Client) -> None:
    assert values(prometheus, f"count({SERIES['memory_bytes'].exported}{{device='cpu'}})") == [3]


def test_provisioning_defines_the_data_source_of_the_dashboard() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((folder / "dashboards" / "whisper_serve.yml").read_text())["providers"][0]
    assert (source["type"], provider["type"]) == ("prometheus", "file")
    variable = json.loads(DASHBOARD.read_text())["templating"]["list"][0]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")


def test_panels_have_unique_titles_and_ids_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
