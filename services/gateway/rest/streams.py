"""What stays open: wait, attach and logs."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from chassis import attach
from chassis.errors import Conflict, NotFound, PierError, Unimplemented
from chassis.events import timestamp
from coordinator import attaching
from coordinator.services import NAMESPACE
from coordinator.waiting import exits
from gateway.rest import hijack, wire
from gateway.rest.call import MULTIPLEXED, RAW, Call
from gateway.rest.errors import bad
from gateway.rest.find import find_container, no_such
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2

_CONDITIONS: Final = {
    "": exec_pb2.WAIT_CONDITION_NOT_RUNNING,
    "not-running": exec_pb2.WAIT_CONDITION_NOT_RUNNING,
    "next-exit": exec_pb2.WAIT_CONDITION_NEXT_EXIT,
    "removed": exec_pb2.WAIT_CONDITION_REMOVED,
}
_UNKNOWN_EXIT: Final = 255
_MULTIPLEXED_SINCE: Final = Version(1, 42)

routes = Routes()


@routes.post("/containers/{name}/wait")
async def wait(call: Call) -> web.StreamResponse:
    """The head as soon as the wait is in place, the exit status when the condition is met."""
    text = call.query.text("condition")
    if text not in _CONDITIONS:
        raise bad(f'invalid condition: "{text[:80]}"', field="condition", expected=", ".join(filter(None, _CONDITIONS)))
    async with aclosing(exits(call.engine.coordinator, call.path["name"], _CONDITIONS[text])) as found:
        try:
            await anext(found)
        except NotFound as error:
            raise no_such(call.path["name"]) from error
        response = await call.stream()
        exit_ = await anext(found)
    assert isinstance(exit_, exec_pb2.Exit)
    answer: dict[str, object] = {"StatusCode": exit_.code if exit_.HasField("code") else _UNKNOWN_EXIT}
    if not exit_.HasField("code"):
        answer["Error"] = {"Message": "the exit status is unknown: nobody could see how the process ended"}
    await response.write(wire.encode(answer))
    return response


@routes.post("/containers/{name}/attach")
async def attach_(call: Call) -> web.StreamResponse:
    """The container's terminal or pipes on this connection; also before its start, so that nothing is lost."""
    query = call.query
    keys = query.text("detachKeys") or attach.DEFAULT_DETACH_KEYS
    attach.parse_detach_keys(keys)
    if not query.boolean("stream"):
        container = await find_container(call, call.path["name"])
        taken, response = await hijack.upgrade(call, terminal=container.spec.process.terminal)
        with taken.socket:
            await _replay(call, container, taken.socket)
            await hijack.part(taken.socket)
        return response
    opened = await open_attach(call)
    terminal = not opened.framed
    request = attach.AttachRequest(
        attach.INIT, query.boolean("stdin"), query.boolean("stdout"), query.boolean("stderr"), opened.framed,
        keys if terminal else None,
    )
    async with attaching.dial(opened.socket_path, request) as shim:
        taken, response = await hijack.upgrade(call, terminal=terminal)
        with taken.socket:
            if query.boolean("logs"):
                await _replay(call, await find_container(call, call.path["name"]), taken.socket)
            await hijack.splice(taken, shim)
    return response


