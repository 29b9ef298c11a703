"""What macvlan and ipvlan have in common: links inside sandboxes that are made of one of the host's, the *parent*.

``parent`` is a link, or ``LINK.VLAN`` for a VLAN of a link, which netd makes where it is not there and takes away
again; without one the network is internal, and its parent a veth pair that leads nowhere (a kernel may lack dummy
links). The kernel lets no packet pass between the parent and its sublinks: the host itself does not reach the
containers, nor they it.
"""

from __future__ import annotations

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import Conflict, InvalidArgument, NotFound, Unimplemented
from netd import links, netns, options, wiring
from netd.netlink import NetlinkSocket, Request
from netd.records import Network
from netd.wiring import Wire
from pier.network.v1 import network_pb2

KINDS: Final = ("macvlan", "ipvlan")
PARENT: Final = "parent"
_VLAN: Final = re.compile(r"(.+)\.([1-9][0-9]{0,3})")
_VLAN_MAX: Final = 4094


@dataclass(frozen=True)
class Shape:
    """The options of both. ``parent`` "": one that leads nowhere. ``mtu`` 0: the parent's. ``prefix``: of the names of
    the links inside."""

    parent: str = ""
    mtu: int = 0
    prefix: str = "eth"


def shape(spec: network_pb2.NetworkSpec, driver: str, own: Sequence[str]) -> Shape:
    """The options of both drivers; ``own`` are the keys of this one alone. InvalidArgument for a value that is none,
    Unimplemented for an option that is not built."""
    known = (PARENT, *own, options.MTU, options.PREFIX)
    for key in spec.options:
        if key not in known:
            raise Unimplemented(f"network option {ascii(key)[:80]} is not built for {driver}", field="spec.options",
                                expected=", ".join(known))
    parent = spec.options.get(PARENT, "")
    common = {key: spec.options[key] for key in (options.MTU, options.PREFIX) if key in spec.options}
    read = options.read(network_pb2.NetworkSpec(options=common))
    return Shape(options.link_name(PARENT, parent) if parent else "", read.mtu if options.MTU in common else 0,
                 read.prefix)


def one_of(spec: network_pb2.NetworkSpec, key: str, choices: Collection[str], default: str) -> str:
    """The value of an option that is one of a few words. InvalidArgument."""
    value = spec.options.get(key, "")
    if value and value not in choices:
        raise InvalidArgument(f"{key}: {ascii(value)[:40]} is none of its values", field=f"spec.options.{key}",
                              expected=", ".join(choices))
    return value or default


class SublinkDriver(ABC):
    """As drivers.Driver; what differs is how a sublink is made."""

    name: str
    publishes = False
    owns_subnets = False

    @abstractmethod
    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        """As drivers.Driver."""

    @abstractmethod
    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        """As drivers.Driver."""

    @abstractmethod
    def has_parents_mac(self, spec: network_pb2.NetworkSpec) -> bool:
        """As drivers.Driver."""

    @abstractmethod
    def wire(self, wire: Wire, network: Network) -> Wire:
        """As drivers.Driver."""

    @abstractmethod
    def sublink(self, wire: Wire, parent: int, netns_fd: int) -> Request:
        """The request that makes the wire's link."""

    @abstractmethod
    def refused(self, error: OSError, wire: Wire) -> Exception:
        """What a caller is told where the kernel refuses it."""

    def probe(self, host: NetlinkSocket) -> None:
        if not links.has_kind(host, self.name):
            raise Unimplemented(f"network driver {self.name}: this host's kernel has no {self.name} links",
                                reason=f"NO_{self.name.upper()}", field="spec.driver", expected="bridge")

    def link_of(self, spec: network_pb2.NetworkSpec, chosen: str) -> str:
        return spec.options.get(PARENT) or chosen

    def is_closed(self, spec: network_pb2.NetworkSpec) -> bool:
        return not spec.options.get(PARENT)

    def setup(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        parent = wiring.find(host, network.link)
        if parent is None:
            _make_parent(host, network, alias)
        elif not network.spec.options.get(PARENT) and parent.alias != alias:
            raise Conflict(f"link {network.link} exists and is not this engine's", reason="LINK_TAKEN", field="parent")
        elif parent.alias == alias and not parent.up:
            host.run([links.set_link(network.link, up=True)])

    def teardown(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        found = wiring.find(host, network.link)
        if found is not None and found.alias == alias:
            wiring.delete(host, [network.link])

    def is_set_up(
        self, network: Network, alias: str, present: Mapping[str, links.Link], addresses: Sequence[links.Address]
    ) -> bool:
        return network.link in present

    def attach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        self.detach(host, pin, wire)
        parent = wiring.find(host, wire.network_link)
        if parent is None:
            raise NotFound(f"parent {wire.network_link} is no link of this host", reason="NO_PARENT", field="parent")
        fd = netns.open_pin(pin)
        try:
            host.run([self.sublink(wire, parent.index, fd)])
        except OSError as error:
            raise self.refused(error, wire) from error
        finally:
            os.close(fd)

        def finish() -> None:
            wiring.set_up(wire)
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


def _make_parent(host: NetlinkSocket, network: Network, alias: str) -> None:
    name = network.link
    made = [links.set_link(name, alias=alias)]
    if not network.spec.options.get(PARENT):
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


def _is(link: links.Link, wire: Wire) -> bool:
    """Is it the wire's, or what a killed attempt left of it? Its mark is what is put on last."""
    return link.kind in KINDS and (link.alias == wire.alias or (link.name == wire.interface and not link.alias))


def _below(name: str) -> tuple[str, int]:
    """("eth0", 50) for eth0.50; ("", 0) for a name that stands for no VLAN."""
    found = _VLAN.fullmatch(name)
    if not found or int(found[2]) > _VLAN_MAX:
        return "", 0
    return found[1], int(found[2])
