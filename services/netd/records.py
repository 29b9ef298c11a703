"""What netd remembers: networks, sandboxes, endpoints, and their rows.

The rule of all verbs: **the record is the intent.** What is made is recorded first, whole, and then made; what is
removed is first struck from the record, and then taken down. So the database always says what should be, and one
durable commit serves a verb. Everything in the kernel carries a mark of its owner (``Marks``); at start, and by Fsck,
the two are compared both ways, what lacks is made and what nobody owns is removed. The kernel is what tells how far a
killed verb came.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_address, ip_network
from typing import Final

from chassis.errors import Conflict, NotFound
from chassis.ids import NetworkId, SandboxId
from netd.ipam import Address, Interface, Plan
from netd.links import ALIAS_MAX
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

MIGRATIONS: Final = (
    """
    CREATE TABLE networks (
        id TEXT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, owner BLOB NOT NULL,
        created_ns INTEGER NOT NULL, spec BLOB NOT NULL, predefined INTEGER NOT NULL,
        link TEXT NOT NULL, subnet TEXT NOT NULL, gateway TEXT NOT NULL, cursor INTEGER NOT NULL,
        UNIQUE (namespace, name)) STRICT;
    CREATE TABLE sandboxes (
        id TEXT PRIMARY KEY, created_ns INTEGER NOT NULL, request BLOB NOT NULL,
        pin TEXT NOT NULL, boot_id TEXT NOT NULL) STRICT;
    CREATE TABLE endpoints (
        id TEXT PRIMARY KEY, sandbox_id TEXT NOT NULL REFERENCES sandboxes (id),
        network_id TEXT NOT NULL REFERENCES networks (id), created_ns INTEGER NOT NULL,
        link TEXT NOT NULL, interface TEXT NOT NULL, address TEXT NOT NULL, mac TEXT NOT NULL,
        request BLOB NOT NULL, ports BLOB NOT NULL,
        UNIQUE (sandbox_id, network_id)) STRICT;
    """,
    # Several subnets of a network, of either IP version. The cursor counts from the subnet's own address on now.
    """
    CREATE TABLE subnets (
        network_id TEXT NOT NULL REFERENCES networks (id), position INTEGER NOT NULL, subnet TEXT NOT NULL,
        gateway TEXT NOT NULL, range TEXT NOT NULL, auxiliary TEXT NOT NULL, cursor INTEGER NOT NULL,
        PRIMARY KEY (network_id, position)) STRICT;
    INSERT INTO subnets SELECT id, 0, subnet, gateway, '', '{}', cursor + 1 FROM networks WHERE subnet != '';
    ALTER TABLE networks DROP COLUMN subnet;
    ALTER TABLE networks DROP COLUMN gateway;
    ALTER TABLE networks DROP COLUMN cursor;
    ALTER TABLE endpoints ADD COLUMN address6 TEXT NOT NULL DEFAULT '';
    """,
)


@dataclass(frozen=True)
class Network:
    """A network. ``link`` is "" and ``subnets`` are none where the driver has none (host, none). ``cursors``: how far
    the addresses of each subnet were handed out when this was read."""

    id: NetworkId
    namespace: str
    name: str
    owner: types_pb2.Owner
    created_ns: int
    spec: network_pb2.NetworkSpec
    predefined: bool
    link: str
    subnets: tuple[Plan, ...] = ()
    cursors: tuple[int, ...] = ()

    @property
    def driver(self) -> str:
        return self.spec.driver

    @property
    def internal(self) -> bool:
        return self.spec.internal

    def gateway(self, address: Interface | None) -> Address | None:
        """What leads out of the subnet that an endpoint's address is of; None for none."""
        return next((plan.gateway for plan in self.subnets if address is not None and address.ip in plan.subnet), None)

    @property
    def host_gateway(self) -> IPv4Address | None:
        """The host's first IPv4 address on it."""
        return next((plan.gateway for plan in self.subnets if isinstance(plan.gateway, IPv4Address)), None)


@dataclass(frozen=True)
class Sandbox:
    """A sandbox. ``pin`` is the file name of its namespace below the run directory (its id), "" for the host's."""

    id: SandboxId
    created_ns: int
    request: network_pb2.CreateSandboxRequest
    pin: str
    boot_id: str

    @property
    def owner(self) -> types_pb2.Owner:
        return self.request.owner

    @property
    def host(self) -> bool:
        return self.request.host


@dataclass(frozen=True)
class Endpoint:
    """An endpoint. ``link`` is the veth's name on the host, ``interface`` inside; both "" on host and none, where there
    are no addresses either."""

    id: str
    sandbox_id: SandboxId
    network_id: NetworkId
    created_ns: int
    link: str
    interface: str
    address: IPv4Interface | None
    mac: str
    request: network_pb2.Attachment
    ports: tuple[network_pb2.PublishedPort, ...]
    address6: IPv6Interface | None = None

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """The IPv4 one first."""
        return tuple(address for address in (self.address, self.address6) if address is not None)


