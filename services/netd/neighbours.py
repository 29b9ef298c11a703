"""Another program's forward chain that drops by policy, and the one place that Docker keeps for rules like ours.

An accept in our own table does not help against another chain's ``policy drop``. Docker's FORWARD chain is one, and it
goes through ``DOCKER-USER`` first: there, and nowhere else outside our table, netd puts an accept for each of its
bridges, marked with a comment, and takes it away again. It comes after the operator's own rules, so that their drop
wins; what our own table drops stays dropped. firewalld's zones are not served yet, and rules of iptables-legacy cannot
be seen: the first is named in the log, the second is told by the file of the kernel's that lists its tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netd.nft import JsonObject, Nft, NftError

FAMILY: Final = "ip"
TABLE: Final = "filter"
CHAIN: Final = "DOCKER-USER"
_LEGACY: Final = Path("/proc/thread-self/net/ip_tables_names")


@dataclass(frozen=True)
class ForeignDrop:
    """Another program's forward chain that drops what nobody accepts: it cuts containers off."""

    family: str
    table: str
    chain: str


class Neighbours:
    """The accepts of one instance in DOCKER-USER. Methods block; they run on the nft thread."""

    def __init__(self, nft: Nft, own_table: str) -> None:
        self._nft = nft
        self._mark = f"{own_table} "
        self._own_table = own_table

    def settle(self, links: Iterable[str]) -> bool:
        """Bring the accepts to exactly those of the bridges ``links``; True where that changed something.

        Without the chain there is nothing to do. A change that races with the other program's is tried again by the
        next notice of its change.
        """
        rules = self._rules()
        if rules is None:
            return False
        wanted = {f"{self._mark}{link} {way}": (link, way) for link in links for way in ("iifname", "oifname")}
        commands = []
        present = set()
        for rule in rules:
            comment = str(rule.get("comment", ""))
            if comment in wanted and comment not in present:
                present.add(comment)
            elif comment.startswith(self._mark):
                commands.append(f"delete rule {FAMILY} {TABLE} {CHAIN} handle {rule['handle']}")
        last = rules[-1] if rules and _is_return(rules[-1]) else None
        for comment, (link, way) in sorted(wanted.items()):
            if comment not in present:
                body = f'{way} "{link}" counter accept comment "{comment}"'
                if last is None:
                    commands.append(f"add rule {FAMILY} {TABLE} {CHAIN} {body}")
                else:
                    commands.append(f"insert rule {FAMILY} {TABLE} {CHAIN} handle {last['handle']} {body}")
        if commands:
            self._nft.run_text("\n".join(commands))
        return bool(commands)

    def drops(self) -> list[ForeignDrop]:
        """Other tables' forward chains for IPv4 that drop by policy and do not go through DOCKER-USER."""
        chains = [item["chain"] for item in self._nft.list("chains") if "chain" in item]
        served = {(c["family"], c["table"]) for c in chains if (c["family"], c["table"], c["name"]) == (
            FAMILY, TABLE, CHAIN)}
        found = [
            ForeignDrop(c["family"], c["table"], c["name"]) for c in chains
            if c.get("hook") == "forward" and c.get("policy") == "drop" and c["family"] in ("ip", "inet")
            and c["table"] != self._own_table and (c["family"], c["table"]) not in served
        ]
        if _has_legacy_filter():
            found.append(ForeignDrop("iptables-legacy", TABLE, "FORWARD"))
        return found

    def _rules(self) -> list[JsonObject] | None:
        try:
            listing = self._nft.list(f"chain {FAMILY} {TABLE} {CHAIN}")
        except NftError:
            return None
        return [item["rule"] for item in listing if "rule" in item]


def _is_return(rule: JsonObject) -> bool:
    """The unconditional return with which older Docker versions end the chain."""
    return all("counter" in part or "return" in part for part in rule["expr"])


def _has_legacy_filter() -> bool:
    """Does iptables-legacy have a filter table in this network namespace, with rules that nft cannot show?"""
    try:
        return TABLE in _LEGACY.read_text().split()
    except OSError:
        return False