async def _replay(call: Call, container: exec_pb2.Container, client: socket.socket) -> None:
    """With ``logs``, what was logged until now. The caller is attached: a line of this moment may come twice, none is
    missing."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):  # the client is gone
        await hijack.head_read(client)
        async with aclosing(logged(call, container, framed=not container.spec.process.terminal)) as pieces:
            async for piece in pieces:
                await loop.sock_sendall(client, piece)


async def logged(call: Call, container: exec_pb2.Container, *, framed: bool) -> AsyncGenerator[bytes, None]:
    """What an attachment asks to see of the log first, up to now; nothing where it asks for none."""
    query, services = call.query, call.engine.services
    wanted = exec_pb2.ReadLogsRequest(
        id=container.id, stdout=query.boolean("stdout"), stderr=query.boolean("stderr"), until=timestamp(time.time_ns())
    )
    if query.boolean("logs") and (wanted.stdout or wanted.stderr):
        form = _Form(framed, False, False)
        async with aclosing(services.execd.stream(services.containers.ReadLogs, wanted)) as batches:
            async for batch in batches:
                yield b"".join(form.piece(record) for record in batch.records)


async def open_attach(call: Call) -> exec_pb2.OpenAttachResponse:
    """Where to attach to the container of the path."""
    services = call.engine.services
    try:
        opened: exec_pb2.OpenAttachResponse = await services.execd.call(
            services.containers.OpenAttach,
            exec_pb2.OpenAttachRequest(namespace=NAMESPACE, id=call.path["name"]),
        )
    except NotFound as error:
        raise no_such(call.path["name"]) from error
    return opened


@routes.get("/containers/{name}/logs")
async def logs(call: Call) -> web.StreamResponse:
    """Records as they were logged: framed by stream where there is no terminal."""
    query = call.query
    if not (query.boolean("stdout") or query.boolean("stderr")):
        raise bad("Bad parameters: you must choose at least one stream", field="stdout")
    request = exec_pb2.ReadLogsRequest(
        follow=query.boolean("follow"), stdout=query.boolean("stdout"), stderr=query.boolean("stderr"),
        details=query.boolean("details"),
    )
    tail = query.text("tail")
    if tail.isascii() and tail.isdigit():
        request.tail = min(int(tail), 1 << 62)
    for key in ("since", "until"):
        if (moment := query.time_ns(key)) is not None:
            getattr(request, key).CopyFrom(timestamp(max(moment, 0)))
    container = await find_container(call, call.path["name"])
    if container.status.state in (exec_pb2.CONTAINER_STATE_REMOVING, exec_pb2.CONTAINER_STATE_DEAD):
        raise Conflict("can not get logs from container which is dead or marked for removal", reason="REMOVING")
    if container.spec.log.driver == "none" or wire.is_true(container.spec.log.options.get("cache-disabled", "")):
        raise Unimplemented("configured logging driver does not support reading", reason="LOG_NOT_READABLE")
    request.id = container.id
    framed = not container.spec.process.terminal
    response = await call.stream(MULTIPLEXED if framed and call.version >= _MULTIPLEXED_SINCE else RAW)
    services = call.engine.services
    form = _Form(framed, query.boolean("timestamps"), request.details)
    request.form = form.of_data
    try:
        async with aclosing(services.execd.stream(services.containers.ReadLogs, request)) as batches:
            async for batch in batches:
                await response.write(batch.data or b"".join(form.piece(record) for record in batch.records))
    except PierError as error:
        text = f"error from daemon in stream: {error.message}\n".encode()
        await response.write((attach.frame(attach.SYSTEM, len(text)) if framed else b"") + text)
    return response


class _Form:
    """How records look: time stamps and attributes stand before lines, not before the parts of one."""

    def __init__(self, framed: bool, stamped: bool, detailed: bool) -> None:
        self._framed = framed
        self._stamped = stamped
        self._detailed = detailed
        self._within: dict[int, bool] = {}

    @property
    def of_data(self) -> exec_pb2.LogForm.ValueType:
        """In which form execd can put it together itself: where nothing stands before lines."""
        if self._stamped or self._detailed:
            return exec_pb2.LOG_FORM_RECORDS
        return exec_pb2.LOG_FORM_FRAMES if self._framed else exec_pb2.LOG_FORM_BYTES

    def piece(self, record: exec_pb2.LogRecord) -> bytes:
        data = record.data
        if self._detailed and not self._within.get(record.stream):
            data = urlencode(sorted(record.attributes.items())).replace("&", ",").encode() + b" " + data
        if self._stamped and not self._within.get(record.stream):
            data = wire.rfc3339(record.time, fixed=True).encode() + b" " + data
        self._within[record.stream] = not record.data.endswith(b"\n")
        return attach.frame(record.stream, len(data)) + data if self._framed else data