@dataclass(frozen=True)
class View:
    """A sandbox with its endpoints, and all networks: what a verb looks at, as of one moment."""

    sandbox: Sandbox
    endpoints: tuple[Endpoint, ...]
    networks: Mapping[NetworkId, Network]

    def pick(self, wanted: str) -> Network:
        """As pick_network, in the namespace of the sandbox's owner."""
        return pick_network(self.networks.values(), self.sandbox.owner.namespace, wanted)


@dataclass(frozen=True)
class Marks:
    """How the kernel's things carry their owner: the link aliases of one instance."""

    instance: str

    def endpoint(self, endpoint_id: str, owner: types_pb2.Owner) -> str:
        return self._alias("endpoint", endpoint_id, owner)

    def network(self, network_id: str, owner: types_pb2.Owner) -> str:
        return self._alias("network", network_id, owner)

    def sandbox(self, sandbox_id: str, owner: types_pb2.Owner) -> str:
        return self._alias("sandbox", sandbox_id, owner)

    def owns(self, alias: str) -> bool:
        """Is the link with this alias of this instance?"""
        return alias.startswith(f"{self.instance} ")

    def subject(self, alias: str) -> str:
        """The id in an alias that ``owns`` is true for."""
        words = alias.split(" ")
        return words[2] if len(words) > 2 else ""

    def _alias(self, kind: str, subject: str, owner: types_pb2.Owner) -> str:
        # The id comes first: what the kernel has no room for is the end of a long owner, which the record has whole.
        return f"{self.instance} {kind} {subject} {owner.manager}/{owner.namespace}/{owner.id}"[:ALIAS_MAX]


_NETWORKS: Final = "SELECT id, namespace, name, owner, created_ns, spec, predefined, link FROM networks"
_SUBNETS: Final = "SELECT network_id, subnet, gateway, range, auxiliary, cursor FROM subnets"
_SANDBOXES: Final = "SELECT id, created_ns, request, pin, boot_id FROM sandboxes"
_ENDPOINTS: Final = (
    "SELECT id, sandbox_id, network_id, created_ns, link, interface, address, address6, mac, request, ports FROM "
    "endpoints"
)


def networks(connection: sqlite3.Connection) -> list[Network]:
    """All, oldest first."""
    subnets: dict[str, list[tuple[Plan, int]]] = {}
    for id_, *row in connection.execute(_SUBNETS + " ORDER BY network_id, position"):
        subnets.setdefault(id_, []).append(_subnet(row))
    rows = connection.execute(_NETWORKS + " ORDER BY created_ns, id")
    return [_network(row, subnets.get(row[0], ())) for row in rows]


def network(connection: sqlite3.Connection, network_id: str) -> Network | None:
    row = connection.execute(_NETWORKS + " WHERE id=?", (network_id,)).fetchone()
    subnets = connection.execute(_SUBNETS + " WHERE network_id=? ORDER BY position", (network_id,))
    return _network(row, [_subnet(found) for _, *found in subnets]) if row else None


def pick_network(known: Iterable[Network], namespace: str, wanted: str) -> Network:
    """The network of that id, or else of that name, or else the one whose id begins so; predefined ones are in every
    namespace. Raises NotFound, or Conflict for the beginning of several ids."""
    visible = [n for n in known if n.predefined or n.namespace == namespace]
    by_id, by_name = [n for n in visible if n.id == wanted], [n for n in visible if n.name == wanted]
    found = by_id or by_name or [n for n in visible if wanted and n.id.startswith(wanted)]
    if not found:
        shown = wanted[:80].encode("unicode_escape").decode()
        raise NotFound(f"network {shown} not found", field="network")
    if len(found) > 1:
        raise Conflict(f"network {wanted} is ambiguous ({len(found)} matches found)", reason="AMBIGUOUS",
                       field="network")
    return found[0]


def insert_network(connection: sqlite3.Connection, n: Network) -> None:
    connection.execute(
        "INSERT INTO networks (id, namespace, name, owner, created_ns, spec, predefined, link)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (n.id, n.namespace, n.name, n.owner.SerializeToString(), n.created_ns, n.spec.SerializeToString(),
         int(n.predefined), n.link),
    )
    connection.executemany(
        "INSERT INTO subnets (network_id, position, subnet, gateway, range, auxiliary, cursor)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        [(n.id, position, str(plan.subnet), str(plan.gateway or ""), str(plan.range or ""),
          json.dumps({name: str(address) for name, address in plan.auxiliary.items()}))
         for position, plan in enumerate(n.subnets)],
    )


def delete_network(connection: sqlite3.Connection, network_id: str) -> None:
    connection.execute("DELETE FROM subnets WHERE network_id=?", (network_id,))
    connection.execute("DELETE FROM networks WHERE id=?", (network_id,))


def sandboxes(connection: sqlite3.Connection) -> list[Sandbox]:
    """All, by id."""
    return [_sandbox(row) for row in connection.execute(_SANDBOXES + " ORDER BY id")]


def sandbox(connection: sqlite3.Connection, sandbox_id: str) -> Sandbox | None:
    row = connection.execute(_SANDBOXES + " WHERE id=?", (sandbox_id,)).fetchone()
    return _sandbox(row) if row else None


