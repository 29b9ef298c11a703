"""What Docker has and Pier does not have yet: refused by name, so that nobody takes it for a wrong path.

Swarm and plugins are another matter: no node of Pier is a swarm's manager and no plugin is installed. Docker's own
answers say that best.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import NotFound, Unavailable, Unimplemented
from gateway.rest.call import Call
from gateway.rest.routes import Handler, Routes

routes: Final = Routes()

_LATER: Final = (
    ("GET", "/images/{name:.*}/attestations", "attestations"),
    ("POST", "/session", "BuildKit's session"),
    ("POST", "/grpc", "BuildKit's grpc"),
    ("POST", "/build/cancel", "build/cancel"),
    ("GET", "/plugins/privileges", "plugins"),
    ("POST", "/plugins/pull", "plugins"),
    ("POST", "/plugins/create", "plugins"),
)
_OF_A_PLUGIN: Final = (
    ("GET", "/plugins/{name:.*}/json"), ("DELETE", "/plugins/{name:.*}"),
    *(("POST", f"/plugins/{{name:.*}}/{verb}") for verb in ("enable", "disable", "upgrade", "push", "set")),
)
_SWARM: Final = (
    "GET /swarm", "POST /swarm/init", "POST /swarm/join", "POST /swarm/leave", "POST /swarm/update",
    "GET /swarm/unlockkey", "POST /swarm/unlock",
    *(f"GET /{noun}" for noun in ("services", "nodes", "tasks", "secrets", "configs")),
    *(f"POST /{noun}/create" for noun in ("services", "secrets", "configs")),
    *(f"GET /{noun}/{{id}}" for noun in ("services", "nodes", "tasks", "secrets", "configs")),
    *(f"DELETE /{noun}/{{id}}" for noun in ("services", "nodes", "secrets", "configs")),
    *(f"POST /{noun}/{{id}}/update" for noun in ("services", "nodes", "secrets", "configs")),
    *(f"GET /{noun}/{{id}}/logs" for noun in ("services", "tasks")), "PUT /volumes/{name}",
)
_NO_MANAGER: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def _not_built(what: str) -> Handler:
    async def refuse(_: Call) -> web.StreamResponse:
        raise Unimplemented(f"{what}: not supported yet", reason="NOT_BUILT")

    return refuse


async def _no_manager(_: Call) -> web.StreamResponse:
    raise Unavailable(_NO_MANAGER, reason="NO_SWARM")


async def _no_plugin(call: Call) -> web.StreamResponse:
    raise NotFound(f'plugin "{call.path["name"]}" not found', reason="NO_PLUGIN")


@routes.add("OPTIONS", "/{any:.*}")
async def options(call: Call) -> web.StreamResponse:
    """Nothing is forbidden to ask about, and no page of a browser is told that it may."""
    return call.empty(200)


for _method, _pattern, _what in _LATER:
    routes.add(_method, _pattern)(_not_built(_what))
for _method, _, _pattern in (entry.partition(" ") for entry in _SWARM):
    routes.add(_method, _pattern)(_no_manager)
for _method, _pattern in _OF_A_PLUGIN:
    routes.add(_method, _pattern)(_no_plugin)
