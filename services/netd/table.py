"""The instance's nft table: a fixed schema, and sets and maps whose elements say what exists.

A network adds its bridge to four sets; a published port is one element of a map. So a packet's cost does not grow
with the number of ports, and each change is one small transaction. Every element's comment names its owner: a network
id or an endpoint id.

What the chains do:

* ``guard`` (before connection tracking): nothing from a bridge speaks to or as 127.0.0.0/8. The bridges need
  ``route_localnet`` so that the host's 127.0.0.1 reaches published ports; this takes back what that opens. (Nothing of
  the kind is needed for ::1: the kernel takes it for a stranger's on every wire, and cannot be told otherwise.)
* ``publish``: from outside, from a container (hairpin), and from the host itself, also at 127.0.0.1, a published port
  leads to its container. A packet for 127.0.0.0/8 that came over a wire is never led on: a neighbour could send it.
* ``postrouting``: out of a network by the host's address, unless it is masqueraded in neither IP version; and by the
  bridge's own address where the answer would otherwise miss the way back (from 127.0.0.1, or from a container of the
  same bridge).
* ``forward``: into a bridge only answers, published ports (led here, or ``opened`` at the container's own address on a
  ``direct`` network), and the bridge itself where its containers may speak with each other. Where they may not
  (``silent``) they reach each other by no published port either: where the kernel hands nftables a bridge's frames
  (bridge-nf-call-iptables), one that is led to a neighbour never leaves the bridge, and ends at its isolated ports.
  Out of an internal network goes nothing; to another program's bridges (``apart``) only answers, and what that program
  has published.

An accept here does not overrule another table's drop: each table decides for itself (see neighbours.py).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from typing import Final

from chassis.errors import Internal
from netd.ipam import Address, Block
from netd.nft import JsonObject, Nft, NftError

FAMILY: Final = "inet"
ANY: Final = IPv4Address("0.0.0.0")
ANY6: Final = IPv6Address("::")
VERSIONS: Final = (4, 6)

_SCHEMA: Final = """
table inet {table} {{
    set bridges {{ type ifname; }}
    set routed {{ type ifname; }}
    set within {{ type ifname . ifname; }}
    set silent {{ type ifname . ifname; }}
    set apart {{ type ifname; }}
    set masqueraded {{ type ifname; }}
    set masqueraded6 {{ type ifname; }}
    set direct {{ type ifname; }}
    set direct6 {{ type ifname; }}
    set subnets {{ type ifname . ipv4_addr; flags interval; }}
    set subnets6 {{ type ifname . ipv6_addr; flags interval; }}
    set opened {{ type ipv4_addr . inet_proto . inet_service; }}
    set opened6 {{ type ipv6_addr . inet_proto . inet_service; }}
    map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
    map published6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
    map published6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip daddr 127.0.0.0/8 drop
        iifname @bridges ip saddr 127.0.0.0/8 drop
    }}
    chain publish {{
        meta l4proto {{ tcp, udp, sctp }} dnat ip to ip daddr . meta l4proto . th dport map @published_at
        meta nfproto ipv4 meta l4proto {{ tcp, udp, sctp }} dnat ip to meta l4proto . th dport map @published
        meta l4proto {{ tcp, udp, sctp }} dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6_at
        meta nfproto ipv6 meta l4proto {{ tcp, udp, sctp }} dnat ip6 to meta l4proto . th dport map @published6
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 return
        fib daddr type local jump publish
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        ip6 daddr ::1 return
        fib daddr type local jump publish
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        oifname . ip saddr @subnets ct status dnat masquerade
        oifname . ip6 saddr @subnets6 ct status dnat masquerade
        meta nfproto ipv4 iifname @masqueraded oifname != @bridges masquerade
        meta nfproto ipv6 iifname @masqueraded6 oifname != @bridges masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname @bridges ct state established,related accept
        iifname @bridges ct state established,related accept
        iifname . oifname @within accept
        iifname . oifname @silent drop
        iifname @bridges iifname != @routed drop
        oifname @bridges ct status dnat accept
        oifname @direct ip daddr . meta l4proto . th dport @opened accept
        oifname @direct icmp type echo-request accept
        oifname @direct6 ip6 daddr . meta l4proto . th dport @opened6 accept
        oifname @direct6 icmpv6 type echo-request accept
        oifname @bridges drop
        iifname @bridges oifname @apart ct status & dnat != dnat drop
    }}
}}
"""


@dataclass(frozen=True)
class Bridge:
    """A network's link as the table knows it. ``routed`` is False for an internal network; ``icc``: its containers may
    speak with each other. ``masqueraded`` and ``direct`` are IP versions: those in which its containers go out by the
    host's address, and those in which they are reached at their own. ``gateways6``: the host's IPv6 addresses on it."""

    network_id: str
    link: str
    subnets: tuple[Block, ...]
    routed: bool
    icc: bool = True
    masqueraded: tuple[int, ...] = VERSIONS
    direct: tuple[int, ...] = ()
    gateways6: tuple[IPv6Interface, ...] = ()


@dataclass(frozen=True)
class PublishedPort:
    """``host_address``:``host_port`` leads to ``address``:``port`` of an endpoint; 0.0.0.0 and :: are every local
    address. Both addresses are of one IP version. Host port 0: it is reached at the endpoint's own address alone."""

    endpoint_id: str
    protocol: str
    host_address: Address
    host_port: int
    address: Address
    port: int

    @property
    def key(self) -> tuple[str, Address, int, Address | None, int]:
        """What no two can have."""
        if self.host_port:
            return self.protocol, self.host_address, self.host_port, None, 0
        return self.protocol, self.host_address, 0, self.address, self.port


