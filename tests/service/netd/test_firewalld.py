"""A host whose firewall is firewalld: its table as it makes it for a default zone, and Pier beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from netd.neighbours import Neighbours
from tests import world
from tests.service.netd.capture import capture
from tests.service.netd.engine import Netd, run, tcp
from tests.service.netd.lab import Lab
from tests.service.netd.packets import in_namespace, listener, on_host
from tests.service.netd.test_explain import decider, explained
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached

TABLE = """
table inet firewalld
delete table inet firewalld
table inet firewalld {
    chain filter_PREROUTING {
        type filter hook prerouting priority filter + 10; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002:7f00::/24 } reject with icmpv6 addr-unreachable
        jump filter_FORWARD_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES {
        iifname "eth0" goto filter_IN_public
        goto filter_IN_public
    }
    chain filter_FORWARD_ZONES {
        iifname "eth0" goto filter_FWD_public
        goto filter_FWD_public
    }
    chain filter_IN_public {
        jump filter_IN_public_allow
        meta l4proto { icmp, ipv6-icmp } accept
        reject with icmpx admin-prohibited
    }
    chain filter_IN_public_allow {
        tcp dport 22 accept
    }
    chain filter_FWD_public {
        jump filter_FWD_public_deny
        jump filter_FWD_public_allow
        reject with icmpx admin-prohibited
    }
    chain filter_FWD_public_deny {
    }
    chain filter_FWD_public_allow {
        oifname "eth0" accept
    }
}
"""


@pytest.fixture(autouse=True)
def firewalld() -> Iterator[None]:
    """Its table stands before netd starts."""
    run("nft", TABLE)
    yield
    run("nft", "delete table inet firewalld")


async def test_containers_go_out_and_published_ports_come_in_beside_firewalld_and_its_reload(
    firewalld: None, netd: Netd, free_port: int
) -> None:
    made, other = await netd.create(1), await netd.create(2)
    endpoint = await netd.attach(1, ports=[tcp(free_port)])
    await netd.attach(2)
    inside = in_namespace(path_of(made))
    for _ in range(2):
        with listener(OUTSIDE, world.FAR, 7001) as server:
            assert await reached(inside, world.FAR, 7001, server) == world.ADDRESS
        with listener(inside, "0.0.0.0", 80) as server:
            assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY
            assert await reached(on_host, "127.0.0.1", free_port, server) is not None
            assert await reached(in_namespace(path_of(other)), world.ADDRESS, free_port, server) is not None
        with listener(on_host, endpoint.gateway_ipv4, 7002) as server:
            assert await attempted(inside, endpoint.gateway_ipv4, 7002, server) is None, "its zone lets ssh in alone"
        run("nft", TABLE)  # a reload is one transaction
        assert await netd.fsck() == []


def test_a_zone_that_lets_nothing_out_is_named_and_one_that_does_is_not(lab: Lab) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    assert neighbours.drops("pt0") == []
    run("nft", "flush chain inet firewalld filter_FWD_public_allow")
    assert [(d.family, d.table, d.chain) for d in neighbours.drops("pt0")] == [("inet", "firewalld", "filter_FORWARD")]
    run("nft", 'insert rule inet firewalld filter_FORWARD_ZONES iifname "pt0" accept')
    assert neighbours.drops("pt0") == [], "its link is in a zone that accepts"
    assert neighbours.drops("pt1") != []


async def test_what_firewalld_rejects_stays_rejected_and_the_rule_is_named(netd: Netd, free_port: int) -> None:
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port)])
    inside = in_namespace(path_of(made))
    run("nft", "flush chain inet firewalld filter_FWD_public_allow")
    with listener(OUTSIDE, world.FAR, 7001) as server, capture("eth0") as wire:
        assert await attempted(inside, world.FAR, 7001, server) is None
        assert [seen for seen in wire.passed() if seen.port == 7001] == []
    run("nft", "insert rule inet firewalld filter_FORWARD tcp dport 80 reject")
    with listener(inside, "0.0.0.0", 80) as server:
        assert await attempted(OUTSIDE, world.ADDRESS, free_port, server) is None
    (explanation,) = await explained(netd)
    rule = decider(explanation)
    assert (explanation.verdict, rule.table, rule.chain, rule.ours) == ("reject", "firewalld", "filter_FORWARD", False)
    await asyncio.to_thread(run, "nft", TABLE)
    with listener(inside, "0.0.0.0", 80) as server:
        assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY
