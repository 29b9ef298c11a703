"""Where the Engine API and pier.engine.v1 are reached: sockets that were passed, and those that the settings name."""

from __future__ import annotations

import contextlib
import socket
from asyncio import get_running_loop
from collections.abc import AsyncIterator

from aiohttp import web

from chassis import listening
from chassis.caller import Caller
from chassis.door import Adopt, Doors
from chassis.listening import Listener
from chassis.service import Runtime
from chassis.tls_files import TlsFiles
from gateway.rest.app import Face
from gateway.settings import GatewaySettings


def rest_listeners(runtime: Runtime[GatewaySettings]) -> list[Listener]:
    """Those of the Engine API: what was passed and is not for the gRPC face; where none was, a socket of our own; and
    the settings' addresses. InvalidArgument as ``listening.opened``."""
    given = [each for each in runtime.passed if not listening.leads_to(each, "engine")]
    own = () if given else (f"unix://{runtime.instance.api_socket}",)
    runtime.passed = [each for each in runtime.passed if each not in given]
    return listening.opened((*own, *runtime.settings.listen), given, "rest")


def engine_addresses(runtime: Runtime[GatewaySettings]) -> tuple[str, ...]:
    """The same for pier.engine.v1, whose sockets ``rest_listeners`` has left."""
    own = () if runtime.passed else (f"unix://{runtime.instance.engine_socket}",)
    return (*own, *runtime.settings.engine_listen)


@contextlib.asynccontextmanager
async def serving(
    face: Face, listeners: list[Listener], tls_files: TlsFiles | None, grace: float
) -> AsyncIterator[None]:
    """Serve ``face`` until the block ends; requests then have ``grace`` seconds. TCP has a door in front."""
    unix = [each for each in listeners if each.address.is_unix]
    doors = Doors([each for each in listeners if not each.address.is_unix], tls_files, to_rest(face))
    runner = web.ServerRunner(face, shutdown_timeout=grace)
    await runner.setup()
    try:
        for each in unix:
            await web.SockSite(runner, each.socket).start()
        async with doors.serving():
            yield
    finally:
        await runner.cleanup()
        listening.close(unix)


def to_rest(face: Face) -> Adopt:
    """Connections are ``face``'s."""

    async def adopt(connection: socket.socket, who: Caller) -> None:
        await get_running_loop().connect_accepted_socket(lambda: face.handler_of(who), connection)

    return adopt
