"""Pier's own: POST /containers/{name}/ports, which publishes and withdraws ports of a container, also while it runs.

The body has two objects in the form of `HostConfig.PortBindings`: `{"Add": {"80/tcp": [{"HostPort": "8080"}]},
"Remove": {"81/tcp": []}}`. A binding to be removed without a host port means all of that container port. The answer is
`{"Ports": …}` as in `NetworkSettings`.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import NotFound
from gateway.rest import container_view as view
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.port_settings import port_bindings
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

routes: Final = Routes()

_SHOWN: Final = {"": "0.0.0.0"}
"""What "every address" is shown as, by which it may be asked to go too."""


@routes.post("/containers/{name}/ports")
async def change(call: Call) -> web.StreamResponse:
    """200; 404 for a port to be removed that is not published; 409 or 500 as at a start for one that is taken."""
    container = await find_container(call, call.path["name"])
    body = await call.body()
    added, removed = _ports(call, body, "Add"), _ports(call, body, "Remove")
    if not added and not removed:
        raise bad("no ports are named", field="Add", expected="Add or Remove")

    published = {
        (port.protocol, port.container_port, port.host_port)
        for port in view.published(await view.sandbox(call, container.id))
    }

    def chosen(now: exec_pb2.Container) -> list[network_pb2.PublishedPort]:
        left = list(view.plan(now).ports)
        for gone in removed:
            matching = [port for port in left if _means(gone, port, published)]
            if not matching:
                raise NotFound(f"port {gone.container_port}/{gone.protocol} is not published so", reason="NO_PORT",
                               field="Remove")
            left = [port for port in left if port not in matching]
        return [*left, *(port for port in added if port not in left)]

    ports = await call.engine.coordinator.publish(container.id, chosen)
    return call.json({"Ports": view.port_map(ports, "0.0.0.0")})


def _ports(call: Call, body: Fields, key: str) -> list[network_pb2.PublishedPort]:
    draft = Draft(call.version)
    port_bindings(draft, body, key)
    return list(draft.ports)


def _means(
    gone: network_pb2.PublishedPort, port: network_pb2.PublishedPort, published: set[tuple[str, int, int]]
) -> bool:
    """Whether what is to be removed is ``port``, as it was asked for or as it is ``published``."""
    if (gone.protocol, gone.container_port) != (port.protocol, port.container_port):
        return False
    if gone.host_ip not in ("", port.host_ip, _SHOWN.get(port.host_ip)):
        return False
    if not gone.host_port or (gone.host_port, gone.host_port_end) == (port.host_port, port.host_port_end):
        return True
    asked_so = not port.host_port or port.host_port <= gone.host_port <= port.host_port_end
    return asked_so and (gone.protocol, gone.container_port, gone.host_port) in published
