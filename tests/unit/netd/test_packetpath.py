"""A ruleset gone through for a packet of which not all is known: whatever rules others write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.explain import rule_texts
from netd.packetpath import Packet, Ruleset, through, translated

PACKET = Packet(4, {"meta l4proto": "tcp", "th dport": 80, "ip daddr": "10.0.0.2", "meta iifname": "eth0",
                    "ct state": frozenset({"new"}), "ct status": frozenset({"dnat"}), "meta oifname": "br0"})


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def ruleset(*rules: list[Any], policy: str = "accept", **chains: list[list[Any]]) -> Ruleset:
    base = {"family": "ip", "table": "t", "name": "base", "hook": "forward", "type": "filter", "prio": 0}
    listing: list[dict[str, Any]] = [{"chain": {**base, "policy": policy}}]
    for name, body in {"base": list(rules), **chains}.items():
        listing += [{"rule": {"family": "ip", "table": "t", "chain": name, "handle": number, "expr": expr}}
                    for number, expr in enumerate(body, start=1)]
    return Ruleset.of(listing)


def verdicts(rules: Ruleset) -> list[tuple[str, int, bool]]:
    return [(step.verdict, step.handle, step.certain) for step in through(rules, "forward", PACKET)]


DROP: list[Any] = [{"counter": {"packets": 0, "bytes": 0}}, {"drop": None}]


@pytest.mark.parametrize("expr, holds", [
    (match({"payload": {"protocol": "tcp", "field": "dport"}}, 80), True),
    (match({"payload": {"protocol": "tcp", "field": "dport"}}, {"range": [1, 79]}), False),
    (match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": [79, {"range": [80, 90]}]}), True),
    (match({"payload": {"protocol": "udp", "field": "dport"}}, 80), False),
    (match({"payload": {"protocol": "ip", "field": "daddr"}}, {"prefix": {"addr": "10.0.0.0", "len": 8}}), True),
    (match({"payload": {"protocol": "ip", "field": "daddr"}}, {"range": ["10.0.0.3", "10.0.0.9"]}), False),
    (match({"payload": {"protocol": "ip", "field": "daddr"}}, "10.0.0.2", "!="), False),
    (match({"payload": {"protocol": "ip6", "field": "daddr"}}, "::1", "!="), False),
    (match({"payload": {"protocol": "ip", "field": "saddr"}}, "10.0.0.2"), None),
    (match({"meta": {"key": "iifname"}}, "eth*"), True),
    (match({"meta": {"key": "mark"}}, 7), None),
    (match({"ct": {"key": "state"}}, ["established", "related"], "in"), False),
    (match({"ct": {"key": "state"}}, {"set": ["new", "invalid"]}), True),
    (match({"&": [{"ct": {"key": "status"}}, "dnat"]}, "dnat", "!="), False),
    (match({"concat": [{"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}]},
           {"set": [{"concat": ["eth1", "br0"]}, {"concat": ["eth0", "br0"]}]}), True),
    (match({"concat": [{"meta": {"key": "iifname"}}, {"payload": {"protocol": "ip", "field": "saddr"}}]},
           {"set": [{"concat": ["eth1", "1.2.3.4"]}]}), False),
    ({"xt": {"type": "match", "name": "comment"}}, None),
    ({"limit": {"rate": 1, "per": "second"}}, None),
], ids=str)
def test_a_match_holds_does_not_or_cannot_be_told(expr: dict[str, Any], holds: bool | None) -> None:
    expected = [] if holds is False else [("drop", 1, holds is True)]
    assert verdicts(ruleset([expr, *DROP])) == expected


def test_a_jump_comes_back_a_goto_does_not_and_a_return_ends_a_chain() -> None:
    inner = [[{"return": None}], DROP]
    assert verdicts(ruleset([{"jump": {"target": "inner"}}], DROP, inner=inner)) == [("drop", 2, True)]
    assert verdicts(ruleset([{"goto": {"target": "inner"}}], DROP, inner=inner)) == []
    assert verdicts(ruleset([{"goto": {"target": "inner"}}], policy="drop", inner=inner)) == [("drop", 0, True)]
    assert verdicts(ruleset([{"accept": None}], DROP, policy="drop")) == [("accept", 1, True)]
    assert verdicts(ruleset([{"jump": {"target": "base"}}], DROP))[-1] == ("drop", 2, True), "a loop ends"


VALUES = st.recursive(
    st.sampled_from(["tcp", "eth0", "@set", "dnat", "1.2.3.4", "::1", "", 80, -1, None]),
    lambda inner: st.lists(inner, max_size=3)
    | st.fixed_dictionaries({"concat": st.lists(inner, max_size=3)})
    | st.fixed_dictionaries({"set": st.lists(inner, max_size=3)})
    | st.fixed_dictionaries({"range": st.lists(inner, min_size=2, max_size=2)})
    | st.fixed_dictionaries({"prefix": st.fixed_dictionaries({"addr": inner, "len": inner})})
    | st.fixed_dictionaries({"elem": st.fixed_dictionaries({"val": inner})}), max_leaves=6)
LEFT = st.one_of(
    st.builds(lambda p, f: {"payload": {"protocol": p, "field": f}},
              st.sampled_from(["ip", "ip6", "tcp", "udp", "th", "icmp", "ether"]), st.sampled_from(["daddr", "dport"])),
    st.just({"payload": {"base": "th", "offset": 0, "len": 16}}),
    st.builds(lambda k: {"meta": {"key": k}}, st.sampled_from(["iifname", "oifname", "l4proto", "mark"])),
    st.builds(lambda k: {"ct": {"key": k}}, st.sampled_from(["state", "status", "zone"])), VALUES)
EXPRESSIONS = st.lists(st.one_of(
    st.builds(match, LEFT, VALUES, st.sampled_from(["==", "!=", "in", "<"])),
    st.sampled_from([{"drop": None}, {"accept": None}, {"return": None}, {"jump": {"target": "base"}},
                     {"goto": {"target": "none"}}, {"reject": {"type": "tcp reset"}}, {"xt": None}, {"counter": None},
                     {"masquerade": None}, {"dnat": {"addr": "1.2.3.4"}}]),
    st.builds(lambda key, data: {"vmap": {"key": key, "data": data}}, LEFT,
              st.just("@set") | st.just({"set": [["tcp", {"drop": None}], [80, {"jump": {"target": "base"}}]]})),
), max_size=4)


@given(st.lists(EXPRESSIONS, max_size=4))
def test_any_rules_lead_to_an_end_and_nothing_follows_a_certain_drop(rules: list[list[Any]]) -> None:
    made = ruleset(*rules)
    steps = list(through(made, "forward", PACKET))
    assert len(steps) <= 2 * sum(map(len, rules)) + 1
    assert [s for s in steps[:-1] if s.certain and s.verdict in ("drop", "reject")] == []
    translated(made, "forward", PACKET)


def test_rules_are_found_in_nfts_words_by_their_handle() -> None:
    listing = """table inet pier { # handle 4
\tset bridges { # handle 7
\t\ttype ifname
\t}

\tchain forward { # handle 2
\t\ttype filter hook forward priority filter; policy accept;
\t\toifname @bridges drop comment "a # handle b" # handle 9
\t}
}
table ip filter { # handle 5
\tchain INPUT { # handle 1
\t\tcounter accept # handle 3
\t}
}
"""
    assert rule_texts(listing) == {
        ("inet", "pier", "forward", 9): 'oifname @bridges drop comment "a # handle b"',
        ("ip", "filter", "INPUT", 3): "counter accept",
    }
