"""Record and kernel compared both ways, and what differs set right: at every start, and when Fsck is asked for.

What is recorded and lacks is made; what carries this instance's mark and is not recorded is removed. Nothing in use is
touched: the inside of a sandbox is never judged, and a sandbox whose pin is gone is given up only when its links are
gone too. The caller sees to it that no verb runs meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from chassis.blocking import Pool as Threads
from chassis.errors import PierError
from chassis.ids import NetworkId
from chassis.logs import logger
from chassis.stages import stage
from chassis.store import Store
from netd import bindings, bridge, drivers, links, netns, records, wiring
from netd.dns import Dns, served
from netd.endpoints import Endpoints
from netd.firewall import Firewall
from netd.ipam import Address
from netd.netlink import NetlinkSocket
from netd.networks import Networks
from netd.ports import HostPort
from netd.records import Endpoint, Network, Sandbox, View
from netd.resolver.protocol import Served
from netd.sandboxes import Sandboxes
from netd.spares import Spares
from netd.table import Bridge, PublishedPort
from netd.wiring import Wire
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2

_NOBODY: Final = types_pb2.Owner()
_FORWARD_SWITCH: Final = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


@dataclass(frozen=True)
class Difference:
    """One difference, and what sets it right; None where nothing may."""

    reason: str
    subject: str
    message: str
    owner: types_pb2.Owner
    repair: Callable[[], Awaitable[object]] | None


@dataclass(frozen=True)
class _Records:
    networks: dict[NetworkId, Network]
    sandboxes: dict[str, Sandbox]
    endpoints: list[Endpoint]

    @property
    def bridges(self) -> list[Network]:
        return [network for network in self.networks.values() if network.driver == "bridge"]

    @property
    def linked(self) -> list[Network]:
        """Networks that have a link on the host."""
        return [network for network in self.networks.values() if network.link]

    @property
    def wired(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints if endpoint.addresses]

    @property
    def versions(self) -> list[int]:
        """The IP versions that networks have."""
        return sorted({plan.subnet.version for network in self.bridges for plan in network.subnets})

    def views(self) -> Iterator[View]:
        """Every sandbox with its endpoints."""
        of: dict[str, list[Endpoint]] = {}
        for endpoint in self.endpoints:
            of.setdefault(endpoint.sandbox_id, []).append(endpoint)
        for sandbox in self.sandboxes.values():
            yield View(sandbox, tuple(of.get(sandbox.id, ())), self.networks)


@dataclass(frozen=True)
class _Kernel:
    links: dict[str, links.Link]
    pins: dict[str, bool]
    """Pin file → is a namespace on it?"""
    set_up: dict[str, bool]
    """Network id → is its link as it should be?"""
    attached: dict[str, bool]
    """Endpoint id → is its wire complete?"""
    forwarding: frozenset[int]
    """The IP versions that the host forwards."""


class Fsck:
    """The comparison. ``differences`` finds, ``check`` is the rpc's answer, ``adopt`` is what a start does."""

    def __init__(
        self, store: Store, host: NetlinkSocket, threads: Threads, firewall: Firewall, networks: Networks,
        sandboxes: Sandboxes, endpoints: Endpoints, spares: Spares, dns: Dns,
    ) -> None:
        self._store = store
        self._host = host
        self._threads = threads
        self._firewall = firewall
        self._networks = networks
        self._sandboxes = sandboxes
        self._endpoints = endpoints
        self._spares = spares
        self._dns = dns

    async def adopt(self) -> None:
        """Finish and undo what an earlier life left. What cannot be set right is logged, and stays a finding."""
        for difference in await self.differences():
            facts = {"reason": difference.reason, "subject": difference.subject}
            try:
                async with stage("adopt.repair", **facts):
                    if difference.repair is not None:
                        await difference.repair()
                logger().info("set right at start", found=difference.message, **facts)
            except (PierError, OSError) as error:
                logger().warning("not set right at start", found=difference.message, error=str(error), **facts)

    async def check(self, repair: bool) -> list[system_pb2.Finding]:
        """What differs, and with ``repair`` whether it was set right."""
        findings = []
        for difference in await self.differences():
            repaired = False
            if repair and difference.repair is not None:
                try:
                    async with stage("fsck.repair", reason=difference.reason, subject=difference.subject):
                        await difference.repair()
                    repaired = True
                except (PierError, OSError) as error:
                    logger().warning("not repaired", subject=difference.subject, error=str(error))
            findings.append(system_pb2.Finding(
                reason=difference.reason, subject=difference.subject, message=difference.message,
                owner=difference.owner, repaired=repaired,
            ))
        return findings

    async def differences(self) -> list[Difference]:
        """In the order in which they are to be set right."""
        recorded = await self._store.read(_read)
        async with self._spares.still, stage("fsck.observe"):
            kernel = await self._threads.run(self._observe, recorded)
            spare = self._spares.pins
        lost = list(self._lost_sandboxes(recorded, kernel))
        given_up = {difference.subject for difference in lost if difference.repair is not None}
        found = [*lost, *self._networks_differ(recorded, kernel)]
        found += [*self._endpoints_differ(recorded, kernel), *self._unrecorded(recorded, kernel, spare)]
        found += self._addresses_differ(recorded)
        found += self._ports_differ(recorded, given_up)
        async with stage("fsck.table"):
            found += [item async for item in self._table_differs(recorded)]
        async with stage("fsck.dns"):
            found += [
                Difference("NAMES_DIFFER", "resolver", message, _NOBODY, self._dns.repair)
                for message in await self._dns.differences()
            ]
        return found

    async def served(self) -> list[Served]:
        """What the resolver should serve."""
        recorded = await self._store.read(_read)
        return [item for item in map(served, recorded.views()) if item is not None]

    def _observe(self, recorded: _Records) -> _Kernel:
        by_name = {link.name: link for link in links.all_links(self._host)}
        addresses = links.addresses(self._host)
        pins = {path.name: netns.is_pinned(path) for path in netns.pins(self._sandboxes.directory)}

        def is_attached(endpoint: Endpoint, view: View) -> bool:
            driver = drivers.of(recorded.networks[endpoint.network_id].driver)
            return driver.is_attached(
                self._sandboxes.pin(view.sandbox), self._endpoints.wire_of(endpoint, view), by_name)

        return _Kernel(
            links=by_name,
            pins=pins,
            set_up={
                network.id: drivers.of(network.driver).is_set_up(
                    network, self._networks.alias(network), by_name, addresses)
                for network in recorded.linked
            },
            attached={
                endpoint.id: is_attached(endpoint, view) for view in recorded.views() if pins.get(view.sandbox.pin)
                for endpoint in view.endpoints if endpoint.addresses
            },
            forwarding=frozenset(filter(bridge.is_forwarding, recorded.versions)),
        )

    def _lost_sandboxes(self, recorded: _Records, kernel: _Kernel) -> Iterator[Difference]:
        for sandbox in recorded.sandboxes.values():
            if sandbox.host or kernel.pins.get(sandbox.pin):
                continue
            names = [e.link for e in recorded.endpoints if e.sandbox_id == sandbox.id and e.link]
            in_use = any(name in kernel.links for name in names)

            async def strike(lost: Sandbox = sandbox) -> None:
                await self._endpoints.remove_sandbox(lost.id)

            yield Difference(
                "SANDBOX_WITHOUT_NETNS", sandbox.id,
                "the sandbox's namespace is not pinned any more" + (", and something lives in it" if in_use else ""),
                sandbox.owner, None if in_use else strike,
            )

    def _networks_differ(self, recorded: _Records, kernel: _Kernel) -> Iterator[Difference]:
        for version in recorded.versions:
            if version not in kernel.forwarding:
                async def enable(lacking: int = version) -> None:
                    await self._networks.enable_forwarding([lacking])

                yield Difference("IP_FORWARD_OFF", _FORWARD_SWITCH[version], f"the host does not forward IPv{version}",
                                 _NOBODY, enable)
        for network in recorded.linked:
            if not kernel.set_up[network.id]:
                async def ensure(item: Network = network) -> None:
                    await self._networks.ensure_link(item)

                yield Difference("NETWORK_WITHOUT_LINK", network.link, f"the link of network {network.name} is not "
                                 "there, up and with its addresses", network.owner, ensure)

    def _endpoints_differ(self, recorded: _Records, kernel: _Kernel) -> Iterator[Difference]:
        for view in recorded.views():
            if not kernel.pins.get(view.sandbox.pin):
                continue
            for endpoint in view.endpoints:
                if not kernel.attached.get(endpoint.id, True):
                    driver = drivers.of(recorded.networks[endpoint.network_id].driver)
                    spec = self._endpoints.wire_of(endpoint, view)

                    async def mend(
                        item: Sandbox = view.sandbox, wire: Wire = spec, by: drivers.Driver = driver
                    ) -> None:
                        await self._threads.run(by.mend, self._host, self._sandboxes.pin(item), wire)

                    name = recorded.networks[endpoint.network_id].name
                    yield Difference(
                        "ENDPOINT_WITHOUT_LINK", endpoint.id,
                        f"link {endpoint.link or endpoint.interface} of an endpoint on {name} is not as it should be",
                        view.sandbox.owner, mend,
                    )

    def _unrecorded(self, recorded: _Records, kernel: _Kernel, spare: set[str]) -> Iterator[Difference]:
        known = {e.id for e in recorded.endpoints} | set(recorded.networks)
        marks = self._networks.marks
        for link in kernel.links.values():
            foreign = not marks.owns(link.alias) or marks.subject(link.alias) in known
            if foreign or link.name in self._endpoints.reaping or link.kind not in ("veth", "bridge", "vlan"):
                continue

            async def delete(name: str = link.name) -> None:
                await self._threads.run(wiring.delete, self._host, [name])

            yield Difference("LINK_WITHOUT_RECORD", link.name, f"link of nobody: {link.alias}", _NOBODY, delete)
        pins = {sandbox.pin for sandbox in recorded.sandboxes.values()} | spare
        for name in kernel.pins:
            if name not in pins:
                async def unpin(pin: str = name) -> None:
                    await self._threads.run(netns.unpin, self._sandboxes.directory / pin)

                yield Difference("NETNS_WITHOUT_RECORD", name, "pinned namespace of nobody", _NOBODY, unpin)

    def _addresses_differ(self, recorded: _Records) -> Iterator[Difference]:
        for network in recorded.linked:
            wanted = {a.ip for e in recorded.wired if e.network_id == network.id for a in e.addresses}
            for address in sorted(wanted ^ self._networks.held(network), key=str):
                async def settle(item: Network = network, held: set[Address] = wanted) -> None:
                    self._networks.remember(item, sorted(held, key=str))

                where = "is recorded and not held" if address in wanted else "is held and not recorded"
                yield Difference("ADDRESS_DIFFERS", str(address), f"address {address} {where}", network.owner, settle)

    def _ports_differ(self, recorded: _Records, given_up: Collection[str]) -> list[Difference]:
        found = []
        for endpoint in (each for each in recorded.wired if each.sandbox_id not in given_up):
            held = set(self._endpoints.ports.holds(endpoint.id))
            lacking = [port for port in bindings.host_ports(endpoint.ports) if port not in held]
            for port in lacking:
                async def hold(endpoint_id: str = endpoint.id, wanted: HostPort = port) -> None:
                    self._endpoints.ports.reserve(endpoint_id, [[(wanted,)]])

                subject = f"{port.protocol} {port.address}:{port.port}"
                owner = recorded.sandboxes[endpoint.sandbox_id].owner
                found.append(Difference("PORT_NOT_HELD", subject, f"port {subject} is published and not reserved",
                                        owner, hold))
        return found

    async def _table_differs(self, recorded: _Records) -> AsyncIterator[Difference]:
        bridges, ports = self.table_of(recorded)
        if not self._firewall.table.holds(bridges, ports):
            async def reload() -> None:
                await self._firewall.reload(bridges, ports)

            yield Difference("TABLE_DIFFERS_FROM_RECORD", self._firewall.table.name,
                             "what the nft table should hold is not what is recorded", _NOBODY, reload)
        for message in await self._firewall.differences():
            yield Difference("NFT_DIFFERS", self._firewall.table.name, message, _NOBODY, self._firewall.repair)
        for link in self._firewall.sealed():
            yield Difference("BRIDGE_SEALED", link, f"bridge {link} does not forward", _NOBODY, self._firewall.repair)

    def table_of(self, recorded: _Records) -> tuple[list[Bridge], list[PublishedPort]]:
        """What the nft table should hold."""
        bridges = [self._networks.bridge_of(network) for network in recorded.bridges]
        return bridges, [port for endpoint in recorded.wired for port in bindings.published(endpoint)]

    async def load_table(self) -> None:
        """Start the firewall with what is recorded."""
        recorded = await self._store.read(_read)
        bridges, ports = self.table_of(recorded)
        await self._firewall.start(bridges, ports)


def _read(connection: sqlite3.Connection) -> _Records:
    return _Records(
        {network.id: network for network in records.networks(connection)},
        {sandbox.id: sandbox for sandbox in records.sandboxes(connection)},
        records.endpoints(connection),
    )
