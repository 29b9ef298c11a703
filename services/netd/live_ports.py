"""Published ports of an attached endpoint changed, while connections go on.

Hold the new host ports, **record**, change the table in one transaction, let go of what is gone. What was published and
is wanted again stays as it is, with the host port that it has; a host port may lead to another port of the sandbox in
the same step. Connections that stand outlive the port's removal: it is new ones that find nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from chassis.store import Store
from netd import bindings, drivers, records, requests
from netd.bindings import Place, WantedPort
from netd.endpoints import Endpoints
from netd.firewall import Firewall
from netd.records import Endpoint, Network, Sandbox
from netd.sandboxes import Sandboxes
from pier.network.v1 import network_pb2


class LivePorts:
    """SetPorts. Callers hold the sandbox's lock."""

    def __init__(self, store: Store, firewall: Firewall, sandboxes: Sandboxes, endpoints: Endpoints) -> None:
        self._store = store
        self._firewall = firewall
        self._sandboxes = sandboxes
        self._endpoints = endpoints

    async def set(self, request: network_pb2.SetPortsRequest) -> tuple[Endpoint, Network]:
        """Publish these ports and no others: all of it or nothing. NotFound where the sandbox is not attached."""
        view = await self._sandboxes.view(request.sandbox_id)
        network = view.pick(request.network)
        endpoint = next((each for each in view.endpoints if each.network_id == network.id), None)
        if endpoint is None:
            raise NotFound(f"sandbox is not attached to network {network.name}", reason="NOT_ATTACHED",
                           field="network")
        wanted = requests.ports(request.ports)
        if wanted and (not endpoint.addresses or network.internal or not drivers.of(network.driver).publishes):
            raise InvalidArgument(f"network {network.name} publishes no ports", field="ports", expected="none")
        place, ports = self._endpoints.place(network), self._endpoints.ports
        kept, added = _matched(endpoint.ports, wanted, place)
        gone = [port for port in endpoint.ports if port not in kept]
        owned = set(bindings.host_ports(gone))
        async with stage("set_ports.hold", count=len(added)):
            held = ports.reserve(endpoint.id, [bindings.groups(want, place) for want in added], owned)
        taken = {port for group in held for port in group}
        fresh = bindings.all_answered(added, place, held)
        changed = replace(endpoint, ports=(*kept, *fresh), request=_asking(endpoint.request, request.ports))
        try:
            await self._record(changed, _sandbox_asking(view.sandbox, network, request.ports))
            try:
                was, now = (bindings.published(replace(endpoint, ports=tuple(each))) for each in (gone, fresh))
                async with stage("set_ports.table", removed=len(gone), ports=bindings.told(now)):
                    await self._firewall.change(was, now)
            except BaseException:
                await self._record(endpoint, view.sandbox)
                raise
        except BaseException:
            ports.drop(endpoint.id, taken - owned)
            raise
        ports.drop(endpoint.id, owned - taken)
        return changed, network

    async def _record(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        def write(connection: sqlite3.Connection) -> None:
            records.update_endpoint(connection, endpoint)
            records.update_sandbox(connection, sandbox)

        await self._store.write("set_ports.record", write)


def _matched(
    present: Iterable[network_pb2.PublishedPort], wanted: Iterable[WantedPort], place: Place
) -> tuple[list[network_pb2.PublishedPort], list[WantedPort]]:
    """What is published already of what is wanted, and what of that is new."""
    left, kept, added = list(present), list[network_pb2.PublishedPort](), list[WantedPort]()
    for want in wanted:
        found = bindings.matching(want, place, left)
        if not found:
            added.append(want)
        for port in found:
            left.remove(port)
            kept.append(port)
    return kept, added


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