class Table:
    """What the table should hold, and the way there. Methods block and exclude one another."""

    def __init__(self, nft: Nft, name: str) -> None:
        self._nft = nft
        self.name = name
        self._bridges: dict[str, Bridge] = {}
        self._ports: dict[tuple[str, Address, int, Address | None, int], PublishedPort] = {}
        self._apart: frozenset[str] = frozenset()
        self._schema: list[str] = []
        self._lock = threading.RLock()

    def load(self, bridges: Iterable[Bridge], ports: Iterable[PublishedPort]) -> None:
        """Set what the table should hold, and write it whole, replacing whatever stands there in one transaction."""
        with self._lock:
            self._bridges = {bridge.link: bridge for bridge in bridges}
            self._ports = {port.key: port for port in ports}
            self.restore()

    def restore(self) -> None:
        """Write the whole table anew in one transaction, and prove it. Connections that stand are not cut."""
        with self._lock:
            everything = self._everything()
            schema = _SCHEMA.format(table=self.name)
            # "add" first, since a delete of what is not there would fail the batch.
            start = f"add table {FAMILY} {self.name}\ndelete table {FAMILY} {self.name}\n"
            self._nft.run_text(start + schema + _text(everything))
            listing = self._listing()
            self._schema = _schema_of(listing)
            wrong = self.differences()
            if wrong:
                raise Internal(f"nft table {self.name} is not as it was written: {wrong[0]}", reason="NFT_UNPROVEN")

    def remove(self) -> None:
        """Take the table away; its absence is no error."""
        with self._lock:
            self._nft.run_text(f"add table {FAMILY} {self.name}\ndelete table {FAMILY} {self.name}\n")
            self._bridges, self._ports = {}, {}

    def holds(self, bridges: Iterable[Bridge], ports: Iterable[PublishedPort]) -> bool:
        """Is that what the table should hold?"""
        with self._lock:
            return set(bridges) == set(self._bridges.values()) and set(ports) == set(self._ports.values())

    def add_bridge(self, bridge: Bridge) -> None:
        with self._lock:
            self._nft.run([{"add": element} for element in self._bridge_elements([bridge])])
            self._bridges[bridge.link] = bridge

    def remove_bridge(self, link: str) -> None:
        """The same again does nothing."""
        with self._lock:
            bridge = self._bridges.get(link)
            if bridge is not None:
                self._nft.run([{"delete": element} for element in self._bridge_elements([bridge])])
                del self._bridges[link]

    def keep_apart(self, links: Iterable[str]) -> bool:
        """Let the table know another program's bridges, exactly these; True where that changed something."""
        with self._lock:
            before, self._apart = self._apart, frozenset(links)
            changes = [{"add": element} for element in self._apart_elements(self._apart - before)]
            changes += [{"delete": element} for element in self._apart_elements(before - self._apart)]
            self._nft.run(changes)
            return bool(changes)

    def publish(self, ports: Iterable[PublishedPort]) -> None:
        """Add ports, all or none. One that stands already is left; a key held by another endpoint raises NftError."""
        with self._lock:
            fresh = [port for port in ports if self._ports.get(port.key) != port]
            for port in fresh:
                if port.key in self._ports:
                    raise NftError(f"{port.protocol} port {port.host_port} leads to another endpoint")
            self._nft.run([{"add": element} for element in self._port_elements(fresh)])
            self._ports.update((port.key, port) for port in fresh)

    def change(self, gone: Iterable[PublishedPort], fresh: Iterable[PublishedPort]) -> None:
        """Take ports away and add others in one transaction; what is there, or not there, already is left so."""
        with self._lock:
            wanted = list(fresh)
            removed = [port for port in gone if self._ports.get(port.key) == port and port not in wanted]
            keys = {port.key for port in removed}
            added = [port for port in wanted if self._ports.get(port.key) != port]
            for port in added:
                if port.key in self._ports and port.key not in keys:
                    raise NftError(f"{port.protocol} port {port.host_port} leads to another endpoint")
            self._nft.run([
                *({"delete": element} for element in self._port_elements(removed)),
                *({"add": element} for element in self._port_elements(added)),
            ])
            for key in keys:
                del self._ports[key]
            self._ports.update((port.key, port) for port in added)

    def unpublish(self, *endpoint_ids: str) -> list[PublishedPort]:
        """Take every port of the endpoints away, and return them; the same again does nothing."""
        with self._lock:
            gone = [port for port in self._ports.values() if port.endpoint_id in endpoint_ids]
            self._nft.run([{"delete": element} for element in self._port_elements(gone)])
            for port in gone:
                del self._ports[port.key]
            return gone

    def exists(self) -> bool:
        """Does the kernel have a table of this name?"""
        tables = (item["table"] for item in self._nft.list("tables") if "table" in item)
        return any((table["family"], table["name"]) == (FAMILY, self.name) for table in tables)

    def differences(self) -> list[str]:
        """How the kernel's table differs from what it should be, a sentence each; [] when it does not."""
        with self._lock:
            try:
                listing = self._listing()
            except NftError:
                return [f"nft table {FAMILY} {self.name} is missing"]
            found = []
            if _schema_of(listing) != self._schema:
                found.append(f"chains or rules of nft table {FAMILY} {self.name} were changed")
            elements = self._everything()
            wanted = {(str(e["element"]["name"]), _canonical(item)) for e in elements for item in e["element"]["elem"]}
            there = _elements_of(listing)
            found += [f"nft {name} lacks {item}" for name, item in sorted(wanted - there)]
            found += [f"nft {name} has a foreign element {item}" for name, item in sorted(there - wanted)]
            return found

    def _listing(self) -> list[JsonObject]:
        return self._nft.list(f"table {FAMILY} {self.name}")

    def _elements(self, name: str, items: list[object]) -> JsonObject:
        return {"element": {"family": FAMILY, "table": self.name, "name": name, "elem": items}}

    def _everything(self) -> list[JsonObject]:
        return [
            *self._bridge_elements(self._bridges.values()), *self._apart_elements(self._apart),
            *self._port_elements(self._ports.values()),
        ]

    def _apart_elements(self, links: Iterable[str]) -> list[JsonObject]:
        items: list[object] = [{"elem": {"val": link, "comment": "another program's"}} for link in sorted(links)]
        return [self._elements("apart", items)] if items else []

    def _bridge_elements(self, bridges: Iterable[Bridge]) -> list[JsonObject]:
        elements = []
        for bridge in bridges:
            comment = f"network {bridge.network_id}"
            one: object = {"elem": {"val": bridge.link, "comment": comment}}
            pair: object = {"elem": {"val": {"concat": [bridge.link, bridge.link]}, "comment": comment}}
            elements.append(self._elements("bridges", [one]))
            elements.append(self._elements("within" if bridge.icc else "silent", [pair]))
            for subnet in bridge.subnets:
                prefix = {"prefix": {"addr": str(subnet.network_address), "len": subnet.prefixlen}}
                area: object = {"elem": {"val": {"concat": [bridge.link, prefix]}, "comment": comment}}
                elements.append(self._elements(f"subnets{_of(subnet.version)}", [area]))
            if bridge.routed:
                elements.append(self._elements("routed", [one]))
                for name, versions in (("masqueraded", bridge.masqueraded), ("direct", bridge.direct)):
                    elements += [self._elements(f"{name}{_of(version)}", [one]) for version in versions]
        return elements

    def _port_elements(self, ports: Iterable[PublishedPort]) -> list[JsonObject]:
        items: dict[str, list[object]] = {}
        for port in ports:
            comment = f"endpoint {port.endpoint_id}"
            version = _of(port.address.version)
            if not port.host_port:
                opened = {"concat": [str(port.address), port.protocol, port.port]}
                items.setdefault(f"opened{version}", []).append({"elem": {"val": opened, "comment": comment}})
                continue
            key: list[object] = [port.protocol, port.host_port]
            everywhere = port.host_address.is_unspecified
            if not everywhere:
                key.insert(0, str(port.host_address))
            items.setdefault(f"published{version}{'' if everywhere else '_at'}", []).append([
                {"elem": {"val": {"concat": key}, "comment": comment}},
                {"concat": [str(port.address), port.port]},
            ])
        return [self._elements(name, found) for name, found in items.items()]


