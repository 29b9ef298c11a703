"""pier.engine.v1: the coordinator's verbs for programs and node agents. A face: it translates, it owns nothing."""

from __future__ import annotations

from chassis.server import Server
from gateway.engine import Engine
from gateway.rpc.answers import Answers
from gateway.rpc.containers import Containers
from gateway.rpc.events import Engines
from gateway.rpc.images import Images
from gateway.rpc.networks import Networks
from gateway.rpc.volumes import Volumes
from pier.engine.v1 import container_pb2_grpc, engine_pb2_grpc, image_pb2_grpc, network_pb2_grpc, volume_pb2_grpc


def add(server: Server, engine: Engine) -> None:
    """Serve the face from ``server``."""
    answers = Answers(engine.coordinator.operations)
    server.add(engine_pb2_grpc.add_EngineServiceServicer_to_server, Engines(engine), "pier.engine.v1.EngineService")
    server.add(container_pb2_grpc.add_ContainerServiceServicer_to_server, Containers(engine, answers),
               "pier.engine.v1.ContainerService")
    server.add(image_pb2_grpc.add_ImageServiceServicer_to_server, Images(engine, answers),
               "pier.engine.v1.ImageService")
    server.add(network_pb2_grpc.add_NetworkServiceServicer_to_server, Networks(engine, answers),
               "pier.engine.v1.NetworkService")
    server.add(volume_pb2_grpc.add_VolumeServiceServicer_to_server, Volumes(engine, answers),
               "pier.engine.v1.VolumeService")
