"""What a ruleset does with a packet of which not all is known. Pure: the ruleset comes as libnftables-json(5) objects.

A *packet* is a set of facts; what is not known of it (who sends it) leaves a match open. A rule whose matches all hold
*certainly* decides; one that is left open *may* decide for some senders. An ``accept`` ends its base chain and no
other; a ``drop`` ends everything. Base chains of a hook are gone through by priority, whoever made them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from netd.nft import JsonObject

Fact = str | int | frozenset[str] | None
Answer = bool | None
"""Does it match? None: for some packets."""
_VERDICTS: Final = ("accept", "drop", "reject")
_DEPTH: Final = 16
"""As the kernel's own limit of jumps (NFT_JUMP_STACK_SIZE)."""
_SILENT: Final = frozenset({"counter", "log", "comment", "mangle", "notrack", "ct helper", "flow", "meta"})
"""Statements that neither match nor decide."""
_DSTNAT: Final = -100


@dataclass(frozen=True)
class Packet:
    """``facts`` by name: "meta iifname", "ip daddr", "th dport", "ct state", …; a name without a fact is not known.
    ``version`` is the IP version."""

    version: int
    facts: Mapping[str, Fact]

    def of(self, name: str) -> Fact:
        return self.facts.get(name)

    def changed(self, facts: Mapping[str, Fact]) -> Packet:
        """With these facts in place of those it has."""
        return replace(self, facts={**self.facts, **facts})


@dataclass(frozen=True)
class Step:
    """A rule, or a base chain's policy (``handle`` 0), that ends a chain for the packet or may."""

    family: str
    table: str
    chain: str
    hook: str
    priority: int
    handle: int
    verdict: str
    certain: bool


@dataclass
class Ruleset:
    """All tables of a host."""

    chains: dict[tuple[str, str, str], JsonObject] = field(default_factory=dict)
    rules: dict[tuple[str, str, str], list[JsonObject]] = field(default_factory=dict)
    sets: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, listing: Iterable[JsonObject]) -> Ruleset:
        made = cls()
        for item in listing:
            for kind, body in item.items():
                if kind == "chain":
                    made.chains[body["family"], body["table"], body["name"]] = body
                elif kind == "rule":
                    made.rules.setdefault((body["family"], body["table"], body["chain"]), []).append(body)
                elif kind in ("set", "map"):
                    made.sets[body["family"], body["table"], body["name"]] = body.get("elem", [])
        return made

    def base_chains(self, hook: str, version: int) -> list[JsonObject]:
        """Those that a packet of that IP version goes through at the hook, in their order."""
        families = ("inet", "ip" if version == 4 else "ip6")
        found = [c for c in self.chains.values() if c.get("hook") == hook and c["family"] in families]
        return sorted(found, key=lambda chain: int(chain.get("prio", 0)))


def through(ruleset: Ruleset, hook: str, packet: Packet) -> Iterator[Step]:
    """The steps of a packet through a hook, to its end where it is certainly dropped."""
    for chain in ruleset.base_chains(hook, packet.version):
        if chain.get("type") == "nat":
            continue
        for step in _Walk(ruleset, chain, packet).steps():
            yield step
            if step.certain and step.verdict != "accept":
                return


def translated(ruleset: Ruleset, hook: str, packet: Packet) -> Step | None:
    """The first rule that certainly gives the packet another destination at the hook."""
    for chain in ruleset.base_chains(hook, packet.version):
        if chain.get("type") == "nat" and int(chain.get("prio", 0)) <= _DSTNAT:
            for step in _Walk(ruleset, chain, packet).steps():
                if step.certain and step.verdict in ("dnat", "redirect"):
                    return step
    return None


@dataclass(frozen=True)
class _Effect:
    """A statement that ends or leaves a chain, and whether the packet meets it. ``target``: the chain jumped to."""

    answer: Answer
    statement: str
    target: str = ""


