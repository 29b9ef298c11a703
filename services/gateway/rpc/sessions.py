"""Attach and Exec: the messages of a stream, and the attach protocol of the process's shim."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Final

from chassis import attach
from chassis.errors import Aborted, Conflict, InvalidArgument
from chassis.server import first_of
from coordinator import attaching, execs
from coordinator.coordinator import Coordinator
from gateway.rpc.answers import made_id
from pier.engine.v1 import container_pb2 as pb
from pier.exec.v1 import exec_pb2

_BLOCK: Final = 256 << 10
_SIZE_MAX: Final = 65535


async def attach_to(
    coordinator: Coordinator, requests: AsyncIterator[pb.AttachRequest]
) -> AsyncGenerator[pb.AttachResponse, None]:
    """A container's first process."""
    asked = _opening(await first_of(requests), "AttachOpen")
    services = coordinator.services
    keys = asked.detach_keys or attach.DEFAULT_DETACH_KEYS
    attach.parse_detach_keys(keys)
    container = await coordinator.get(asked.container)
    opened: exec_pb2.OpenAttachResponse = await services.execd.call(
        services.containers.OpenAttach, exec_pb2.OpenAttachRequest(id=container.id))
    both = not (asked.stdout or asked.stderr)
    target = attach.AttachRequest(
        attach.INIT, asked.stdin, asked.stdout or both, asked.stderr or both, opened.framed,
        None if opened.framed else keys,
    )
    async with attaching.dial(opened.socket_path, target) as shim:
        yield pb.AttachResponse(opened=pb.AttachOpened(container_id=container.id, terminal=not opened.framed))
        session = _Session(coordinator, shim, opened.framed, container.id, "", stdin=asked.stdin)
        async with aclosing(session.output(requests)) as output:
            async for each in output:
                yield pb.AttachResponse(output=each)


async def execute(
    coordinator: Coordinator, requests: AsyncIterator[pb.ExecRequest]
) -> AsyncGenerator[pb.ExecResponse, None]:
    """A further process."""
    asked = _opening(await first_of(requests), "ExecOpen")
    if not asked.process.args:
        raise InvalidArgument("open.process.args: no command", reason="NO_COMMAND", field="open.process.args")
    services = coordinator.services
    keys = asked.detach_keys or attach.DEFAULT_DETACH_KEYS
    attach.parse_detach_keys(keys)
    process = exec_pb2.Process()
    process.CopyFrom(asked.process)
    process.stdin_once = True
    made = await execs.make(services, asked.container, made_id("exec", asked.operation_id), process)
    if made.started:
        raise Conflict(f"exec {made.id} has run already", reason="ALREADY_RUN", field="open.operation_id",
                       facts={"exec_id": made.id})
    start = exec_pb2.ExecStartRequest(id=made.id, operation_id=asked.operation_id or made.id, attach=asked.attach)
    told = pb.ExecResponse(
        opened=pb.ExecOpened(exec_id=made.id, container_id=made.container_id, terminal=process.terminal))
    if not asked.attach:
        await execs.start(services, start)
        yield told
        return
    opened = await execs.open_attach(services, made.id)
    target = attach.AttachRequest(
        made.id, process.stdin_open, True, True, opened.framed, keys if process.terminal else None)
    async with attaching.dial(opened.socket_path, target) as shim:
        await execs.start(services, start)
        yield told
        session = _Session(coordinator, shim, opened.framed, made.container_id, made.id, stdin=process.stdin_open)
        async with aclosing(session.output(requests)) as output:
            async for each in output:
                yield pb.ExecResponse(output=each)
    ended = await execs.get(services, made.id)  # its exit is durable before its output ends
    if ended.HasField("exit"):
        yield pb.ExecResponse(exit=ended.exit)


