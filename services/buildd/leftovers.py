"""What an earlier life has left: its containers and sandboxes go, finished steps become records, the rest goes too.

Found by owner, so that nothing of another manager's is ever touched. All of it is listed before the first build of this
life begins; fsck's comparison is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from buildd import git, records, running, secret_files, snapshots, steps
from buildd.state import State
from chassis.errors import NotFound, PierError
from chassis.logs import logger
from coordinator.listing import containers, pages, sandboxes
from coordinator.start import drop_sandbox
from pier.image.v1 import image_pb2
from pier.system.v1 import system_pb2

_PAUSE: Final = 0.5


async def sweep(state: State) -> None:
    """Until it is done once: peers may be away at first."""
    await state.files.run(lambda: secret_files.sweep(list(state.secrets.iterdir())))
    await state.files.run(git.sweep, state)
    while True:
        try:
            await _sweep(state)
            break
        except (PierError, ExceptionGroup) as error:
            logger().warning("cannot sweep now", error=str(error))
            await asyncio.sleep(_PAUSE)
    state.swept.set()


async def _sweep(state: State) -> None:
    done = 0
    for container in [each async for each in containers(state.services)]:
        await running.remove(state, container.id)
        done += 1
    for sandbox in [each async for each in sandboxes(state.services)]:
        await drop_sandbox(state.services, sandbox.id)
        done += 1
    for record in await state.store.read(records.unfinished):
        await steps.settle(state, record.key)
        done += 1
    for key in await strays(state):
        await snapshots.drop(state, key)
        done += 1
    if done:
        logger().info("swept what an earlier life has left", things=done)


async def strays(state: State) -> list[str]:
    """Keys of snapshots that no record names."""
    known = {record.snapshot for record in await state.store.read(records.everything)}
    return [each.key async for each in _snapshots(state) if each.key not in known]


def _snapshots(state: State) -> AsyncIterator[image_pb2.Snapshot]:
    """This manager's, in every namespace."""
    call = partial(state.services.imaged.call, state.services.snapshots.ListSnapshots)
    return pages(call, image_pb2.ListSnapshotsRequest, "snapshots", manager=state.services.manager)


async def check(state: State, *, repair: bool) -> list[system_pb2.Finding]:
    """Records whose snapshot is gone. What a running build holds has no record yet, and is no finding."""
    there = {each.key async for each in _snapshots(state)}
    found = []
    for record in await state.store.read(records.everything):
        if not record.snapshot or record.snapshot in there or state.in_use[record.key]:
            continue
        if repair:
            await records.forget(state.store, record.key)
        found.append(system_pb2.Finding(
            reason="RECORD_WITHOUT_SNAPSHOT", subject=record.key, repaired=repair,
            message=f"what the step {record.inputs.instruction[:80]!a} has made is gone"))
    if not state.busy:
        for key in await strays(state):
            if repair:
                await _dropped(state, key)
            found.append(system_pb2.Finding(
                reason="SNAPSHOT_WITHOUT_RECORD", subject=key, repaired=repair, message="a snapshot of no build step"))
    return found


async def _dropped(state: State, key: str) -> None:
    try:
        await snapshots.drop(state, key)
    except NotFound:
        return
