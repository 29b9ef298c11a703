"""What the gateway can be told."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class GatewaySettings(Settings):
    """``listen`` are the Engine API's addresses, and ``tls_*`` count for both faces."""

    engine_listen: tuple[str, ...] = option((), "further addresses of pier.engine.v1 (gRPC), as --listen has them")
    read_timeout: float = option(
        0.3, "seconds that a read waits for its owner before the last known answer is given", live=True)
