"""What ExplainPort says of a packet to a published port, and that real packets agree with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chassis.errors import NotFound
from netd import options
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, container, run, tcp
from tests.service.netd.packets import in_namespace, in_namespace6, listener, on_host
from tests.service.netd.test_ipv6 import OUTSIDE6
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached


@pytest.fixture(autouse=True)
def operators_table() -> Iterator[None]:
    yield
    run("nft", "add table inet operator; delete table inet operator; add table ip operator; delete table ip operator")


async def explained(netd: Netd, number: int = 1, port: int = 80, protocol: str = "") -> list[net.PortExplanation]:
    answer = await netd.peer.call(netd.stub.ExplainPort, net.ExplainPortRequest(
        sandbox_id=container(number), container_port=port, protocol=protocol))
    return list(answer.explanations)


def decider(explanation: net.PortExplanation) -> net.RuleStep:
    return explanation.steps[explanation.decided_by]


async def test_without_other_rules_our_table_leads_and_accepts(netd: Netd, free_port: int) -> None:
    made = await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port), tcp(0, "127.0.0.1")])
    outer, inner = await explained(netd)
    assert (outer.verdict, outer.leads_to) == ("accept", f"{endpoint.ipv4.partition('/')[0]}:80")
    rule = decider(outer)
    assert (rule.hook, rule.table, rule.ours, rule.certain) == ("forward", netd.instance.nft_table, True, True)
    assert "ct status dnat accept" in rule.rule
    assert [step.verdict for step in outer.steps] == ["dnat", "accept"]
    assert "@published" in outer.steps[0].rule
    assert inner.port.host_ip == "127.0.0.1"
    assert (inner.verdict, decider(inner).verdict) == ("accept", "dnat")
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        assert await reached(OUTSIDE, world.ADDRESS, free_port, server) is not None
        assert await reached(on_host, "127.0.0.1", inner.port.host_port, server) is not None
    for port, protocol in ((81, "tcp"), (80, "udp")):
        with pytest.raises(NotFound, match="is not published"):
            await explained(netd, port=port, protocol=protocol)


DROPS = {
    "by container port": ("forward", 0, "tcp dport 80 drop", "drop"),
    "before our table, by priority": ("forward", -10, "tcp dport { 80, 443 } reject", "reject"),
    "by policy": ("forward", 10, "policy drop", "drop"),
    "by the container's subnet": ("forward", 0, "ip daddr 172.16.0.0/12 drop", "drop"),
    "before it is led on, by host port": ("prerouting", -300, "tcp dport {port} drop", "drop"),
    "by what it was translated to": ("forward", 0, "ct status dnat drop", "drop"),
    "by the link that it comes in on": ("forward", 0, 'iifname "eth*" ct state new drop', "drop"),
    "in a chain that is jumped to": ("forward", 0, "meta l4proto tcp jump inner", "drop"),
    "by a verdict map": ("forward", 0, "th dport vmap { 79 : accept, 80 : jump inner }", "drop"),
}


@pytest.mark.parametrize("case", list(DROPS))
async def test_an_operators_rule_that_stops_it_is_named_and_real_packets_are_stopped(
    netd: Netd, free_port: int, case: str
) -> None:
    hook, priority, rule, verdict = DROPS[case]
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    policy = "policy drop;" if rule == "policy drop" else ""
    commands = "add table ip operator; add chain ip operator inner; add rule ip operator inner counter drop;"
    commands += f"add chain ip operator base {{ type filter hook {hook} priority {priority}; {policy} }};"
    if not policy:
        commands += f"add rule ip operator base {rule.replace('{port}', str(free_port))}"
    run("nft", commands)
    (found,) = await explained(netd)
    rule_of = decider(found)
    assert (found.verdict, rule_of.verdict, rule_of.table, rule_of.ours) == (verdict, verdict, "operator", False)
    assert (rule_of.hook, rule_of.priority, rule_of.certain) == (hook, priority, True)
    assert rule_of.chain == ("inner" if "jump" in rule else "base")
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        assert await attempted(OUTSIDE, world.ADDRESS, free_port, server) is None


PASSES = {
    "another port": "tcp dport 81 drop",
    "another subnet": "ip daddr 10.99.0.0/16 drop",
    "another link": 'oifname "docker0" drop',
    "after an accept of the same chain": "accept; add rule ip operator base drop",
    "for standing connections": "ct state established,related drop",
    "for udp": "meta l4proto udp drop",
    "but for dnat": "ct status & dnat != dnat drop",
    "by a verdict map that has another port": "tcp dport vmap { 81 : drop, 82 : drop }",
    "after a return": "return; add rule ip operator base drop",
}


@pytest.mark.parametrize("case", list(PASSES))
async def test_an_operators_rule_that_does_not_mean_it_is_passed(netd: Netd, free_port: int, case: str) -> None:
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    run("nft", "add table ip operator; add chain ip operator base { type filter hook forward priority 0; };"
        f"add rule ip operator base {PASSES[case]}")
    (found,) = await explained(netd)
    assert found.verdict == "accept", found
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        # What our own table or theirs does with a first packet is what was explained.
        if case != "for standing connections":
            assert await reached(OUTSIDE, world.ADDRESS, free_port, server) is not None


async def test_a_rule_about_senders_depends_and_a_translation_of_others_leads_elsewhere(
    netd: Netd, free_port: int
) -> None:
    await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    run("nft", "add table ip operator; add chain ip operator base { type filter hook forward priority 0; };"
        "add rule ip operator base ip saddr 203.0.113.0/24 drop")
    (found,) = await explained(netd)
    assert (found.verdict, decider(found).certain) == ("depends", False)
    assert "203.0.113.0/24" in decider(found).rule
    run("nft", "add chain ip operator nat { type nat hook prerouting priority -150; };"
        f"add rule ip operator nat tcp dport {free_port} dnat to 203.0.113.1:80")
    (found,) = await explained(netd)
    assert found.leads_elsewhere
    assert found.leads_to == ""
    assert (found.steps[0].verdict, found.steps[0].table) == ("dnat", "operator")


async def test_ipv6_and_routed_networks_are_explained_as_what_they_are(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True, options={options.MODE[4]: "routed"})
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue", ports=[tcp(free_port)])
    direct, led = await explained(netd)
    assert (direct.verdict, direct.port.host_port) == ("accept", 0)
    assert "@opened" in decider(direct).rule
    assert led.leads_to == f"[{endpoint.ipv6.partition('/')[0]}]:80"
    run("nft", "add table inet operator; add chain inet operator base { type filter hook forward priority 0; };"
        "add rule inet operator base ip6 daddr fd00::/8 drop")
    direct, led = await explained(netd)
    assert (direct.verdict, led.verdict) == ("accept", "drop"), "the rule is for IPv6"
    with listener(in_namespace6(path_of(made)), "::", 80) as server:
        assert await attempted(OUTSIDE6, world.ADDRESS6, free_port, server) is None
