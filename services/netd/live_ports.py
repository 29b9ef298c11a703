"""Published ports of an attached endpoint changed, while connections go on.

Hold the new host ports, **record**, change the table in one transaction, let go of what is gone. What was published and
is wanted again stays as it is, with the host port that it has; a host port may lead to another port of the sandbox in
the same step. Connections that stand outlive the port's removal: it is new ones that find nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from chassis.store import Store
from netd import records, requests
from netd.endpoints import Endpoints, answered, candidates, published
from netd.firewall import Firewall
from netd.ports import HostPort
from netd.records import Endpoint, Network, Sandbox
from netd.requests import WantedPort
from netd.sandboxes import Sandboxes
from pier.network.v1 import network_pb2


class LivePorts:
    """SetPorts. Callers hold the sandbox's lock."""

    def __init__(self, store: Store, firewall: Firewall, sandboxes: Sandboxes, endpoints: Endpoints) -> None:
        self._store = store
        self._firewall = firewall
        self._sandboxes = sandboxes
        self._ports = endpoints.ports

    async def set(self, request: network_pb2.SetPortsRequest) -> tuple[Endpoint, Network]:
        """Publish these ports and no others: all of it or nothing. NotFound where the sandbox is not attached."""
        view = await self._sandboxes.view(request.sandbox_id)
        network = view.pick(request.network)
        endpoint = next((each for each in view.endpoints if each.network_id == network.id), None)
        if endpoint is None:
            raise NotFound(f"sandbox is not attached to network {network.name}", reason="NOT_ATTACHED",
                           field="network")
        wanted = requests.ports(request.ports)
        if wanted and (endpoint.address is None or network.internal):
            raise InvalidArgument(f"network {network.name} publishes no ports", field="ports", expected="none")
        kept, added = _matched(endpoint.ports, wanted)
        gone = [port for port in endpoint.ports if port not in kept]
        free = {_host_port(port) for port in gone}
        moved: dict[int, HostPort] = {}
        for index, want in enumerate(added):
            found = next((port for port in candidates(want) if port in free and port not in moved.values()), None)
            if found is not None:
                moved[index] = found
        async with stage("set_ports.hold", count=len(added)):
            new = [candidates(want) for index, want in enumerate(added) if index not in moved]
            held = self._ports.reserve(endpoint.id, new)
        rest = iter(held)
        fresh = answered(added, [moved.get(index) or next(rest) for index in range(len(added))])
        changed = replace(endpoint, ports=(*kept, *fresh), request=_asking(endpoint.request, request.ports))
        try:
            await self._record(changed, _sandbox_asking(view.sandbox, network, request.ports))
            try:
                async with stage("set_ports.table", added=len(fresh), removed=len(gone)):
                    was, now = (replace(endpoint, ports=tuple(ports)) for ports in (gone, fresh))
                    await self._firewall.change(published(was), published(now))
            except BaseException:
                await self._record(endpoint, view.sandbox)
                raise
        except BaseException:
            self._ports.drop(endpoint.id, held)
            raise
        self._ports.drop(endpoint.id, free - set(moved.values()))
        return changed, network

    async def _record(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        def write(connection: sqlite3.Connection) -> None:
            records.update_endpoint(connection, endpoint)
            records.update_sandbox(connection, sandbox)

        await self._store.write("set_ports.record", write)


def _matched(
    present: Iterable[network_pb2.PublishedPort], wanted: Iterable[WantedPort]
) -> tuple[list[network_pb2.PublishedPort], list[WantedPort]]:
    """What is published already of what is wanted, and what of that is new."""
    left, kept, added = list(present), list[network_pb2.PublishedPort](), list[WantedPort]()
    for want in wanted:
        found = next((port for port in left if _is(port, want)), None)
        if found is None:
            added.append(want)
        else:
            left.remove(found)
            kept.append(found)
    return kept, added


def _is(port: network_pb2.PublishedPort, want: WantedPort) -> bool:
    return (
        (port.protocol, port.container_port, port.host_ip) == (want.protocol, want.container_port,
                                                              str(want.host_address))
        and (port.host_port in want.host_ports or 0 in want.host_ports)
    )


def _host_port(port: network_pb2.PublishedPort) -> HostPort:
    return HostPort(port.protocol, IPv4Address(port.host_ip), port.host_port)


def _asking(
    attachment: network_pb2.Attachment, ports: Sequence[network_pb2.PublishedPort]
) -> network_pb2.Attachment:
    """The attachment as if it had been asked for with these ports: the same one again then answers the same."""
    made = network_pb2.Attachment()
    made.CopyFrom(attachment)
    del made.ports[:]
    made.ports.extend(ports)
    return made


def _sandbox_asking(sandbox: Sandbox, network: Network, ports: Sequence[network_pb2.PublishedPort]) -> Sandbox:
    request = network_pb2.CreateSandboxRequest()
    request.CopyFrom(sandbox.request)
    for attachment in request.attachments:
        if attachment.network in (network.id, network.name):
            attachment.CopyFrom(_asking(attachment, ports))
    return replace(sandbox, request=request)
