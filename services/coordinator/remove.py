"""Remove: no start any more, then what belonged to it, then the record."""

from __future__ import annotations

from chassis.errors import NotFound
from chassis.stages import stage
from coordinator.create import drop_snapshot
from coordinator.saga import teardown
from coordinator.services import Services
from coordinator.start import drop_sandbox
from pier.exec.v1 import exec_pb2


async def remove(services: Services, id_: str, *, force: bool) -> None:
    """Remove container ``id_``. Conflict (RUNNING) without ``force``; NotFound where it is gone.

    Goes on after an error of one owner and raises all of them; the record then stays REMOVING, and the reconciler
    tries again.
    """
    async with stage("remove.begin", container=id_):
        await services.execd.call(
            services.containers.BeginRemove, exec_pb2.BeginRemoveRequest(id=id_, force=force)
        )
    await finish(services, id_)


async def finish(services: Services, id_: str) -> None:
    """Second half, also for what an earlier life began."""
    await teardown(
        [
            ("remove.network", lambda: drop_sandbox(services, id_)),
            ("remove.rootfs", lambda: drop_snapshot(services, id_)),
        ]
    )
    async with stage("remove.finish"):
        try:
            await services.execd.call(services.containers.FinishRemove, exec_pb2.FinishRemoveRequest(id=id_))
        except NotFound:
            return
