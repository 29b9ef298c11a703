"""pier.engine.v1.NetworkService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from chassis import ids
from chassis.errors import InvalidArgument
from coordinator.services import NAMESPACE
from gateway import listing, reads
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rpc import shown
from gateway.rpc.answers import Answers, made_id
from pier.engine.v1 import network_pb2 as pb
from pier.engine.v1 import network_pb2_grpc
from pier.network.v1 import network_pb2


class Networks(network_pb2_grpc.NetworkServiceServicer):
    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._services = engine.services
        self._once = answers.once

    async def CreateNetwork(self, request: pb.CreateNetworkRequest, context: Any) -> pb.CreateNetworkResponse:
        async def work() -> pb.CreateNetworkResponse:
            if request.spec.extensions:
                raise InvalidArgument("spec.extensions: not taken here", reason="BAD_FIELD", field="spec.extensions")
            spec = network_pb2.NetworkSpec()
            spec.CopyFrom(request.spec)
            spec.driver = spec.driver or "bridge"
            id_ = made_id("network", request.operation_id)
            asked = network_pb2.CreateNetworkRequest(
                id=id_, name=ids.name(request.name), owner=self._services.owner(id_), spec=spec)
            answer: network_pb2.CreateNetworkResponse = await self._services.netd.call(
                self._services.networks.CreateNetwork, asked)
            return pb.CreateNetworkResponse(network=shown.network(answer.network))

        return await self._once("CreateNetwork", request, work)

    async def GetNetwork(self, request: pb.GetNetworkRequest, context: Any) -> pb.GetNetworkResponse:
        stale_since.set(0.0)
        found = await reads.network(self._engine, request.network)
        return pb.GetNetworkResponse(
            network=shown.network(found.network), endpoints=found.endpoints, stale_since=shown.stale(),
            usage=found.usage)

    async def ListNetworks(
        self, request: pb.ListNetworksRequest, context: Any
    ) -> AsyncIterator[pb.ListNetworksResponse]:
        stale_since.set(0.0)
        for batch in shown.batches(await listing.networks(self._engine)):
            yield pb.ListNetworksResponse(networks=map(shown.network, batch), stale_since=shown.stale())

    async def RemoveNetwork(self, request: pb.RemoveNetworkRequest, context: Any) -> pb.RemoveNetworkResponse:
        async def work() -> pb.RemoveNetworkResponse:
            await self._services.netd.call(
                self._services.networks.RemoveNetwork,
                network_pb2.RemoveNetworkRequest(namespace=NAMESPACE, network=request.network))
            return pb.RemoveNetworkResponse()

        return await self._once("RemoveNetwork", request, work)

    async def ConnectContainer(self, request: pb.ConnectContainerRequest, context: Any) -> pb.ConnectContainerResponse:
        async def work() -> pb.ConnectContainerResponse:
            found = await reads.get_network(self._services, request.network)
            container = await self._engine.coordinator.get(request.container)
            await self._engine.coordinator.connect(container.id, found.network, request.spec)
            return pb.ConnectContainerResponse()

        return await self._once("ConnectContainer", request, work)

    async def DisconnectContainer(
        self, request: pb.DisconnectContainerRequest, context: Any
    ) -> pb.DisconnectContainerResponse:
        async def work() -> pb.DisconnectContainerResponse:
            found = await reads.get_network(self._services, request.network)
            container = await self._engine.coordinator.get(request.container)
            await self._engine.coordinator.disconnect(container.id, found.network)
            return pb.DisconnectContainerResponse()

        return await self._once("DisconnectContainer", request, work)
