"""Endpoints: a sandbox joined to a network, with its address and its published ports.

Attach: hold the host ports, take an address, **record**, make the veth pair, publish. Detach: **strike the record**,
unpublish, take the pair down. A failure of attach undoes itself; a failure of detach goes on and is told at its end.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final

from chassis import ids
from chassis.blocking import Pool as Threads
from chassis.errors import AlreadyExists, Conflict, Internal, InvalidArgument, NotFound
from chassis.events import EventLog
from chassis.instance import Instance
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage, trace
from chassis.store import Store
from netd import bindings, drivers, endpoint_options, joining, options, records, requests, wiring
from netd.bindings import Place
from netd.dns import Dns
from netd.firewall import Firewall
from netd.ipam import Address, Interface
from netd.linked import LinkedNames
from netd.netlink import NetlinkSocket
from netd.networks import Networks
from netd.ports import HostPorts
from netd.records import Endpoint, Network, Sandbox, View
from netd.sandboxes import Sandboxes
from netd.wiring import Wire
from pier.network.v1 import network_pb2

_REAP_SECONDS: Final = 1.0
"""How long the kernel has to take a removed sandbox's links with its namespace, before they are deleted one by one."""


class Endpoints:
    """All endpoints of the instance. Callers hold the sandbox's lock."""

    def __init__(
        self, store: Store, events: EventLog, host: NetlinkSocket, threads: Threads, firewall: Firewall,
        operations: Operations, instance: Instance, networks: Networks, sandboxes: Sandboxes, dns: Dns,
    ) -> None:
        self._store = store
        self._events = events
        self._host = host
        self._threads = threads
        self._firewall = firewall
        self._operations = operations
        self._instance = instance
        self._networks = networks
        self._sandboxes = sandboxes
        self._dns = dns
        self.ports = HostPorts()
        self.linked = LinkedNames(store)
        self.reaping: set[str] = set()
        """Links of removed sandboxes that the kernel may still have."""

    @property
    def table_name(self) -> str:
        """Of the nft table that publishes."""
        return self._firewall.table.name

    async def create_sandbox(self, request: network_pb2.CreateSandboxRequest) -> View:
        """Make a sandbox and join it to its networks: all of it or none. The same request again makes what lacks;
        another under the id raises AlreadyExists."""
        view = await self._sandboxes.existing(request)
        if view is not None:
            for attachment in request.attachments:
                await self.attach(request.id, attachment)
            return await self._sandboxes.view(request.id)
        view = await self._sandboxes.planned(request)
        made: list[Endpoint] = []
        try:
            for attachment in request.attachments:
                endpoint, _ = await self._prepare(view, attachment)
                made.append(endpoint)
                view = replace(view, endpoints=tuple(made))
            async with self._sandboxes.made(view.sandbox):
                await self._store.write("create_sandbox.record", lambda c: self._insert(c, view, made, new=True))
        except BaseException:
            self._release(made, view)
            raise
        try:
            await self._bring_up(view, made)
        except BaseException:
            async with stage("create_sandbox.undo"):
                await self.remove_sandbox(request.id)
            raise
        return view

    async def attach(self, sandbox_id: str, attachment: network_pb2.Attachment) -> tuple[Endpoint, Network]:
        """Join a sandbox to a network. The same attachment again answers the same endpoint."""
        view = await self._sandboxes.view(sandbox_id)
        endpoint, new = await self._prepare(view, attachment)
        network = view.networks[endpoint.network_id]
        if not new:
            return endpoint, network
        before = view
        view = replace(view, endpoints=(*view.endpoints, endpoint))
        try:
            await self._store.write("attach.record", lambda c: self._insert(c, view, [endpoint]))
        except BaseException:
            self._release([endpoint], view)
            raise
        try:
            await self._bring_up(view, [endpoint])
        except BaseException:
            async with stage("attach.undo"):
                await self._strike("attach.strike", [endpoint], [network], view.sandbox)
                await self._dns.settle(view, before)
                if endpoint.addresses:
                    await self._take_down(endpoint, view)
                    await self._reroute(before, before.endpoints)
            raise
        return endpoint, network

    async def _prepare(self, view: View, attachment: network_pb2.Attachment) -> tuple[Endpoint, bool]:
        """An endpoint with its ports and address held, nothing recorded, nothing made; False for one that is there."""
        fixed = requests.endpoint(attachment.spec)
        wanted = requests.ports(attachment.ports)
        network = view.pick(attachment.network)
        for endpoint in view.endpoints:
            if endpoint.network_id == network.id:
                if endpoint.request != attachment:
                    raise AlreadyExists(f"sandbox is already attached to network {network.name}",
                                        reason="ALREADY_ATTACHED", field="network")
                return endpoint, False
        joining.check(view, network, wanted, fixed)
        if network.predefined and attachment.spec.aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks",
                                  field="spec.aliases", expected="none")
        if network.predefined and attachment.spec.links:
            await self.linked.check(view.sandbox, network, attachment.spec)
        if not drivers.has_links(network.driver):
            return self._plan(attachment, view.sandbox, network, "", (), []), True
        place = self.place(network)
        wished = [bindings.groups(want, place) for want in wanted]
        asked = endpoint_options.read(attachment.spec).interface
        interface = asked or joining.free_interface(view.endpoints, network)
        if any(endpoint.interface == interface for endpoint in view.endpoints):
            raise Conflict(f"the sandbox has an interface {interface} already", reason="INTERFACE_TAKEN",
                           field="spec.interface")
        endpoint_id = ids.new_id()
        async with stage("attach.ports", count=len(wanted)):
            held = self.ports.reserve(endpoint_id, wished)
        try:
            async with stage("attach.address") as step:
                addresses = self._take_addresses(network, fixed)
                step.note(address=" ".join(map(str, addresses)))
        except BaseException:
            self.ports.release(endpoint_id)
            raise
        ports = bindings.all_answered(wanted, place, held)
        return self._plan(attachment, view.sandbox, network, interface, addresses, ports, endpoint_id), True

    def place(self, network: Network) -> Place:
        """Where endpoints of the network are published."""
        if network.driver != "bridge":
            return Place(self._networks.versions(network))
        read = options.read(network.spec)
        return Place(self._networks.versions(network), read.versions(options.ROUTED), read.binding)

    def _take_addresses(self, network: Network, fixed: Sequence[Address | None]) -> tuple[Interface, ...]:
        """Those asked for, and free ones in the network's other IP versions: all or none."""
        taken: list[Interface] = []
        versions = self._networks.versions(network)
        try:
            for version, address in zip((4, 6), fixed, strict=True):
                if version in versions:
                    taken.append(self._networks.take(network, version, address))
                elif address is not None:
                    raise InvalidArgument(f"network {network.name} has no IPv{version}: {address} cannot be given",
                                          field=f"spec.ipv{version}", expected='""')
        except BaseException:
            self._networks.give_back(network, [address.ip for address in taken])
            raise
        return tuple(taken)

    async def _bring_up(self, view: View, made: Sequence[Endpoint]) -> None:
        """Make what was recorded, all at the same time. ``view`` has the new ones in it."""
        before = replace(view, endpoints=tuple(e for e in view.endpoints if e not in made))
        steps: list[Coroutine[Any, Any, None]] = [self._dns.settle(before, view)]
        for endpoint in made:
            if endpoint.addresses:
                steps += [self._link(endpoint, view), self._publish(endpoint)]
        await _together(steps)

    async def detach(self, sandbox_id: str, network_name: str) -> None:
        """Part a sandbox from a network. What is not there is no error."""
        view = await self._sandboxes.view(sandbox_id)
        sandbox, network = view.sandbox, view.pick(network_name)
        gone = [endpoint for endpoint in view.endpoints if endpoint.network_id == network.id]
        if not gone:
            return
        await self._strike("detach.record", gone, [network], sandbox)
        left = replace(view, endpoints=tuple(endpoint for endpoint in view.endpoints if endpoint not in gone))
        await self._dns.settle(view, left)
        if gone[0].addresses:
            await self._take_down(gone[0], view)
            await self._reroute(view, left.endpoints)

    async def set_names(self, sandbox_id: str, names: Sequence[str]) -> None:
        """Find the sandbox by these names from now on."""
        view = await self._sandboxes.view(sandbox_id)
        renamed = replace(view, sandbox=self._sandboxes.renamed(view.sandbox, names))
        await self._store.write("set_names.record", lambda c: records.update_sandbox(c, renamed.sandbox))
        await self._dns.settle(view, renamed)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Strike a sandbox and all its endpoints, and take them down: traffic ends here, the kernel's tidying later."""
        view = await self._sandboxes.view(sandbox_id)
        sandbox, present = view.sandbox, view.endpoints
        networks = [view.networks[endpoint.network_id] for endpoint in present]

        def strike(connection: sqlite3.Connection) -> None:
            records.delete_sandbox(connection, sandbox.id)
            for endpoint, network in zip(present, networks, strict=True):
                self._event(connection, "disconnect", endpoint, sandbox, network)

        await self._store.write("remove_sandbox.record", strike)
        names = [endpoint.link for endpoint in present if endpoint.link]
        self.reaping.update(names)
        steps: list[Coroutine[Any, Any, None]] = [self._dns.drop(sandbox.id)]
        if any(endpoint.ports for endpoint in present):
            steps.append(self._unpublish("remove_sandbox.unpublish", [e.id for e in present]))
        if not sandbox.host:
            steps.append(self._cut_and_unpin(view))
        try:
            await _together(steps)
        finally:
            self._release(present, view)
            if names:
                self._operations.spawn("links of a removed sandbox", lambda: self._reap(names))

    def wire_of(self, endpoint: Endpoint, view: View) -> Wire:
        """The endpoint's wire as it should be; ``view`` has all endpoints of the sandbox."""
        network = view.networks[endpoint.network_id]
        return drivers.of(network.driver).wire(Wire(
            link=endpoint.link, alias=self._networks.marks.endpoint(endpoint.id, view.sandbox.owner),
            interface=endpoint.interface, addresses=endpoint.addresses, mac=endpoint.mac,
            gateways=joining.routes(endpoint, view.endpoints, view.networks),
            sysctls=endpoint_options.read(endpoint.request.spec).sysctls,
        ), network)

    def _plan(
        self, request: network_pb2.Attachment, sandbox: Sandbox, network: Network, interface: str,
        addresses: Sequence[Interface], ports: Iterable[network_pb2.PublishedPort], endpoint_id: str = "",
    ) -> Endpoint:
        endpoint_id = endpoint_id or ids.new_id()
        link = self._instance.endpoint_link(endpoint_id) if network.driver == "bridge" else ""
        mac = joining.mac_of(request.spec, addresses, network)
        first = next((each for each in addresses if isinstance(each, IPv4Interface)), None)
        second = next((each for each in addresses if isinstance(each, IPv6Interface)), None)
        return Endpoint(
            endpoint_id, sandbox.id, network.id, time.time_ns(), link, interface, first, mac, request, tuple(ports),
            second,
        )

    def _insert(
        self, connection: sqlite3.Connection, view: View, made: Sequence[Endpoint], *, new: bool = False
    ) -> None:
        """Record endpoints; with ``new`` their sandbox too."""
        if new:
            records.insert_sandbox(connection, view.sandbox)
        for endpoint in made:
            network = view.networks[endpoint.network_id]
            try:
                records.insert_endpoint(connection, endpoint, self._networks.cursors(network))
            except sqlite3.IntegrityError as error:  # the network was removed since it was looked up
                raise NotFound(f"network {network.name} not found", field="network") from error
            self._event(connection, "connect", endpoint, view.sandbox, network)

    async def _strike(
        self, step: str, gone: Sequence[Endpoint], networks: Sequence[Network], sandbox: Sandbox
    ) -> None:
        def strike(connection: sqlite3.Connection) -> None:
            for endpoint, network in zip(gone, networks, strict=True):
                records.delete_endpoint(connection, endpoint.id)
                self._event(connection, "disconnect", endpoint, sandbox, network)

        await self._store.write(step, strike)

    async def _take_down(self, endpoint: Endpoint, view: View) -> None:
        driver = drivers.of(view.networks[endpoint.network_id].driver)
        wire, pin = self.wire_of(endpoint, view), self._sandboxes.pin(view.sandbox)
        steps: list[Coroutine[Any, Any, None]] = [self._on_thread("detach.unlink", driver.detach, pin, wire)]
        if endpoint.ports:
            steps.append(self._unpublish("detach.unpublish", [endpoint.id]))
        try:
            await _together(steps)
        finally:
            self._release([endpoint], view)

    async def _reroute(self, view: View, left: Sequence[Endpoint]) -> None:
        for endpoint in left:
            for gateway in joining.routes(endpoint, left, view.networks):
                async with stage("detach.route", interface=endpoint.interface):
                    pin = self._sandboxes.pin(view.sandbox)
                    try:
                        await self._threads.run(wiring.route, pin, endpoint.interface, gateway)
                    except OSError as error:  # somebody took that link or its address away: Fsck's to find and mend
                        logger().warning("the default route stays where it was", sandbox=view.sandbox.id,
                                         interface=endpoint.interface, error=str(error))

    def _release(self, gone: Iterable[Endpoint], view: View) -> None:
        for endpoint in gone:
            self.ports.release(endpoint.id)
            network = view.networks[endpoint.network_id]
            self._networks.give_back(network, [address.ip for address in endpoint.addresses])

    async def _link(self, endpoint: Endpoint, view: View) -> None:
        driver = drivers.of(view.networks[endpoint.network_id].driver)
        async with stage("attach.link", link=endpoint.link or endpoint.interface):
            await self._threads.run(
                driver.attach, self._host, self._sandboxes.pin(view.sandbox), self.wire_of(endpoint, view))

    async def _cut_and_unpin(self, view: View) -> None:
        """Nothing passes any more to and from the sandbox, and the kernel may take it apart."""
        wires: dict[str, list[Wire]] = {}
        for endpoint in view.endpoints:
            if endpoint.addresses:
                wires.setdefault(view.networks[endpoint.network_id].driver, []).append(self.wire_of(endpoint, view))
        for name, cut in wires.items():
            try:
                pin = self._sandboxes.pin(view.sandbox)
                await self._on_thread("remove_sandbox.cut", drivers.of(name).cut, pin, cut)
            except OSError as error:  # its namespace is lost, and what was inside with it
                logger().warning("a removed sandbox was not cut off", sandbox=view.sandbox.id, error=str(error))
        async with stage("remove_sandbox.netns"):
            await self._sandboxes.unpin([view.sandbox])

    async def _publish(self, endpoint: Endpoint) -> None:
        if endpoint.ports:
            published = bindings.published(endpoint)
            async with stage("attach.publish", count=len(endpoint.ports), ports=bindings.told(published)):
                await self._firewall.publish(published)

    async def _unpublish(self, step: str, endpoint_ids: Sequence[str]) -> None:
        async with stage(step):
            await self._firewall.unpublish(endpoint_ids)

    async def _on_thread(self, step: str, function: Callable[..., None], *args: object) -> None:
        async with stage(step):
            await self._threads.run(function, self._host, *args)

    async def _reap(self, names: Sequence[str]) -> None:
        await asyncio.sleep(_REAP_SECONDS)
        with trace("reap"):
            await self._on_thread("reap.links", wiring.delete, names)
        self.reaping.difference_update(names)

    def _event(
        self, connection: sqlite3.Connection, action: str, endpoint: Endpoint, sandbox: Sandbox,
        network: Network,
    ) -> None:
        attributes = {"name": network.name, "type": network.driver, "container": sandbox.owner.id,
                      "endpoint": endpoint.id}
        self._events.append(connection, "network", action, network.id, sandbox.owner, attributes)


async def _together(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at the same time, each to its end whatever becomes of the others; then raise what went wrong."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Internal("; ".join(map(str, errors))) from ExceptionGroup("several steps failed", errors)
