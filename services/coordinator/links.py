"""Links of the default network as environment variables: what a container is told of those that it links to.

For a link to ``db`` with the alias ``database``, whose image exposes port 5432 and sets ``LANG``, container ``web`` has
``DATABASE_NAME=/web/database``, ``DATABASE_PORT=tcp://172.17.0.2:5432``, ``DATABASE_PORT_5432_TCP`` with the same,
``…_ADDR``, ``…_PORT`` and ``…_PROTO`` of it, and ``DATABASE_ENV_LANG``. Links of a network with names have none.
Source: Docker 20.10, whose own variables a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chassis.errors import NotFound
from chassis.stages import stage
from coordinator.plans import plan_of
from coordinator.services import Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

_DEFAULT: Final = "bridge"
_PRIVATE: Final = (b"HOME", b"PATH")
"""Variables that say nothing to another container."""


@dataclass(frozen=True, order=True)
class Port:
    """An exposed port; TCP's comes before the others of its number."""

    number: int
    other: bool
    protocol: str

    @classmethod
    def of(cls, text: str) -> Port:
        """"80/tcp"."""
        number, _, protocol = text.partition("/")
        return cls(int(number), protocol != "tcp", protocol or "tcp")


@dataclass(frozen=True)
class Linked:
    """A container as one that links to it is told of it."""

    address: str
    ports: tuple[Port, ...] = ()
    env: tuple[bytes, ...] = ()


async def environment(services: Services, container: exec_pb2.Container) -> list[bytes]:
    """The variables of the container's links to those that run now."""
    found: list[bytes] = []
    for attachment in plan_of(container).attachments:
        for link in attachment.spec.links if attachment.network == _DEFAULT else ():
            target, _, alias = link.partition(":")
            async with stage("network.link_variables", target=target):
                linked = await _find(services, target)
            if linked is not None:
                found += variables(container.name, alias or target, linked)
    return found


async def _find(services: Services, name: str) -> Linked | None:
    try:
        request = exec_pb2.GetContainerRequest(namespace=services.namespace, container=name)
        answer: exec_pb2.GetContainerResponse = await services.execd.call(services.containers.GetContainer, request)
        found: network_pb2.GetSandboxResponse = await services.netd.call(
            services.networks.GetSandbox, network_pb2.GetSandboxRequest(id=answer.container.id))
    except NotFound:
        return None
    address = next((each.ipv4 for each in found.sandbox.endpoints if each.network_name == _DEFAULT), "")
    if not address:
        return None
    exposed = _exposed(plan_of(answer.container))
    return Linked(address.partition("/")[0], exposed, tuple(answer.container.spec.process.env))


def _exposed(plan: engine_pb2.ContainerPlan) -> tuple[Port, ...]:
    published = {f"{port.container_port}/{port.protocol}" for port in plan.ports}
    return tuple(sorted(map(Port.of, published | set(plan.exposed_ports))))


def variables(owner: str, alias: str, linked: Linked) -> list[bytes]:
    """What container ``owner`` is told of the one that it calls ``alias``."""
    prefix = alias.upper().replace("-", "_")
    made = [f"{prefix}_NAME=/{owner}/{alias}"]
    if linked.ports:
        made.append(f"{prefix}_PORT={_url(linked.address, linked.ports[0])}")
    for port in linked.ports:
        name = f"{prefix}_PORT_{port.number}_{port.protocol.upper()}"
        made += [f"{name}={_url(linked.address, port)}", f"{name}_ADDR={linked.address}", f"{name}_PORT={port.number}",
                 f"{name}_PROTO={port.protocol}"]
    for first, last in _runs(linked.ports):
        name = f"{prefix}_PORT_{first.number}"
        start, end = f"{name}_{first.protocol.upper()}", f"{name}_{last.protocol.upper()}"
        made += [f"{start}_START={_url(linked.address, first)}", f"{start}_PORT_START={first.number}",
                 f"{end}_END={_url(linked.address, last)}", f"{end}_PORT_END={last.number}"]
    theirs = [entry for entry in linked.env if b"=" in entry and entry.partition(b"=")[0] not in _PRIVATE]
    return [*(text.encode() for text in made), *(f"{prefix}_ENV_".encode() + entry for entry in theirs)]


def _url(address: str, port: Port) -> str:
    return f"{port.protocol}://{address}:{port.number}"


def _runs(ports: Sequence[Port]) -> Iterator[tuple[Port, Port]]:
    """First and last of each three ports or more whose numbers follow one another."""
    at = 0
    while at < len(ports):
        length = _run(port.number for port in ports[at:])
        if length > 2:
            yield ports[at], ports[at + length - 1]
        at += length if length > 2 else 1


def _run(numbers: Iterable[int]) -> int:
    """How many of the first numbers leave no gap; the same one twice counts as two."""
    length = first = 0
    for number in numbers:
        first = first if length else number
        if number > first + length:
            break
        length += 1
    return length
