"""Restart policies: which ends are followed by another life, and when.

Rules and times are Docker's: 100 ms, doubled at each restart up to a minute, from the start again after a life of 10 s.
"""

from __future__ import annotations

from typing import Final

from execd import health
from pier.exec.v1 import exec_pb2

NAMES: Final = ("", "no", "always", "unless-stopped", "on-failure")
_FIRST: Final = 0.1
_LONGEST: Final = 60.0
_LONG_LIFE: Final = 10 * 10**9


def wants_another(container: exec_pb2.Container, exit_: exec_pb2.Exit) -> bool:
    """Whether the policy follows this end with another life."""
    status, policy = container.status, container.spec.restart_policy
    if status.stopped_by_hand or container.spec.auto_remove:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    failed = not exit_.HasField("code") or exit_.code != 0 or ends_unhealthy(container)
    limit = policy.maximum_retry_count
    return policy.name == "on-failure" and failed and (not limit or status.restart_count < limit)


def ends_unhealthy(container: exec_pb2.Container) -> bool:
    """Whether its life is to end because its health check fails, so that the policy begins another."""
    return (
        container.spec.restart_unhealthy and container.spec.restart_policy.name not in ("", "no")
        and not container.status.stopped_by_hand and container.status.health.status == health.UNHEALTHY
    )


def next_pause(pause: float, lived_ns: int) -> float:
    """Seconds until the next life, after one of ``lived_ns``; ``pause`` was waited before that one, 0 for none."""
    if not pause or lived_ns >= _LONG_LIFE:
        return _FIRST
    return min(pause * 2, _LONGEST)
