"""A container's limits and restart policy changed, also while it runs.

The record is changed first, with the intent beside it that holds what was there before; then the kernel. A kill in
between leaves the intent: the kernel is then brought to what the record says, or the record back.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from typing import Any

from chassis import ids, store
from chassis.blocking import Pool
from chassis.errors import Conflict, PierError
from chassis.logs import logger
from chassis.stages import stage
from execd import realtime
from execd.live_limits import LiveLimits
from execd.oci import block_io, limits, validate
from execd.places import Places
from execd.records import Entry, Note, Records
from pier.exec.v1 import exec_pb2

VERB = "update"
_GOING = (exec_pb2.CONTAINER_STATE_REMOVING, exec_pb2.CONTAINER_STATE_DEAD)
_CPU = {"nano_cpus": "Nano CPUs", "cpu_period": "CPU Period", "cpu_quota": "CPU Quota"}


class Updates:
    """UpdateContainer's work."""

    def __init__(self, records: Records, places: Places, pool: Pool) -> None:
        self._records = records
        self._places = places
        self._pool = pool

    async def update(self, request: exec_pb2.UpdateContainerRequest) -> list[str]:
        """Warnings. Conflict (CONTRADICTION, LIMIT_REFUSED), InvalidArgument; then nothing has changed."""
        entry = self._records.need(request.id)
        for key in request.extensions:
            ids.key(key, "extensions")
        async with entry.lock:
            if entry.state in _GOING:
                raise Conflict(f"Cannot update container {entry.id}: container is marked for removal and cannot be "
                               '"update"', reason="REMOVING", field="id")
            before = entry.container.spec
            spec = exec_pb2.ContainerSpec()
            spec.CopyFrom(before)
            merge(spec.resources, request.resources)
            block_io.replace(spec.block_io, request.block_io, request.block_io_lists)
            block_io.check(spec.block_io, "block_io")
            if request.HasField("restart_policy"):
                validate.restart_policy(request.restart_policy, "restart_policy")
                if spec.auto_remove and request.restart_policy.name not in ("", "no"):
                    raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container",
                                   reason="CONTRADICTION", field="restart_policy")
                spec.restart_policy.CopyFrom(request.restart_policy)
            warnings = limits.check(spec.resources, "resources")
            kept = exec_pb2.Container(spec=before, extensions=entry.container.extensions)
            await self._record(entry, spec, request, kept)
            try:
                await self._apply(entry, before)
            except BaseException:
                await self._take_back(entry, kept)
                raise
            await self._records.change(entry, "update.record", _unchanged, [Note("update")], also=_finish(entry.id))
        return warnings

    async def settle(self, entry: Entry, body: bytes) -> None:
        """After a kill in the middle: the kernel as the record says, or else the record as it was."""
        kept = exec_pb2.Container.FromString(body)
        async with entry.lock:
            try:
                await self._apply(entry, kept.spec, anew=True)
            except PierError as error:
                logger().warning("an update was undone", container=entry.id, error=error.message)
                await self._take_back(entry, kept)
            else:
                await self._records.change(entry, "update.record", _unchanged, [Note("update")],
                                           also=_finish(entry.id))

    async def _record(
        self, entry: Entry, spec: exec_pb2.ContainerSpec, request: exec_pb2.UpdateContainerRequest,
        kept: exec_pb2.Container,
    ) -> None:
        body = kept.SerializeToString()

        def edit(container: exec_pb2.Container) -> None:
            container.spec.CopyFrom(spec)
            for key, value in request.extensions.items():
                container.extensions[key].CopyFrom(value)

        await self._records.change(entry, "update.record_intent", edit, also=lambda connection: store.begin(
            connection, f"{VERB}:{entry.id}", VERB, body))

    async def _apply(self, entry: Entry, before: exec_pb2.ContainerSpec, *, anew: bool = False) -> None:
        """``anew``: how much of it was done is not known, so all of it is done."""
        if not entry.is_running():
            return
        async with stage("update.limits"):
            devices = anew or before.block_io != entry.container.spec.block_io
            old, new = [await self._pool.run(_limits, spec, devices) for spec in (before, entry.container.spec)]
            asked, cgroup = entry.container.spec.resources, self._places.cgroup(entry.container)
            await self._pool.run(realtime.reserve, cgroup, asked.cpu_rt_period, asked.cpu_rt_runtime)
            kernel = await self._pool.run(LiveLimits, cgroup)
            await self._pool.run(lambda: kernel.change(old, new, every=anew))

    async def _take_back(self, entry: Entry, kept: exec_pb2.Container) -> None:
        def edit(container: exec_pb2.Container) -> None:
            container.spec.CopyFrom(kept.spec)
            for key in kept.extensions:
                container.extensions[key].CopyFrom(kept.extensions[key])

        await self._records.change(entry, "update.undo", edit, also=_finish(entry.id))


def _limits(spec: exec_pb2.ContainerSpec, devices: bool) -> dict[str, Any]:
    """OCI's ``linux.resources``, without the rules of devices, and with the limits of single ``devices`` where those
    count: one may be gone. Blocks."""
    document = limits.linux_resources(spec.resources)
    by_device = block_io.of(spec.block_io) if devices else {}
    return {**document, "blockIO": {**document.get("blockIO", {}), **by_device}}


def merge(resources: exec_pb2.Resources, given: exec_pb2.Resources) -> None:
    """Take what is given. Conflict where it contradicts what was set before, in Docker's words."""
    for (name, words), (other, others_words) in itertools.permutations(_CPU.items(), 2):
        if "nano_cpus" in (name, other) and getattr(given, name) and getattr(resources, other):
            raise Conflict(f"Conflicting options: {words} cannot be updated as {others_words} has already been set",
                           reason="CONTRADICTION", field=f"resources.{name}")
    if given.memory and not given.memory_swap and 0 < resources.memory_swap < given.memory:
        raise Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
                       "same time", reason="CONTRADICTION", field="resources.memory")
    resources.MergeFrom(given)


def _unchanged(_container: exec_pb2.Container) -> None:
    return


def _finish(container: str) -> Callable[[sqlite3.Connection], None]:
    return lambda connection: store.finish(connection, f"{VERB}:{container}")