def _of(version: int) -> str:
    """How the names of the sets for this IP version end."""
    return "6" if version == 6 else ""


def _text(elements: Iterable[JsonObject]) -> str:
    """The elements in nft's own syntax: a batch with the schema in it cannot be JSON."""
    lines = []
    for element in elements:
        body = element["element"]
        for item in body["elem"]:
            key, value = item if isinstance(item, list) else (item, None)
            words = key["elem"]["val"]
            left = " . ".join(map(_word, words["concat"])) if isinstance(words, dict) else f'"{words}"'
            right = "" if value is None else " : " + " . ".join(map(str, value["concat"]))
            comment = key["elem"]["comment"]
            lines.append(
                f'add element {FAMILY} {body["table"]} {body["name"]} {{ {left} comment "{comment}"{right} }}'
            )
    return "\n".join(lines) + "\n"


def _word(value: JsonObject | str | int) -> str:
    return f"{value['prefix']['addr']}/{value['prefix']['len']}" if isinstance(value, dict) else str(value)


def _canonical(item: object) -> str:
    return json.dumps(item, sort_keys=True)


def _elements_of(listing: Iterable[JsonObject]) -> set[tuple[str, str]]:
    sets = (body for item in listing for kind, body in item.items() if kind in ("set", "map"))
    return {(str(body["name"]), _canonical(element)) for body in sets for element in body.get("elem", [])}


def _schema_of(listing: Iterable[JsonObject]) -> list[str]:
    """Chains, rules and the declarations of sets, without handles and elements, in the kernel's order."""
    found = []
    for item in listing:
        for kind, body in item.items():
            if kind != "table":
                kept = {key: value for key, value in body.items() if key not in ("handle", "elem")}
                found.append(f"{kind} {_canonical(kept)}")
    return found
