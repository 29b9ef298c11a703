"""Another program's forward chain that drops by policy, and the one place that Docker keeps for rules like ours.

An accept in our own table does not help against another chain's ``policy drop``. Docker's FORWARD chain is one, and it
goes through ``DOCKER-USER`` first: there, and nowhere else outside our table, netd puts an accept for each of its
bridges, marked with a comment, and takes it away again. It comes after the operator's own rules, so that their drop
wins; what our own table drops stays dropped. An accept there
also leads past Docker's isolation of its networks, which comes later: what goes from our bridges to Docker's is
therefore dropped by our own table, which is told the names of Docker's bridges (see table.py).

A Docker before 23 that writes ip6tables' rules drops by policy there too, and has no ``DOCKER-USER`` for IPv6. Where it
is Docker's chains that FORWARD goes through, the accepts stand at FORWARD's end: what they let pass is what the policy
would drop, and every rule before them wins. On a chain that an operator has made to drop they stand nowhere.

firewalld's zones are not served. As it is installed, its default zone lets out what comes from our bridges, and it lets
in what is published, since that is translated; a zone that refuses them is named in the log, as an operator's own chain
is. Rules of iptables-legacy cannot be seen, and are told by the file of the kernel's that lists its tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netd import packetpath
from netd.nft import JsonObject, Nft, NftError
from netd.packetpath import Packet, Ruleset

FAMILIES: Final = ("ip", "ip6")
TABLE: Final = "filter"
CHAIN: Final = "DOCKER-USER"
_FORWARD: Final = "FORWARD"
_CHAINS: Final = "DOCKER"
"""What the names of Docker's own chains begin with."""
_LINK: Final = re.compile(r'[^"*\s]{1,15}')
_LEGACY: Final = Path("/proc/thread-self/net/ip_tables_names")


@dataclass(frozen=True)
class ForeignDrop:
    """Another program's forward chain that drops what nobody accepts: it cuts containers off."""

    family: str
    table: str
    chain: str


@dataclass(frozen=True)
class _Chain:
    """``drops``: by its policy."""

    drops: bool
    rules: tuple[JsonObject, ...]


