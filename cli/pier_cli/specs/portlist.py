"""The PORTS column of ``ps``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def join_host_port(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _order(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port.get("Type", "")


def display(ports: list[dict[str, Any]]) -> str:
    """Published and exposed ports, neighbouring ones that keep their number as ranges: ``0.0.0.0:80-81->80-81/tcp``."""
    known = sorted(ports, key=_order)
    done: list[str] = []
    moved: list[str] = []
    # One open range for each address and protocol, closed when a number is skipped.
    ranges: dict[tuple[str, str], tuple[int, int]] = {}
    for port in known:
        number, address, kind = port["PrivatePort"], port.get("IP", ""), port.get("Type", "")
        public = port.get("PublicPort", 0)
        if address and public != number:
            moved.append(f"{join_host_port(address, str(public))}->{number}/{kind}")
            continue
        first, last = ranges.get((address, kind), (number, number - 1))
        if number != last + 1:
            done.append(_range(address, kind, first, last))
            first = number
        ranges[address, kind] = (first, number)
    done += [_range(address, kind, first, last) for (address, kind), (first, last) in ranges.items()]
    return ", ".join(done + moved)


def _range(address: str, kind: str, first: int, last: int) -> str:
    span = str(first) if first == last else f"{first}-{last}"
    return (f"{join_host_port(address, span)}->{span}" if address else span) + f"/{kind}"
