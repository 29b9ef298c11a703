"""Debian's real prometheus, with the scrape configuration that deploy/ ships, finds every service and its metrics."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from chassis.instance import SERVICES, instance
from tests import tools
from tests.engine import wait_until

DEFAULT = instance()


def configuration(own):
    """deploy's configuration with the ports of instance ``own``, scraping at once."""
    text = (tools.PROJECT / "deploy" / "prometheus" / "pier.yml").read_text()
    for service in SERVICES:
        text, count = re.subn(rf"127\.0\.0\.1:{DEFAULT.metrics_port(service)}\b",
                              f"127.0.0.1:{own.metrics_port(service)}", text)
        assert count == 1, f"deploy/prometheus/pier.yml does not name {service}'s port once"
    text, count = re.subn(r"scrape_interval: \w+", "scrape_interval: 1s", text)
    assert count == 1
    return text


class Prometheus:
    """A running prometheus; ``query`` gives label sets and values."""

    def __init__(self, address):
        self._address = address

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=10) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def query(self, expression):
        url = f"http://{self._address}/api/v1/query?query={urllib.parse.quote(expression)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return {
            tuple(sorted(sample["metric"].items())): float(sample["value"][1]) for sample in document["data"]["result"]
        }

    def labels(self, expression, label):
        """Values of one label among what ``expression`` gives."""
        return {dict(labels).get(label) for labels in self.query(expression)}


@pytest.fixture
def prometheus(engine, tmp_path):
    config, log = tmp_path / "prometheus.yml", tmp_path / "log"
    config.write_text(configuration(engine.instance).replace("[rules.yml]", f"[{RULES}]"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tools.program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
             "--web.listen-address=127.0.0.1:0", "--log.format=json"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )
    try:
        found = wait_until(
            lambda: re.search(r'"address":"(127\.0\.0\.1:[1-9]\d*)"', log.read_text()), 30, "prometheus listens")
        running = Prometheus(found[1])
        wait_until(running.is_ready, 30, "prometheus has read what it keeps")
        yield running
    finally:
        process.terminate()
        process.wait()


RULES = tools.PROJECT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = json.loads((tools.PROJECT / "deploy" / "grafana" / "pier.json").read_text())
METRIC = re.compile(r"\b(?:pier|process)_[a-z_]+\b")


TABLE = re.compile(r"^\| `(pier_\w+)` \| (\w+) \| [^|]+ \| ([^|]+) \| (.+) \|$", re.MULTILINE)


def test_the_page_lists_what_the_services_tell(engine):
    """Every metric with its type, its text and who tells it."""
    told: dict[tuple[str, str, str], set[str]] = {}
    for service in SERVICES:
        with urllib.request.urlopen(f"http://127.0.0.1:{engine.instance.metrics_port(service)}/metrics") as answer:
            text = answer.read().decode()
        types = dict(re.findall(r"^# TYPE (pier_\S+) (\w+)$", text, re.MULTILINE))
        for name, meaning in re.findall(r"^# HELP (pier_\S+) (.*)$", text, re.MULTILINE):
            if not name.endswith("_created"):
                told.setdefault((name, types[name], meaning), set()).add(service)
    page = {
        (name, kind, meaning): set(SERVICES) if tellers == "all" else set(tellers.split(", "))
        for name, kind, tellers, meaning in TABLE.findall((tools.PROJECT / "docs" / "metrics.md").read_text())
    }
    assert page == told


def test_alerts_fire_where_they_should_and_only_there():
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("rules_test.yml"))]):
        done = subprocess.run([tools.program("promtool"), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_paragraph_and_its_test():
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    paragraphs = set(re.findall(r"^## (\w+)$", (tools.PROJECT / "docs" / "alerts.md").read_text(), re.MULTILINE))
    tested = set(re.findall(r"alertname: (\w+)", RULES.with_name("rules_test.yml").read_text()))
    assert alerts == paragraphs == tested
    for alert in alerts:
        assert f"runbook: docs/alerts.md#{alert.lower()}" in RULES.read_text()


def test_the_rules_and_the_dashboard_ask_for_what_there_is(engine, prometheus):
    """Every metric that a rule or a panel names is told by a real engine, and every query is one."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked = set(METRIC.findall(RULES.read_text())) | {name for text in expressions for name in METRIC.findall(text)}
    missing = None

    def told():
        nonlocal missing
        missing = {name for name in asked if not prometheus.query(name)}
        return not missing

    try:
        wait_until(told, 30)
    except AssertionError:
        raise AssertionError(f"nobody tells {missing}") from None
    for text in expressions:
        prometheus.query(text)


def test_every_service_is_scraped_and_tells_what_it_did(engine, prometheus):
    engine.ok("run", "--rm", "busybox", "true")
    wait_until(lambda: set(prometheus.query("up == 1")) == set(prometheus.query("up"))
               and len(prometheus.query("up")) == len(SERVICES), 30, "all targets are up")
    assert prometheus.labels("up", "service") == set(SERVICES)
    wait_until(lambda: prometheus.labels("pier_build_info", "service") == set(SERVICES), 30, "each says what it is")
    assert prometheus.labels("pier_build_info", "instance") != {None}
    rpcs = 'pier_rpc_duration_seconds_count{method="pier.exec.v1.ContainerService/StartContainer"}'
    wait_until(lambda: prometheus.query(rpcs), 30, "execd's rpcs")
    for name in (
        "pier_rpc_in_flight", "pier_stage_duration_seconds_bucket", "pier_pool_queue_depth",
        "pier_store_commits_total", "process_resident_memory_bytes",
    ):
        assert prometheus.labels(name, "service") >= {"imaged", "netd", "execd"}, name
    routes = prometheus.labels("pier_http_request_duration_seconds_count", "route")
    assert {"/containers/create", "/containers/{name:.*}/start"} & routes, routes
    assert prometheus.query("pier_http_requests_in_flight")
