"""What the gateway can be told."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import Settings, option


@dataclass(frozen=True)
class GatewaySettings(Settings):
    listen: tuple[str, ...] = option(
        (), "further addresses of the Engine API, tcp://ADDRESS:PORT; without tls_* on loopback alone")
    tls_ca: str = option("", "PEM file of the authority whose certificates clients on TCP must show")
    tls_cert: str = option("", "PEM file of the Engine API's own certificate")
    tls_key: str = option("", "PEM file of its key")
    read_timeout: float = option(0.3, "seconds that a read waits for its owner before the last known answer is given")
