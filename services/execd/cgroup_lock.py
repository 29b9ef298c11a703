"""The kernel's lock around moves between cgroups, warmed before it is needed.

A move takes ``cgroup_threadgroup_rwsem`` for writing. Where nobody did so lately the first taking waits for an RCU
grace period (5 to 20 ms here), those of the next 20 ms or so do not. A create and an exec are followed by moves within
milliseconds, so the wait is begun at once and beside the rest: execd moves itself to where it already is.
Source: cgroup_attach_lock in kernel/cgroup/cgroup.c, rcu_sync_enter in kernel/rcu/sync.c.
"""

from __future__ import annotations

from typing import Final

from chassis.blocking import Pool
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage, trace
from execd.shim import cgroups

_NAME: Final = "warm the cgroups' lock"


class CgroupLock:
    """Asked by whoever knows that a process will be moved soon; never waited for."""

    def __init__(self, operations: Operations, pool: Pool) -> None:
        self._operations = operations
        self._pool = pool
        self._path = next(iter(cgroups.own_places()), "")
        self._busy = False

    def warm(self) -> None:
        """Begin to take the lock, unless that is under way already."""
        if self._path and not self._busy:
            self._busy = True
            self._operations.spawn(_NAME, self._take)

    async def _take(self) -> None:
        try:
            with trace("warm"):
                async with stage("warm.cgroup_lock"):
                    await self._pool.run(cgroups.enter, [self._path])
        except OSError as error:
            self._path = ""
            logger().info("moves between cgroups cannot be prepared here", error=str(error))
        finally:
            self._busy = False
