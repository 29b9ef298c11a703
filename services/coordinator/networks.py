"""A container's networks changed while it lives: what is planned for its starts, and, where it has one, its sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf import any_pb2

from chassis.errors import Conflict, InvalidArgument, PermissionDenied, PierError
from chassis.logs import logger
from chassis.stages import stage
from coordinator import links
from coordinator.plans import PLAN, plan_of
from coordinator.saga import Saga
from coordinator.services import NAMESPACE, Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

_RUNNING = (
    exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_PAUSED, exec_pb2.CONTAINER_STATE_RESTARTING
)
"""Those that have a sandbox: a life by the restart policy takes the one that is there."""
_ALONE: Final = {
    "host": "container cannot be disconnected from host network or connected to host network",
    "none": "container cannot be connected to multiple networks with one of the networks in private (none) mode",
}
"""What is said of joining one of these networks beside others, in Docker's words."""


async def connect(
    services: Services, container: exec_pb2.Container, network: network_pb2.Network, spec: network_pb2.EndpointSpec
) -> None:
    """Join ``container`` to ``network``: at once where it runs, and at each start. PermissionDenied where it is joined
    already, or has no networks of its own."""
    before, plan = plan_of(container), plan_of(container)
    _check_own(plan)
    if network.predefined and network.spec.driver in _ALONE:
        raise InvalidArgument(_ALONE[network.spec.driver], reason="SHARED_NETWORK", field="network")
    if any(each.network in (network.name, network.id) for each in plan.attachments):
        raise PermissionDenied(
            f"endpoint with name {container.name} already exists in network {network.name}", reason="ALREADY_ATTACHED"
        )
    attachment = network_pb2.Attachment(network=network.name, spec=spec)
    plan.attachments.append(attachment)
    running = container.status.state in _RUNNING
    publishes = network.spec.driver == "bridge" and not network.spec.internal
    stale: Sequence[str] = ()
    if running and plan.ports and publishes and not await _publishing(services, container.id):
        attachment = network_pb2.Attachment(network=network.name, spec=spec, ports=plan.ports)
    async with Saga("connect", services.unsettled) as saga:
        saga.undo("connect.undo_plan", lambda: _keep(services, container.id, before))
        async with stage("connect.plan", network=network.name):
            await _keep(services, container.id, plan)
        if running:
            async with stage("connect.attach", network=network.name):
                answer: network_pb2.AttachResponse = await services.netd.call(
                    services.networks.Attach,
                    network_pb2.AttachRequest(sandbox_id=container.id, attachment=attachment),
                )
            stale = answer.stale_files
            saga.undo("connect.undo_attach", lambda: services.netd.call(
                services.networks.Detach, network_pb2.DetachRequest(sandbox_id=container.id, network=network.id)))
            await refresh_files(services, container.id)
    await refresh_linking(services, stale)


async def disconnect(services: Services, container: exec_pb2.Container, network: network_pb2.Network) -> None:
    """Part ``container`` from ``network``. Conflict (NOT_CONNECTED)."""
    plan = plan_of(container)
    _check_own(plan)
    left = [each for each in plan.attachments if each.network not in (network.name, network.id)]
    if len(left) == len(plan.attachments):
        raise Conflict(
            f"container {container.id} is not connected to network {network.name}", reason="NOT_CONNECTED"
        )
    del plan.attachments[:]
    plan.attachments.extend(left)
    # The plan last: while it names the network, a disconnect that broke off can be asked for again.
    stale: Sequence[str] = ()
    if container.status.state in _RUNNING:
        async with stage("disconnect.detach", network=network.name):
            answer: network_pb2.DetachResponse = await services.netd.call(
                services.networks.Detach, network_pb2.DetachRequest(sandbox_id=container.id, network=network.id)
            )
        stale = answer.stale_files
        if plan.ports and not await _publishing(services, container.id):
            other = await publisher(services, plan)
            if other is not None:
                await _set_ports(services, container.id, other.network, plan.ports)
        await refresh_files(services, container.id)
    async with stage("disconnect.plan", network=network.name):
        await _keep(services, container.id, plan)
    await refresh_linking(services, stale)


async def refresh_linking(services: Services, ids: Iterable[str]) -> None:
    """The files of containers that know another one by a link, after that one came, went from the network or was
    renamed. What fails is left: their next start renders them anew."""
    for id_ in ids:
        try:
            await refresh_files(services, id_)
        except PierError as error:
            logger().warning("a linking container's files are stale", container=id_, error=error.message)


