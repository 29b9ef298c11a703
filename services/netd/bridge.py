"""A network's bridge: the link with the gateway's address, and the switches that let it forward.

A bridge is made *sealed*: it forwards nothing, and does not route 127.0.0.0/8, until the nft table is proven; then it
is opened. When the table turns out to be gone it is sealed again first. What remains: a table that is flushed while
netd is not running leaves bridges open until netd's next start, and whoever writes ``net.ipv4.ip_forward`` sets the
forwarding of every link.
"""

from __future__ import annotations

import errno
import secrets
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

from chassis.errors import Conflict
from netd import links
from netd.netlink import NetlinkSocket

_SYSCTL: Final = Path("/proc/sys/net")
MTU: Final = 1500


@dataclass(frozen=True)
class BridgeSpec:
    """What a bridge should be. ``alias`` names its owner; a link of that name with another alias is a stranger's."""

    link: str
    alias: str
    gateway: IPv4Interface
    mtu: int = MTU


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
    if spec.gateway not in there:
        sock.run([links.add_address(found.index, spec.gateway)])
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
    seal(spec.link)
    _write(f"ipv6/conf/{spec.link}/disable_ipv6", "1")
    return links.link(sock, spec.link)


def seal(link: str) -> None:
    """Nothing that enters by the bridge is forwarded, and 127.0.0.0/8 is martian there. A missing link is no error."""
    _write(f"ipv4/conf/{link}/forwarding", "0")
    _write(f"ipv4/conf/{link}/route_localnet", "0")


def open_(link: str) -> None:
    """Only after the nft table is proven: it guards what this opens."""
    _write(f"ipv4/conf/{link}/route_localnet", "1")
    _write(f"ipv4/conf/{link}/forwarding", "1")


def is_open(link: str) -> bool:
    try:
        return (_SYSCTL / f"ipv4/conf/{link}/forwarding").read_text().strip() == "1"
    except FileNotFoundError:
        return False


def delete(sock: NetlinkSocket, link: str, alias: str) -> None:
    """Take the bridge away if it is ours; its absence is no error."""
    try:
        if links.link(sock, link).alias == alias:
            sock.run([links.delete_link(link)])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def is_forwarding() -> bool:
    """Is ``net.ipv4.ip_forward`` on?"""
    return (_SYSCTL / "ipv4/ip_forward").read_text().strip() == "1"


def enable_forwarding() -> bool:
    """Switch ``net.ipv4.ip_forward`` on; True where that changed it. The write sets every link's own switch too, so
    bridges are sealed after it, not before."""
    if is_forwarding():
        return False
    (_SYSCTL / "ipv4/ip_forward").write_text("1")
    return True


def _write(name: str, value: str) -> None:
    try:
        (_SYSCTL / name).write_text(value)
    except FileNotFoundError:
        return
