"""What the owners hold for this manager, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from chassis.client import CALL_TIMEOUT
from coordinator.services import NAMESPACE, Services
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2


def containers(services: Services) -> AsyncIterator[exec_pb2.Container]:
    call = partial(services.execd.call, services.containers.ListContainers)
    return _listed(services, services.namespace, call, exec_pb2.ListContainersRequest, "containers")


async def everyones_containers(services: Services, deadline: float = CALL_TIMEOUT) -> list[exec_pb2.Container]:
    """All containers of the namespace, whoever manages them. ``deadline`` in seconds, for each page."""
    call = partial(services.execd.call, services.containers.ListContainers, timeout=deadline)
    return [each async for each in pages(call, exec_pb2.ListContainersRequest, "containers", namespace=NAMESPACE)]


def sandboxes(services: Services) -> AsyncIterator[network_pb2.Sandbox]:
    call = partial(services.netd.call, services.networks.ListSandboxes)
    return _listed(services, NAMESPACE, call, network_pb2.ListSandboxesRequest, "sandboxes")


def snapshots(services: Services) -> AsyncIterator[image_pb2.Snapshot]:
    call = partial(services.imaged.call, services.snapshots.ListSnapshots)
    return _listed(services, services.namespace, call, image_pb2.ListSnapshotsRequest, "snapshots")


def _listed(
    services: Services, namespace: str, call: Callable[[Any], Awaitable[Any]], request: Callable[..., Any], field: str
) -> AsyncIterator[Any]:
    """This manager's things."""
    return pages(call, request, field, manager=services.manager, namespace=namespace)


async def pages(
    call: Callable[[Any], Awaitable[Any]], request: Callable[..., Any], field: str, **filters: Any
) -> AsyncIterator[Any]:
    """Page after page, what ``field`` of the answers to ``call`` holds. ``filters`` are fields of each ``request``."""
    token = ""
    while True:
        page = await call(request(page_token=token, **filters))
        for each in getattr(page, field):
            yield each
        token = page.next_page_token
        if not token:
            return
