"""pier.network.v1.Network as Docker shows it, and Docker's request for one as a NetworkSpec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.rest import wire
from gateway.rest.network_spec import ATTACHABLE
from gateway.rest.versions import Version
from pier.network.v1 import network_pb2 as pb

_DEFAULT_BRIDGE: Final = {
    "com.docker.network.bridge.default_bridge": "true", "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0", "com.docker.network.driver.mtu": "1500",
}
"""How netd makes the network `bridge`, in the options that clients look for."""
_WITH_STATUS: Final = Version(1, 52)
_DRIVERS: Final = {"none": "null"}


def driver(network: pb.Network) -> str:
    """Docker's word for the network's driver."""
    return _DRIVERS.get(network.spec.driver, network.spec.driver or "bridge")


def summary(network: pb.Network) -> dict[str, Any]:
    """One entry of the list: without containers."""
    spec = network.spec
    options = dict(spec.options)
    if network.predefined and network.link:
        options |= _DEFAULT_BRIDGE | {"com.docker.network.bridge.name": network.link}
    config = [_pool(pool) for pool in spec.pools]
    return {
        "Name": network.name, "Id": network.id, "Created": wire.rfc3339(network.created_at), "Scope": "local",
        "Driver": driver(network), "EnableIPv4": not spec.HasField("enable_ipv4") or spec.enable_ipv4,
        "EnableIPv6": spec.enable_ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": config or None},
        "Internal": spec.internal, "Attachable": ATTACHABLE in spec.extensions, "Ingress": False,
        "ConfigFrom": {"Network": ""}, "ConfigOnly": False, "Containers": {}, "Options": options,
        "Labels": dict(spec.labels),
    }


def inspected(found: pb.GetNetworkResponse, containers: Mapping[str, str], version: Version) -> dict[str, Any]:
    """The answer to an inspect. ``containers`` are names by id; an endpoint of none is shown by its sandbox's id."""
    made = summary(found.network)
    made["Containers"] = {
        endpoint.sandbox_id: {
            "Name": containers.get(endpoint.sandbox_id, endpoint.sandbox_id), "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac, "IPv4Address": endpoint.ipv4, "IPv6Address": endpoint.ipv6,
        }
        for endpoint in found.endpoints
    }
    if version >= _WITH_STATUS:
        made["Status"] = {"IPAM": {"Subnets": {
            each.subnet: {"IPsInUse": each.in_use, "DynamicIPsAvailable": each.available} for each in found.usage
        }}}
    return made


def _pool(pool: pb.Pool) -> dict[str, Any]:
    made: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.range:
        made["IPRange"] = pool.range
    if pool.gateway:
        made["Gateway"] = pool.gateway
    if pool.auxiliary:
        made["AuxiliaryAddresses"] = dict(pool.auxiliary)
    return made
