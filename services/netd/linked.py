"""Links of the default network: names that one sandbox alone knows another by, as lines of its /etc/hosts.

Networks that clients make answer links by DNS; the default network has none. A link's target is any name of a sandbox
on that network; it has to be there when the link is made, as Docker wants it, and is looked up anew whenever the files
are rendered. When a sandbox comes, or is called otherwise, those that link to it are to have their files rendered anew.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from chassis.errors import Conflict
from chassis.store import Store
from netd import records
from netd.ipam import Address
from netd.records import Endpoint, Network, Sandbox, View
from pier.network.v1 import network_pb2


@dataclass(frozen=True)
class Line:
    """A line of /etc/hosts for each address."""

    addresses: tuple[Address, ...]
    names: tuple[str, ...]


class LinkedNames:
    """The links of all sandboxes to others on predefined networks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._linking: set[str] | None = None
        """Sandboxes that have links, and maybe some that are gone; None until it was read."""

    async def check(self, sandbox: Sandbox, network: Network, spec: network_pb2.EndpointSpec) -> None:
        """Raises Conflict (LINK_NOT_RUNNING) where a link leads to no sandbox of the network."""
        there = await self._store.read(lambda c: _named(c, network, sandbox))
        for link in spec.links:
            target, _, alias = link.partition(":")
            if target not in there:
                raise Conflict(f"Cannot link to a non running container: {target} AS {alias}",
                               reason="LINK_NOT_RUNNING", field="spec.links")
        if self._linking is not None:
            self._linking.add(sandbox.id)

    async def lines(self, view: View) -> list[Line]:
        """What the sandbox's links stand for now."""
        endpoints = [each for each in view.endpoints if _has_links(each, view.networks[each.network_id])]
        if not endpoints:
            return []
        return await self._store.read(lambda c: [line for each in endpoints for line in _lines(c, view, each)])

    async def has_any(self) -> bool:
        """May any sandbox have links?"""
        return bool(await self._known())

    async def _known(self) -> set[str]:
        if self._linking is None:
            self._linking = await self._store.read(_linking)
        return self._linking

    async def naming(self, view: View) -> list[str]:
        """Ids of the sandboxes whose links name this one."""
        known = await self._known()
        if not known:
            return []
        found = await self._store.read(lambda c: _of(c, set(known)))
        known &= {endpoint.sandbox_id for endpoint in found}
        names = set(view.sandbox.request.names)
        return sorted({
            endpoint.sandbox_id for endpoint in found
            if any(link.partition(":")[0] in names for link in endpoint.request.spec.links)
        } - {view.sandbox.id})


def _has_links(endpoint: Endpoint, network: Network) -> bool:
    return network.predefined and bool(endpoint.request.spec.links)


def _linking(connection: sqlite3.Connection) -> set[str]:
    networks = {network.id: network for network in records.networks(connection)}
    return {e.sandbox_id for e in records.endpoints(connection) if _has_links(e, networks[e.network_id])}


def _of(connection: sqlite3.Connection, sandboxes: set[str]) -> list[Endpoint]:
    return [each for id_ in sandboxes for each in records.endpoints(connection, sandbox_id=id_)]


def _named(connection: sqlite3.Connection, network: Network, asker: Sandbox) -> dict[str, tuple[Sandbox, Endpoint]]:
    """The sandboxes on the network by each of their names."""
    there = {endpoint.sandbox_id: endpoint for endpoint in records.endpoints(connection, network_id=network.id)}
    found: dict[str, tuple[Sandbox, Endpoint]] = {}
    for sandbox in records.sandboxes(connection):
        if sandbox.id in there and sandbox.owner.namespace == asker.owner.namespace:
            found.update((name, (sandbox, there[sandbox.id])) for name in sandbox.request.names)
    return found


def _lines(connection: sqlite3.Connection, view: View, endpoint: Endpoint) -> list[Line]:
    named = _named(connection, view.networks[endpoint.network_id], view.sandbox)
    lines = []
    for link in endpoint.request.spec.links:
        target, _, alias = link.partition(":")
        if target in named:
            sandbox, other = named[target]
            name, *others = sandbox.request.names
            names = tuple(dict.fromkeys([alias or target, *others, name]))
            lines.append(Line(tuple(address.ip for address in other.addresses), names))
    return lines