class Neighbours:
    """The accepts of one instance in Docker's chains. Methods block; they run on the nft thread."""

    def __init__(self, nft: Nft, own_table: str) -> None:
        self._nft = nft
        self._mark = f"{own_table} "
        self._own_table = own_table

    def settle(self, links: Iterable[str]) -> bool:
        """Bring the accepts to exactly those of the bridges ``links``, in each family; True where that changed
        something.

        Where nothing leads to the chain they would do nothing but stand in the way of whoever clears it, so none is
        there. A change that races with the other program's is tried again by the next notice of its change.
        """
        wanted = {f"{self._mark}{link} {way}": (link, way) for link in links for way in ("iifname", "oifname")}
        commands = [command for family in FAMILIES for command in self._commands(family, wanted)]
        if commands:
            self._nft.run_text("\n".join(commands))
        return bool(commands)

    def _commands(self, family: str, wanted: Mapping[str, tuple[str, str]]) -> Iterator[str]:
        chains = self._chains(family)
        place = _place(chains)
        for name in (CHAIN, _FORWARD):
            if name in chains:
                here = wanted if name == place else {}
                yield from self._settled(f"{family} {TABLE} {name}", chains[name].rules, here)

    def _settled(
        self, chain: str, rules: Sequence[JsonObject], wanted: Mapping[str, tuple[str, str]]
    ) -> Iterator[str]:
        """What brings the chain to have the accepts that are wanted, each once, and no other of ours."""
        present = set()
        for rule in rules:
            comment = str(rule.get("comment", ""))
            if comment in wanted and comment not in present:
                present.add(comment)
            elif comment.startswith(self._mark):
                yield f"delete rule {chain} handle {rule['handle']}"
        last = rules[-1] if rules and _is_return(rules[-1]) else None
        for comment, (link, way) in sorted(wanted.items()):
            if comment not in present:
                body = f'{way} "{link}" counter accept comment "{comment}"'
                yield f"add rule {chain} {body}" if last is None else (
                    f"insert rule {chain} handle {last['handle']} {body}")

    def bridges(self) -> frozenset[str]:
        """Docker's bridges: the links that rules of its own chains name as the way out."""
        return frozenset(
            link for family in FAMILIES for name, chain in self._chains(family).items()
            if name.startswith(_CHAINS) and name != CHAIN for rule in chain.rules for link in _ways_out(rule)
            if _LINK.fullmatch(link)
        )

    def drops(self, link: str = "") -> list[ForeignDrop]:
        """Other tables' forward chains that have no place for our accepts, and drop by policy, or refuse whatever comes
        from our bridge ``link`` with no rule before that might accept it."""
        chains = [item["chain"] for item in self._nft.list("chains") if "chain" in item]
        served = {(family, TABLE) for family in FAMILIES if _place(self._chains(family))}
        found = [
            ForeignDrop(c["family"], c["table"], c["name"]) for c in chains
            if c.get("hook") == "forward" and c["family"] in (*FAMILIES, "inet")
            and c["table"] != self._own_table and (c["family"], c["table"]) not in served
            and (c.get("policy") == "drop" or self._refuses(c["family"], c["table"], link))
        ]
        if _has_legacy_filter():
            found.append(ForeignDrop("iptables-legacy", TABLE, "FORWARD"))
        return found

    def _refuses(self, family: str, table: str, link: str) -> bool:
        """Is a new connection from the bridge refused there for certain?"""
        version = 6 if family == "ip6" else 4
        first = Packet(version, {
            "meta iifname": link or None, "meta nfproto": f"ipv{version}", "ct state": frozenset({"new"}),
            "ct status": frozenset[str](),
        })
        steps = list(packetpath.through(Ruleset.of(self._nft.list(f"table {family} {table}")), "forward", first))
        return bool(steps) and steps[-1].certain and not any(step.verdict == "accept" for step in steps)

    def _chains(self, family: str) -> dict[str, _Chain]:
        """The table's chains by name; nothing where there is no such table."""
        try:
            listing = self._nft.list(f"table {family} {TABLE}")
        except NftError:
            return {}
        drops = {item["chain"]["name"]: item["chain"].get("policy") == "drop" for item in listing if "chain" in item}
        rules: dict[str, list[JsonObject]] = {name: [] for name in drops}
        for item in listing:
            if "rule" in item:
                rules[item["rule"]["chain"]].append(item["rule"])
        return {name: _Chain(drops[name], tuple(rules[name])) for name in drops}


def _place(chains: Mapping[str, _Chain]) -> str:
    """The chain of Docker's table in which accepts let packets pass, "" for none."""
    if CHAIN in chains:
        led_to = any(_leads_to(rule, CHAIN) for chain in chains.values() for rule in chain.rules)
        return CHAIN if led_to else ""
    forward = chains.get(_FORWARD)
    dockers = [name for name in chains if name.startswith(_CHAINS)]
    if forward is None or not forward.drops or not any(_leads_to(r, name) for r in forward.rules for name in dockers):
        return ""
    return _FORWARD


def _leads_to(rule: JsonObject, chain: str) -> bool:
    return any(part.get(verb, {}).get("target") == chain for part in rule["expr"] for verb in ("jump", "goto"))


def _ways_out(rule: JsonObject) -> Iterator[str]:
    """The links that the rule's packets leave by."""
    for part in rule["expr"]:
        match part:
            case {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": str(link)}}:
                yield link


def _is_return(rule: JsonObject) -> bool:
    """The unconditional return with which older Docker versions end the chain."""
    return all("counter" in part or "return" in part for part in rule["expr"])


def _has_legacy_filter() -> bool:
    """Does iptables-legacy have a filter table in this network namespace, with rules that nft cannot show?"""
    try:
        return TABLE in _LEGACY.read_text().split()
    except OSError:
        return False
