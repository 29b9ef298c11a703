"""What a face acts through: the clients, the coordinator's verbs, the reads."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.blocking import Pool
from chassis.service import Runtime
from coordinator.coordinator import Coordinator
from coordinator.services import Services
from gateway.projection import Projection
from gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Engine:
    """One per process; handed to every handler as ``call.engine``. ``files``: threads for what touches the disk."""

    runtime: Runtime[GatewaySettings]
    services: Services
    coordinator: Coordinator
    projection: Projection
    files: Pool
