"""What a network driver is, and which there are.

A *driver* knows the kernel's side of a kind of network, and keeps nothing: what there is stands in the records. Its
network has one *link* on the host (a bridge, a parent), marked as netd's own where netd made it; an endpoint has a
*wire*, which ends in a link inside its sandbox. Lifecycle::

    validate(spec) → probe() → setup(network) → attach(wire) … detach(wire) or cut(wires) → teardown(network)

``setup``, ``attach`` and ``mend`` may be repeated, and finish what a killed one began; ``teardown``, ``detach`` and
``cut`` find nothing without an error. All of them but ``validate`` block, and run on worker threads. Drivers run one
suite (tests/service/netd/test_drivers.py).

Example, a macvlan network on eth0: ``validate`` reads ``parent=eth0``; ``setup`` sees that eth0 is there; ``attach``
makes a macvlan link of eth0 inside the sandbox, gives it addresses and routes, sets it up, and marks it last of all;
``detach`` deletes it; ``teardown`` has nothing to take away. The networks "host" and "none" have no links, and need no
driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from chassis.errors import Unimplemented
from netd import links
from netd.bridge_driver import BridgeDriver
from netd.ipvlan import IpvlanDriver
from netd.macvlan import MacvlanDriver
from netd.netlink import NetlinkSocket
from netd.records import Network
from netd.wiring import Wire
from pier.network.v1 import network_pb2


class Driver(Protocol):
    """``publishes``: may endpoints have host ports? ``owns_subnets``: are the subnets of the host's own making, and
    therefore to be kept apart from its routes?"""

    name: str
    publishes: bool
    owns_subnets: bool

    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        """The IP versions in which nobody is to have the gateway's address. InvalidArgument, Unimplemented."""

    def link_of(self, spec: network_pb2.NetworkSpec, chosen: str) -> str:
        """Name of the network's link; ``chosen`` where the specification leaves it to netd."""

    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        """What the names of the links inside begin with."""

    def has_parents_mac(self, spec: network_pb2.NetworkSpec) -> bool:
        """Have links inside the MAC address of the network's link, and none of their own?"""

    def is_closed(self, spec: network_pb2.NetworkSpec) -> bool:
        """Does the specification leave the network without a way out, whatever it says of ``internal``?"""

    def probe(self, host: NetlinkSocket) -> None:
        """Before the first of its networks is made: Unimplemented where the kernel has no such links."""

    def setup(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        """The network's link as it should be. Conflict, NotFound or Unimplemented where it cannot be."""

    def teardown(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        """Take the network's link away where it carries this alias."""

    def is_set_up(
        self, network: Network, alias: str, present: Mapping[str, links.Link], addresses: Sequence[links.Address]
    ) -> bool:
        """Is it all there, by what the host has?"""

    def wire(self, wire: Wire, network: Network) -> Wire:
        """The wire with what the driver decides: the network's link, isolation, MTU, mode."""

    def attach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        """Make the wire. Conflict where a link of its name is a stranger's."""

    def mend(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        """Finish what lacks, and leave what was complete once."""

    def detach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        """Take the wire out of a sandbox that lives on."""

    def cut(self, host: NetlinkSocket, pin: Path, wires: Sequence[Wire]) -> None:
        """Nothing passes any more. Quick: the links go with the sandbox's namespace."""

    def is_attached(self, pin: Path, wire: Wire, present: Mapping[str, links.Link]) -> bool:
        """Is the wire complete?"""


_ALL: Final[tuple[Driver, ...]] = (BridgeDriver(), MacvlanDriver(), IpvlanDriver())
_BY_NAME: Final = {driver.name: driver for driver in _ALL}


def names() -> list[str]:
    return sorted(_BY_NAME)


def of(name: str) -> Driver:
    """The driver of that name; "" is bridge. Unimplemented (NO_DRIVER) for another one."""
    driver = _BY_NAME.get(name or "bridge")
    if driver is None:
        raise Unimplemented(f"network driver {ascii(name)[:60]} is not built", reason="NO_DRIVER", field="spec.driver",
                            expected=" or ".join(names()))
    return driver


def has_links(name: str) -> bool:
    """Have networks of that driver links and addresses?"""
    return name in _BY_NAME
