"""What Docker has and Pier has not. No node of Pier is a swarm's manager, which Docker's own answer says best."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import Unavailable
from gateway.rest.call import Call
from gateway.rest.routes import Routes

routes: Final = Routes()

_SWARM: Final = (
    "GET /swarm", "POST /swarm/init", "POST /swarm/join", "POST /swarm/leave", "POST /swarm/update",
    "GET /swarm/unlockkey", "POST /swarm/unlock",
    *(f"GET /{noun}" for noun in ("services", "nodes", "tasks", "secrets", "configs")),
    *(f"POST /{noun}/create" for noun in ("services", "secrets", "configs")),
    *(f"GET /{noun}/{{id}}" for noun in ("services", "nodes", "tasks", "secrets", "configs")),
    *(f"DELETE /{noun}/{{id}}" for noun in ("services", "nodes", "secrets", "configs")),
    *(f"POST /{noun}/{{id}}/update" for noun in ("services", "nodes", "secrets", "configs")),
    *(f"GET /{noun}/{{id}}/logs" for noun in ("services", "tasks")),
)
_NO_MANAGER: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


async def _no_manager(_: Call) -> web.StreamResponse:
    raise Unavailable(_NO_MANAGER, reason="NO_SWARM")


for _method, _, _pattern in (entry.partition(" ") for entry in _SWARM):
    routes.add(_method, _pattern)(_no_manager)
