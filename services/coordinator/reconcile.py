"""Reconcile: finish or take back what a dead coordinator left half done, found by owner.

Compares what execd, netd and imaged hold for this manager. Only this manager's things are touched, and none whose
container a verb is working on. It reads first and decides again under the container's lock, so that a verb that began
meanwhile wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from chassis.errors import NotFound, PierError
from chassis.events import timestamp
from chassis.logs import logger
from coordinator import image_mounts
from coordinator.commit import is_frozen
from coordinator.coordinator import Coordinator, is_alive
from coordinator.create import drop_snapshot
from coordinator.listing import containers, sandboxes, snapshots
from coordinator.services import Services
from coordinator.start import drop_sandbox
from pier.exec.v1 import exec_pb2
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2

INTERVAL: Final = 60.0
"""Seconds between two passes where nothing is known to be left."""
_SOONEST: Final = 0.5
_LATEST: Final = 10.0
"""Seconds until what was left is tried again: the first pause, doubled up to the last."""
_REDIAL: Final = 0.2


async def reconcile(coordinator: Coordinator) -> int:
    """One pass; how many things were finished or removed. An error of one does not keep the others."""
    services = coordinator.services
    listed = [each async for each in containers(services)]
    held = {each.id async for each in sandboxes(services)}
    keys = [each.key async for each in snapshots(services)]
    # Read last, so that what was made between the listings counts as known.
    known = {container.id for container in listed} | {each.id async for each in containers(services)}
    done = 0
    for container in listed:
        if _is_unsettled(container, held) and not coordinator.is_busy(container.id):
            done += await _tried(services, container.id, partial(coordinator.settle, container.id))
        if is_frozen(container) and not coordinator.is_busy(container.id):
            done += await _tried(services, container.id, partial(coordinator.thaw, container.id))
    boot = await _boot(services)
    for container in listed:
        if _is_owed(container, boot) and not coordinator.is_busy(container.id):
            done += await _tried(services, container.id, partial(coordinator.start, container.id))
    for id_ in sorted(held):
        if id_ not in known and not coordinator.is_busy(id_):
            done += await _tried(services, id_, partial(drop_sandbox, services, id_))
    for key in keys:
        holder = image_mounts.container_of(key)
        if holder not in known and not coordinator.is_busy(holder):
            done += await _tried(services, key, partial(drop_snapshot, services, key))
    return done


async def watch(coordinator: Coordinator) -> None:
    """For ever: act on containers' ends as they happen, and keep what is held reconciled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_reconciled(coordinator))
        group.create_task(_follow(coordinator))


async def keep_reconciled(coordinator: Coordinator) -> None:
    """For ever: a pass at the start, every minute, and soon after something was left half done."""
    unsettled = coordinator.services.unsettled
    pause = _SOONEST
    while True:
        unsettled.clear()
        try:
            if done := await reconcile(coordinator):
                logger().info("reconciled", things=done)
        except PierError as error:
            logger().warning("cannot reconcile now", reason=error.reason, error=error.message)
            unsettled.set()
        if not unsettled.is_set():
            pause = _SOONEST
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(unsettled.wait(), INTERVAL)
        if unsettled.is_set():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST)


async def _follow(coordinator: Coordinator) -> None:
    services = coordinator.services
    # From now on, not from when the stream is up: an end in between would wait for the next pass.
    selector = types_pb2.EventSelector(since=timestamp(time.time_ns()))
    while True:
        try:
            request = exec_pb2.EventsRequest(selector=selector)
            async for answer in services.execd.stream(services.containers.Events, request):
                selector = types_pb2.EventSelector(after=answer.event.cursor)
                if answer.event.action == "die" and answer.event.owner.manager == services.manager:
                    settle = partial(coordinator.settle, answer.event.id)
                    tried = partial(_tried, services, answer.event.id, settle)
                    coordinator.operations.spawn(f"settle:{answer.event.id}", tried)
        except PierError as error:
            if error.reason == "EVENTS_GAP":
                selector = types_pb2.EventSelector(since=timestamp(time.time_ns()))
                services.unsettled.set()
        await asyncio.sleep(_REDIAL)


def _is_unsettled(container: exec_pb2.Container, held: set[str]) -> bool:
    """It holds something that its state does not call for. ``held`` are the ids of sandboxes."""
    if is_alive(container):
        return False
    at_rest = container.status.state in (exec_pb2.CONTAINER_STATE_CREATED, exec_pb2.CONTAINER_STATE_EXITED)
    ended = container.status.state == exec_pb2.CONTAINER_STATE_EXITED
    return not at_rest or container.id in held or (ended and container.spec.auto_remove)


def _is_owed(container: exec_pb2.Container, boot: str) -> bool:
    """Its restart policy wants it to run again after a reboot, with which all that a start makes has gone."""
    if container.status.state != exec_pb2.CONTAINER_STATE_EXITED or container.boot_id in ("", boot):
        return False
    policy = container.spec.restart_policy.name
    return policy == "always" or (policy == "unless-stopped" and not container.status.stopped_by_hand)


async def _boot(services: Services) -> str:
    info: system_pb2.InfoResponse = await services.execd.call(
        services.system(services.execd).Info, system_pb2.InfoRequest()
    )
    return info.boot_id


async def _tried(services: Services, subject: str, work: Callable[[], Awaitable[object]]) -> int:
    """1 where ``work`` went well. What fails is told and left: another pass follows soon."""
    try:
        await work()
    except NotFound:
        return 0
    except (PierError, ExceptionGroup) as error:
        logger().warning("left for the next pass", subject=subject, error=str(error))
        services.unsettled.set()
        return 0
    return 1
