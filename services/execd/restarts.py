"""The next lives of containers by their restart policies.

They take the sandbox, files and root file system of the last start by hand, whose request is kept with the record:
nothing but execd is needed. While the next life is waited for the container is RESTARTING; a stop by hand ends that.
"""

from __future__ import annotations

import asyncio
import secrets

from chassis.errors import PierError
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import trace
from execd import policy, statistics
from execd.lives import RESTARTING
from execd.records import Entry
from execd.start import Starts
from execd.traces import Traces
from pier.exec.v1 import exec_pb2


class Restarts:
    """Starts the next lives. Tasks are the operations'; what they find changed under the lock counts."""

    def __init__(self, starts: Starts, operations: Operations, traces: Traces) -> None:
        self._starts = starts
        self._traces = traces
        self._operations = operations
        self._pauses: dict[str, float] = {}

    def schedule(self, entry: Entry) -> None:
        """The container is RESTARTING: its next life begins after the pause."""
        status = entry.container.status
        lived = status.finished_at.ToNanoseconds() - status.started_at.ToNanoseconds()
        waited = self._pauses.get(entry.id, 0.0) if status.restart_count else 0.0  # a start by hand begins anew
        pause = self._pauses[entry.id] = policy.next_pause(waited, lived)
        self._operations.spawn(f"restart:{entry.id}", lambda: self._again(entry, status.incarnation, pause))

    async def _again(self, entry: Entry, incarnation: int, pause: float) -> None:
        await asyncio.sleep(pause)
        with trace("restart by policy", container=entry.id, waited=f"{pause:g}s", after=why(entry.container),
                   restarts=str(entry.container.status.restart_count + 1)) as root:
            async with entry.lock:
                if entry.removed or entry.state != RESTARTING or entry.container.status.incarnation != incarnation:
                    return
                request = exec_pb2.StartContainerRequest.FromString(entry.start)
                request.operation_id = secrets.token_hex(8)
                try:
                    await self._starts.again(entry, request)
                    statistics.RESTARTS.inc()
                except PierError as error:
                    root.error = error.reason
                    logger().warning("a restart failed", container=entry.id, error=error.message)
                    if entry.state == RESTARTING:  # it was refused before it was begun: nothing else tries again
                        self.schedule(entry)
        await self._traces.keep_own(entry.id, root)


def why(container: exec_pb2.Container) -> str:
    """How its last life ended, for people: "exit 137 by the OOM killer at 512 MiB"."""
    exit_, memory = container.status.exit, container.spec.resources.memory
    if not exit_.HasField("code"):
        return "an end that nobody saw"
    told = f"exit {exit_.code}"
    if exit_.oom_killed:
        return f"{told} by the OOM killer" + (f" at {memory / (1 << 20):.4g} MiB" if memory else "")
    return f"{told} by signal {exit_.signal}" if exit_.signal else told
