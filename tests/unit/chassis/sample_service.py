"""A service of two rpcs for the tests of chassis: networks that are not there, and a stage around the answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chassis.config import Settings
from chassis.errors import NotFound
from chassis.service import Runtime, main
from chassis.stages import stage
from pier.network.v1 import network_pb2, network_pb2_grpc


class Networks(network_pb2_grpc.NetworkServiceServicer):
    async def GetNetwork(self, request: network_pb2.GetNetworkRequest, context: Any) -> network_pb2.GetNetworkResponse:
        async with stage("get.look", network=request.network):
            if request.network != "bridge":
                raise NotFound(f"network {request.network} not found", field="network", expected="bridge")
        return network_pb2.GetNetworkResponse(network=network_pb2.Network(name="bridge"))


@asynccontextmanager
async def build(runtime: Runtime[Settings]) -> AsyncIterator[None]:
    runtime.server.add(
        network_pb2_grpc.add_NetworkServiceServicer_to_server, Networks(),  # type: ignore[abstract]  # two of its rpcs are enough here
        "pier.network.v1.NetworkService",
    )
    yield


if __name__ == "__main__":
    main("netd", Settings, build, "a sample")
