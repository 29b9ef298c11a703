"""What each running container uses, told to Prometheus: read from its cgroups and its network at each scrape.

The labels are its namespace and its name: an id would begin new series with each container that takes another's place.
Who runs thousands of containers, or has cAdvisor do this, turns it off (``container_metrics``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from chassis.config import Current
from execd.places import Places
from execd.records import Records
from execd.settings import ExecdSettings
from execd.usage import Usage
from pier.exec.v1 import exec_pb2

_LABELS: Final = ("namespace", "name")
_SECOND: Final = 10**9

Sample = exec_pb2.StatsResponse


@dataclass(frozen=True)
class _Metric:
    name: str
    text: str
    family: type[CounterMetricFamily | GaugeMetricFamily]
    value: Callable[[Sample], float]


def _memory(sample: Sample) -> float:
    """Without the page cache that the kernel would give up first, as `docker stats` counts."""
    idle = sample.memory_stat.get("total_inactive_file", sample.memory_stat.get("inactive_file", 0))
    return max(sample.memory_usage - idle, 0)


def _disk(sample: Sample, operation: str) -> float:
    return sum(each.value for each in sample.block_io_bytes if each.operation == operation)


_METRICS: Final = (
    _Metric("pier_container_cpu_seconds_total", "Processor time of a running container.", CounterMetricFamily,
            lambda sample: sample.cpu_total / _SECOND),
    _Metric("pier_container_memory_bytes", "Memory of a running container, without idle page cache.", GaugeMetricFamily,
            _memory),
    _Metric("pier_container_memory_limit_bytes", "What a running container may have of memory; the machine's where it "
            "has no limit.", GaugeMetricFamily, lambda sample: sample.memory_limit),
    _Metric("pier_container_processes", "Processes and threads of a running container.", GaugeMetricFamily,
            lambda sample: sample.pids),
    _Metric("pier_container_network_receive_bytes_total", "Bytes that came to a running container's own interfaces.",
            CounterMetricFamily, lambda sample: sum(each.rx_bytes for each in sample.interfaces)),
    _Metric("pier_container_network_transmit_bytes_total", "Bytes that left by a running container's own interfaces.",
            CounterMetricFamily, lambda sample: sum(each.tx_bytes for each in sample.interfaces)),
    _Metric("pier_container_disk_read_bytes_total", "Bytes that a running container has read from block devices.",
            CounterMetricFamily, lambda sample: _disk(sample, "read")),
    _Metric("pier_container_disk_written_bytes_total", "Bytes that a running container has written to block devices.",
            CounterMetricFamily, lambda sample: _disk(sample, "write")),
)


class _Resources(Collector):
    def __init__(self, records: Records, places: Places, current: Current[ExecdSettings]) -> None:
        self._records = records
        self._places = places
        self._current = current

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """On the scrape's thread, which the files may hold up; the loop goes on."""
        samples = list(self._samples()) if self._current.settings.container_metrics else []
        for metric in _METRICS:
            family = metric.family(metric.name, metric.text, labels=_LABELS)
            for labels, sample in samples:
                family.add_metric(labels, metric.value(sample))
            yield family

    def _samples(self) -> Iterator[tuple[tuple[str, str], Sample]]:
        for entry in self._records:
            status = entry.container.status
            if entry.is_running() and status.pid:
                labels = (entry.container.owner.namespace, entry.container.name)
                yield labels, Usage(self._places.cgroup(entry.container), status.pid).read()


def publish(records: Records, places: Places, current: Current[ExecdSettings]) -> None:
    """Have them read at each scrape, as long as ``container_metrics`` says so."""
    REGISTRY.register(_Resources(records, places, current))
