"""The options of an endpoint, by Docker's keys. An unknown one is refused by name."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.errors import InvalidArgument, Unimplemented
from pier.network.v1 import network_pb2

INTERFACE: Final = "com.docker.network.endpoint.ifname"
SYSCTLS: Final = "com.docker.network.endpoint.sysctls"
_FIELD: Final = "spec.driver_options"
_SYSCTL: Final = re.compile(r"net\.(ipv4|ipv6|mpls)\.([a-z0-9_]+)\.(?:IFNAME|ifname)\.([a-z0-9_]+)=([!-+\--~]{1,64})")
"""A ``,`` stands between two; the commands write IFNAME in lower case, too."""
_SYSCTLS_MAX: Final = 64
_PROC: Final = Path("/proc/sys/net")


@dataclass(frozen=True)
class Sysctl:
    """A switch of a link: ``family`` "ipv4", ``group`` "conf", ``name`` "log_martians"."""

    family: str
    group: str
    name: str
    value: str

    def __str__(self) -> str:
        return f"net.{self.family}.{self.group}.IFNAME.{self.name}={self.value}"


@dataclass(frozen=True)
class EndpointOptions:
    """``interface``: the name of the link inside, "" for one that is chosen. ``sysctls``: of that link."""

    interface: str = ""
    sysctls: tuple[Sysctl, ...] = ()


def read(spec: network_pb2.EndpointSpec) -> EndpointOptions:
    """InvalidArgument for a value that is none, Unimplemented for an option that is not built."""
    found = dict(spec.driver_options)
    interface, sysctls = found.pop(INTERFACE, ""), found.pop(SYSCTLS, "")
    if found:
        raise Unimplemented(f"endpoint option {ascii(min(found))[:80]} is not built", field=_FIELD,
                            expected=f"{INTERFACE}, {SYSCTLS}")
    if interface and spec.interface and interface != spec.interface:
        raise InvalidArgument(f"{INTERFACE}: {ascii(interface)[:40]} is not the interface that was asked for",
                              field=_FIELD, expected=spec.interface)
    return EndpointOptions(interface or spec.interface, _sysctls(sysctls))


def _sysctls(text: str) -> tuple[Sysctl, ...]:
    words = text.split(",") if text else []
    if len(words) > _SYSCTLS_MAX:
        raise InvalidArgument(f"{SYSCTLS}: {len(words)} are too many", field=_FIELD, expected=f"{_SYSCTLS_MAX} at most")
    found = []
    for word in words:
        parts = _SYSCTL.fullmatch(word.strip())
        if parts is None:
            raise InvalidArgument(
                f"unrecognised network interface sysctl {ascii(word)[:80]}; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", field=_FIELD,
                expected="net.X.Y.IFNAME.Z=V",
            )
        found.append(Sysctl(*parts.groups()))
    return tuple(found)


def apply(interface: str, sysctls: Iterable[Sysctl]) -> None:
    """Set the switches of a link of the calling thread's network namespace. InvalidArgument for one that the kernel has
    not, or a value that it does not take."""
    for sysctl in sysctls:
        try:
            with (_PROC / sysctl.family / sysctl.group / interface / sysctl.name).open("r+") as file:
                file.write(sysctl.value)
        except OSError as error:
            missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM)
            why = "this kernel has no such switch" if missing else f"the kernel refuses the value ({error.strerror})"
            raise InvalidArgument(f"failed to set sysctl {sysctl}: {why}", reason="BAD_SYSCTL", field=_FIELD,
                                  expected="a switch of a link, and a value for it") from error
