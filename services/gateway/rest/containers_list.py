"""GET /containers/json."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from chassis.errors import NotFound, PierError
from coordinator.services import NAMESPACE
from gateway import listing
from gateway.rest import container_sizes, wire
from gateway.rest import container_view as view
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.filters import Filters
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2

_FILTERS: Final = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
    "publish", "since", "status", "volume",
)
_STATUSES: Final = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_SHOW_STOPPED: Final = ("status", "exited", "before", "since")
_WITH_ANNOTATIONS: Final = Version(1, 46)
_WITH_HEALTH: Final = Version(1, 52)
_PIECE: Final = 500
"""Entries that are sent at once."""
_RANGE: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")

routes = Routes()


@routes.get("/containers/json")
async def list_containers(call: Call) -> web.StreamResponse:
    """Newest first; those that run, or all."""
    filters = call.filters(*_FILTERS)
    limit = call.query.integer("limit", 0) or 0
    _check(filters)
    containers, sandboxes = await asyncio.gather(all_containers(call), view.sandboxes(call))
    everything = call.query.boolean("all") or limit > 0 or any(key in filters for key in _SHOW_STOPPED)
    wanted = await _predicate(call, filters, containers)
    shown: list[exec_pb2.Container] = []
    for container in containers:
        if container.status.state == exec_pb2.CONTAINER_STATE_CREATING:
            continue  # not made yet, or being taken back
        if not everything and view.state(container) not in ("running", "paused", "restarting"):
            continue
        if wanted(container, sandboxes.get(container.id)):
            shown.append(container)
    if limit > 0:
        shown = shown[:limit]
    return await _answer(call, shown, sandboxes, sizes=call.query.boolean("size"))


async def _answer(
    call: Call, shown: Sequence[exec_pb2.Container], sandboxes: Mapping[str, network_pb2.Sandbox], *, sizes: bool
) -> web.StreamResponse:
    """A long list goes out piece by piece: others have their turn between, and it is never held whole."""
    if len(shown) <= _PIECE:
        return call.json(await entries(call, shown, sandboxes, sizes=sizes))
    response = await call.stream()
    for at in range(0, len(shown), _PIECE):
        piece = wire.encode(await entries(call, shown[at : at + _PIECE], sandboxes, sizes=sizes))
        await response.write((b"[" if at == 0 else b",") + piece.strip()[1:-1])
    await response.write(b"]\n")
    return response


async def all_containers(call: Call) -> list[exec_pb2.Container]:
    """Docker's containers, newest first: execd's answer, or the last known. Unavailable where it never answered."""
    return await listing.seen_containers(call.engine)


async def entries(
    call: Call, containers: Sequence[exec_pb2.Container], sandboxes: Mapping[str, network_pb2.Sandbox], *, sizes: bool
) -> list[dict[str, Any]]:
    """The list's entries, ``sandboxes`` by container; with ``sizes`` the bytes of each writable layer and of the whole
    root file system."""
    ids = await view.network_ids(call, containers)
    made = [
        call.engine.containers.made_of(container, _Entry).shown(sandboxes.get(container.id), ids, call.version)
        for container in containers
    ]
    if sizes:
        known = await container_sizes.of(call.engine, containers)
        made = [entry | {key: size for key, size in known[entry["Id"]].items() if size} for entry in made]
    return made


class _Entry:
    """A container's entry: what only a change of the container changes is made once."""

    def __init__(self, container: exec_pb2.Container) -> None:
        spec = container.spec
        command = [part.decode("utf-8", "replace") for part in spec.process.args]
        self._container = container
        self._fixed: dict[str, Any] = {
            "Id": container.id, "Names": [f"/{container.name}"], "Image": spec.image, "ImageID": spec.image_id,
            "Command": " ".join(_quoted(part) for part in command), "Created": container.created_at.seconds,
            "Labels": dict(spec.labels), "State": view.state(container),
            "HostConfig": {"NetworkMode": view.plan(container).network_mode}, "Mounts": view.mount_points(container),
        }
        self._seen: tuple[network_pb2.Sandbox | None, Mapping[str, str]] | None = None
        self._networking: dict[str, Any] = {}

    def shown(
        self, sandbox: network_pb2.Sandbox | None, ids: Mapping[str, str], version: Version
    ) -> dict[str, Any]:
        """``ids`` of networks by name."""
        if self._seen is None or self._seen != (sandbox, ids):
            self._seen, self._networking = (sandbox, ids), self._of(sandbox, ids)
        made = self._fixed | self._networking | {"Status": view.status_text(self._container)}
        if version >= _WITH_HEALTH:
            made["Health"] = _health(self._container)
        if version >= _WITH_ANNOTATIONS and (annotations := self._container.spec.annotations):
            made["HostConfig"] = made["HostConfig"] | {"Annotations": dict(annotations)}
        return made

    def _of(self, sandbox: network_pb2.Sandbox | None, ids: Mapping[str, str]) -> dict[str, Any]:
        container = self._container
        ports = view.list_ports(view.exposed_ports(container), view.published(sandbox)) if view.state(container) in (
            "running", "paused") else []
        networks = view.endpoint_settings(container, sandbox, ids)
        return {"Ports": ports, "NetworkSettings": {"Networks": networks}}


