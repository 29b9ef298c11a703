"""What a face acts through: the clients, the coordinator's verbs, the reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from chassis.blocking import Pool
from chassis.client import Peer
from chassis.service import Runtime
from coordinator.coordinator import Coordinator
from coordinator.services import Services
from gateway.containers import Containers
from gateway.projection import Projection
from gateway.recent import Recent
from gateway.settings import GatewaySettings
from pier.build.v1 import build_pb2_grpc


@dataclass(frozen=True)
class Engine:
    """One per process; handed to every handler as ``call.engine``. ``files``: threads for what touches the disk;
    ``buildd``: the peer that builds; ``pours``: the directory of its offers; ``listeners``: those who follow events
    now."""

    runtime: Runtime[GatewaySettings]
    services: Services
    coordinator: Coordinator
    projection: Projection
    files: Pool
    buildd: Peer
    pours: Path
    recent: Recent = field(default_factory=Recent)
    listeners: set[object] = field(default_factory=set)

    @cached_property
    def containers(self) -> Containers:
        return Containers(self.services)

    @cached_property
    def builds(self) -> build_pb2_grpc.BuildServiceAsyncStub:
        return build_pb2_grpc.BuildServiceStub(self.buildd.channel)
