"""A network's bridge: the link with the gateway's address, and the switches that let it forward.

A bridge is made *sealed*: it forwards no IPv4 packet, does not route 127.0.0.0/8, and has no IPv6, until the nft table
is proven; then it is opened. (What a link forwards of IPv6 is no matter of its own: the kernel has one switch for all.)
When the table turns out to be gone it is sealed again first. What remains: a table that is flushed while netd is not
running leaves bridges open until netd's next start, and whoever writes ``net.ipv4.ip_forward`` sets the forwarding of
every link.

A bridge listens to no router advertisement, of a container or anybody (CVE-2020-13401).
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Interface
from pathlib import Path
from typing import Final

from chassis.errors import Conflict, Unimplemented
from netd import links
from netd.ipam import Interface
from netd.netlink import NetlinkSocket

_SYSCTL: Final = Path("/proc/sys/net")
MTU: Final = 1500
_LINK_LOCAL: Final = IPv6Interface("fe80::1/64")
"""What the host asks for neighbours by. One that the kernel makes itself would be usable a second or two after the
first container is there: it looks for duplicates first."""
_FORWARDING: Final = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


@dataclass(frozen=True)
class BridgeSpec:
    """What a bridge should be. ``alias`` names its owner; a link of that name with another alias is a stranger's."""

    link: str
    alias: str
    gateways: tuple[Interface, ...]
    mtu: int = MTU

    @property
    def gateways6(self) -> tuple[IPv6Interface, ...]:
        """What ``open_`` gives back."""
        return tuple(gateway for gateway in self.gateways if isinstance(gateway, IPv6Interface))


def ensure(sock: NetlinkSocket, spec: BridgeSpec) -> links.Link:
    """Make the bridge, or complete one that a former start left. It is sealed when it is new.

    A bridge that this very instance left with a state that is lost (its alias differs in the network's id alone) is
    replaced. Raises Conflict where another program has a link of that name.
    """
    try:
        found = links.link(sock, spec.link)
        if found.kind == "bridge" and _is_predecessor(found.alias, spec.alias):
            sock.run([links.delete_link(spec.link)])
            found = _make(sock, spec)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        found = _make(sock, spec)
    if found.kind != "bridge" or found.alias != spec.alias:
        raise Conflict(f"link {spec.link} exists and is not this engine's", reason="LINK_TAKEN", field="bridge")
    there = {a.address for a in links.addresses(sock) if a.link == found.index}
    lacking = [gateway for gateway in spec.gateways if gateway.version == 4 and gateway not in there]
    sock.run([links.add_address(found.index, gateway) for gateway in lacking])
    if not found.up:
        sock.run([links.set_link(spec.link, up=True)])
    return found


def _is_predecessor(alias: str, own: str) -> bool:
    """"INSTANCE network ID OWNER" with another id."""
    theirs, ours = alias.split(" "), own.split(" ")
    return len(theirs) == len(ours) == 4 and theirs != ours and theirs[:2] + theirs[3:] == ours[:2] + ours[3:]


def _make(sock: NetlinkSocket, spec: BridgeSpec) -> links.Link:
    mac = "02:42:" + secrets.token_bytes(4).hex(":")
    # The alias comes in the same datagram: a crash in between leaves either nothing or an owned link but for the
    # microseconds between two messages of one batch.
    sock.run([links.add_bridge(spec.link, mac, spec.mtu), links.set_link(spec.link, alias=spec.alias)])
    _write(f"ipv6/conf/{spec.link}/accept_ra", "0")
    _write(f"ipv6/conf/{spec.link}/addr_gen_mode", "1")
    seal(spec.link)
    return links.link(sock, spec.link)


def seal(link: str) -> None:
    """Nothing that enters by the bridge is forwarded, and 127.0.0.0/8 is martian there. A missing link is no error."""
    _write(f"ipv4/conf/{link}/forwarding", "0")
    _write(f"ipv4/conf/{link}/route_localnet", "0")
    _write(f"ipv6/conf/{link}/disable_ipv6", "1")


def open_(link: str, gateways6: Iterable[IPv6Interface] = ()) -> None:
    """Only after the nft table is proven: it guards what this opens. ``gateways6`` went with the seal and come back; a
    bridge without any has no IPv6."""
    wanted = list(gateways6)
    _write(f"ipv4/conf/{link}/route_localnet", "1")
    _write(f"ipv4/conf/{link}/forwarding", "1")
    _write(f"ipv6/conf/{link}/disable_ipv6", "0" if wanted else "1")
    if wanted:
        with NetlinkSocket() as sock:
            _add_addresses(sock, link, [*wanted, _LINK_LOCAL])


def _add_addresses(sock: NetlinkSocket, link: str, wanted: Iterable[Interface]) -> None:
    try:
        index = links.link(sock, link).index
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return
    for result in sock.batch([links.add_address(index, address) for address in wanted]):
        if result is not None and result.errno != errno.EEXIST:
            raise result


def is_open(link: str, gateways6: Iterable[IPv6Interface] = ()) -> bool:
    closed6 = any(gateways6) and _read(f"ipv6/conf/{link}/disable_ipv6") != "0"
    return _read(f"ipv4/conf/{link}/forwarding") == "1" and not closed6


def delete(sock: NetlinkSocket, link: str, alias: str) -> None:
    """Take the bridge away if it is ours; its absence is no error."""
    try:
        if links.link(sock, link).alias == alias:
            sock.run([links.delete_link(link)])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def is_forwarding(version: int = 4) -> bool:
    """Does the host forward packets of that IP version?"""
    return _read(_FORWARDING[version]) == "1"


def enable_forwarding(version: int = 4) -> bool:
    """Let the host forward packets of that IP version; True where that changed it. The write sets every link's own
    switch too, so bridges are sealed after it, not before.

    A host that forwards IPv6 no longer listens to router advertisements, by which it may have its own address and
    route: links that listened go on. Raises Unimplemented where the kernel has no IPv6.
    """
    if is_forwarding(version):
        return False
    if not (_SYSCTL / _FORWARDING[version]).exists():
        raise Unimplemented(f"this host has no IPv{version}", reason="NO_IPV6", field="spec.enable_ipv6",
                            expected="false")
    if version == 6:
        for switch in (_SYSCTL / "ipv6/conf").glob("*/accept_ra"):
            if switch.parent.name not in ("all", "default") and switch.read_text().strip() == "1":
                switch.write_text("2")
    (_SYSCTL / _FORWARDING[version]).write_text("1")
    return True


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text().strip()
    except FileNotFoundError:
        return ""


def _write(name: str, value: str) -> None:
    try:
        (_SYSCTL / name).write_text(value)
    except FileNotFoundError:
        return
