"""Probes: commands that run in a container now and then, and what they say is kept with its record.

Only a change of the verdict is an event. A probe is an exec like any other, of which nothing is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from chassis.errors import PierError
from chassis.events import timestamp
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage, trace
from execd import health, policy, sync
from execd.execs import Execs
from execd.records import Entry, Note, Records
from execd.traces import Traces
from pier.exec.v1 import exec_pb2

OUTPUT: Final = 4096
"""Bytes kept of a probe's output."""
_SECOND: Final = 10**9


class Probes:
    """Watches the containers that run."""

    def __init__(self, records: Records, execs: Execs, operations: Operations, traces: Traces) -> None:
        self._records = records
        self._traces = traces
        self._execs = execs
        self._operations = operations
        self.on_unhealthy: Callable[[Entry, int], Awaitable[None]] | None = None
        """Ends a life (its number) that is to be followed by another because a probe found it unhealthy. Where that was
        broken off, the next probe asks again."""

    def watch(self, entry: Entry) -> None:
        """The container's current life has begun, or execd is there again: probe it until it ends."""
        if health.is_checked(entry.container.spec):
            incarnation = entry.container.status.incarnation
            self._operations.spawn(f"health:{entry.id}", lambda: self._watch(entry, incarnation))

    async def _watch(self, entry: Entry, incarnation: int) -> None:
        check = entry.container.spec.health_check
        while True:
            status = entry.container.status
            if not await self._still_runs(entry, incarnation, health.pause(status.health, check, _age(status))):
                return
            if entry.state != exec_pb2.CONTAINER_STATE_RUNNING:
                continue  # paused: a probe would stand still with it
            before = entry.container.status.health.status
            with trace("health", container=entry.id) as root:
                async with stage("health.probe"):
                    probe = await self._probe(entry, check)
                async with entry.lock:
                    if not _is_same(entry, incarnation):
                        return
                    await self._record(entry, check, probe)
            if (after := entry.container.status.health.status) != before:
                root.facts |= {"was": before or health.STARTING, "is": after, "exit_code": probe.exit_code}
                await self._traces.keep_own(entry.id, root)
            if self.on_unhealthy is not None and policy.ends_unhealthy(entry.container):
                await self.on_unhealthy(entry, incarnation)

    async def _still_runs(self, entry: Entry, incarnation: int, seconds: float) -> bool:
        """Wait ``seconds``, or until this life has ended."""
        deadline = time.monotonic() + seconds
        while _is_same(entry, incarnation):
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            try:
                await asyncio.wait_for(entry.changed(), left)
            except TimeoutError:
                continue
        return False

    async def _probe(self, entry: Entry, check: exec_pb2.HealthCheck) -> exec_pb2.Probe:
        probe = exec_pb2.Probe(started_at=timestamp(time.time_ns()))
        first, *words = check.test
        arguments = words if first == b"CMD" else [b"/bin/sh", b"-c", *words]
        timeout = health.timeout(check)
        try:
            ended = await sync.run(self._execs, entry.id, exec_pb2.Process(args=arguments), timeout, OUTPUT)
        except (PierError, OSError) as error:
            text = error.message if isinstance(error, PierError) else str(error)
            probe.exit_code, probe.output = -1, text.encode()[:OUTPUT]
        else:
            probe.output = (ended.stdout + ended.stderr)[:OUTPUT]
            if ended.exit is None:
                probe.exit_code = -1
                probe.output = f"Health check exceeded timeout ({timeout:g}s)".encode()
            else:
                probe.exit_code = ended.exit.code if ended.exit.HasField("code") else -1
        probe.ended_at.CopyFrom(timestamp(time.time_ns()))
        return probe

    async def _record(self, entry: Entry, check: exec_pb2.HealthCheck, probe: exec_pb2.Probe) -> None:
        status = entry.container.status
        after = health.judged(status.health, check, probe, _age(status))
        notes = []
        if after.status != (status.health.status or health.STARTING):
            notes.append(Note(f"health_status: {after.status}"))
            logger().info("health changed", container=entry.id, status=after.status)

        def edit(container: exec_pb2.Container) -> None:
            container.status.health.CopyFrom(after)

        await self._records.change(entry, "health.record", edit, notes)


def _is_same(entry: Entry, incarnation: int) -> bool:
    return not entry.removed and entry.is_running() and entry.container.status.incarnation == incarnation


def _age(status: exec_pb2.ContainerStatus) -> float:
    return (time.time_ns() - status.started_at.ToNanoseconds()) / _SECOND