async def refresh_files(services: Services, id_: str) -> None:
    """Its /etc/hosts and /etc/resolv.conf as they are to be on the networks that it has now, and what its later execs
    are told of those that it links to."""
    async with stage("network.files", container=id_):
        found: exec_pb2.GetContainerResponse = await services.execd.call(
            services.containers.GetContainer, exec_pb2.GetContainerRequest(namespace=services.namespace, container=id_))
        env = await links.environment(services, found.container)
        rendered: network_pb2.RenderFilesResponse = await services.netd.call(
            services.networks.RenderFiles, network_pb2.RenderFilesRequest(sandbox_id=id_)
        )
        files = rendered.files
        try:
            await services.execd.call(services.containers.SetNameFiles, exec_pb2.SetNameFilesRequest(
                id=id_, hosts=files.hosts, resolv_conf=files.resolv_conf, env=env))
        except Conflict as error:
            if error.reason != "NOT_RUNNING":  # it has ended meanwhile
                raise


async def publish(
    services: Services, container: exec_pb2.Container, ports: Sequence[network_pb2.PublishedPort]
) -> list[network_pb2.PublishedPort]:
    """Publish these ports of ``container`` and no others: at once where it runs, and at each start. What is published
    then, or is to be. PermissionDenied where it has no networks of its own; Conflict (PORT_TAKEN)."""
    before, plan = plan_of(container), plan_of(container)
    _check_own(plan)
    if not plan.attachments:
        raise Conflict(f"container {container.id} is on no network", reason="NOT_CONNECTED")
    del plan.ports[:]
    plan.ports.extend(ports)
    async with Saga("publish", services.unsettled) as saga:
        saga.undo("publish.undo_plan", lambda: _keep(services, container.id, before))
        async with stage("publish.plan", count=len(ports)):
            await _keep(services, container.id, plan)
        if container.status.state not in _RUNNING:
            return list(ports)
        place = await _publishing(services, container.id)
        if not place:
            place = (await publisher(services, plan) or plan.attachments[0]).network  # netd says what is wrong with it
        return await _set_ports(services, container.id, place, ports)


async def publisher(services: Services, plan: engine_pb2.ContainerPlan) -> network_pb2.Attachment | None:
    """The attachment on which the plan's ports are published: the first to a bridge that has a way out, else None."""
    for attachment in plan.attachments:
        request = network_pb2.GetNetworkRequest(namespace=NAMESPACE, network=attachment.network)
        found: network_pb2.GetNetworkResponse = await services.netd.call(services.networks.GetNetwork, request)
        if not found.network.spec.internal and found.network.spec.driver == "bridge":
            return attachment
    return None


async def _publishing(services: Services, id_: str) -> str:
    """Id of the network on which ports of the running container are published now; "" for none."""
    found: network_pb2.GetSandboxResponse = await services.netd.call(
        services.networks.GetSandbox, network_pb2.GetSandboxRequest(id=id_))
    return next((endpoint.network_id for endpoint in found.sandbox.endpoints if endpoint.ports), "")


async def _set_ports(
    services: Services, id_: str, network: str, ports: Sequence[network_pb2.PublishedPort]
) -> list[network_pb2.PublishedPort]:
    async with stage("network.ports", network=network, count=len(ports)):
        answer: network_pb2.SetPortsResponse = await services.netd.call(
            services.networks.SetPorts,
            network_pb2.SetPortsRequest(sandbox_id=id_, network=network, ports=ports),
        )
    return list(answer.endpoint.ports)


def _check_own(plan: engine_pb2.ContainerPlan) -> None:
    if plan.network_mode.startswith("container:"):
        raise PermissionDenied(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network",
            reason="SHARED_NETWORK",
        )
    if plan.network_mode in ("host", "none"):
        raise PermissionDenied(
            f"container cannot be disconnected from {plan.network_mode} network or connected to {plan.network_mode} "
            "network", reason="SHARED_NETWORK",
        )


async def _keep(services: Services, id_: str, plan: engine_pb2.ContainerPlan) -> None:
    packed = any_pb2.Any()
    packed.Pack(plan)
    await services.execd.call(
        services.containers.SetExtension, exec_pb2.SetExtensionRequest(id=id_, key=PLAN, value=packed)
    )
