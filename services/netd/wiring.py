"""The kernel's side of an endpoint: a veth pair from a network's bridge into a sandbox's namespace.

Functions block for 0.1 to 2 ms (``unwire`` and ``delete`` for about 20): they run on worker threads. Each can be
carried out again after a kill at any point.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import Conflict
from netd import endpoint_options, links, netns
from netd.endpoint_options import Sysctl
from netd.ipam import Address, Interface
from netd.netlink import NetlinkSocket


@dataclass(frozen=True)
class Wire:
    """What joins an endpoint's sandbox to its network. ``link`` is its outer end, "" where it has none on the host;
    ``network_link`` the bridge or parent; ``gateways`` those of the default routes that go here, one at most for each
    IP version; ``mtu`` 0 the network link's; ``mode`` a macvlan or ipvlan link's, ``flag`` an ipvlan link's;
    ``sysctls`` of the link inside."""

    link: str
    alias: str
    interface: str
    addresses: tuple[Interface, ...]
    mac: str
    gateways: tuple[Address, ...]
    network_link: str = ""
    isolated: bool = False
    mtu: int = 0
    mode: str = ""
    flag: str = ""
    sysctls: tuple[Sysctl, ...] = ()


def wire(host: NetlinkSocket, pin: Path, spec: Wire) -> None:
    """Make the pair, give it its address, and join it to the bridge last of all.

    That the outer end is up on its bridge says that all of it was done: what is inside belongs to the sandbox from then
    on, whose processes may have changed it, and is not judged again. What a killed attempt left goes first.
    """
    unwire(host, spec.link, spec.alias)
    fd = netns.open_pin(pin)
    try:
        # One datagram, one system call: no kill comes between the pair and the alias that names its owner.
        results = host.batch([
            links.add_veth(spec.link, spec.interface, fd, spec.mac, spec.mtu),
            links.set_link(spec.link, alias=spec.alias),
            links.no_link_local(spec.link),
        ])
    finally:
        os.close(fd)
    for result in results:
        # A kernel without IPv6 has no link-local address to forgo.
        if result is not None and result.errno != errno.EAFNOSUPPORT:
            raise result
    netns.inside(pin, lambda: set_up(spec))
    join(host, spec)


def set_up(spec: Wire) -> None:
    """Give the wire's link, of the calling thread's namespace, its addresses, switches and routes, and set it up.
    InvalidArgument for a switch that the kernel refuses."""
    if any(address.version == 6 for address in spec.addresses):
        netns.enable_ipv6(spec.interface)
    with NetlinkSocket() as sock:
        index = links.link(sock, spec.interface).index
        first = [links.add_address(index, address) for address in spec.addresses]
        if spec.sysctls:
            sock.run(first)
            endpoint_options.apply(spec.interface, spec.sysctls)
            first = []
        sock.run([*first, links.set_link(spec.interface, up=True)])
        sock.run([links.add_default_route(index, gateway) for gateway in spec.gateways])


def join(host: NetlinkSocket, spec: Wire) -> None:
    """Join the outer end to its bridge and set it up."""
    bridge = links.link(host, spec.network_link)
    host.run([
        links.set_link(spec.link, master=bridge.index),
        links.set_port(spec.link, hairpin=True, isolated=spec.isolated),
        links.set_link(spec.link, up=True),
    ])


def mend(host: NetlinkSocket, pin: Path, spec: Wire) -> None:
    """Finish what lacks. A pair that was complete once is only joined again, its inner end left as it is."""
    outer = find(host, spec.link)
    if outer is not None and outer.alias == spec.alias and outer.up:
        join(host, spec)
    else:
        wire(host, pin, spec)


def is_wired(spec: Wire, by_name: Mapping[str, links.Link]) -> bool:
    """Is the outer end there, up, ours, and on its bridge?"""
    outer, bridge = by_name.get(spec.link), by_name.get(spec.network_link)
    return (
        outer is not None and bridge is not None and outer.alias == spec.alias and outer.up
        and outer.master == bridge.index and outer.isolated == spec.isolated
    )


def route(pin: Path, interface: str, gateway: Address) -> None:
    """The sandbox's default route of the gateway's IP version goes by this interface from now on."""
    with netns.enter(pin) as inside:
        inside.run([links.add_default_route(links.link(inside, interface).index, gateway)])


def unwire(host: NetlinkSocket, link: str, alias: str) -> None:
    """Delete the pair out of a sandbox that lives on; nothing there is no error. Raises Conflict for a stranger's."""
    found = find(host, link)
    if found is None:
        return
    if found.alias != alias:
        raise Conflict(f"link {link} exists and is not this engine's", reason="LINK_TAKEN")
    delete(host, [link])


def find(host: NetlinkSocket, link: str) -> links.Link | None:
    """The link of that name; None where there is none."""
    try:
        return links.link(host, link)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return None


def cut(host: NetlinkSocket, names: Iterable[str]) -> None:
    """Take links down: nothing passes any more. Quick, where deleting waits for RCU. What is gone is no error."""
    for result in host.batch([links.set_link(name, up=False) for name in names]):
        if result is not None and result.errno != errno.ENODEV:
            raise result


def delete(host: NetlinkSocket, names: Iterable[str]) -> None:
    """Delete links. What is gone is no error."""
    for result in host.batch([links.delete_link(name) for name in names]):
        if result is not None and result.errno != errno.ENODEV:
            raise result
