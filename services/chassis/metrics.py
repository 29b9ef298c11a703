"""Prometheus metrics that every service has, and the loopback port where they are scraped.

Names follow Prometheus' conventions (base units, `_total`, `_seconds`). Labels are bounded sets: methods, stages,
codes; never an id. Python's and the process's own collectors are the client library's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from chassis.errors import Unavailable
from chassis.version import VERSION

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

RPC_SECONDS: Final = Histogram(
    "pier_rpc_duration_seconds", "Time from a gRPC call's arrival to its end.", ["method", "code"], buckets=_FAST
)
RPC_IN_FLIGHT: Final = Gauge("pier_rpc_in_flight", "gRPC calls being served.", ["method"])
STAGE_SECONDS: Final = Histogram(
    "pier_stage_duration_seconds", "Time that a stage of an operation took.", ["stage", "outcome"], buckets=_FAST
)
OPERATIONS: Final = Gauge("pier_operations_in_flight", "Operations that the service owns and has not finished.")
POOL_QUEUE: Final = Gauge("pier_pool_queue_depth", "Blocking calls waiting for a thread.", ["pool"])
POOL_BUSY: Final = Gauge("pier_pool_busy_threads", "Threads at work on a blocking call.", ["pool"])
STORE_COMMITS: Final = Counter("pier_store_commits_total", "Durable transactions of the service's database.")
LOG_LINES_LOST: Final = Counter("pier_log_lines_lost_total", "Lines of the service's log that could not be written.")
EVENTS_APPENDED: Final = Counter("pier_events_appended_total", "Events made durable.", ["type"])
_BUILD: Final = Gauge("pier_build_info", "Always 1; the labels say what runs.", ["service", "version", "instance"])


class _Gauges(Collector):
    """Gauges whose values are asked for at scrape time."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[str, Callable[[], float]]] = {}

    def collect(self) -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily(name, text, value=read()) for name, (text, read) in self.sources.items()]


_gauges = _Gauges()
REGISTRY.register(_gauges)


def gauge(name: str, text: str, read: Callable[[], float]) -> None:
    """A gauge ``name`` whose value is ``read()`` at each scrape, on the scrape's thread: keep it pure."""
    _gauges.sources[name] = (text, read)


class _Labelled(Collector):
    """Values by one label that are asked for at scrape time."""

    def __init__(self, family: type[CounterMetricFamily | GaugeMetricFamily]) -> None:
        self._family = family
        self.sources: dict[str, tuple[str, str, Callable[[], Mapping[str, int]]]] = {}

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        found = []
        for name, (text, label, read) in self.sources.items():
            family = self._family(name, text, labels=[label])
            for value, count in read().items():
                family.add_metric([value], count)
            found.append(family)
        return found


_counters, _labelled_gauges = _Labelled(CounterMetricFamily), _Labelled(GaugeMetricFamily)
REGISTRY.register(_counters)
REGISTRY.register(_labelled_gauges)


def counter(name: str, text: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
    """A counter ``name`` whose values, by ``label``, are ``read()`` at each scrape, on the scrape's thread."""
    _counters.sources[name] = (text, label, read)


def gauges(name: str, text: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
    """The same for gauges."""
    _labelled_gauges.sources[name] = (text, label, read)


def serve(service: str, instance: str, port: int) -> None:
    """Answer /metrics on 127.0.0.1:``port``; 0 serves nothing. Unavailable where the port is taken."""
    _BUILD.labels(service, VERSION, instance).set(1)
    if port == 0:
        return
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise Unavailable(
            f"metrics port 127.0.0.1:{port}: {error.strerror}", reason="PORT_TAKEN", field="metrics_port",
            expected="a free TCP port, or 0 for none",
        ) from error
