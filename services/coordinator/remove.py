"""Remove: no start any more, then what belonged to it, then the record."""

from __future__ import annotations

from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from coordinator import image_mounts, volumes
from coordinator.create import drop_snapshot
from coordinator.plans import plan_of
from coordinator.saga import teardown
from coordinator.services import Services
from coordinator.start import drop_sandbox
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2


async def remove(services: Services, id_: str, *, force: bool, with_volumes: bool = False) -> None:
    """Remove container ``id_``. Conflict (RUNNING) without ``force``; NotFound where it is gone.

    ``with_volumes``: those that were made for it alone go too, as they do where it was to be removed at its end.

    Goes on after an error of one owner and raises all of them; the record then stays REMOVING, and the reconciler
    tries again.
    """
    async with stage("remove.begin", container=id_):
        begun: exec_pb2.BeginRemoveResponse = await services.execd.call(
            services.containers.BeginRemove, exec_pb2.BeginRemoveRequest(id=id_, force=force)
        )
    plan = _plan(begun.container)
    await teardown(
        [
            ("remove.network", lambda: drop_sandbox(services, id_)),
            ("remove.rootfs", lambda: drop_snapshot(services, id_)),
            *([("remove.image_mounts", lambda: image_mounts.drop(services, id_, plan.images))] if plan.images else []),
        ]
    )
    names = volumes.own(plan) if with_volumes or begun.container.spec.auto_remove else []
    if names:
        async with stage("remove.volumes", count=len(names)):
            await volumes.remove(services, id_, names)
    async with stage("remove.finish"):
        try:
            await services.execd.call(services.containers.FinishRemove, exec_pb2.FinishRemoveRequest(id=id_))
        except NotFound:
            return


def _plan(container: exec_pb2.Container) -> engine_pb2.ContainerPlan:
    try:
        return plan_of(container)
    except InvalidArgument:  # made by another manager, without one
        return engine_pb2.ContainerPlan()
