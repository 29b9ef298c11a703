"""Requests, made of Python's values: the same for both clients.

Words of commands, environments and paths are str or bytes: what is not text in the kernel need not be text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from pier.engine.v1 import container_pb2, engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

Word = str | bytes

_PORT: Final = re.compile(
    r"(?:(?:(?P<ip>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d{1,5})?:)?(?P<port>\d{1,5})(?:/(?P<protocol>tcp|udp|sctp))?")


def create(
    image: str, command: Sequence[Word] | None = None, *, name: str = "", entrypoint: Sequence[Word] | None = None,
    environment: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None, user: str = "",
    directory: Word = "", terminal: bool = False, stdin: bool = False, ports: Iterable[str] = (),
    binds: Iterable[str] = (), volumes: Iterable[str] = (), network: str = "", memory: int | None = None,
    cpus: float | None = None, restart: str = "", auto_remove: bool = False, operation_id: str = "",
    spec: exec_pb2.ContainerSpec | None = None, plan: engine_pb2.ContainerPlan | None = None,
) -> container_pb2.CreateContainerRequest:
    """A container. ``ports`` are docker's words "8080:80", "127.0.0.1:53:53/udp", "80" (any port of the host);
    ``binds`` and ``volumes`` "SOURCE:TARGET" and "SOURCE:TARGET:ro", of which a volume's source may be "". ``memory``
    in bytes. ``spec`` and ``plan`` hold what has no parameter here; what has goes on top of them. ValueError for a
    word that is none."""
    request = container_pb2.CreateContainerRequest(
        operation_id=operation_id, name=name, image=image, spec=spec, plan=plan)
    made, process = request.spec, request.spec.process
    if entrypoint is not None:
        request.entrypoint.words.extend(map(word, entrypoint))
        request.entrypoint.SetInParent()
    if command is not None:
        request.command.words.extend(map(word, command))
        request.command.SetInParent()
    process.env.extend(word(f"{key}={value}") for key, value in (environment or {}).items())
    process.user = user or process.user
    process.cwd = word(directory) or process.cwd
    process.terminal = terminal or process.terminal
    process.stdin_open = process.stdin_once = stdin or process.stdin_open
    made.labels.update(labels or {})
    made.auto_remove = auto_remove or made.auto_remove
    if restart:
        made.restart_policy.name = restart
    if memory is not None:
        made.resources.memory = memory
    if cpus is not None:
        made.resources.nano_cpus = round(cpus * 1e9)
    made.mounts.extend(map(_bind, binds))
    request.plan.network_mode = network or request.plan.network_mode
    request.plan.ports.extend(map(port, ports))
    request.plan.volumes.extend(map(_volume, volumes))
    return request


def process(
    command: Sequence[Word], *, environment: Mapping[str, str] | None = None, user: str = "", directory: Word = "",
    terminal: bool = False, stdin: bool = False, privileged: bool = False,
) -> exec_pb2.Process:
    """A further process of a container."""
    return exec_pb2.Process(
        args=map(word, command), env=[word(f"{key}={value}") for key, value in (environment or {}).items()],
        user=user, cwd=word(directory), terminal=terminal, stdin_open=stdin, privileged=privileged)


def events(
    after: str = "", since: datetime | None = None, until: datetime | None = None, types: Iterable[str] = (),
    actions: Iterable[str] = (), ids: Iterable[str] = (),
) -> engine_pb2.EventsRequest:
    return engine_pb2.EventsRequest(
        after=after, since=_time(since), until=_time(until), types=types, actions=actions, ids=ids)


def logs(
    container: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None,
    until: datetime | None = None, stdout: bool = True, stderr: bool = True,
) -> container_pb2.ReadLogsRequest:
    return container_pb2.ReadLogsRequest(
        container=container, follow=follow, tail=tail, since=_time(since), until=_time(until), stdout=stdout,
        stderr=stderr)


def port(text: str) -> network_pb2.PublishedPort:
    """A published port in docker's words. ValueError."""
    found = _PORT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no port: expected [[ADDRESS:]PORT:]PORT[/PROTOCOL]")
    return network_pb2.PublishedPort(
        protocol=found["protocol"] or "tcp", container_port=int(found["port"]), host_port=int(found["host"] or 0),
        host_ip=(found["ip"] or "").strip("[]"))


def word(value: Word) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _bind(text: str) -> types_pb2.MountSpec:
    source, target, read_only = _mount(text)
    options = [types_pb2.MountOption(key="ro")] if read_only else []
    return types_pb2.MountSpec(
        type="bind", source=word(source), target=word(target), options=options, recursive=True)


def _volume(text: str) -> engine_pb2.VolumeMount:
    name, target, read_only = _mount(text)
    return engine_pb2.VolumeMount(name=name, target=word(target), read_only=read_only)


def _mount(text: str) -> tuple[str, str, bool]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[1].startswith("/") or (len(parts) == 3 and parts[2] not in ("ro", "rw")):
        raise ValueError(f"{text!r} is no mount: expected SOURCE:TARGET or SOURCE:TARGET:ro")
    return parts[0], parts[1], parts[2:] == ["ro"]


def _time(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a time without its zone")
    made = Timestamp()
    made.FromDatetime(value)
    return made