def _health(container: exec_pb2.Container) -> dict[str, Any]:
    """"none" where nothing is checked: no check was asked for, or it does not run."""
    if view.state(container) not in ("running", "paused"):
        return {"Status": "none", "FailingStreak": 0}
    return {"Status": view.health(container), "FailingStreak": container.status.health.failing_streak}


def _quoted(part: str) -> str:
    return f"'{part}'" if " " in part else part


def _check(filters: Filters) -> None:
    for value in filters.get("status"):
        if value not in _STATUSES:
            raise bad(f"invalid filter 'status={value}'", field="status", expected=", ".join(_STATUSES))
    for value in filters.get("exited"):
        if not re.fullmatch(r"-?\d{1,9}", value):
            raise bad(f"invalid filter 'exited={value}'", field="exited", expected="an exit code")
    for value in filters.get("health"):
        if value not in ("none", "starting", "healthy", "unhealthy"):
            raise bad(f"invalid filter 'health={value}'", field="health")
    for key in ("publish", "expose"):
        for value in filters.get(key):
            if not _RANGE.fullmatch(value):
                raise bad(f"invalid filter '{key}={value}'", field=key, expected="a port or a range of ports")
    filters.boolean("is-task")


async def _predicate(
    call: Call, filters: Filters, containers: list[exec_pb2.Container]
) -> Callable[[exec_pb2.Container, network_pb2.Sandbox | None], bool]:
    if not filters.values:
        return lambda _container, _sandbox: True
    ancestors = {await _image_id(call, value) for value in filters.get("ancestor")}
    before, since = _bounds(filters, containers)

    def wanted(container: exec_pb2.Container, sandbox: network_pb2.Sandbox | None) -> bool:
        created = container.created_at.ToNanoseconds()
        return (
            filters.any("id", container.id.startswith)
            and filters.pattern("name", container.name, f"/{container.name}")
            and filters.exact("status", view.state(container))
            and filters.labels(container.spec.labels)
            and filters.any("exited", lambda code: view.state(container) == "exited"
                            and int(code) == view.exit_code(container))
            and ("ancestor" not in filters or container.spec.image_id in ancestors
                 or container.spec.image in filters.get("ancestor"))
            and created < before and created > since
            and filters.any("volume", lambda value: any(
                value in (point["Source"], point["Destination"]) for point in view.mount_points(container)))
            and filters.any("network", lambda value: any(
                value == name or (settings["NetworkID"] and settings["NetworkID"].startswith(value))
                for name, settings in view.endpoint_settings(container, sandbox).items()))
            and filters.any("publish", lambda value: any(
                _within(value, port.container_port, port.protocol) for port in view.published(sandbox)))
            and filters.any("expose", lambda value: any(
                _within(value, int(name.partition("/")[0]), name.partition("/")[2])
                for name in view.exposed_ports(container)))
            and filters.exact("health", view.health(container))
            and filters.boolean("is-task", default=False) is False
            and filters.exact("isolation", "default", "")
        )

    return wanted


def _bounds(filters: Filters, containers: list[exec_pb2.Container]) -> tuple[float, float]:
    """(created before, created since) in nanoseconds, from the containers that the filters name."""
    bounds = {"before": float("inf"), "since": float("-inf")}
    for key in bounds:
        for value in filters.get(key):
            name = value.removeprefix("/")
            found = [each for each in containers if each.name == name or each.id.startswith(value)]
            if not found:
                raise NotFound(f"No such container: {value}", reason="NO_SUCH_CONTAINER", field=key)
            bounds[key] = found[0].created_at.ToNanoseconds()
    return bounds["before"], bounds["since"]


async def _image_id(call: Call, name: str) -> str:
    services = call.engine.services
    try:
        found: image_pb2.GetImageResponse = await services.imaged.call(
            services.images.GetImage, image_pb2.GetImageRequest(namespace=NAMESPACE, image=name), timeout=2
        )
    except PierError:
        return ""
    return found.image.id


def _within(wanted: str, port: int, protocol: str) -> bool:
    found = _RANGE.fullmatch(wanted)
    assert found is not None
    return int(found[1]) <= port <= int(found[2] or found[1]) and (found[3] or "tcp") == protocol
