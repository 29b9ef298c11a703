"""Where a service listens besides its own socket: addresses, sockets that were passed, sockets of our own.

Vocabulary. An *address* is ``tcp://ADDRESS:PORT``, ``unix:///PATH``, or ``fd://``, which is every socket that whoever
started the process has passed (sd_listen_fds(3)). A *face* is what of the service is reached by it: "rest", "engine" or
"grpc". The launcher passes a service's sockets under the *label* of face and address, so that they outlive the service:
while that is started again, connections wait. A socket unit of systemd's says the face by ``FileDescriptorName=``.

Only the standard library is imported: the launcher uses this too.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import ipaddress
import os
import re
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument

GROUP: Final = "pier"
"""The host's group whose members may come in through sockets of mode 0660, where there is such a group."""
FD: Final = "fd://"
_TCP: Final = re.compile(r"tcp://(\[[0-9a-fA-F:]+\]|[0-9.]+):(\d{1,5})")
_UNIX: Final = re.compile(r"unix://(/[^\0]+)")
_PORT_MAX: Final = 65535
_BACKLOG: Final = 1024
_FIRST: Final = 3


@dataclass(frozen=True)
class Address:
    """Where a socket listens. ``host`` is an IP address, or a path where ``port`` is None."""

    host: str
    port: int | None = None

    @property
    def is_unix(self) -> bool:
        return self.port is None

    @property
    def is_loopback(self) -> bool:
        return self.is_unix or ipaddress.ip_address(self.host).is_loopback

    @property
    def family(self) -> socket.AddressFamily:
        if self.is_unix:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix://{self.host}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


@dataclass(frozen=True)
class Listener:
    """A listening socket. ``passed``: somebody else's, who keeps it when we end; ``name`` is what it was passed as."""

    socket: socket.socket
    address: Address
    name: str = ""
    passed: bool = False


def parse(text: str, field: str = "listen") -> Address:
    """The address in ``text``, which is not ``fd://``. InvalidArgument (BAD_SETTING) where it is none."""
    if (path := _UNIX.fullmatch(text)) is not None:
        return Address(path[1])
    match = _TCP.fullmatch(text)
    try:
        address = ipaddress.ip_address(match[1].strip("[]")) if match else None
    except ValueError:
        address = None
    if match is None or address is None or int(match[2]) > _PORT_MAX:
        raise InvalidArgument(f"{field}: {text[:80]!a} is no address", reason="BAD_SETTING", field=field,
                              expected="tcp://ADDRESS:PORT, unix:///PATH or fd://")
    return Address(str(address), int(match[2]))


def bind(address: Address, field: str = "listen") -> socket.socket:
    """A socket of our own that listens there. InvalidArgument (CANNOT_LISTEN)."""
    try:
        return _bind_path(Path(address.host)) if address.is_unix else _bind_port(address)
    except OSError as error:
        text = str(address).partition("://")[2]
        raise InvalidArgument(f"{field}: {text}: {error.strerror}", reason="CANNOT_LISTEN", field=field) from error


def _bind_port(address: Address) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address.host, address.port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _bind_path(path: Path) -> socket.socket:
    """Mode 0660, group ``pier`` where the host has it. Bound under another name and renamed: a client sees the old
    socket or the new one, never none, never a wide one."""
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        made.bind(str(fresh))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(fresh, -1, grp.getgrnam(GROUP).gr_gid)
    os.chmod(fresh, 0o660)
    made.listen(_BACKLOG)
    os.rename(fresh, path)
    return made


def passed(environ: MutableMapping[str, str] = os.environ) -> list[Listener]:
    """The sockets that this process was started with, taken once: the variables that tell of them are removed.

    InvalidArgument (BAD_SOCKET) for a descriptor that is no listening stream socket.
    """
    count, names = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_FDNAMES", "").split(":")
    if environ.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for index, number in enumerate(range(_FIRST, _FIRST + int(count))):
        name = names[index] if index < len(names) else ""
        os.set_inheritable(number, False)
        found.append(_adopt(socket.socket(fileno=number), name))
    return found


def _adopt(given: socket.socket, name: str) -> Listener:
    known = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
    is_listener = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if given.family not in known or given.type != socket.SOCK_STREAM or not is_listener:
        raise InvalidArgument(f"descriptor {given.fileno()} ({name}) is no listening stream socket",
                              reason="BAD_SOCKET", field="listen", expected="ListenStream= in the socket unit")
    given.setblocking(False)
    return Listener(given, address_of(given), name, passed=True)


def address_of(listening: socket.socket) -> Address:
    """Where ``listening`` listens."""
    where = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return Address(where if isinstance(where, str) else os.fsdecode(where))
    return Address(str(ipaddress.ip_address(where[0].partition("%")[0])), where[1])


def label(face: str, address: Address) -> str:
    """The name under which the launcher passes the socket: no colon may stand in it."""
    return f"{face}={str(address).replace(':', ';')}"


def leads_to(given: Listener, face: str) -> bool:
    """Whether a passed socket is meant for that face."""
    return given.name == face or given.name.startswith(f"{face}=")


def opened(
    texts: Sequence[str], given: Sequence[Listener], face: str = "grpc", field: str = "listen"
) -> list[Listener]:
    """A listener for each address in ``texts``: the one in ``given`` that is there already, else our own; and all else
    that was given. InvalidArgument as ``parse`` and ``bind``; for ``fd://`` where nothing was given."""
    made: list[Listener] = []
    left = list(given)
    if FD in texts and not left:
        raise InvalidArgument(f"{field}: fd://: no socket was passed", reason="BAD_SETTING", field=field,
                              expected="a start by a socket unit")
    try:
        for address in dict.fromkeys(parse(text, field) for text in texts if text != FD):
            known = next((each for each in left if address == each.address or label(face, address) == each.name), None)
            if known is not None:
                left.remove(known)
            made.append(known or Listener(bind(address, field), address))
    except InvalidArgument:
        close(made)
        raise
    for each in made:
        each.socket.setblocking(False)
    return [*made, *left]


def close(listeners: Sequence[Listener]) -> None:
    """Close them; paths of our own go."""
    for each in listeners:
        each.socket.close()
        if not each.passed and each.address.is_unix:
            Path(each.address.host).unlink(missing_ok=True)


def variables(names: Sequence[str], pid: int) -> Mapping[str, str]:
    """What a process ``pid`` is told that gets sockets of these names from descriptor 3 on."""
    return {"LISTEN_FDS": str(len(names)), "LISTEN_PID": str(pid), "LISTEN_FDNAMES": ":".join(names)}
