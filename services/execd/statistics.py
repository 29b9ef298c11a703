"""What execd tells Prometheus about containers: how many are in which state, how they ended, what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import prometheus_client as client

from chassis import metrics
from execd import health
from execd.records import Records
from pier.exec.v1 import exec_pb2

EXITS: Final = client.Counter("pier_execd_exits_total", "Ends of containers' lives, by how.", ["how"])
RESTARTS: Final = client.Counter("pier_execd_restarts_total", "Lives that restart policies began.")
LOG_LOST: Final = client.Counter("pier_execd_log_lost_bytes_total", "Output that no log could take.")
LOG_UNSENT: Final = client.Counter(
    "pier_execd_log_unsent_bytes_total", "Bytes of logs that were kept here and that their destination will not get."
)
_HOW: Final = ("ok", "error", "signal", "oom", "unknown")
_STATES: Final = {
    value: name.removeprefix("CONTAINER_STATE_").lower()
    for name, value in exec_pb2.ContainerState.items() if value != exec_pb2.CONTAINER_STATE_UNSPECIFIED
}


def publish(records: Records, failing_destinations: Callable[[], int]) -> None:
    """Have the gauges read at each scrape; every label is there from the first one on."""
    for how in _HOW:
        EXITS.labels(how)
    metrics.gauges("pier_execd_containers", "Containers, by their state.", "state", lambda: _states(records))
    metrics.gauge("pier_execd_unhealthy_containers", "Running containers that their health check finds unhealthy.",
                  lambda: _unhealthy(records))
    metrics.gauge("pier_execd_log_destinations_failing", "Destinations of logs that take nothing now.",
                  failing_destinations)


def how(exit_: exec_pb2.Exit) -> str:
    """One of the words by which ends are counted."""
    if not exit_.HasField("code"):
        return "unknown"
    if exit_.oom_killed:
        return "oom"
    if exit_.signal:
        return "signal"
    return "error" if exit_.code else "ok"


def _states(records: Records) -> dict[str, int]:
    # On the scrape's thread: a copy, since the loop goes on changing the records.
    counts = Counter(_STATES[entry.state] for entry in records)
    return {name: counts[name] for name in _STATES.values()}


def _unhealthy(records: Records) -> int:
    return sum(
        1 for entry in records
        if entry.is_running() and entry.container.status.health.status == health.UNHEALTHY
    )
