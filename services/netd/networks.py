"""Networks: the three that are always there, and those that clients make. Each bridge network has its subnet."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from chassis import ids
from chassis.blocking import Pool as Threads
from chassis.errors import AlreadyExists, Conflict, NotFound, PermissionDenied
from chassis.events import EventLog
from chassis.ids import NetworkId
from chassis.instance import Instance
from chassis.logs import logger
from chassis.stages import stage
from chassis.store import Store
from netd import bridge, links, records, requests
from netd.firewall import Firewall
from netd.ipam import Pool, Subnet, check_subnet, choose_subnet
from netd.netlink import NetlinkSocket
from netd.records import Marks, Network
from netd.table import Bridge
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

_TRIES: Final = 8


class Networks:
    """All networks of the instance, and the addresses of each."""

    def __init__(
        self, store: Store, events: EventLog, host: NetlinkSocket, threads: Threads, firewall: Firewall,
        instance: Instance, pools: tuple[Pool, ...],
    ) -> None:
        self._store = store
        self._events = events
        self._host = host
        self._threads = threads
        self._firewall = firewall
        self._instance = instance
        self._pools = pools
        self.marks = Marks(instance.nft_table)
        self._subnets: dict[str, Subnet] = {}

    async def start(self, default_subnet: IPv4Network | None) -> None:
        """Read what is recorded, and make the predefined networks where they lack."""
        known, endpoints = await self._store.read(lambda c: (records.networks(c), records.endpoints(c)))
        for network in known:
            held = [e.address.ip for e in endpoints if e.network_id == network.id and e.address]
            self.remember(network, held)
            if network.name == "bridge" and default_subnet not in (None, network.subnet):
                logger().warning("default_subnet is set, and the default network was made with another subnet",
                                 default_subnet=str(default_subnet), subnet=str(network.subnet))
        names = {network.name for network in known if network.predefined}
        for name in requests.PREDEFINED:
            if name not in names:
                await self._make_predefined(name, default_subnet)

    @property
    def in_use(self) -> int:
        """Number of addresses that endpoints hold."""
        return sum(subnet.in_use for subnet in list(self._subnets.values()))

    async def used_links(self) -> list[str]:
        """Bridges of the networks that an endpoint is attached to."""
        known, counts = await self._store.read(lambda c: (records.networks(c), records.endpoint_counts(c)))
        return [network.link for network in known if network.link and network.id in counts]

    def subnet(self, network: Network) -> Subnet:
        """The addresses of a bridge network."""
        return self._subnets[network.id]

    def bridge_of(self, network: Network) -> Bridge:
        """The network as the nft table knows it."""
        assert network.subnet is not None
        return Bridge(network.id, network.link, network.subnet, routed=not network.internal)

    def spec_of(self, network: Network) -> bridge.BridgeSpec:
        """The network's link as it should be."""
        assert network.subnet is not None
        assert network.gateway is not None
        gateway = IPv4Interface((network.gateway, network.subnet.prefixlen))
        mtu = requests.bridge_options(network.spec).mtu
        return bridge.BridgeSpec(network.link, self.marks.network(network.id, network.owner), gateway, mtu)

    async def find(self, namespace: str, wanted: str) -> Network:
        """As records.pick_network."""
        return records.pick_network(await self._store.read(records.networks), namespace, wanted)

    async def create(self, request: network_pb2.CreateNetworkRequest) -> Network:
        """Make a bridge network; the same request again answers the same network."""
        wanted = requests.network(request)
        async with stage("create_network.check"):
            existing = await self._store.read(lambda c: records.network(c, request.id))
        spec = network_pb2.NetworkSpec()
        spec.CopyFrom(request.spec)
        spec.driver = "bridge"
        if existing is not None:
            if (existing.name, existing.owner, existing.spec) != (request.name, request.owner, spec):
                raise AlreadyExists(f"network {request.id} exists with another specification", reason="SPEC_DIFFERS",
                                    field="id")
            return existing
        plan = Network(
            ids.network_id(request.id), request.owner.namespace, request.name, request.owner, time.time_ns(), spec,
            predefined=False, link=self._instance.network_link(request.id), subnet=None, gateway=None, cursor=0,
        )
        return await self._make(plan, wanted, "create_network")

    async def remove(self, namespace: str, wanted: str) -> None:
        """Raises PermissionDenied for a predefined network, Conflict (IN_USE) while endpoints are attached."""
        try:
            network = await self.find(namespace, wanted)
        except NotFound:
            return
        if network.predefined:
            raise PermissionDenied(f"{network.name} is a pre-defined network and cannot be removed",
                                   reason="PREDEFINED", field="network")

        def strike(connection: sqlite3.Connection) -> None:
            if endpoints := records.endpoints(connection, network_id=network.id):
                raise Conflict(f"network {network.name} has active endpoints ({len(endpoints)})", reason="IN_USE",
                               field="network")
            records.delete_network(connection, network.id)
            self._event(connection, "destroy", network)

        await self._store.write("remove_network.record", strike)
        self._subnets.pop(network.id, None)
        await self._take_down(network, "remove_network")

    async def ensure_link(self, network: Network) -> None:
        """The bridge as it should be, known to the table and open. Does nothing where it is."""
        await self._threads.run(bridge.ensure, self._host, self.spec_of(network))
        await self._firewall.add_bridge(self.bridge_of(network))

    async def _make_predefined(self, name: str, default_subnet: IPv4Network | None) -> None:
        identity = hashlib.sha256(f"{self._instance.name}/{self._store.epoch}/{name}".encode()).hexdigest()
        network = Network(
            NetworkId(identity), "", name, types_pb2.Owner(manager="netd", namespace="pier", id=name), time.time_ns(),
            network_pb2.NetworkSpec(driver=name), predefined=True, link="", subnet=None, gateway=None, cursor=0,
        )
        if name == "bridge":
            network = dataclasses.replace(network, link=self._instance.bridge)
            await self._make(network, (default_subnet, None) if default_subnet else None, "create_network")
        else:
            await self._store.write("create_network.record", lambda c: records.insert_network(c, network))

    async def _make(
        self, plan: Network, wanted: tuple[IPv4Network, IPv4Address | None] | None, verb: str
    ) -> Network:
        """Choose a subnet, record, make the bridge. Where another engine chose the same subnet at the same time, the
        one whose link's name comes first keeps it."""
        for _ in range(_TRIES):
            async with stage(f"{verb}.subnet"):
                taken = await self._threads.run(self._taken_subnets)
                if wanted is not None:
                    check_subnet(wanted[0], taken)
                subnet = wanted[0] if wanted else choose_subnet(self._pools, taken, self._first_subnet)
            gateway = (wanted[1] if wanted else None) or subnet[1]
            network = dataclasses.replace(plan, subnet=subnet, gateway=gateway)
            self.remember(network, [])
            await self._store.write(f"{verb}.record", lambda c, n=network: self._insert(c, n))  # type: ignore[misc]
            try:
                async with stage(f"{verb}.link", link=network.link):
                    await self._threads.run(bridge.ensure, self._host, self.spec_of(network))
                async with stage(f"{verb}.rival"):
                    rival = await self._threads.run(self._rival, network)
                if rival is None or wanted is not None:
                    async with stage(f"{verb}.table"):
                        if await self._threads.run(bridge.enable_forwarding):
                            logger().warning("net.ipv4.ip_forward was off and is on now: containers need it")
                        await self._firewall.add_bridge(self.bridge_of(network))
                    return network
            except BaseException:
                await self._undo(network, verb)
                raise
            logger().info("another program took the same subnet", subnet=str(subnet), link=rival)
            await self._undo(network, verb)
        raise Conflict("no subnet stayed free while the network was made", reason="NO_SUBNET")

    def _insert(self, connection: sqlite3.Connection, network: Network) -> None:
        try:
            records.insert_network(connection, network)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"network with name {network.name} already exists", reason="NAME_TAKEN",
                                field="name") from error
        self._event(connection, "create", network)

    async def _undo(self, network: Network, verb: str) -> None:
        self._subnets.pop(network.id, None)
        await self._store.write(f"{verb}.undo", lambda c: records.delete_network(c, network.id))
        await self._take_down(network, verb)

    async def _take_down(self, network: Network, verb: str) -> None:
        async with stage(f"{verb}.unlink", link=network.link):
            await self._firewall.remove_bridge(network.link)
            alias = self.marks.network(network.id, network.owner)
            await self._threads.run(bridge.delete, self._host, network.link, alias)

    def remember(self, network: Network, held: list[IPv4Address]) -> None:
        """Take these addresses of the network for held, and no others."""
        if network.subnet is not None and network.gateway is not None:
            self._subnets[network.id] = Subnet(network.subnet, network.gateway, held, network.cursor)

    def _event(self, connection: sqlite3.Connection, action: str, network: Network) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self._events.append(connection, "network", action, network.id, network.owner, attributes)

    @property
    def _first_subnet(self) -> int:
        """Where this instance begins to look, so that several on one host do not run for the same."""
        if self._instance.is_default:
            return 0
        return int(hashlib.sha256(self._instance.name.encode()).hexdigest()[:8], 16)

    def _taken_subnets(self) -> list[IPv4Network]:
        """What the host has: its routes, its links' networks; and what this instance's networks have."""
        here = [route.destination for route in links.routes(self._host)]
        here += [address.address.network for address in links.addresses(self._host)]
        return here + [subnet.network for subnet in self._subnets.values()]

    def _rival(self, network: Network) -> str | None:
        """The link of another program that has the network's subnet too and keeps it, None where there is none."""
        assert network.subnet is not None
        by_index = {link.index: link for link in links.all_links(self._host)}
        for address in links.addresses(self._host):
            other = by_index.get(address.link)
            if other is None or other.name == network.link or not address.address.network.overlaps(network.subnet):
                continue
            engine = other.alias.startswith("pier")
            if not engine or other.name < network.link:
                return other.name
        return None
