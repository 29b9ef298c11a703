"""Start: a sandbox with its networks, then the process in it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from chassis.errors import Conflict, NotFound, NotModified, PierError
from chassis.stages import stage
from coordinator import links
from coordinator.names import names_of
from coordinator.networks import publisher, refresh_linking
from coordinator.plans import plan_of
from coordinator.saga import Saga
from coordinator.services import Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

START_TIMEOUT = 60.0
"""Seconds for one start: a runtime on a loaded machine takes its time."""
MARK: Final = b"/.dockerenv"
"""What Docker puts into each root file system, and programs look for."""

_RUNNING = (exec_pb2.CONTAINER_STATE_RUNNING, exec_pb2.CONTAINER_STATE_RESTARTING)


async def start(
    services: Services, container: exec_pb2.Container, secret_env: Sequence[bytes] = ()
) -> exec_pb2.Container:
    """Start ``container``. NotModified where it runs; PORT_TAKEN and the runtime's refusals are the owners' errors.
    ``secret_env`` ("NAME=value") is its process's, and written down nowhere."""
    if container.status.state in _RUNNING:
        raise NotModified(f"container {container.id} is running")
    if container.status.state == exec_pb2.CONTAINER_STATE_PAUSED:
        raise Conflict("cannot start a paused container, try unpause instead", reason="PAUSED")
    plan = plan_of(container)
    request = exec_pb2.StartContainerRequest(
        id=container.id, operation_id=secrets.token_hex(8), marks=[MARK], secret_env=secret_env)
    linking: Sequence[str] = ()
    async with Saga("start", services.unsettled) as saga:
        try:
            if plan.network_mode.startswith("container:"):
                await _join(services, plan.network_mode.partition(":")[2], request)
            else:
                saga.undo("start.undo_network", lambda: _undo_network(services, container.id))
                linking = await _connect(services, container, plan, request)
        except PierError as error:
            await _tell(services, container.id, error)
            raise
        async with stage("start.run", container=container.id):
            answer: exec_pb2.StartContainerResponse = await services.execd.call(
                services.containers.StartContainer, request, timeout=START_TIMEOUT
            )
    await refresh_linking(services, linking)
    return answer.container


async def _tell(services: Services, id_: str, error: PierError) -> None:
    """Let the container's record say why it has no network; what fails at execd it says itself."""
    request = exec_pb2.RecordFailureRequest(
        id=id_, message=f"failed to set up container networking: {error.message}")
    with suppress(PierError):
        async with stage("start.record_failure"):
            await services.execd.call(services.containers.RecordFailure, request)


async def _connect(
    services: Services,
    container: exec_pb2.Container,
    plan: engine_pb2.ContainerPlan,
    request: exec_pb2.StartContainerRequest,
) -> Sequence[str]:
    """Make the container's own sandbox, joined as planned, and put namespace and files into ``request``. The containers
    that know it by a link."""
    async with stage("start.network", mode=plan.network_mode):
        made: network_pb2.CreateSandboxResponse = await services.netd.call(
            services.networks.CreateSandbox,
            network_pb2.CreateSandboxRequest(
                id=container.id,
                owner=services.sandbox_owner(container.id),
                host=plan.network_mode == "host",
                hostname=container.spec.hostname or container.id[:12],
                domainname=container.spec.domainname,
                extra_hosts=plan.extra_hosts,
                dns=plan.dns,
                dns_search=plan.dns_search,
                dns_options=plan.dns_options,
                attachments=await _attachments(services, plan),
                names=names_of(container),
            ),
        )
    _use_sandbox(made.sandbox, made.files, request)
    request.env.extend(await links.environment(services, container))
    return made.stale_files


async def _attachments(services: Services, plan: engine_pb2.ContainerPlan) -> list[network_pb2.Attachment]:
    """The plan's, with its ports on the one that publishes them."""
    place = plan.attachments[0] if plan.ports and plan.attachments else None
    if len(plan.attachments) > 1 and plan.ports:
        place = await publisher(services, plan) or place  # where all are internal, netd refuses it by name
    made = []
    for attachment in plan.attachments:
        copy = network_pb2.Attachment()
        copy.CopyFrom(attachment)
        if place is not None and attachment.network == place.network:
            copy.ports.extend(plan.ports)
        made.append(copy)
    return made


async def _join(services: Services, other: str, request: exec_pb2.StartContainerRequest) -> None:
    """Share the sandbox of the running container ``other``."""
    async with stage("start.join", other=other):
        try:
            found: network_pb2.GetSandboxResponse = await services.netd.call(
                services.networks.GetSandbox, network_pb2.GetSandboxRequest(id=other)
            )
        except NotFound as error:
            raise Conflict(
                f"cannot join network of a non running container: {other}", reason="NOT_RUNNING", field="network_mode"
            ) from error
    async with stage("start.join_files"):
        rendered: network_pb2.RenderFilesResponse = await services.netd.call(
            services.networks.RenderFiles, network_pb2.RenderFilesRequest(sandbox_id=other)
        )
    _use_sandbox(found.sandbox, rendered.files, request)


def _use_sandbox(
    sandbox: network_pb2.Sandbox, files: network_pb2.NameFiles, request: exec_pb2.StartContainerRequest
) -> None:
    request.hosts, request.resolv_conf, request.hostname = files.hosts, files.resolv_conf, files.hostname
    kind = exec_pb2.NAMESPACE_KIND_NETWORK
    if sandbox.host:
        request.namespaces.append(exec_pb2.NamespaceRef(kind=kind, host=True))
    else:
        request.namespaces.append(exec_pb2.NamespaceRef(kind=kind, path=sandbox.netns_path))


async def _undo_network(services: Services, id_: str) -> None:
    """Take the network away, unless the process runs after all: an answer can be lost where the start was not.

    Where execd does not answer now, the reconciler decides later.
    """
    found: exec_pb2.GetContainerResponse = await services.execd.call(
        services.containers.GetContainer, exec_pb2.GetContainerRequest(namespace=services.namespace, container=id_)
    )
    if found.container.status.state not in _RUNNING:
        await drop_sandbox(services, id_)


async def drop_sandbox(services: Services, id_: str) -> None:
    """Release addresses, ports and the namespace; succeeds where there is none."""
    await services.netd.call(services.networks.RemoveSandbox, network_pb2.RemoveSandboxRequest(id=id_))
