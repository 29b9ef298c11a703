"""Addresses: no one gets another's, all come back, and none comes back soon."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chassis.errors import Conflict, InvalidArgument, ResourceExhausted
from netd.ipam import DEFAULT_POOLS, Pool, Subnet, check_subnet, choose_subnet, parse_address, parse_subnet

NETWORK = IPv4Network("10.0.0.0/28")
HOSTS = list(NETWORK.hosts())


class Addresses(RuleBasedStateMachine):
    """A subnet of 14 addresses under any sequence of calls, restarts included."""

    def __init__(self) -> None:
        super().__init__()
        self.subnet = Subnet(NETWORK, HOSTS[0])
        self.held: set[IPv4Address] = set()

    @rule()
    def allocate(self) -> None:
        try:
            address = self.subnet.allocate()
        except ResourceExhausted:
            assert len(self.held) == len(HOSTS) - 1, "refused while addresses were free"
            return
        assert address in HOSTS
        assert address != HOSTS[0], "the gateway's"
        assert address not in self.held, "held by another"
        self.held.add(address)

    @rule(index=st.integers(0, len(HOSTS) - 1))
    def reserve(self, index: int) -> None:
        address = HOSTS[index]
        if address in self.held or address == HOSTS[0]:
            with pytest.raises(Conflict):
                self.subnet.reserve(address)
        else:
            self.subnet.reserve(address)
            self.held.add(address)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.held)))
        self.subnet.release(address)
        self.subnet.release(address)
        self.held.discard(address)

    @rule()
    def restart(self) -> None:
        self.subnet = Subnet(NETWORK, HOSTS[0], self.held, self.subnet.cursor)

    @invariant()
    def it_knows_what_is_held(self) -> None:
        assert self.subnet.held == self.held
        assert self.subnet.in_use == len(self.held)

    def teardown(self) -> None:
        for address in list(self.held):
            self.subnet.release(address)
        assert len({self.subnet.allocate() for _ in HOSTS[1:]}) == len(HOSTS) - 1, "all come back"


TestAddresses = Addresses.TestCase


@given(st.lists(st.booleans(), max_size=60))
def test_an_address_just_released_is_the_last_to_be_used_again(steps: list[bool]) -> None:
    subnet = Subnet(NETWORK, HOSTS[0])
    held: list[IPv4Address] = []
    for take in steps:
        if take and len(held) < len(HOSTS) - 1:
            held.append(subnet.allocate())
        elif held:
            gone = held.pop()
            subnet.release(gone)
            if len(held) < len(HOSTS) - 2:
                following = subnet.allocate()
                assert following != gone
                held.append(following)


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.15", "10.0.1.1", "255.255.255.255"])
def test_an_address_that_is_no_host_of_the_subnet_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        Subnet(NETWORK, HOSTS[0]).reserve(IPv4Address(address))
    with pytest.raises(InvalidArgument):
        Subnet(NETWORK, IPv4Address(address))


networks = st.builds(
    lambda base, size: IPv4Network((base, size), strict=False), st.integers(0, 2**32 - 1), st.integers(4, 32)
)


@given(st.lists(networks, max_size=8), st.integers(0, 10**9))
def test_a_chosen_subnet_overlaps_nothing_and_comes_from_a_pool(taken: list[IPv4Network], start: int) -> None:
    try:
        subnet = choose_subnet(DEFAULT_POOLS, taken, start)
    except ResourceExhausted:
        return
    assert not any(subnet.overlaps(other) for other in taken)
    assert any(subnet.subnet_of(pool.base) and subnet.prefixlen == pool.size for pool in DEFAULT_POOLS)
    check_subnet(subnet, taken)


def test_subnets_run_out_only_when_all_are_taken() -> None:
    pool = Pool(IPv4Network("10.0.0.0/22"), 24)
    taken: list[IPv4Network] = []
    for _ in range(4):
        taken.append(choose_subnet([pool], taken, start=2))
    assert len(set(taken)) == 4
    with pytest.raises(ResourceExhausted):
        choose_subnet([pool], taken)


def test_a_vpn_that_routes_everything_forbids_nothing() -> None:
    halves = [IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1"), IPv4Network("0.0.0.0/0")]
    assert choose_subnet(DEFAULT_POOLS, halves) == IPv4Network("172.17.0.0/16")


@given(st.text(max_size=40))
def test_what_is_no_address_or_subnet_is_refused_by_name(text: str) -> None:
    for parse in (parse_address, parse_subnet):
        outcome = _outcome(parse, text)
        assert outcome in ("", "the.field")


def _outcome(parse: Callable[[str, str], object], text: str) -> str:
    """The field that an error names, "" for none."""
    try:
        parse(text, "the.field")
    except InvalidArgument as error:
        return error.field
    return ""


@pytest.mark.parametrize("subnet", ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/-1", "::/64", "10.0.0/24"])
def test_a_subnet_with_host_bits_or_of_another_family_is_refused(subnet: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_subnet(subnet, "subnet")


def test_a_subnet_without_room_and_one_that_overlaps_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        check_subnet(IPv4Network("10.0.0.0/31"), [])
    with pytest.raises(Conflict, match="overlaps"):
        check_subnet(IPv4Network("10.0.0.0/24"), [IPv4Network("10.0.0.128/25")])
