"""Addresses: no one gets another's, all come back, and none comes back soon."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chassis.errors import Conflict, InvalidArgument, ResourceExhausted
from netd.ipam import (
    DEFAULT_POOLS,
    Address,
    Block,
    Plan,
    Pool,
    Subnet,
    check_subnet,
    choose_subnet,
    is_host,
    overlap,
    parse_address,
    parse_subnet,
    plan,
    unique_local,
    within,
)

NETWORK = IPv4Network("10.0.0.0/28")
HOSTS = list(NETWORK.hosts())
PLANS = [
    plan(NETWORK),
    plan(NETWORK, IPv4Address("10.0.0.14"), IPv4Network("10.0.0.0/29")),
    plan(NETWORK, None, IPv4Network("10.0.0.12/30"),
         {"router": IPv4Address("10.0.0.1"), "b": IPv4Address("10.0.0.13")}),
    plan(NETWORK, gateway_wanted=False),
    plan(IPv6Network("fd00:1::/124"), None, None, {"a": IPv6Address("fd00:1::f")}),
    plan(IPv6Network("fd00:1::/64"), IPv6Address("fd00:1::ffff"), IPv6Network("fd00:1::/125")),
]


class Addresses(RuleBasedStateMachine):
    """A small subnet, or a small range of a large one, under any sequence of calls, restarts included."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[Address] = set()

    @initialize(chosen=st.sampled_from(PLANS))
    def choose(self, chosen: Plan) -> None:
        self.plan = chosen
        self.subnet = Subnet(chosen)
        part = chosen.range or chosen.subnet
        self.never = {*chosen.auxiliary.values(), *([chosen.gateway] if chosen.gateway else [])}
        self.givable = {a for a in part if is_host(chosen.subnet, a)} - self.never
        self.known = sorted(self.givable | self.never, key=int)

    @rule()
    def allocate(self) -> None:
        try:
            address = self.subnet.allocate()
        except ResourceExhausted:
            assert self.givable <= self.held, "refused while addresses were free"
            return
        assert address in self.givable, "outside the range, the gateway's, or somebody else's"
        assert address not in self.held, "held by another"
        self.held.add(address)

    @rule(index=st.integers(0, 30))
    def reserve(self, index: int) -> None:
        address = self.known[index % len(self.known)]
        if address in self.held or address in self.never:
            with pytest.raises(Conflict):
                self.subnet.reserve(address)
        else:
            self.subnet.reserve(address)
            self.held.add(address)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.held, key=int)))
        self.subnet.release(address)
        self.subnet.release(address)
        self.held.discard(address)

    @rule()
    def restart(self) -> None:
        self.subnet = Subnet(self.plan, self.held, self.subnet.cursor)

    @invariant()
    def it_knows_what_is_held(self) -> None:
        assert self.subnet.held == self.held
        assert self.subnet.in_use == len(self.held)

    def teardown(self) -> None:
        for address in list(self.held):
            self.subnet.release(address)
        if hasattr(self, "givable"):
            assert {self.subnet.allocate() for _ in self.givable} == self.givable, "all come back"


TestAddresses = Addresses.TestCase


@given(st.lists(st.booleans(), max_size=60))
def test_an_address_just_released_is_the_last_to_be_used_again(steps: list[bool]) -> None:
    subnet = Subnet(plan(NETWORK))
    held: list[Address] = []
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
        Subnet(plan(NETWORK)).reserve(IPv4Address(address))
    with pytest.raises(InvalidArgument):
        plan(NETWORK, IPv4Address(address))
    with pytest.raises(InvalidArgument):
        plan(NETWORK, None, None, {"name": IPv4Address(address)})


def test_a_fixed_address_may_lie_outside_of_the_range() -> None:
    subnet = Subnet(plan(NETWORK, None, IPv4Network("10.0.0.8/29")))
    assert subnet.allocate() == IPv4Address("10.0.0.8")
    subnet.reserve(IPv4Address("10.0.0.2"))
    assert subnet.in_use == 2


def test_the_gateway_is_the_first_address_that_nobody_else_has() -> None:
    taken = {"a": IPv4Address("10.0.0.1"), "b": IPv4Address("10.0.0.2")}
    assert plan(NETWORK, None, None, taken).gateway == IPv4Address("10.0.0.3")
    assert plan(IPv6Network("fd00::/64")).gateway == IPv6Address("fd00::1")
    every = {str(index): address for index, address in enumerate(HOSTS)}
    with pytest.raises(InvalidArgument, match="no address left"):
        plan(NETWORK, None, None, every)
    with pytest.raises(InvalidArgument, match="auxiliary"):
        plan(NETWORK, HOSTS[0], None, every)


def test_the_last_address_of_an_ipv6_subnet_is_a_hosts_and_the_first_is_not() -> None:
    block = IPv6Network("fd00::/126")
    assert [address for address in block if is_host(block, address)] == [block[1], block[2], block[3]]


