"""Addresses: which subnets a network gets, and which address an endpoint.

Pure: what the host has (routes, other bridges) comes in as arguments, what is handed out is remembered by the caller.
A *pool* is a base that is cut into subnets of one size, as Docker's ``default-address-pools``. A *range* is the part of
a subnet that addresses are handed out from; one that is asked for by name may lie outside of it. An *auxiliary* address
is somebody else's, and never handed out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from chassis.errors import Conflict, InvalidArgument, ResourceExhausted

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Block = IPv4Network | IPv6Network

_HOST_BITS: Final = 2
"""Bits that the smallest subnet leaves to its addresses."""
_SHORTEST_ROUTE: Final = 4
"""Routes shorter than this (a VPN's 0.0.0.0/1 and 128.0.0.0/1) stand for "everything", and forbid nothing."""
_FRESH_FIRST: Final = 1 << 16
"""So many addresses of a subnet are used once before one is used again: so much is remembered of an IPv6 one."""


@dataclass(frozen=True)
class Pool:
    """``base`` cut into subnets of prefix length ``size``."""

    base: Block
    size: int

    def __post_init__(self) -> None:
        smallest = self.base.max_prefixlen - _HOST_BITS
        if not self.base.prefixlen <= self.size <= smallest:
            raise InvalidArgument(
                f"pool {self.base}: its subnets cannot be /{self.size}", field="size",
                expected=f"{self.base.prefixlen} to {smallest}",
            )

    @property
    def count(self) -> int:
        """Number of subnets in it."""
        return 1 << (self.size - self.base.prefixlen)

    def subnet(self, index: int) -> Block:
        first = int(self.base.network_address) + (index << (self.base.max_prefixlen - self.size))
        return _block(self.base, first, self.size)


DEFAULT_POOLS: Final = (
    Pool(IPv4Network("172.17.0.0/16"), 16),
    Pool(IPv4Network("172.18.0.0/16"), 16),
    Pool(IPv4Network("172.19.0.0/16"), 16),
    Pool(IPv4Network("172.20.0.0/14"), 16),
    Pool(IPv4Network("172.24.0.0/14"), 16),
    Pool(IPv4Network("172.28.0.0/14"), 16),
    Pool(IPv4Network("192.168.0.0/16"), 20),
)
"""Docker's own."""


def unique_local(seed: str) -> Pool:
    """A /48 of unique local addresses that is this seed's, cut into /64 (RFC 4193 section 3.2)."""
    prefix = b"\xfd" + hashlib.sha256(seed.encode()).digest()[:5]
    return Pool(IPv6Network((prefix + bytes(10), 48)), 64)


@dataclass(frozen=True)
class Plan:
    """One subnet of a network. ``gateway`` None: nobody's address leads out of it."""

    subnet: Block
    gateway: Address | None
    range: Block | None = None
    auxiliary: Mapping[str, Address] = field(default_factory=dict)

    @property
    def interface(self) -> Interface | None:
        """The gateway's address with the subnet's prefix length."""
        return None if self.gateway is None else with_prefix(self.gateway, self.subnet)


@dataclass(frozen=True)
class Usage:
    """Numbers of addresses: ``in_use`` of the subnet, ``available`` of the part that they are handed out from."""

    subnet: Block
    in_use: int
    available: int


def with_prefix(address: Address, subnet: Block) -> Interface:
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, subnet.prefixlen))
    return IPv6Interface((address, subnet.prefixlen))


def overlap(one: Block, other: Block) -> bool:
    return (
        one.version == other.version and int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
    )


def within(inner: Block, outer: Block) -> bool:
    return overlap(inner, outer) and inner.prefixlen >= outer.prefixlen


def choose_subnet(pools: Sequence[Pool], taken: Iterable[Block], start: int = 0) -> Block:
    """The first subnet of the pools that overlaps nothing in ``taken``, looked for from the ``start``-th on, around.

    Raises ResourceExhausted when there is none.
    """
    blocked = [network for network in taken if network.prefixlen >= _SHORTEST_ROUTE]
    total = sum(pool.count for pool in pools)
    first = start % total if total else 0
    subnet = _first_free(pools, blocked, first, total) or _first_free(pools, blocked, 0, first)
    if subnet is not None:
        return subnet
    version = pools[0].base.version if pools else 4
    raise ResourceExhausted(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to the "
        "network", reason="NO_SUBNET",
    )


