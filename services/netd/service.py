"""NetworkService: each rpc checks the ids, takes its place, and calls the noun."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from chassis import ids
from chassis.blocking import Pool as Threads
from chassis.errors import InvalidArgument, NotFound
from chassis.events import EventLog
from chassis.locks import NamedLocks
from chassis.operations import Operations
from chassis.store import Store
from netd import explain, files, messages, records, requests
from netd.dns import served
from netd.endpoints import Endpoints
from netd.fsck import Fsck
from netd.gate import Gate
from netd.live_ports import LivePorts
from netd.networks import Networks
from netd.records import Endpoint, Network, Sandbox, View
from netd.sandboxes import Sandboxes
from pier.network.v1 import network_pb2, network_pb2_grpc
from pier.system.v1 import system_pb2

T = TypeVar("T")
R = TypeVar("R", Network, Sandbox)
_PAGE: Final = 500
_NETWORKS: Final = "networks"


class NetworkService(network_pb2_grpc.NetworkServiceServicer):
    """pier.network.v1.NetworkService."""

    def __init__(
        self, store: Store, events: EventLog, operations: Operations, threads: Threads, networks: Networks,
        sandboxes: Sandboxes, endpoints: Endpoints, live_ports: LivePorts, fsck: Fsck,
    ) -> None:
        self._store = store
        self._events = events
        self._operations = operations
        self._threads = threads
        self._networks = networks
        self._sandboxes = sandboxes
        self._endpoints = endpoints
        self._live_ports = live_ports
        self._fsck = fsck
        self._locks = NamedLocks()
        self._gate = Gate()

    async def fsck(self, repair: bool) -> list[system_pb2.Finding]:
        """SystemService.Fsck: alone, since a verb half done is no difference."""
        async with self._gate.exclusive():
            return await self._fsck.check(repair)

    async def CreateNetwork(
        self, request: network_pb2.CreateNetworkRequest, context: Any
    ) -> network_pb2.CreateNetworkResponse:
        network = await self._do("create_network", request.id, request, [_NETWORKS],
                                 lambda: self._networks.create(request))
        return network_pb2.CreateNetworkResponse(network=messages.network(network, await self._count(network)))

    async def GetNetwork(self, request: network_pb2.GetNetworkRequest, context: Any) -> network_pb2.GetNetworkResponse:
        network = await self._networks.find(_namespace(request.namespace), request.network)
        endpoints = await self._store.read(lambda c: records.endpoints(c, network_id=network.id))
        return network_pb2.GetNetworkResponse(
            network=messages.network(network, len(endpoints)),
            endpoints=[messages.endpoint(endpoint, network) for endpoint in endpoints],
            usage=map(messages.usage, self._networks.usage(network)),
        )

    async def ListNetworks(
        self, request: network_pb2.ListNetworksRequest, context: Any
    ) -> network_pb2.ListNetworksResponse:
        namespace = _namespace(request.namespace)
        found, counts = await self._store.read(lambda c: (records.networks(c), records.endpoint_counts(c)))
        visible = [network for network in found if network.predefined or network.namespace == namespace]
        page, token = _page(visible, request.page_size, request.page_token)
        return network_pb2.ListNetworksResponse(
            networks=[messages.network(network, counts.get(network.id, 0)) for network in page], next_page_token=token
        )

    async def RemoveNetwork(
        self, request: network_pb2.RemoveNetworkRequest, context: Any
    ) -> network_pb2.RemoveNetworkResponse:
        namespace = _namespace(request.namespace)
        requests.network_name(request.network, "network")
        await self._do("remove_network", f"{namespace}/{request.network}", request, [_NETWORKS],
                       lambda: self._networks.remove(namespace, request.network))
        return network_pb2.RemoveNetworkResponse()

    async def CreateSandbox(
        self, request: network_pb2.CreateSandboxRequest, context: Any
    ) -> network_pb2.CreateSandboxResponse:
        requests.sandbox(request)
        view = await self._do("create_sandbox", request.id, request, [request.id],
                              lambda: self._endpoints.create_sandbox(request))
        return network_pb2.CreateSandboxResponse(
            sandbox=self._describe(view), files=await self._files(view),
            stale_files=await self._endpoints.linked.naming(view),
        )

    async def GetSandbox(self, request: network_pb2.GetSandboxRequest, context: Any) -> network_pb2.GetSandboxResponse:
        id_ = ids.sandbox_id(request.id, "id")
        return network_pb2.GetSandboxResponse(sandbox=self._describe(await self._sandboxes.view(id_)))

    async def ListSandboxes(
        self, request: network_pb2.ListSandboxesRequest, context: Any
    ) -> network_pb2.ListSandboxesResponse:
        ids.owned_by(request)
        found, endpoints, networks = await self._store.read(
            lambda c: (records.sandboxes(c), records.endpoints(c), records.networks(c))
        )
        found = [
            sandbox for sandbox in found
            if request.manager in ("", sandbox.owner.manager) and request.namespace in ("", sandbox.owner.namespace)
        ]
        page, token = _page(found, request.page_size, request.page_token)
        by_sandbox: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_sandbox.setdefault(endpoint.sandbox_id, []).append(endpoint)
        by_id = {network.id: network for network in networks}
        return network_pb2.ListSandboxesResponse(
            sandboxes=[
                messages.sandbox(sandbox, by_sandbox.get(sandbox.id, []), by_id, self._sandboxes.directory)
                for sandbox in page
            ],
            next_page_token=token,
        )

    async def RemoveSandbox(
        self, request: network_pb2.RemoveSandboxRequest, context: Any
    ) -> network_pb2.RemoveSandboxResponse:
        ids.sandbox_id(request.id, "id")

        async def work() -> None:
            try:
                await self._endpoints.remove_sandbox(request.id)
            except NotFound:
                return

        await self._do("remove_sandbox", request.id, request, [request.id], work)
        return network_pb2.RemoveSandboxResponse()

    async def Attach(self, request: network_pb2.AttachRequest, context: Any) -> network_pb2.AttachResponse:
        ids.sandbox_id(request.sandbox_id)
        endpoint, network = await self._do(
            "attach", f"{request.sandbox_id}/{request.attachment.network}", request, [request.sandbox_id],
            lambda: self._endpoints.attach(request.sandbox_id, request.attachment),
        )
        stale = await self._stale(request.sandbox_id)
        return network_pb2.AttachResponse(endpoint=messages.endpoint(endpoint, network), stale_files=stale)

    async def Detach(self, request: network_pb2.DetachRequest, context: Any) -> network_pb2.DetachResponse:
        ids.sandbox_id(request.sandbox_id)
        requests.network_name(request.network, "network")

        async def work() -> list[str]:
            try:
                await self._endpoints.detach(request.sandbox_id, request.network)
                return await self._stale(request.sandbox_id)
            except NotFound:
                return []

        stale = await self._do("detach", f"{request.sandbox_id}/{request.network}", request, [request.sandbox_id], work)
        return network_pb2.DetachResponse(stale_files=stale)

    async def SetPorts(self, request: network_pb2.SetPortsRequest, context: Any) -> network_pb2.SetPortsResponse:
        ids.sandbox_id(request.sandbox_id)
        endpoint, network = await self._do("set_ports", f"{request.sandbox_id}/{request.network}", request,
                                           [request.sandbox_id], lambda: self._live_ports.set(request))
        return network_pb2.SetPortsResponse(endpoint=messages.endpoint(endpoint, network))

    async def SetNames(self, request: network_pb2.SetNamesRequest, context: Any) -> network_pb2.SetNamesResponse:
        ids.sandbox_id(request.sandbox_id)
        await self._do("set_names", request.sandbox_id, request, [request.sandbox_id],
                       lambda: self._endpoints.set_names(request.sandbox_id, request.names))
        return network_pb2.SetNamesResponse(stale_files=await self._stale(request.sandbox_id))

    async def ExplainPort(
        self, request: network_pb2.ExplainPortRequest, context: Any
    ) -> network_pb2.ExplainPortResponse:
        view = await self._sandboxes.view(request.sandbox_id)
        table = self._endpoints.table_name
        found = await self._threads.run(
            explain.of_port, view, request.container_port, request.protocol or "tcp", table)
        return network_pb2.ExplainPortResponse(explanations=found)

    async def RenderFiles(
        self, request: network_pb2.RenderFilesRequest, context: Any
    ) -> network_pb2.RenderFilesResponse:
        view = await self._sandboxes.view(request.sandbox_id)
        return network_pb2.RenderFilesResponse(files=await self._files(view))

    async def Events(
        self, request: network_pb2.EventsRequest, context: Any
    ) -> AsyncIterator[network_pb2.EventsResponse]:
        async for event in self._events.stream(request.selector):
            yield network_pb2.EventsResponse(event=event)

    async def _do(
        self, verb: str, key: str, request: Message, locks: Sequence[str], function: Callable[[], Awaitable[T]]
    ) -> T:
        """Carry a verb out as an operation of the service, in its turn."""
        async def work() -> T:
            async with AsyncExitStack() as held:
                await held.enter_async_context(self._gate.shared())
                for name in locks:
                    await held.enter_async_context(self._locks.hold(name))
                return await function()

        fingerprint = request.SerializeToString(deterministic=True)
        return await self._operations.run(f"{verb}:{key}", fingerprint, work)

    async def _stale(self, sandbox_id: str) -> list[str]:
        """Sandboxes whose links name this one."""
        linked = self._endpoints.linked
        return await linked.naming(await self._sandboxes.view(sandbox_id)) if await linked.has_any() else []

    async def _count(self, network: Network) -> int:
        counts = await self._store.read(records.endpoint_counts)
        return counts.get(network.id, 0)

    async def _files(self, view: View) -> network_pb2.NameFiles:
        host = await self._threads.run(files.host_names)
        addresses = [address.ip for endpoint in view.endpoints for address in endpoint.addresses]
        named = served(view) is not None
        lines = await self._endpoints.linked.lines(view)
        return files.render(view.sandbox.request, addresses, view.pick("bridge").host_gateway, host, named, lines)

    def _describe(self, view: View) -> network_pb2.Sandbox:
        return messages.sandbox(view.sandbox, view.endpoints, view.networks, self._sandboxes.directory)


def _namespace(value: str) -> str:
    return ids.namespace(value) if value else ""


def _page(found: Sequence[R], size: int, token: str) -> tuple[Sequence[R], str]:
    """The page after the id ``token``, in the order of ids, and the token of the next; "" at the end."""
    if token and not all(digit in "0123456789abcdef" for digit in token):
        raise InvalidArgument("page_token is none of this listing's", field="page_token", expected="next_page_token")
    rest = sorted((item for item in found if item.id > token), key=lambda item: item.id)
    page = rest[:size or _PAGE]
    return page, page[-1].id if len(rest) > len(page) else ""
