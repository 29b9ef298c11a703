"""ExposedPorts and PortBindings → published ports."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from gateway.rest.body import Fields, as_fields, as_list
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from pier.network.v1 import network_pb2

_PORT: Final = re.compile(r"(\d{1,5})(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_HOST_PORT: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_MOST: Final = 65535


def parse_port(text: str, where: str) -> tuple[int, str]:
    """("80/udp") → (80, "udp"); without a protocol tcp."""
    found = _PORT.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= _MOST:
        raise bad(f'invalid port specification: "{text.partition("/")[0][:80]}"', field=where)
    return int(found[1]), (found[2] or "tcp").lower()


def exposed_ports(draft: Draft, fields: Fields, key: str) -> None:
    for text in fields.object(key):
        number, protocol = parse_port(text, fields.path(key))
        draft.exposed.append(f"{number}/{protocol}")


def port_bindings(draft: Draft, fields: Fields, key: str) -> None:
    """{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}; an empty list is one binding to any free port."""
    bindings = fields.object(key)
    for text in bindings:
        number, protocol = parse_port(text, bindings.where)
        where = bindings.path(text)
        entries = as_list(bindings.document[text], where)
        if not entries:
            draft.unbound.append(f"{number}/{protocol}")
            entries = [{}]
        for entry in (as_fields(value, where) for value in entries):
            first, last = _host_ports(entry, where)
            draft.ports.append(network_pb2.PublishedPort(
                protocol=protocol, container_port=number, host_ip=_address(entry.text("HostIp"), where),
                host_port=first, host_port_end=last,
            ))
        draft.exposed.append(f"{number}/{protocol}")


def _host_ports(entry: Fields, where: str) -> tuple[int, int]:
    """(port, end of the range or 0); (0, 0) is any free one."""
    text = entry.text("HostPort")
    if not text:
        return 0, 0
    found = _HOST_PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or 0)) if found else (-1, 0)
    if not 0 <= first <= _MOST or last > _MOST or (found and found[2] and last < first):
        raise bad(f'invalid port specification: "{text[:80]}"', field=where, expected="a port or a range of ports")
    return first, last if last > first else 0


def _address(text: str, where: str) -> str:
    """"" is every address; 0.0.0.0 is every IPv4 one, :: every IPv6 one."""
    try:
        return str(ipaddress.ip_address(text.strip("[]"))) if text else ""
    except ValueError:
        raise bad(f"invalid IP address: {text[:80]!a}", field=where) from None
