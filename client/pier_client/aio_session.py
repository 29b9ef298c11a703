"""A session at a process's terminal or pipes, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc

from pier.engine.v1 import container_pb2
from pier.exec.v1 import exec_pb2
from pier_client.errors import told

_BLOCK = 64 << 10
_END: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs lack it


class Session:
    """Iterate over its output (``stream`` 1 stdout, 2 stderr; ``data``); ``send`` and ``end_input`` meanwhile. ``exit``
    of an exec is there when its output has ended. It is an async context manager: leaving it ends the session, not the
    process."""

    def __init__(self, method: Any, opening: Any, message: Callable[..., Any]) -> None:
        self._message = message
        self._opening = opening
        self._call = method()
        self._ended = False
        self.opened: Any = None
        self.exit: exec_pb2.Exit | None = None

    async def __aenter__(self) -> Self:
        with told():
            await self._write(self._opening)
            first = await self._call.read()
        self.opened = None if first is _END else first.opened
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    async def __aiter__(self) -> AsyncIterator[container_pb2.Output]:
        with told():
            while (answer := await self._call.read()) is not _END:
                if answer.HasField("output"):
                    yield answer.output
                else:
                    self.exit = answer.exit

    async def read(self) -> tuple[bytes, bytes]:
        """All of (stdout, stderr)."""
        found: dict[int, list[bytes]] = {1: [], 2: []}
        async for output in self:
            found[output.stream].append(output.data)
        return b"".join(found[1]), b"".join(found[2])

    async def send(self, data: bytes) -> None:
        """Give the process input. It waits where the process does not read."""
        for start in range(0, len(data), _BLOCK):
            await self._write(self._message(stdin=data[start : start + _BLOCK]))

    async def resize(self, height: int, width: int) -> None:
        """Tell its terminal how large it is, in characters."""
        await self._write(self._message(resize=container_pb2.TerminalSize(height=height, width=width)))

    async def end_input(self) -> None:
        """No more input comes; output goes on."""
        if not self._ended and not self._call.done():
            self._ended = True
            await self._call.done_writing()

    async def _write(self, message: Any) -> None:
        """What nobody takes any more is dropped: why the call has ended is told to who reads."""
        if self._call.done():
            return
        try:
            await self._call.write(message)
        except (grpc.RpcError, grpc.aio.UsageError):
            return
