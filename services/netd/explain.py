"""Which rule, of whichever program, would decide a packet to a published port: the kernel's whole ruleset is asked.

The packet is a new connection's first: from outside for a port at an address of the host, from the host itself for one
at 127.0.0.0/8. Who sends it is not known, so a rule about senders *may* decide. What iptables' own extensions match
nftables cannot say, so such a rule may decide too; what iptables-legacy has is not seen, and told by netd's log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from chassis.errors import NotFound
from netd import links, packetpath
from netd.bindings import published
from netd.ipam import Address
from netd.netlink import NetlinkSocket
from netd.nft import Nft
from netd.packetpath import Packet, Ruleset, Step
from netd.records import Network, View
from netd.table import FAMILY, PublishedPort
from pier.network.v1 import network_pb2

_ANYWHERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""For a port at all addresses: one that no rule names (RFC 5737, RFC 3849)."""
RuleText = Mapping[tuple[str, str, str, int], str]
"""A rule's own words by family, table, chain and handle."""


@dataclass(frozen=True)
class Question:
    """One binding of a published port. ``comes_by``: the link that its packets arrive on, "" for not known."""

    port: PublishedPort
    network: Network
    comes_by: str

    @property
    def from_host(self) -> bool:
        return self.port.host_address.is_loopback

    @property
    def direct(self) -> bool:
        return not self.port.host_port


def of_port(view: View, port: int, protocol: str, own_table: str) -> list[network_pb2.PortExplanation]:
    """An explanation for each binding of the sandbox's port. Blocks. NotFound where it is not published."""
    found = [
        (endpoint, each) for endpoint in view.endpoints for each in published(endpoint)
        if (each.port, each.protocol) == (port, protocol)
    ]
    if not found:
        raise NotFound(f"port {port}/{protocol} is not published", reason="NO_PORT", field="container_port")
    seen = _observe()
    made = []
    for endpoint, each in found:
        comes_by = seen.links.get(each.host_address, seen.default)
        question = Question(each, view.networks[endpoint.network_id], "" if each.host_address.is_loopback else comes_by)
        made.append(explain(question, seen.ruleset, seen.texts, own_table))
    return made


def explain(
    question: Question, ruleset: Ruleset, texts: RuleText, own_table: str
) -> network_pb2.PortExplanation:
    """What becomes of a packet to the binding."""
    port, hook = question.port, "output" if question.from_host else "prerouting"
    before = _packet(question)
    made = network_pb2.PortExplanation(port=network_pb2.PublishedPort(
        protocol=port.protocol, container_port=port.port, host_ip=str(port.host_address), host_port=port.host_port))
    steps = list(packetpath.through(ruleset, hook, before))
    if not _ended(steps):
        led = None if question.direct else packetpath.translated(ruleset, hook, before)
        if led is not None:
            steps.append(led)
        ours = led is not None and (led.family, led.table) == (FAMILY, own_table)
        if question.direct or ours:
            after = before.changed({
                "ip daddr": str(port.address), "th dport": port.port, "meta oifname": question.network.link,
                "ct status": frozenset() if question.direct else frozenset({"dnat"}), "fib daddr type": "unicast",
            })
            hooks = ["postrouting"] if question.from_host else ["forward", "postrouting"]
            made.leads_to = f"[{port.address}]:{port.port}" if port.address.version == 6 else (
                f"{port.address}:{port.port}")
        else:
            after, hooks = before, ["postrouting" if question.from_host else "input"]
            made.leads_elsewhere = True
        for following in hooks:
            if not _ended(steps):
                steps += packetpath.through(ruleset, following, after)
    made.steps.extend(_step(step, texts, own_table) for step in steps)
    made.verdict, made.decided_by = _verdict(steps)
    return made


def _packet(question: Question) -> Packet:
    port = question.port
    daddr: Address | None = port.address if question.direct else port.host_address
    if daddr is not None and daddr.is_unspecified:
        daddr = None
    facts: dict[str, packetpath.Fact] = {
        "meta l4proto": port.protocol, "meta nfproto": f"ipv{port.address.version}",
        "meta protocol": "ip" if port.address.version == 4 else "ip6",
        "th dport": port.port if question.direct else port.host_port, "ct state": frozenset({"new"}),
        "ct status": frozenset(), "ip daddr": str(daddr) if daddr else _ANYWHERE[port.address.version],
        "fib daddr type": "unicast" if question.direct else "local",
        "meta iifname": question.comes_by or None,
    }
    if question.direct:
        facts["meta oifname"] = question.network.link
    return Packet(port.address.version, facts)


def _ended(steps: Iterable[Step]) -> bool:
    return any(step.certain and step.verdict in ("drop", "reject") for step in steps)


def _verdict(steps: list[Step]) -> tuple[str, int]:
    """("accept", "drop", "reject" or "depends", and which step decides; -1 for none: nobody objects)."""
    for index, step in enumerate(steps):
        if step.certain and step.verdict in ("drop", "reject"):
            return step.verdict, index
    for index, step in enumerate(steps):
        if step.verdict in ("drop", "reject"):
            return "depends", index
    accepts = [i for i, s in enumerate(steps) if s.hook == "forward" and s.verdict == "accept" and s.certain]
    translations = [i for i, s in enumerate(steps) if s.verdict in ("dnat", "redirect")]
    return "accept", (accepts or translations or [-1])[-1]


def _step(step: Step, texts: RuleText, own_table: str) -> network_pb2.RuleStep:
    text = texts.get((step.family, step.table, step.chain, step.handle), "")
    return network_pb2.RuleStep(
        family=step.family, table=step.table, chain=step.chain, hook=step.hook, priority=step.priority,
        handle=step.handle, rule=text or ("" if step.handle else f"policy {step.verdict}"), verdict=step.verdict,
        certain=step.certain, ours=(step.family, step.table) == (FAMILY, own_table),
    )


def rule_texts(listing: str) -> dict[tuple[str, str, str, int], str]:
    """Rules in nft's words, from ``list ruleset`` with handles."""
    found: dict[tuple[str, str, str, int], str] = {}
    family = table = chain = ""
    for line in listing.splitlines():
        words, _, handle = line.strip().rpartition(" # handle ")
        parts = (words or line.strip()).split()
        if parts[:1] == ["table"] and parts[-1:] == ["{"]:
            family, table, chain = parts[1], parts[2], ""
        elif parts[:1] == ["chain"] and parts[-1:] == ["{"]:
            chain = parts[1]
        elif parts == ["}"]:
            chain = ""
        elif chain and handle.isdecimal():
            found[family, table, chain, int(handle)] = words
    return found


@dataclass(frozen=True)
class _Seen:
    """What the host is like now. ``links``: the link of each of its addresses; ``default``: of its default route."""

    ruleset: Ruleset
    texts: RuleText
    links: Mapping[Address, str]
    default: str


def _observe() -> _Seen:
    reader, words = Nft(), Nft(words=True)
    try:
        listing = reader.list("ruleset")
        texts = rule_texts(words.run_text("list ruleset"))
    finally:
        reader.close()
        words.close()
    with NetlinkSocket() as host:
        named = {link.index: link.name for link in links.all_links(host)}
        addresses = {each.address.ip: named.get(each.link, "") for each in links.addresses(host)}
        default = [named.get(route.link, "") for route in links.routes(host) if route.destination.prefixlen == 0]
    return _Seen(Ruleset.of(listing), texts, addresses, default[0] if default else "")
