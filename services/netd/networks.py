"""Networks: the three that are always there, and those that clients make. Each bridge network has its subnets."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Final

from chassis import ids
from chassis.blocking import Pool as Threads
from chassis.errors import AlreadyExists, Conflict, NotFound, PermissionDenied, ResourceExhausted
from chassis.events import EventLog
from chassis.ids import NetworkId
from chassis.instance import Instance
from chassis.logs import logger
from chassis.stages import stage
from chassis.store import Store
from netd import bridge, drivers, ipam, links, options, records, requests
from netd.bridge_driver import spec_of
from netd.firewall import Firewall
from netd.ipam import Address, Block, Interface, Plan, Pool, Subnet, Usage
from netd.netlink import NetlinkSocket
from netd.records import Marks, Network
from netd.requests import WantedSubnets
from netd.table import Bridge
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

_TRIES: Final = 8


class Networks:
    """All networks of the instance, and the addresses of each."""

    def __init__(
        self, store: Store, events: EventLog, host: NetlinkSocket, threads: Threads, firewall: Firewall,
        instance: Instance, pools: Mapping[int, tuple[Pool, ...]],
    ) -> None:
        self._store = store
        self._events = events
        self._host = host
        self._threads = threads
        self._firewall = firewall
        self._instance = instance
        self._pools = pools
        self.marks = Marks(instance.nft_table)
        self._subnets: dict[str, tuple[Subnet, ...]] = {}

    async def start(self, default_subnet: Block | None) -> None:
        """Read what is recorded, and make the predefined networks where they lack."""
        known, endpoints = await self._store.read(lambda c: (records.networks(c), records.endpoints(c)))
        for network in known:
            self.remember(network, [a.ip for e in endpoints if e.network_id == network.id for a in e.addresses])
            subnets = [plan.subnet for plan in network.subnets]
            if network.name == "bridge" and default_subnet is not None and default_subnet not in subnets:
                logger().warning("default_subnet is set, and the default network was made with another subnet",
                                 default_subnet=str(default_subnet), subnet=str(subnets[0]))
        names = {network.name for network in known if network.predefined}
        for name in requests.PREDEFINED:
            if name not in names:
                await self._make_predefined(name, default_subnet)

    def change_pools(self, pools: Mapping[int, tuple[Pool, ...]]) -> None:
        """Networks take their subnets from these from now on; those that there are keep theirs."""
        self._pools = pools

    @property
    def in_use(self) -> int:
        """Number of addresses that endpoints hold."""
        return sum(subnet.in_use for subnets in list(self._subnets.values()) for subnet in subnets)

    def usage(self, network: Network) -> list[Usage]:
        """What of each of its subnets is taken."""
        return [subnet.usage for subnet in self._subnets.get(network.id, ())]

    async def used_links(self) -> list[str]:
        """Bridges of the networks that an endpoint is attached to."""
        known, counts = await self._store.read(lambda c: (records.networks(c), records.endpoint_counts(c)))
        return [network.link for network in known if network.link and network.id in counts]

    def held(self, network: Network) -> set[Address]:
        """The network's addresses that endpoints hold."""
        return {address for subnet in self._subnets.get(network.id, ()) for address in subnet.held}

    def cursors(self, network: Network) -> list[int]:
        """How far the addresses of each subnet were handed out."""
        return [subnet.cursor for subnet in self._subnets.get(network.id, ())]

    def versions(self, network: Network) -> tuple[int, ...]:
        """The IP versions of its addresses."""
        return tuple(sorted({plan.subnet.version for plan in network.subnets}))

    def take(self, network: Network, version: int, fixed: Address | None) -> Interface:
        """Hold an address: the one asked for, or a free one of the first subnet that has one. Raises as Subnet does."""
        subnets = [s for s in self._subnets.get(network.id, ()) if s.network.version == version]
        if not subnets:
            raise NotFound(f"network {network.name} not found", field="network")
        if fixed is not None:
            subnet = next((s for s in subnets if fixed in s.network), subnets[0])
            subnet.reserve(fixed)
            return ipam.with_prefix(fixed, subnet.network)
        for subnet in subnets[:-1]:
            try:
                return ipam.with_prefix(subnet.allocate(), subnet.network)
            except ResourceExhausted:
                continue
        return ipam.with_prefix(subnets[-1].allocate(), subnets[-1].network)

    def give_back(self, network: Network, addresses: Iterable[Address]) -> None:
        """The same again does nothing."""
        for address in addresses:
            for subnet in self._subnets.get(network.id, ()):
                subnet.release(address)

    def bridge_of(self, network: Network) -> Bridge:
        """The network as the nft table knows it."""
        read, versions = options.read(network.spec), self.versions(network)
        return Bridge(
            network.id, network.link, tuple(plan.subnet for plan in network.subnets), routed=not network.internal,
            icc=read.icc, masqueraded=tuple(version for version in read.masqueraded if version in versions),
            direct=tuple(version for version in read.versions(options.ROUTED) if version in versions),
            gateways6=spec_of(network, self.alias(network)).gateways6,
        )

    def alias(self, network: Network) -> str:
        """What the network's link says of its owner."""
        return self.marks.network(network.id, network.owner)

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
        spec.driver = spec.driver or "bridge"
        spec.internal = spec.internal or drivers.of(spec.driver).is_closed(spec)
        if existing is not None:
            if (existing.name, existing.owner, existing.spec) != (request.name, request.owner, spec):
                raise AlreadyExists(f"network {request.id} exists with another specification", reason="SPEC_DIFFERS",
                                    field="id")
            return existing
        await self._threads.run(drivers.of(spec.driver).probe, self._host)
        plan = Network(
            ids.network_id(request.id), request.owner.namespace, request.name, request.owner, time.time_ns(), spec,
            predefined=False, link=drivers.of(spec.driver).link_of(spec, self._instance.network_link(request.id)),
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
        """The link as it should be; a bridge known to the table and open. Does nothing where it is."""
        await self._threads.run(drivers.of(network.driver).setup, self._host, network, self.alias(network))
        if network.driver == "bridge":
            await self._firewall.add_bridge(self.bridge_of(network))

    async def _make_predefined(self, name: str, default_subnet: Block | None) -> None:
        identity = hashlib.sha256(f"{self._instance.name}/{self._store.epoch}/{name}".encode()).hexdigest()
        network = Network(
            NetworkId(identity), "", name, types_pb2.Owner(manager="netd", namespace="pier", id=name), time.time_ns(),
            network_pb2.NetworkSpec(driver=name), predefined=True, link="",
        )
        if name == "bridge":
            network = dataclasses.replace(network, link=self._instance.bridge)
            given = WantedSubnets((ipam.plan(default_subnet),)) if default_subnet else WantedSubnets(choose=(4,))
            await self._make(network, given, "create_network")
        else:
            await self._store.write("create_network.record", lambda c: records.insert_network(c, network))

    async def _make(self, plan: Network, wanted: WantedSubnets, verb: str) -> Network:
        """Choose subnets, record, make the bridge. Where another engine chose the same subnet at the same time, the
        one whose link's name comes first keeps it."""
        for _ in range(_TRIES):
            async with stage(f"{verb}.subnet"):
                taken = await self._threads.run(self._taken_subnets)
                network = dataclasses.replace(plan, subnets=self._plans(plan, wanted, taken))
            await self._store.write(f"{verb}.record", lambda c, n=network: self._insert(c, n))  # type: ignore[misc]
            self.remember(network, [])
            try:
                async with stage(f"{verb}.link", link=network.link):
                    await self._threads.run(
                        drivers.of(network.driver).setup, self._host, network, self.alias(network))
                if network.driver != "bridge":
                    return network
                async with stage(f"{verb}.rival"):
                    rival = await self._threads.run(self._rival, network)
                if rival is None or not wanted.choose:
                    async with stage(f"{verb}.table"):
                        await self.enable_forwarding(self.versions(network))
                        await self._firewall.add_bridge(self.bridge_of(network))
                    return network
            except BaseException:
                await self._undo(network, verb)
                raise
            logger().info("another program took the same subnet", link=rival,
                          subnets=[str(plan.subnet) for plan in network.subnets])
            await self._undo(network, verb)
        raise Conflict("no subnet stayed free while the network was made", reason="NO_SUBNET")

    def _plans(self, network: Network, wanted: WantedSubnets, taken: list[Block]) -> tuple[Plan, ...]:
        """What was asked for, and what is chosen. Raises Conflict (OVERLAP), ResourceExhausted."""
        driver = drivers.of(network.driver)
        for plan in wanted.plans:
            ipam.check_subnet(plan.subnet, taken if driver.owns_subnets else self._own_subnets())
        plans = list(wanted.plans)
        without = driver.validate(network.spec)
        for version in wanted.choose:
            subnet = ipam.choose_subnet(self._pools[version], taken, self._first_subnet)
            plans.append(ipam.plan(subnet, gateway_wanted=version not in without))
        return tuple(sorted(plans, key=lambda plan: plan.subnet.version))

    async def enable_forwarding(self, versions: Iterable[int]) -> None:
        """See to it that the host forwards packets of these IP versions."""
        for version in versions:
            if await self._threads.run(bridge.enable_forwarding, version):
                logger().warning(f"the host did not forward IPv{version} and does now: containers need it")

    def _insert(self, connection: sqlite3.Connection, network: Network) -> None:
        links_taken = {other.link for other in records.networks(connection)} - {""}
        try:
            records.insert_network(connection, network)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(f"network with name {network.name} already exists", reason="NAME_TAKEN",
                                field="name") from error
        if network.link in links_taken:
            raise Conflict(f"link {network.link} is another network's already", reason="LINK_TAKEN",
                           field="spec.options")
        self._event(connection, "create", network)

    async def _undo(self, network: Network, verb: str) -> None:
        self._subnets.pop(network.id, None)
        await self._store.write(f"{verb}.undo", lambda c: records.delete_network(c, network.id))
        await self._take_down(network, verb)

    async def _take_down(self, network: Network, verb: str) -> None:
        async with stage(f"{verb}.unlink", link=network.link):
            if network.driver == "bridge":
                await self._firewall.remove_bridge(network.link)
            await self._threads.run(drivers.of(network.driver).teardown, self._host, network, self.alias(network))

    def remember(self, network: Network, held: Iterable[Address]) -> None:
        """Take these addresses of the network for held, and no others."""
        addresses = list(held)
        cursors = network.cursors or (0,) * len(network.subnets)
        self._subnets[network.id] = tuple(
            Subnet(plan, [address for address in addresses if address in plan.subnet], cursor)
            for plan, cursor in zip(network.subnets, cursors, strict=True)
        )

    def _event(self, connection: sqlite3.Connection, action: str, network: Network) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self._events.append(connection, "network", action, network.id, network.owner, attributes)

    @property
    def _first_subnet(self) -> int:
        """Where this instance begins to look, so that several on one host do not run for the same."""
        if self._instance.is_default:
            return 0
        return int(hashlib.sha256(self._instance.name.encode()).hexdigest()[:8], 16)

    def _taken_subnets(self) -> list[Block]:
        """What the host has: its routes, its links' networks; and what this instance's networks have."""
        here: list[Block] = [route.destination for route in links.routes(self._host)]
        here += [address.address.network for address in links.addresses(self._host)]
        return here + self._own_subnets()

    def _own_subnets(self) -> list[Block]:
        return [subnet.network for subnets in list(self._subnets.values()) for subnet in subnets]

    def _rival(self, network: Network) -> str | None:
        """The link of another program that has one of the network's subnets too and keeps it, None for none."""
        by_index = {link.index: link for link in links.all_links(self._host)}
        for address in links.addresses(self._host):
            other, block = by_index.get(address.link), address.address.network
            if other is None or other.name == network.link:
                continue
            if any(ipam.overlap(block, plan.subnet) for plan in network.subnets):
                engine = other.alias.startswith("pier")
                if not engine or other.name < network.link:
                    return other.name
        return None