class _Walk:
    """One packet's way through one base chain."""

    def __init__(self, ruleset: Ruleset, base: JsonObject, packet: Packet) -> None:
        self._ruleset = ruleset
        self._base = base
        self._packet = packet
        self._steps: list[Step] = []
        self._seen: set[tuple[str, bool]] = set()

    def steps(self) -> list[Step]:
        if not self._chain(self._base["name"], True, 0) and self._base.get("policy", "accept") == "drop":
            self._note(self._base["name"], 0, "drop", True)
        return self._steps

    def _note(self, chain: str, handle: int, verdict: str, certain: bool) -> None:
        base = self._base
        self._steps.append(Step(base["family"], base["table"], chain, base["hook"], int(base.get("prio", 0)), handle,
                                verdict, certain))

    def _chain(self, name: str, certain: bool, depth: int) -> bool:
        """Go through a chain; True where the packet's way through the base chain certainly ends there."""
        key = (self._base["family"], self._base["table"], name)
        # Where it went through before, nothing ended there, and what may end it is noted.
        if depth > _DEPTH or (name, certain) in self._seen:
            return False
        self._seen.add((name, certain))
        for rule in self._ruleset.rules.get(key, []):
            for effect in self._effects(rule):
                if effect.answer is False:
                    continue
                sure = certain and effect.answer is True
                if effect.statement in ("jump", "goto"):
                    if self._chain(effect.target, sure, depth + 1):
                        return True
                elif effect.statement != "return":
                    self._note(name, rule["handle"], effect.statement, sure)
                    if sure:
                        return True
                if sure and effect.statement != "jump":
                    return False
                if sure:
                    break  # of a map's verdicts there is one
        return False

    def _effects(self, rule: JsonObject) -> Iterator[_Effect]:
        """What the rule does, and whether it does it: one thing, or by a verdict map one of several."""
        answer: Answer = True
        for part in rule["expr"]:
            for kind, body in part.items():
                if kind == "match":
                    found = self._match(body)
                elif kind in (*_VERDICTS, "return", "jump", "goto"):
                    yield _Effect(answer, kind, (body or {}).get("target", ""))
                    return
                elif kind in ("dnat", "redirect", "snat", "masquerade", "tproxy"):
                    yield _Effect(_and(answer, self._nat(kind, body)), kind)
                    return
                elif kind == "vmap":
                    yield from self._mapped(answer, body)
                    continue
                elif kind in _SILENT:
                    continue
                else:
                    found = None  # a limit, an extension of iptables': who can say
                answer = _and(answer, found)
                if answer is False:
                    return

    def _mapped(self, answer: Answer, body: JsonObject) -> Iterator[_Effect]:
        value, data = self._value(body["key"]), body["data"]
        if isinstance(data, str):
            elements = self._ruleset.sets.get((self._base["family"], self._base["table"], data.lstrip("@")), [])
        else:
            elements = data.get("set", [])
        for key, verdict in (element for element in elements if isinstance(element, list) and len(element) == 2):
            for kind, target in verdict.items():
                if kind != "continue":
                    yield _Effect(_and(answer, _equal(value, _key(key))), kind, (target or {}).get("target", ""))

    def _nat(self, kind: str, body: JsonObject | None) -> Answer:
        """A translation by a map happens where the map has the key."""
        address = (body or {}).get("addr")
        if kind != "dnat" or not isinstance(address, dict) or "map" not in address:
            return True
        family = (body or {}).get("family")
        if family is not None and family != ("ip" if self._packet.version == 4 else "ip6"):
            return False
        return self._holds(self._value(address["map"]["key"]), address["map"]["data"])

    def _match(self, body: JsonObject) -> Answer:
        value = self._value(body["left"])
        if value is _OTHER:
            return False
        found = self._holds(value, body["right"])
        op = body["op"]
        if op in ("==", "in"):
            return found
        if op == "!=":
            return None if found is None else not found
        return None

    def _value(self, expression: Any) -> Any:
        """A fact, a list of facts for a concatenation; None where it is not known."""
        if not isinstance(expression, dict):
            return expression
        for kind, body in expression.items():
            if kind == "concat":
                return [self._value(part) for part in body]
            if kind == "payload" and "protocol" in body:
                return self._payload(body["protocol"], body["field"])
            if kind in ("meta", "ct"):
                return self._packet.of(f"{kind} {body['key']}")
            if kind == "fib":
                flags = body["flags"]
                return self._packet.of(f"fib {flags if isinstance(flags, str) else ' '.join(flags)} {body['result']}")
            if kind == "&":
                whole, mask = self._value(body[0]), body[1]
                wanted = {mask} if isinstance(mask, str) else set(mask) if isinstance(mask, list) else None
                return whole & wanted if isinstance(whole, frozenset) and wanted is not None else None
        return None

    def _payload(self, protocol: str, name: str) -> Any:
        if protocol in ("ip", "ip6"):
            own = "ip" if self._packet.version == 4 else "ip6"
            return self._packet.of(f"ip {name}") if protocol == own else _OTHER
        if protocol in ("tcp", "udp", "sctp", "dccp", "udplite"):
            return self._packet.of(f"th {name}") if protocol == self._packet.of("meta l4proto") else _OTHER
        if protocol in ("icmp", "icmpv6"):
            return _OTHER
        return self._packet.of(f"{protocol} {name}")

    def _holds(self, value: Any, right: Any) -> Answer:
        """Is ``value`` (one of) what stands on the right?"""
        if isinstance(right, str) and right.startswith("@"):
            key = (self._base["family"], self._base["table"], right[1:])
            return self._any(value, self._ruleset.sets.get(key, []))
        if isinstance(right, dict) and "set" in right:
            return self._any(value, right["set"])
        if isinstance(right, list) and not isinstance(value, list):
            return self._any(value, right)
        return _equal(value, right)

    def _any(self, value: Any, elements: Sequence[Any]) -> Answer:
        answers = [_equal(value, _key(element)) for element in elements]
        return True if True in answers else None if None in answers else False


_OTHER: Final = object()
"""The value of a field that the packet has not."""


def _and(one: Answer, other: Answer) -> Answer:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _key(element: Any) -> Any:
    """What an element of a set or map is found by."""
    if isinstance(element, list) and len(element) == 2:
        element = element[0]
    if isinstance(element, dict) and "elem" in element:
        return element["elem"]["val"]
    return element


def _equal(value: Any, right: Any) -> Answer:
    if value is _OTHER:
        return False
    if isinstance(value, list):
        parts = right.get("concat") if isinstance(right, dict) else None
        if not isinstance(parts, list) or len(parts) != len(value):
            return None
        answer: Answer = True
        for one, other in zip(value, parts, strict=True):
            answer = _and(answer, _equal(one, other))
        return answer
    if value is None:
        return None
    if isinstance(value, frozenset):
        return right in value if isinstance(right, str) else None
    if isinstance(right, dict):
        return _within(value, right)
    if isinstance(right, str) and isinstance(value, str) and right.endswith("*"):
        return value.startswith(right[:-1])
    if isinstance(right, (str, int)):
        return str(value) == str(right)
    return None


def _within(value: str | int, right: JsonObject) -> Answer:
    try:
        if "prefix" in right:
            block = ipaddress.ip_network((right["prefix"]["addr"], int(right["prefix"]["len"])), strict=False)
            return ipaddress.ip_address(value) in block
        if "range" in right:
            first, last = right["range"]
            if isinstance(value, int):
                return int(first) <= value <= int(last)
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            return int(low) <= int(ipaddress.ip_address(value)) <= int(high)
    except (ValueError, TypeError, KeyError):
        return None
    return None
