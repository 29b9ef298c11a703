"""Another program's forward chain that drops, and the way through it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netd.neighbours import Neighbours
from tests import world
from tests.service.netd.lab import OUTSIDE, OUTSIDE6, Lab
from tests.service.netd.packets import attempt, listener, reach

DOCKERS_CHAINS = """
    add table ip filter
    add chain ip filter DOCKER-USER
    add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
    add rule ip filter FORWARD jump DOCKER-USER
"""


@pytest.fixture
def dockers_chains(lab: Lab) -> Iterator[None]:
    """A forward chain that drops by policy and asks DOCKER-USER first, as dockerd makes it."""
    lab.nft.run_text(DOCKERS_CHAINS)
    yield
    lab.nft.run_text("delete table ip filter")


def test_another_programs_forward_chain_that_drops_is_named(lab: Lab) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    assert neighbours.drops() == []
    lab.nft.run_text("add table ip filter; add chain ip filter FORWARD "
                     "{ type filter hook forward priority 0; policy drop; }")
    assert [(d.family, d.table, d.chain) for d in neighbours.drops()] == [("ip", "filter", "FORWARD")]
    lab.nft.run_text("delete table ip filter")


def test_a_way_is_made_through_dockers_forward_chain_and_taken_away(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    one, other = lab.add_container("pt0", 2), lab.add_container("pt1", 2)
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert attempt(one.make, world.FAR, 7001, server) is None
        assert neighbours.settle(["pt0", "pt1"])
        assert reach(one.make, world.FAR, 7001, server) == world.ADDRESS
        assert not neighbours.settle(["pt0", "pt1"]), "the same again changes nothing"
        assert neighbours.drops() == []
        with listener(other.make, "0.0.0.0", 80) as isolated:
            assert attempt(one.make, str(other.address), 80, isolated) is None, "our own drop stays"
        assert neighbours.settle([])
        assert attempt(one.make, world.FAR, 7001, server) is None
    assert not [item for item in lab.nft.list("chain ip filter DOCKER-USER") if "rule" in item]


def test_a_chain_that_nothing_leads_to_is_left_empty(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    assert neighbours.settle(["pt0"])
    lab.nft.run_text("flush chain ip filter FORWARD")
    assert neighbours.settle(["pt0"])
    lab.nft.run_text("delete chain ip filter DOCKER-USER")
    assert not neighbours.settle(["pt0"])


def test_where_docker_has_no_chain_for_others_the_accepts_end_its_forward_chain(lab: Lab) -> None:
    """As Docker 20.10 leaves ip6tables."""
    lab.nft.run_text("""
        add table ip6 filter
        add chain ip6 filter DOCKER-ISOLATION-STAGE-1
        add chain ip6 filter FORWARD { type filter hook forward priority 0; policy drop; }
        add rule ip6 filter FORWARD jump DOCKER-ISOLATION-STAGE-1
    """)
    neighbours = Neighbours(lab.nft, lab.table.name)
    one = lab.add_container("pt0", 2)
    try:
        with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
            assert attempt(one.make6, world.GATEWAY6, 7001, server) is None
            assert neighbours.settle(["pt0"])
            assert reach(one.make6, world.GATEWAY6, 7001, server) == world.ADDRESS6
            assert not neighbours.settle(["pt0"]), "the same again changes nothing"
            assert neighbours.drops() == []
            lab.nft.run_text("add rule ip6 filter DOCKER-ISOLATION-STAGE-1 tcp dport 7001 drop")
            assert attempt(one.make6, world.GATEWAY6, 7001, server) is None, "a drop before them wins"
        lab.nft.run_text("add chain ip6 filter DOCKER-USER; insert rule ip6 filter FORWARD jump DOCKER-USER")
        assert neighbours.settle(["pt0"])
        marked = [item["rule"]["chain"] for item in lab.nft.list("table ip6 filter")
                  if lab.table.name in item.get("rule", {}).get("comment", "")]
        assert marked == ["DOCKER-USER"] * 2, "a later Docker has the place for them"
        assert neighbours.settle([])
    finally:
        lab.nft.run_text("delete table ip6 filter")


def test_dockers_bridges_are_what_its_own_chains_send_out_by(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    lab.nft.run_text("""
        add chain ip filter DOCKER-ISOLATION-STAGE-2
        add rule ip filter DOCKER-ISOLATION-STAGE-2 oifname "br-0a1b2c3d4e5f" counter drop
        add rule ip filter DOCKER-ISOLATION-STAGE-2 oifname docker0 counter drop
        add rule ip filter DOCKER-USER oifname "eth0" drop
        add rule ip filter FORWARD oifname "eth0" accept
        add rule ip filter DOCKER-ISOLATION-STAGE-2 iifname "eth0" oifname != "docker0" oifname "veth*" drop
    """)
    assert neighbours.bridges() == {"docker0", "br-0a1b2c3d4e5f"}


def test_an_operators_drop_in_dockers_chain_wins_and_its_closing_return_does_not(
    lab: Lab, dockers_chains: None
) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    one = lab.add_container("pt0", 2)
    lab.nft.run_text("add rule ip filter DOCKER-USER tcp dport 7002 drop; "
                     "add rule ip filter DOCKER-USER counter return")
    neighbours.settle(["pt0"])
    with listener(OUTSIDE, world.FAR, 7001) as allowed, listener(OUTSIDE, world.FAR, 7002) as forbidden:
        assert reach(one.make, world.FAR, 7001, allowed) == world.ADDRESS
        assert attempt(one.make, world.FAR, 7002, forbidden) is None
