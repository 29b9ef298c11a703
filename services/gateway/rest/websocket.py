"""Attach by websocket: what browsers can speak. Output comes unframed, in binary messages; messages are input."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from aiohttp import WSMsgType, web

from chassis import attach
from coordinator import attaching
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.routes import Routes
from gateway.rest.streams import logged, open_attach

_BLOCK: Final = 64 << 10
_MESSAGE_MAX: Final = 1 << 20
_CLOSE_WITHIN: Final = 2.0
"""Seconds that a client has to answer our farewell."""

routes: Final = Routes()


@routes.get("/containers/{name}/attach/ws")
async def attach_ws(call: Call) -> web.StreamResponse:
    """101; 400 for a request that is no websocket's. The end of the process closes the websocket; a client's close ends
    the process's input, as docker's half-close does."""
    query = call.query
    keys = query.text("detachKeys") or attach.DEFAULT_DETACH_KEYS
    attach.parse_detach_keys(keys)
    answer = web.WebSocketResponse(max_msg_size=_MESSAGE_MAX, timeout=_CLOSE_WITHIN, compress=False)
    if not answer.can_prepare(call.http).ok:
        raise bad("not a websocket handshake", field="Upgrade", expected="Upgrade: websocket")
    opened = await open_attach(call)
    request = attach.AttachRequest(
        attach.INIT, query.boolean("stdin"), query.boolean("stdout"), query.boolean("stderr"), False,
        None if opened.framed else keys,
    )
    async with attaching.dial(opened.socket_path, request) as shim:
        call.stamp(answer)
        await answer.prepare(call.http)
        if query.boolean("logs"):
            container = await find_container(call, call.path["name"])
            async with contextlib.aclosing(logged(call, container, framed=False)) as pieces:
                async for piece in pieces:
                    await answer.send_bytes(piece)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(_input(answer, shim))
            await _output(answer, shim)
            await answer.close()
            listening.cancel()
    return answer


async def _input(client: web.WebSocketResponse, shim: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # the process ended: output's end tells
        async for message in client:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data = message.data.encode() if isinstance(message.data, str) else message.data
                await loop.sock_sendall(shim, data)
        shim.shutdown(socket.SHUT_WR)


async def _output(client: web.WebSocketResponse, shim: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # the client is gone; the process does not notice
        while data := await loop.sock_recv(shim, _BLOCK):
            if client.closed:
                return
            await client.send_bytes(data)
