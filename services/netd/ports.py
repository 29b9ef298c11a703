"""Host ports: held by a bound socket for as long as they are published, so that no other program gets one.

The socket never listens: the nft table leads the packets past it. It makes the kernel refuse another program's bind or
listen, and makes us see theirs. The reservation ends with netd's process, the way to the container does not: after a
restart netd binds again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chassis.errors import Conflict, InvalidArgument, Unimplemented
from netd.ipam import Address

_TRIES: Final = 64
"""How often the kernel is asked for a free port of one address that is free at the others too."""
PROTOCOLS: Final = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP), "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


@dataclass(frozen=True)
class HostPort:
    """A port of the host. Port 0: any free one of the kernel's ephemeral range."""

    protocol: str
    address: Address
    port: int


Group = tuple[HostPort, ...]
"""Ports of one number at several addresses, which are held together or not at all."""


class Reservation:
    """One held port; ``port`` has the number that the kernel chose where 0 was asked for."""

    def __init__(self, wanted: HostPort) -> None:
        """Raises Conflict (PORT_TAKEN) where a socket has the port, InvalidArgument for an address not of this host,
        Unimplemented (NO_SCTP) where the kernel lacks the protocol."""
        if wanted.protocol not in PROTOCOLS:
            raise InvalidArgument(f"protocol {ascii(wanted.protocol)[:20]} cannot be published", field="protocol",
                                  expected=" or ".join(PROTOCOLS))
        family = socket.AF_INET if wanted.address.version == 4 else socket.AF_INET6
        self._socket = _socket(family, wanted.protocol)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # :: leaves 0.0.0.0 alone
            self._bind(wanted)
        except BaseException:
            self._socket.close()
            raise
        self.port = HostPort(wanted.protocol, wanted.address, int(self._socket.getsockname()[1]))

    def _bind(self, wanted: HostPort) -> None:
        if wanted.protocol == "udp":
            # Nobody reads it; the smallest buffer for what may arrive while a rule is missing.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        if wanted.protocol == "tcp":
            # Connections of an ended server in TIME_WAIT do not stand in the way; listening ones do.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((str(wanted.address), wanted.port))
        except OSError as error:
            shown = f"[{wanted.address}]" if wanted.address.version == 6 else str(wanted.address)
            where = f"{shown}:{wanted.port}"
            if error.errno == errno.EADDRINUSE:
                raise Conflict(f"Bind for {where} failed: port is already allocated", reason="PORT_TAKEN",
                               field="host_port", expected="a free port") from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidArgument(f"{wanted.address} is no address of this host", field="host_address",
                                      expected="an address of this host") from error
            raise
        if wanted.protocol == "tcp":
            # From here on it conflicts with everybody, whatever they set: their listen fails.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def release(self) -> None:
        self._socket.close()


def _socket(family: int, protocol: str) -> socket.socket:
    kind, number = PROTOCOLS[protocol]
    try:
        return socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
        raise Unimplemented(f"{protocol} ports cannot be published: this host's kernel has no {protocol}",
                            reason=f"NO_{protocol.upper()}", field="ports.protocol", expected="tcp or udp") from error


def check_protocol(protocol: str) -> None:
    """Unimplemented (NO_SCTP) for a protocol that not every kernel has, where this one lacks it."""
    if protocol == "sctp":
        _socket(socket.AF_INET, protocol).close()


class HostPorts:
    """The reservations of all endpoints, by endpoint id."""

    def __init__(self) -> None:
        self._held: dict[str, list[Reservation]] = {}

    def reserve(
        self, endpoint_id: str, wanted: Iterable[Sequence[Group]], owned: Collection[HostPort] = ()
    ) -> list[Group]:
        """Hold one group of each sequence, its first free one; all or none. Returns them in order, with the numbers
        that the kernel chose. What is ``owned`` is held by the endpoint already, and taken over where it is wanted.
        Raises as Reservation does, for a sequence's last group."""
        held: list[Reservation] = []
        left = set(owned)
        try:
            chosen = [_first_free(groups, left, held) for groups in wanted]
        except BaseException:
            for reservation in held:
                reservation.release()
            raise
        self._held.setdefault(endpoint_id, []).extend(held)
        return chosen

    def release(self, endpoint_id: str) -> None:
        """The same again does nothing."""
        for reservation in self._held.pop(endpoint_id, []):
            reservation.release()

    def drop(self, endpoint_id: str, ports: Iterable[HostPort]) -> None:
        """Let go of some of them; the same again does nothing."""
        gone = set(ports)
        held = self._held.get(endpoint_id, [])
        for reservation in [each for each in held if each.port in gone]:
            reservation.release()
            held.remove(reservation)
        if not held:
            self._held.pop(endpoint_id, None)

    def holds(self, endpoint_id: str) -> list[HostPort]:
        return [reservation.port for reservation in self._held.get(endpoint_id, [])]

    @property
    def count(self) -> int:
        return sum(map(len, self._held.values()))


def _first_free(groups: Sequence[Group], owned: set[HostPort], held: list[Reservation]) -> Group:
    """Hold the first free group, and say which; what is new goes to ``held``, what was owned is owned no more."""
    for group in groups[:-1]:
        try:
            return _hold(group, owned, held)
        except Conflict:
            continue
    return _hold(groups[-1], owned, held)


def _hold(group: Group, owned: set[HostPort], held: list[Reservation]) -> Group:
    any_port = bool(group) and group[0].port == 0
    for tries in range(_TRIES, 0, -1):
        made: list[Reservation] = []
        taken: list[HostPort] = []
        try:
            for port in group:
                if any_port and taken:
                    port = replace(port, port=taken[0].port)  # noqa: PLW2901 - the number of the first holds for all
                if port in owned:
                    taken.append(port)
                else:
                    made.append(Reservation(port))
                    taken.append(made[-1].port)
        except BaseException as error:
            for reservation in made:
                reservation.release()
            if any_port and made and tries > 1 and isinstance(error, Conflict):
                continue
            raise
        owned.difference_update(taken)
        held.extend(made)
        return tuple(taken)
    raise AssertionError("unreachable")
