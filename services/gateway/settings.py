"""What the gateway can be told."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class GatewaySettings(Settings):
    read_timeout: float = option(0.3, "seconds that a read waits for its owner before the last known answer is given")