def size(asked: pb.TerminalSize) -> tuple[int, int]:
    """(height, width). InvalidArgument for what is no size."""
    for name, value in (("height", asked.height), ("width", asked.width)):
        if not 0 < value <= _SIZE_MAX:
            raise InvalidArgument(f"{name}: {value} is not a size", reason="BAD_FIELD", field=name,
                                  expected="1 to 65535")
    return asked.height, asked.width


def _opening(first: Any, what: str) -> Any:
    if first.WhichOneof("message") != "open":
        raise InvalidArgument(f"the first message is to be an {what}", reason="BAD_FIELD", field="open")
    return first.open


class _Session:
    """A client at a process's shim. ``exec_id`` is "" for a container's first process."""

    def __init__(
        self, coordinator: Coordinator, shim: socket.socket, framed: bool, container: str, exec_id: str, *,
        stdin: bool,
    ) -> None:
        self._coordinator = coordinator
        self._shim = shim
        self._framed = framed
        self._container = container
        self._exec = exec_id
        self._stdin = stdin
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def output(self, requests: AsyncIterator[Any]) -> AsyncGenerator[pb.Output, None]:
        """What the process writes, until the shim closes; what comes in meanwhile is its input. What is wrong with a
        message ends it."""
        feeding = asyncio.create_task(self._feed(requests))
        try:
            async with aclosing(self._pieces()) as pieces:
                while True:
                    piece = asyncio.ensure_future(anext(pieces, None))
                    try:
                        await asyncio.wait((piece, self._failed), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not piece.done():
                            piece.cancel()
                            await asyncio.gather(piece, return_exceptions=True)
                    if self._failed.done():
                        self._failed.result()
                    if (each := piece.result()) is None:
                        return
                    yield each
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if self._failed.done():
                self._failed.exception()  # told, or nobody listens any more

    async def _pieces(self) -> AsyncGenerator[pb.Output, None]:
        loop = asyncio.get_running_loop()
        if not self._framed:
            while data := await _received(loop, self._shim, _BLOCK):
                yield pb.Output(stream=attach.STDOUT, data=data)
            return
        while head := await self._exactly(attach.HEADER.size):
            stream, left = attach.HEADER.unpack(head)
            while left and (data := await _received(loop, self._shim, min(left, _BLOCK))):
                left -= len(data)
                if stream == attach.SYSTEM:
                    raise Aborted(data.decode("utf-8", "replace").strip(), reason="FELL_BEHIND")
                yield pb.Output(stream=stream, data=data)

    async def _exactly(self, count: int) -> bytes:
        """That many bytes; nothing where the shim has closed."""
        loop = asyncio.get_running_loop()
        found = b""
        while len(found) < count:
            data = await _received(loop, self._shim, count - len(found))
            if not data:
                return b""
            found += data
        return found

    async def _feed(self, requests: AsyncIterator[Any]) -> None:
        """Input at the shim's pace: a process that does not read stops its client."""
        loop = asyncio.get_running_loop()
        ended = False
        try:
            async for request in requests:
                kind = request.WhichOneof("message")
                if kind == "resize":
                    await self._coordinator.resize(self._container, *size(request.resize), self._exec)
                elif kind == "open":
                    raise InvalidArgument("open: it is open", reason="BAD_FIELD", field="open")
                elif kind == "stdin_end":
                    ended = ended or self._end_input()
                elif not self._stdin or ended:
                    raise InvalidArgument("stdin: it was not asked for, or has ended", reason="BAD_FIELD",
                                          field="stdin")
                else:
                    await loop.sock_sendall(self._shim, request.stdin)
            if not ended:
                self._end_input()
        except OSError:
            return  # the process ended: output's end tells
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader of the output raises it
            if not self._failed.done():
                self._failed.set_exception(error)

    def _end_input(self) -> bool:
        with suppress(OSError):
            self._shim.shutdown(socket.SHUT_WR)
        return True


async def _received(loop: asyncio.AbstractEventLoop, shim: socket.socket, most: int) -> bytes:
    try:
        return await loop.sock_recv(shim, most)
    except ConnectionResetError:
        return b""
