"""Who calls: the process behind a unix socket, or the certificate that a TLS client has shown.

``caller`` is set for the request being served. A gRPC server knows its connections only by their peers' addresses; what
``Callers`` was told about an address when the connection was handed on (``chassis.door``) is found again by it.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chassis.errors import Unauthenticated

_OWN: Final = ("unix:", "unix:@")
_PEER: Final = struct.Struct("3i")
_WORDS: Final = {"DNS": "DNS", "IP Address": "IP", "URI": "URI", "email": "email"}


@dataclass(frozen=True)
class Certificate:
    """What a client's certificate says. ``names`` are its subject alternative names: "DNS:node-1", "IP:192.0.2.1",
    "URI:spiffe://…", "email:…"."""

    common_name: str = ""
    units: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    serial: str = ""

    def __str__(self) -> str:
        parts = [f"CN={self.common_name}", *(f"OU={unit}" for unit in self.units), *self.names]
        return ", ".join(parts)


@dataclass(frozen=True)
class Caller:
    """One of: a process (``uid`` and ``pid``, as this process sees them), a ``certificate`` shown from ``address``, or
    ``address`` alone (plain TCP). None of them: a connection to a socket that only this process's user can reach."""

    uid: int | None = None
    pid: int | None = None
    address: str = ""
    certificate: Certificate | None = None

    def shown(self) -> dict[str, Any]:
        """For the audit log."""
        if self.certificate is not None:
            known = self.certificate
            return {"certificate": str(known), "serial": known.serial, "address": self.address}
        if self.uid is not None:
            return {"uid": self.uid, "pid": self.pid}
        return {"address": self.address} if self.address else {"socket": "private"}


@dataclass
class Callers:
    """Callers of a gRPC server by the address of its peer, as grpc spells it."""

    known: dict[str, Caller] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def of(self, peer: str) -> Caller | None:
        """None for a connection that came to the server's own socket, whose clients have no address. Unauthenticated
        for one that was handed on and is closed by now: whose it was is not guessed."""
        if peer in _OWN:
            return None
        if (who := self.known.get(peer)) is None:
            raise Unauthenticated("the connection of this call is closed")
        return who

    @contextmanager
    def serving(self, connection: socket.socket, who: Caller, server: Path) -> Iterator[None]:
        """While the block lasts ``who`` is behind ``connection``, a unix socket of ours that is not connected yet. Its
        address is a path beside the socket ``server``, where nothing is left, and is never used again."""
        name = server.with_name(f".{server.stem}.{next(self._numbers):x}")
        name.unlink(missing_ok=True)  # an earlier life may have been killed between the next two lines
        connection.bind(str(name))
        name.unlink()
        peer = f"unix:{name}"
        self.known[peer] = who
        try:
            yield
        finally:
            self.known.pop(peer, None)


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen
"""Who made the request being served."""


def of_process(connection: socket.socket) -> Caller:
    """The process at the other end of a unix socket (unix(7), SO_PEERCRED)."""
    pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Caller(uid=uid, pid=pid)


def of_certificate(found: Mapping[str, Any]) -> Certificate:
    """A certificate as ``ssl.SSLObject.getpeercert`` gives it."""
    subject = [pair for part in found.get("subject", ()) for pair in part]
    return Certificate(
        common_name=next((value for key, value in subject if key == "commonName"), ""),
        units=tuple(value for key, value in subject if key == "organizationalUnitName"),
        names=tuple(f"{_WORDS[kind]}:{value}" for kind, value in found.get("subjectAltName", ()) if kind in _WORDS),
        serial=str(found.get("serialNumber", "")),
    )
