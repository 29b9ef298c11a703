"""Addresses: which subnet a network gets, and which address an endpoint.

Pure: what the host has (routes, other bridges) comes in as arguments, what is handed out is remembered by the caller.
IPv4 only. A *pool* is a base that is cut into subnets of one size, as Docker's ``default-address-pools``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Final

from chassis.errors import Conflict, InvalidArgument, ResourceExhausted

_SMALLEST: Final = 30
_SHORTEST_ROUTE: Final = 4
"""Routes shorter than this (a VPN's 0.0.0.0/1 and 128.0.0.0/1) stand for "everything", and forbid nothing."""


@dataclass(frozen=True)
class Pool:
    """``base`` cut into subnets of prefix length ``size``."""

    base: IPv4Network
    size: int

    def __post_init__(self) -> None:
        if not self.base.prefixlen <= self.size <= _SMALLEST:
            raise InvalidArgument(
                f"pool {self.base}: its subnets cannot be /{self.size}", field="size",
                expected=f"{self.base.prefixlen} to {_SMALLEST}",
            )

    @property
    def count(self) -> int:
        """Number of subnets in it."""
        return 1 << (self.size - self.base.prefixlen)

    def subnet(self, index: int) -> IPv4Network:
        return IPv4Network((int(self.base.network_address) + (index << (32 - self.size)), self.size))


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


def choose_subnet(pools: Sequence[Pool], taken: Iterable[IPv4Network], start: int = 0) -> IPv4Network:
    """The first subnet of the pools that overlaps nothing in ``taken``, looked for from the ``start``-th on, around.

    Raises ResourceExhausted when there is none.
    """
    blocked = [network for network in taken if network.prefixlen >= _SHORTEST_ROUTE]
    total = sum(pool.count for pool in pools)
    for offset in range(total):
        index = (start + offset) % total
        for pool in pools:
            if index < pool.count:
                break
            index -= pool.count
        subnet = pool.subnet(index)
        if not any(subnet.overlaps(other) for other in blocked):
            return subnet
    raise ResourceExhausted(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        reason="NO_SUBNET",
    )


def check_subnet(subnet: IPv4Network, taken: Iterable[IPv4Network]) -> None:
    """Raises Conflict where the subnet that was asked for overlaps a taken one, InvalidArgument for one too small."""
    if subnet.prefixlen > _SMALLEST:
        raise InvalidArgument(f"subnet {subnet} has no room", field="subnet", expected=f"/{_SMALLEST} or larger")
    for other in taken:
        if other.prefixlen >= _SHORTEST_ROUTE and subnet.overlaps(other):
            raise Conflict(f"Pool overlaps with other one on this address space: {subnet}, {other}", reason="OVERLAP")


def parse_address(value: str, field: str) -> IPv4Address:
    """Raises InvalidArgument, with the field's name, for what is no IPv4 address."""
    try:
        return IPv4Address(value)
    except AddressValueError as error:
        raise InvalidArgument(f"{field}: {ascii(value)[:60]} is not an IPv4 address", field=field,
                              expected="an IPv4 address") from error


def parse_subnet(value: str, field: str) -> IPv4Network:
    """Raises InvalidArgument, with the field's name, for what is no IPv4 subnet with its host bits zero."""
    try:
        return IPv4Network(value)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise InvalidArgument(f"{field}: {ascii(value)[:60]} is not an IPv4 subnet", field=field,
                              expected="an IPv4 subnet such as 172.20.0.0/16") from error


class Subnet:
    """The addresses of one subnet.

    Addresses that were never used come first, then those given back, the longest free first: an address whose holder
    just went is the last to be used again, so that stale ARP entries and connections do not meet a stranger.
    """

    def __init__(self, network: IPv4Network, gateway: IPv4Address, used: Iterable[IPv4Address] = (), cursor: int = 0):
        """``used``: addresses held now. ``cursor``: how many addresses from the start were ever looked at (persisted
        by the caller, so that a restart reuses nothing quickly either)."""
        if not self._is_host(network, gateway):
            raise InvalidArgument(f"gateway {gateway} is no host address of {network}", field="gateway",
                                  expected="a host address of the subnet")
        self.network = network
        self.gateway = gateway
        self._held = {gateway}
        self._last = network.num_addresses - 2
        self.cursor = min(max(cursor, 0), self._last)
        self._held.update(used)
        self._free = deque(
            address for index in range(1, self.cursor + 1) if (address := network[index]) not in self._held
        )

    @property
    def held(self) -> set[IPv4Address]:
        """The addresses held, without the gateway's."""
        return self._held - {self.gateway}

    @property
    def in_use(self) -> int:
        """Number of addresses held, the gateway's not counted."""
        return len(self._held) - 1

    def allocate(self) -> IPv4Address:
        """Raises ResourceExhausted when all are held."""
        while self.cursor < self._last:
            self.cursor += 1
            address = self.network[self.cursor]
            if address not in self._held:
                self._held.add(address)
                return address
        while self._free:
            address = self._free.popleft()
            if address not in self._held:
                self._held.add(address)
                return address
        raise ResourceExhausted(f"no available IPv4 addresses on this network's address pools: {self.network}",
                                reason="NO_ADDRESS")

    def reserve(self, address: IPv4Address) -> None:
        """Hold an address that was asked for. Raises InvalidArgument outside the subnet, Conflict where it is held."""
        if not self._is_host(self.network, address):
            raise InvalidArgument(f"{address} is no host address of {self.network}", field="address",
                                  expected=f"a host address of {self.network}")
        if address in self._held:
            raise Conflict(f"Address already in use: {address}", reason="ADDRESS_IN_USE", field="address")
        self._held.add(address)

    def release(self, address: IPv4Address) -> None:
        """Give an address back; one that is not held, and the gateway's, are left alone."""
        if address == self.gateway or address not in self._held:
            return
        self._held.discard(address)
        # Above the cursor it is still to be reached in its turn; behind it, it waits in the queue, once.
        if int(address) - int(self.network.network_address) <= self.cursor:
            self._requeue(address)

    def _requeue(self, address: IPv4Address) -> None:
        if address in self._free:
            self._free.remove(address)
        self._free.append(address)

    @staticmethod
    def _is_host(network: IPv4Network, address: IPv4Address) -> bool:
        return address in network and address not in (network.network_address, network.broadcast_address)
