"""Rules of health checks, which are Docker's.

The first probe comes an interval after the start; a success makes the container healthy, ``retries`` failures in a row
make it unhealthy; failures within the start period do not count before the first success.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration

from pier.exec.v1 import exec_pb2

STARTING: Final = "starting"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
_KEPT: Final = 5
_INTERVAL: Final = 30.0
_TIMEOUT: Final = 30.0
_START_INTERVAL: Final = 5.0
_RETRIES: Final = 3
_SECOND: Final = 10**9


def is_checked(spec: exec_pb2.ContainerSpec) -> bool:
    """Whether there is a check to run."""
    return bool(spec.health_check.test) and spec.health_check.test[0] != b"NONE"


def judged(
    health: exec_pb2.Health, check: exec_pb2.HealthCheck, probe: exec_pb2.Probe, since_start: float
) -> exec_pb2.Health:
    """The health after ``probe``, which ended ``since_start`` seconds after the container's start."""
    after = exec_pb2.Health(status=health.status or STARTING, failing_streak=health.failing_streak)
    after.probes.extend([*health.probes, probe][-_KEPT:])
    if probe.exit_code == 0:
        after.status, after.failing_streak = HEALTHY, 0
    elif after.status != STARTING or since_start >= _seconds(check.start_period, 0.0):
        after.failing_streak += 1
        if after.failing_streak >= (check.retries or _RETRIES):
            after.status = UNHEALTHY
    return after


def pause(health: exec_pb2.Health, check: exec_pb2.HealthCheck, since_start: float) -> float:
    """Seconds until the next probe."""
    if health.status == STARTING and since_start < _seconds(check.start_period, 0.0):
        return _seconds(check.start_interval, _START_INTERVAL)
    return _seconds(check.interval, _INTERVAL)


def timeout(check: exec_pb2.HealthCheck) -> float:
    """Seconds that a probe has."""
    return _seconds(check.timeout, _TIMEOUT)


def _seconds(duration: Duration, default: float) -> float:
    nanoseconds = duration.ToNanoseconds()
    return nanoseconds / _SECOND if nanoseconds else default
