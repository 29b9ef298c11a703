"""The files that carry names, as data: netd knows the names, whoever has the root file system writes the files.

``/etc/hosts``, ``/etc/resolv.conf`` and ``/etc/hostname`` of a sandbox, as Docker makes them. On the host's own network
the host's resolvers and hosts hold unchanged; elsewhere a resolver on the host's loopback cannot be reached, and is
left out. Source: hosts(5), resolv.conf(5), hostname(5).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netd import requests
from netd.ipam import Address
from netd.linked import Line
from netd.resolver import protocol
from netd.resolver.hosts import nameservers
from pier.network.v1 import network_pb2

FALLBACK_RESOLVERS: Final = ("8.8.8.8", "8.8.4.4")
"""Docker's, where the host has none that a container can reach."""
_LOCALHOST: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_SIZE_MAX: Final = 64 * 1024
_SYSTEMD_RESOLVED: Final = Path("/run/systemd/resolve/resolv.conf")
_SHORT: Final = 12


@dataclass(frozen=True)
class HostNames:
    """The host's own files and name."""

    resolv_conf: str
    hosts: str
    hostname: str


def host_names(etc: Path = Path("/etc")) -> HostNames:
    """Read the host's. Where resolv.conf names systemd-resolved's stub alone, the list behind it is taken."""
    resolv = _read(etc / "resolv.conf")
    if nameservers(resolv) == ["127.0.0.53"] and _SYSTEMD_RESOLVED.exists():
        resolv = _read(_SYSTEMD_RESOLVED)
    return HostNames(resolv, _read(etc / "hosts"), socket.gethostname())


def render(
    request: network_pb2.CreateSandboxRequest, addresses: Sequence[Address], gateway: Address | None,
    host: HostNames, named: bool = False, linked: Sequence[Line] = (),
) -> network_pb2.NameFiles:
    """The three files. ``addresses``: the sandbox's own; ``gateway``: what "host-gateway" stands for, None: nothing;
    ``named``: the resolver answers in the sandbox; ``linked``: others that it knows by links."""
    hostname = request.hostname or (host.hostname if request.host else request.id[:_SHORT])
    return network_pb2.NameFiles(
        hosts=_hosts(request, hostname, addresses, gateway, host, linked).encode(),
        resolv_conf=_resolv_conf(request, host, named).encode(),
        hostname=f"{hostname}\n".encode(),
    )


def _hosts(
    request: network_pb2.CreateSandboxRequest, hostname: str, addresses: Sequence[Address],
    gateway: Address | None, host: HostNames, linked: Sequence[Line],
) -> str:
    lines = [host.hosts if request.host and host.hosts else _LOCALHOST]
    if not lines[0].endswith("\n"):
        lines.append("\n")
    for entry in request.extra_hosts:
        name, address = requests.extra_host(entry)
        if address == requests.HOST_GATEWAY:
            address = str(gateway or "127.0.0.1")
        lines.append(f"{address}\t{name}\n")
    lines += [f"{address}\t{' '.join(line.names)}\n" for line in linked for address in line.addresses]
    full = f"{hostname}.{request.domainname}" if request.domainname else hostname
    short = full.partition(".")[0]
    names = f"{full} {short}" if short != full else full
    lines += [f"{address}\t{names}\n" for address in addresses]
    return "".join(lines)


def _resolv_conf(request: network_pb2.CreateSandboxRequest, host: HostNames, named: bool) -> str:
    if request.host and not (request.dns or request.dns_search or request.dns_options):
        return host.resolv_conf
    resolvers = list(request.dns) or nameservers(host.resolv_conf)
    if named:
        resolvers = [protocol.ADDRESS]
    elif not request.host and not request.dns:
        resolvers = [r for r in resolvers if not _is_loopback(r)] or list(FALLBACK_RESOLVERS)
    search = list(request.dns_search) or _words(host.resolv_conf, "search", "domain")
    options = list(request.dns_options) or _words(host.resolv_conf, "options")
    if named and not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")  # a container's name has no dot, and is none of the search domain's
    lines = [f"nameserver {resolver}" for resolver in resolvers]
    # "." alone asks for no search domain, as Docker's --dns-search=. does.
    if search and search != ["."]:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"


def _words(text: str, *keys: str) -> list[str]:
    """The words after the last line that begins with one of the keys, since that one holds."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in keys:
            found = words[1:]
    return found


def _is_loopback(text: str) -> bool:
    return ipaddress.ip_address(text.partition("%")[0]).is_loopback


def _read(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(_SIZE_MAX)
    except OSError:
        return ""