def _first_free(pools: Sequence[Pool], blocked: Sequence[Block], first: int, end: int) -> Block | None:
    """Of the subnets ``first`` to ``end`` of all pools. What is blocked is stepped over as a whole."""
    index = first
    while index < end:
        within_pool = index
        for pool in pools:
            if within_pool < pool.count:
                break
            within_pool -= pool.count
        subnet = pool.subnet(within_pool)
        obstacle = next((other for other in blocked if overlap(subnet, other)), None)
        if obstacle is None:
            return subnet
        past = int(obstacle.broadcast_address) + 1 - int(pool.base.network_address)
        following = -(-past >> (pool.base.max_prefixlen - pool.size))
        index += max(1, min(following, pool.count) - within_pool)
    return None


def check_subnet(subnet: Block, taken: Iterable[Block]) -> None:
    """Raises Conflict where the subnet that was asked for overlaps a taken one."""
    for other in taken:
        if other.prefixlen >= _SHORTEST_ROUTE and overlap(subnet, other):
            raise Conflict(f"Pool overlaps with other one on this address space: {subnet}, {other}", reason="OVERLAP")


def plan(
    subnet: Block, gateway: Address | None = None, range_: Block | None = None,
    auxiliary: Mapping[str, Address] | None = None, *, gateway_wanted: bool = True,
) -> Plan:
    """A subnet with what was asked of it; without a gateway its first address is one, unless none is wanted.

    Raises InvalidArgument, with the field of the contract's Pool, for what does not fit into the subnet.
    """
    smallest = subnet.max_prefixlen - _HOST_BITS
    if subnet.prefixlen > smallest:
        raise InvalidArgument(f"subnet {subnet} has no room", field="subnet", expected=f"/{smallest} or larger")
    if range_ is not None and not within(range_, subnet):
        raise InvalidArgument(f"range {range_} is not within {subnet}", field="range", expected=f"a part of {subnet}")
    named = dict(auxiliary or {})
    for name, address in named.items():
        _check_host(subnet, address, f"auxiliary address {ascii(name)[:60]}", "auxiliary")
    if gateway is not None:
        _check_host(subnet, gateway, "gateway", "gateway")
        if gateway in named.values():
            raise InvalidArgument(f"gateway {gateway} is an auxiliary address too", field="gateway",
                                  expected="an address of its own")
    elif gateway_wanted:
        taken = set(named.values())
        gateway = next((subnet[i] for i in range(1, len(taken) + 2) if subnet[i] not in taken), None)
        if gateway is None or not is_host(subnet, gateway):
            raise InvalidArgument(f"subnet {subnet} has no address left for its gateway", field="auxiliary",
                                  expected="fewer addresses")
    return Plan(subnet, gateway, range_, named)


def parse_address(value: str, field: str) -> Address:
    """Raises InvalidArgument, with the field's name, for what is no IP address, or has a zone."""
    try:
        if "%" in value:
            raise ValueError("a zone")
        return ip_address(value)
    except ValueError as error:
        raise InvalidArgument(f"{field}: {ascii(value)[:60]} is not an IP address", field=field,
                              expected="an IP address") from error


def parse_subnet(value: str, field: str) -> Block:
    """Raises InvalidArgument, with the field's name, for what is no subnet with its host bits zero, or has a zone."""
    try:
        if "%" in value:
            raise ValueError("a zone")
        return ip_network(value)
    except ValueError as error:
        with contextlib.suppress(ValueError):
            meant = ip_network(value, strict=False)
            raise InvalidArgument(f"invalid subnet {value}: it should be {meant}", field=field, expected=str(meant)
                                  ) from error
        raise InvalidArgument(f"invalid subnet {ascii(value[:60])[1:-1]}: invalid CIDR block notation", field=field,
                              expected="a subnet such as 172.20.0.0/16 or fd00:1::/64") from error