def test_an_ipv6_subnet_begins_anew_long_before_it_is_used_up() -> None:
    subnet = Subnet(plan(IPv6Network("fd00::/64")))
    seen = set()
    for _ in range((1 << 16) + 100):
        address = subnet.allocate()
        subnet.release(address)
        seen.add(address)
    assert len(seen) <= 1 << 16, "so many addresses are remembered, and no more"
    assert subnet.allocate() not in subnet.plan.auxiliary.values()


def test_unique_local_pools_are_a_seeds_own_and_lie_in_fd00() -> None:
    one, other = unique_local("one"), unique_local("other")
    assert one == unique_local("one")
    assert not overlap(one.base, other.base)
    for pool in (one, other):
        assert within(pool.base, IPv6Network("fd00::/8"))
        assert pool.subnet(3).prefixlen == 64


@pytest.mark.parametrize("part", ["10.0.1.0/28", "10.0.0.0/27", "fd00::/125"])
def test_a_range_that_is_not_within_its_subnet_is_refused(part: str) -> None:
    with pytest.raises(InvalidArgument, match="is not within"):
        plan(NETWORK, None, parse_subnet(part, "range"))


networks = st.builds(
    lambda base, size: IPv4Network((base, size), strict=False), st.integers(0, 2**32 - 1), st.integers(4, 32)
) | st.builds(
    lambda base, size: IPv6Network((base, size), strict=False),
    st.integers(0xFD << 120, (0xFE << 120) - 1), st.integers(8, 128),
)
ULA = unique_local("a test's")


@given(st.lists(networks | st.builds(ULA.subnet, st.integers(0, 3)), max_size=8), st.integers(0, 10**9),
       st.sampled_from([DEFAULT_POOLS, (ULA,), (Pool(IPv6Network("fd00::/12"), 16),)]))
def test_a_chosen_subnet_overlaps_nothing_and_comes_from_a_pool(
    taken: list[Block], start: int, pools: tuple[Pool, ...]
) -> None:
    try:
        subnet = choose_subnet(pools, taken, start)
    except ResourceExhausted:
        return
    assert not any(overlap(subnet, other) for other in taken)
    assert any(within(subnet, pool.base) and subnet.prefixlen == pool.size for pool in pools)
    check_subnet(subnet, taken)


def test_subnets_run_out_only_when_all_are_taken() -> None:
    pool = Pool(IPv4Network("10.0.0.0/22"), 24)
    taken: list[Block] = []
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


@pytest.mark.parametrize("subnet", ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/-1", "fd00::1/64", "10.0/24", "fd00::/129"])
def test_a_subnet_with_host_bits_or_of_no_family_is_refused(subnet: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_subnet(subnet, "subnet")


def test_a_subnet_without_room_and_one_that_overlaps_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        plan(IPv4Network("10.0.0.0/31"))
    with pytest.raises(InvalidArgument):
        plan(IPv6Network("fd00::/127"))
    with pytest.raises(Conflict, match="overlaps"):
        check_subnet(IPv4Network("10.0.0.0/24"), [IPv4Network("10.0.0.128/25")])


@pytest.mark.parametrize("subnet,part,auxiliary,held,in_use,available", [
    ("10.0.0.0/24", None, [], [], 3, 253),
    ("10.0.0.0/24", None, ["10.0.0.7"], ["10.0.0.9"], 5, 251),
    ("10.0.0.0/24", "10.0.0.128/25", ["10.0.0.130"], ["10.0.0.9", "10.0.0.129"], 6, 125),
    ("fd00::/120", None, [], ["fd00::9"], 3, 253),
    ("fd00::/64", None, [], [], 2, (1 << 64) - 2),
])
def test_what_is_taken_of_a_subnet_and_what_is_left_of_its_range(
    subnet: str, part: str | None, auxiliary: list[str], held: list[str], in_use: int, available: int
) -> None:
    named = {f"a{number}": parse_address(text, "address") for number, text in enumerate(auxiliary)}
    planned = plan(parse_subnet(subnet, "subnet"), None, parse_subnet(part, "subnet") if part else None, named)
    usage = Subnet(planned, [parse_address(text, "address") for text in held]).usage
    assert (usage.in_use, usage.available) == (in_use, available)


@given(st.lists(st.booleans(), max_size=40))
def test_each_address_that_is_handed_out_is_one_less_that_is_left(steps: list[bool]) -> None:
    subnet = Subnet(plan(parse_subnet("10.0.0.0/27", "subnet")))
    before = subnet.usage
    held: list[Address] = []
    for take in steps:
        if take and len(held) < before.available:
            held.append(subnet.allocate())
        elif held:
            subnet.release(held.pop())
        assert subnet.usage.in_use == before.in_use + len(held)
        assert subnet.usage.available == before.available - len(held)
