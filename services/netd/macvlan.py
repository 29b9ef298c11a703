"""The macvlan driver: containers are hosts of the network that a link of this host, the *parent*, stands in.

Each has a MAC address of its own there; netd leads, translates and publishes nothing. Docker's options: ``parent``, a
link, or ``LINK.VLAN`` for a VLAN of a link, which netd makes where it is not there and takes away again; without one
the network is internal, and its parent a veth pair that leads nowhere (a kernel may lack dummy links).
``macvlan_mode``: in ``bridge`` (the default) containers reach each other, in ``private`` and ``vepa`` not here,
``passthru`` gives the parent to one container alone. The kernel lets no packet pass between the parent and its macvlan
links: the host itself does not reach the containers, nor they it.

Source: <linux/if_link.h>; IEEE 802.1Qbg for vepa.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chassis.errors import Conflict, InvalidArgument, NotFound, Unimplemented
from netd import links, netns, options, wiring
from netd.netlink import NetlinkSocket
from netd.records import Network
from netd.wiring import Wire
from pier.network.v1 import network_pb2

PARENT: Final = "parent"
MODE: Final = "macvlan_mode"
PASSTHRU: Final = "passthru"
MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, PASSTHRU: 8}
_VLAN: Final = re.compile(r"(.+)\.([1-9][0-9]{0,3})")
_VLAN_MAX: Final = 4094


@dataclass(frozen=True)
class MacvlanOptions:
    """``parent`` "": one that leads nowhere. ``mtu`` 0: the parent's."""

    parent: str = ""
    mode: str = "bridge"
    mtu: int = 0
    prefix: str = "eth"


def read(spec: network_pb2.NetworkSpec) -> MacvlanOptions:
    """InvalidArgument for a value that is none, Unimplemented for an option that is not built."""
    made = MacvlanOptions()
    for key, value in spec.options.items():
        if key == PARENT:
            made = replace(made, parent=options.link_name(key, value) if value else "")
        elif key == MODE:
            if value and value not in MODES:
                raise InvalidArgument(f"{key}: {ascii(value)[:40]} is no mode of a macvlan link",
                                      field=f"spec.options.{key}", expected=", ".join(MODES))
            made = replace(made, mode=value or "bridge")
        elif key in (options.MTU, options.PREFIX):
            one = options.read(network_pb2.NetworkSpec(options={key: value}))
            made = replace(made, mtu=one.mtu) if key == options.MTU else replace(made, prefix=one.prefix)
        else:
            raise Unimplemented(f"network option {ascii(key)[:80]} is not built for macvlan", field="spec.options",
                                expected=f"{PARENT}, {MODE}, {options.MTU}, {options.PREFIX}")
    return made


class MacvlanDriver:
    """As drivers.Driver."""

    name = "macvlan"
    publishes = False
    owns_subnets = False

    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        read(spec)
        return ()

    def link_of(self, spec: network_pb2.NetworkSpec, chosen: str) -> str:
        return read(spec).parent or chosen

    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        return read(spec).prefix

    def setup(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        parent = wiring.find(host, network.link)
        if parent is None:
            self._make_parent(host, network, alias)
        elif not read(network.spec).parent and parent.alias != alias:
            raise Conflict(f"link {network.link} exists and is not this engine's", reason="LINK_TAKEN", field="parent")
        elif parent.alias == alias and not parent.up:
            host.run([links.set_link(network.link, up=True)])

    @staticmethod
    def _make_parent(host: NetlinkSocket, network: Network, alias: str) -> None:
        name = network.link
        made = [links.set_link(name, alias=alias)]
        if not read(network.spec).parent:
            peer = f"{name[:-7]}p{name[-6:]}"
            made.insert(0, links.add_veth(name, peer))
            made += [links.set_link(peer, alias=alias), links.set_link(peer, up=True)]
        else:
            below, vlan = _below(name)
            base = wiring.find(host, below) if below else None
            if base is None:
                raise NotFound(f"parent {name} is no link of this host", reason="NO_PARENT", field="parent")
            made.insert(0, links.add_vlan(name, base.index, vlan))
        for result in host.batch([*made, links.set_link(name, up=True)]):
            if result is not None and result.errno == errno.EOPNOTSUPP:
                raise Unimplemented(f"parent {name} cannot be made: this kernel has no VLAN links", reason="NO_VLAN",
                                    field="parent", expected="a link that is there")
            if result is not None:
                raise result

    def teardown(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        found = wiring.find(host, network.link)
        if found is not None and found.alias == alias:
            wiring.delete(host, [network.link])

    def is_set_up(
        self, network: Network, alias: str, present: Mapping[str, links.Link], addresses: Sequence[links.Address]
    ) -> bool:
        return network.link in present

    def wire(self, wire: Wire, network: Network) -> Wire:
        made = read(network.spec)
        return replace(wire, network_link=network.link, mtu=made.mtu, mode=made.mode)

    def attach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        self.detach(host, pin, wire)
        parent = wiring.find(host, wire.network_link)
        if parent is None:
            raise NotFound(f"parent {wire.network_link} is no link of this host", reason="NO_PARENT", field="parent")
        fd = netns.open_pin(pin)
        try:
            mac = "" if wire.mode == PASSTHRU else wire.mac
            host.run([links.add_macvlan(wire.interface, parent.index, MODES[wire.mode], fd, mac, wire.mtu)])
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.EINVAL) and wire.mode == PASSTHRU:
                raise Conflict(f"parent {wire.network_link} is given to another container already", reason="IN_USE",
                               field="network") from error
            if error.errno == errno.EBUSY:
                raise Conflict(f"link {wire.network_link} is used in a way that no macvlan goes with (as a port of a "
                               "bridge, for example)", reason="IN_USE", field="parent") from error
            raise
        finally:
            os.close(fd)

        def finish() -> None:
            wiring.set_up(wire.interface, wire.addresses, wire.gateways)
            with NetlinkSocket() as inside:
                inside.run([links.set_link(wire.interface, alias=wire.alias)])

        netns.inside(pin, finish)

    def mend(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        self.attach(host, pin, wire)

    def detach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        def work() -> None:
            with NetlinkSocket() as inside:
                wiring.delete(inside, [link.name for link in links.all_links(inside) if _is(link, wire)])

        netns.inside(pin, work)

    def cut(self, host: NetlinkSocket, pin: Path, wires: Sequence[Wire]) -> None:
        with netns.enter(pin) as inside:
            wiring.cut(inside, [link.name for link in links.all_links(inside) if any(_is(link, w) for w in wires)])

    def is_attached(self, pin: Path, wire: Wire, present: Mapping[str, links.Link]) -> bool:
        with netns.enter(pin) as inside:
            return any(link.alias == wire.alias for link in links.all_links(inside))


def _is(link: links.Link, wire: Wire) -> bool:
    """Is it the wire's, or what a killed attempt left of it? Its mark is what is put on last."""
    return link.kind == "macvlan" and (link.alias == wire.alias or (link.name == wire.interface and not link.alias))


def _below(name: str) -> tuple[str, int]:
    """("eth0", 50) for eth0.50; ("", 0) for a name that stands for no VLAN."""
    found = _VLAN.fullmatch(name)
    if not found or int(found[2]) > _VLAN_MAX:
        return "", 0
    return found[1], int(found[2])