class Subnet:
    """The addresses of one subnet.

    Addresses that were never used come first, then those given back, the longest free first: an address whose holder
    just went is the last to be used again, so that stale ARP entries and connections do not meet a stranger.
    """

    def __init__(self, plan: Plan, used: Iterable[Address] = (), cursor: int = 0):
        """``used``: addresses held now. ``cursor``: how many addresses from the start of the range were ever looked at
        (persisted by the caller, so that a restart reuses nothing quickly either)."""
        self.plan = plan
        self.network = plan.subnet
        self._never = set(plan.auxiliary.values())
        if plan.gateway is not None:
            self._never.add(plan.gateway)
        self._held = {*used} - self._never
        part = plan.range or plan.subnet
        self._first = int(part.network_address)
        self._last = part.num_addresses
        self.cursor = min(max(cursor, 0), self._last)
        self._free = OrderedDict.fromkeys(
            address for index in range(self.cursor) if self._may_be_given(address := self._at(index))
        )

    @property
    def held(self) -> set[Address]:
        """The addresses held by endpoints."""
        return set(self._held)

    @property
    def in_use(self) -> int:
        """Number of addresses held by endpoints."""
        return len(self._held)

    @property
    def usage(self) -> Usage:
        """How many addresses are taken, of the whole subnet, and left, of the range."""
        taken = self._held | self._never | {self.network.network_address}
        if self.network.version == 4:
            taken.add(self.network.broadcast_address)
        part = self.plan.range
        if part is None:
            return Usage(self.network, len(taken), self.network.num_addresses - len(taken))
        return Usage(self.network, len(taken), part.num_addresses - sum(address in part for address in taken))

    def allocate(self) -> Address:
        """Raises ResourceExhausted when all are held."""
        for fresh_until in (min(self._last, _FRESH_FIRST), self._last):
            while self.cursor < fresh_until:
                self.cursor += 1
                address = self._at(self.cursor - 1)
                if self._may_be_given(address):
                    self._held.add(address)
                    return address
            while self._free:
                address, _ = self._free.popitem(last=False)
                if address not in self._held:
                    self._held.add(address)
                    return address
        raise ResourceExhausted(
            f"no available IPv{self.network.version} addresses on this network's address pools: "
            f"{self.plan.range or self.network}", reason="NO_ADDRESS",
        )

    def reserve(self, address: Address) -> None:
        """Hold an address that was asked for. Raises InvalidArgument outside the subnet, Conflict where it is held."""
        if address not in self.network:
            raise InvalidArgument(f"Invalid address {address}: It does not belong to any of this network's subnets",
                                  field="address", expected=f"a host address of {self.network}")
        _check_host(self.network, address, "address", "address")
        if address in self._held or address in self._never:
            raise Conflict(f"Address already in use: {address}", reason="ADDRESS_IN_USE", field="address")
        self._held.add(address)

    def release(self, address: Address) -> None:
        """Give an address back; one that is not held is left alone."""
        if address not in self._held:
            return
        self._held.discard(address)
        # Above the cursor it is still to be reached in its turn; behind it, it waits in the queue, once.
        if 0 <= int(address) - self._first < self.cursor:
            self._free[address] = None
            self._free.move_to_end(address)

    def _at(self, index: int) -> Address:
        number = self._first + index
        return IPv4Address(number) if self.network.version == 4 else IPv6Address(number)

    def _may_be_given(self, address: Address) -> bool:
        return is_host(self.network, address) and address not in self._held and address not in self._never


def is_host(network: Block, address: Address) -> bool:
    """May an interface have it? The first of a subnet stands for the subnet or its routers (RFC 4291 section 2.6.1),
    the last of an IPv4 one for everybody in it."""
    if address.version != network.version or address not in network:
        return False
    return address != network.network_address and (address.version == 6 or address != network.broadcast_address)


def _check_host(network: Block, address: Address, what: str, field_: str) -> None:
    if not is_host(network, address):
        raise InvalidArgument(f"{what} {address} is no host address of {network}", field=field_,
                              expected=f"a host address of {network}")


def _block(like: Block, first: int, size: int) -> Block:
    return IPv4Network((first, size)) if like.version == 4 else IPv6Network((first, size))