def insert_sandbox(connection: sqlite3.Connection, s: Sandbox) -> None:
    connection.execute(
        "INSERT INTO sandboxes (id, created_ns, request, pin, boot_id) VALUES (?, ?, ?, ?, ?)",
        (s.id, s.created_ns, s.request.SerializeToString(), s.pin, s.boot_id),
    )


def update_sandbox(connection: sqlite3.Connection, s: Sandbox) -> None:
    """Replace its request."""
    connection.execute("UPDATE sandboxes SET request=? WHERE id=?", (s.request.SerializeToString(), s.id))


def delete_sandbox(connection: sqlite3.Connection, sandbox_id: str) -> None:
    """The sandbox and its endpoints."""
    connection.execute("DELETE FROM endpoints WHERE sandbox_id=?", (sandbox_id,))
    connection.execute("DELETE FROM sandboxes WHERE id=?", (sandbox_id,))


def endpoints(connection: sqlite3.Connection, *, sandbox_id: str = "", network_id: str = "") -> list[Endpoint]:
    """All, of a sandbox, of a network: in the order of attachment."""
    rows = connection.execute(
        _ENDPOINTS + " WHERE (?1='' OR sandbox_id=?1) AND (?2='' OR network_id=?2) ORDER BY created_ns, id",
        (sandbox_id, network_id),
    )
    return [_endpoint(row) for row in rows]


def view(connection: sqlite3.Connection, sandbox_id: str) -> View:
    """Raises NotFound where there is no such sandbox."""
    found = sandbox(connection, sandbox_id)
    if found is None:
        raise NotFound(f"no such sandbox: {sandbox_id}", field="sandbox_id")
    known = {n.id: n for n in networks(connection)}
    return View(found, tuple(endpoints(connection, sandbox_id=sandbox_id)), known)


def insert_endpoint(connection: sqlite3.Connection, e: Endpoint, cursors: Sequence[int]) -> None:
    """The endpoint, and how far the addresses of each of its network's subnets were handed out."""
    ports = network_pb2.SetPortsRequest(ports=e.ports)
    connection.execute(
        "INSERT INTO endpoints"
        " (id, sandbox_id, network_id, created_ns, link, interface, address, address6, mac, request, ports)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (e.id, e.sandbox_id, e.network_id, e.created_ns, e.link, e.interface, str(e.address or ""),
         str(e.address6 or ""), e.mac, e.request.SerializeToString(), ports.SerializeToString()),
    )
    connection.executemany(
        "UPDATE subnets SET cursor=max(cursor, ?) WHERE network_id=? AND position=?",
        [(cursor, e.network_id, position) for position, cursor in enumerate(cursors)],
    )


def update_endpoint(connection: sqlite3.Connection, e: Endpoint) -> None:
    """Replace its request and ports."""
    ports = network_pb2.SetPortsRequest(ports=e.ports)
    connection.execute("UPDATE endpoints SET request=?, ports=? WHERE id=?",
                       (e.request.SerializeToString(), ports.SerializeToString(), e.id))


def delete_endpoint(connection: sqlite3.Connection, endpoint_id: str) -> None:
    connection.execute("DELETE FROM endpoints WHERE id=?", (endpoint_id,))


def endpoint_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Network id → number of endpoints; a network without one is not in it."""
    return dict(connection.execute("SELECT network_id, count(*) FROM endpoints GROUP BY network_id").fetchall())


def _network(
    row: tuple[str, str, str, bytes, int, bytes, int, str], subnets: Sequence[tuple[Plan, int]]
) -> Network:
    identity, namespace, name, owner, created, spec, predefined, link = row
    return Network(
        NetworkId(identity), namespace, name, types_pb2.Owner.FromString(owner), created,
        network_pb2.NetworkSpec.FromString(spec), bool(predefined), link,
        tuple(plan for plan, _ in subnets), tuple(cursor for _, cursor in subnets),
    )


def _subnet(row: Sequence[str | int]) -> tuple[Plan, int]:
    subnet, gateway, range_, auxiliary, cursor = row
    named = {name: ip_address(address) for name, address in json.loads(str(auxiliary)).items()}
    return Plan(
        ip_network(subnet), ip_address(gateway) if gateway else None, ip_network(range_) if range_ else None, named
    ), int(cursor)


def _sandbox(row: tuple[str, int, bytes, str, str]) -> Sandbox:
    identity, created, request, pin, boot_id = row
    return Sandbox(
        SandboxId(identity), created, network_pb2.CreateSandboxRequest.FromString(request), pin, boot_id
    )


def _endpoint(row: tuple[str, str, str, int, str, str, str, str, str, bytes, bytes]) -> Endpoint:
    identity, sandbox_id, network_id, created, link, interface, address, address6, mac, request, ports = row
    return Endpoint(
        identity, SandboxId(sandbox_id), NetworkId(network_id), created, link, interface,
        IPv4Interface(address) if address else None, mac, network_pb2.Attachment.FromString(request),
        tuple(network_pb2.SetPortsRequest.FromString(ports).ports), IPv6Interface(address6) if address6 else None,
    )
