"""How endpoints of a sandbox go together: which networks, whose default route, which names and MAC addresses. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from chassis.errors import Conflict, InvalidArgument
from chassis.ids import NetworkId
from netd import drivers
from netd.bindings import WantedPort
from netd.ipam import Address, Interface
from netd.records import Endpoint, Network, View
from pier.network.v1 import network_pb2


def routes(
    endpoint: Endpoint, present: Sequence[Endpoint], networks: Mapping[NetworkId, Network]
) -> tuple[Address, ...]:
    """Gateways of the sandbox's default routes that go by the endpoint: in each IP version the endpoint with the
    highest priority gives it, then the first by network's name, internal networks aside."""
    found = []
    for version in (4, 6):
        able = []
        for each in present:
            network = networks[each.network_id]
            gateways = (network.gateway(address) for address in each.addresses if address.version == version)
            gateway = next(gateways, None)
            if gateway is not None and not network.internal:
                able.append((-each.request.spec.gateway_priority, network.name, each.id, gateway))
        if able and min(able)[2] == endpoint.id:
            found.append(min(able)[3])
    return tuple(found)


def check(
    view: View, network: Network, ports: Sequence[WantedPort], fixed: Sequence[Address | None]
) -> None:
    """Raises Conflict or InvalidArgument where the network does not go with the sandbox, its other networks, or what is
    asked of it: ``ports``, ``fixed`` addresses."""
    others = [view.networks[endpoint.network_id] for endpoint in view.endpoints]
    if (network.driver == "host") != view.sandbox.host:
        kind = "a sandbox of its own" if network.driver == "host" else "the host's network namespace"
        raise Conflict(f"network {network.name} cannot be attached to {kind}", reason="WRONG_SANDBOX", field="network")
    private = network.driver == "none" or any(other.driver == "none" for other in others)
    if private and others:
        raise Conflict("a sandbox on network none has no other network", reason="PRIVATE", field="network")
    if not drivers.has_links(network.driver) and (ports or any(fixed)):
        raise InvalidArgument(f"network {network.name} has no addresses and publishes no ports", field="ports",
                              expected="none")
    if ports and (network.internal or not drivers.of(network.driver).publishes):
        kind = "internal" if network.internal else f"of driver {network.driver}"
        raise InvalidArgument(f"network {network.name} is {kind} and publishes no ports", field="ports",
                              expected="none")


def free_interface(present: Iterable[Endpoint], network: Network) -> str:
    """The first name that no endpoint has: the network's prefix and a number."""
    taken = {endpoint.interface for endpoint in present}
    prefix = drivers.of(network.driver).prefix(network.spec)
    return next(name for number in range(len(taken) + 1) if (name := f"{prefix}{number}") not in taken)


def mac_of(spec: network_pb2.EndpointSpec, addresses: Sequence[Interface], network: Network) -> str:
    """What was asked for, else a locally administered one that the first address decides; "" where it is the parent's.
    InvalidArgument where it cannot be chosen."""
    if not addresses:
        return spec.mac
    if drivers.of(network.driver).has_parents_mac(network.spec):
        if spec.mac:
            raise InvalidArgument(f"on network {network.name} a container has the parent's MAC address",
                                  field="spec.mac", expected='""')
        return ""
    packed = addresses[0].ip.packed
    return spec.mac or "02:42:" + (packed if len(packed) == 4 else hashlib.sha256(packed).digest()[:4]).hex(":")
