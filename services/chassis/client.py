"""Calls to a peer service: one kept channel, a deadline on every call, PierErrors, the caller's request id, its trace.

Example: ``peer = Peer("execd", instance.socket("execd"))``, ``stub = ContainerServiceStub(peer.channel)``,
``answer = await peer.call(stub.StartContainer, request, timeout=30)``. The stages that the peer went through hang below
the caller's current stage afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from chassis import context, stages
from chassis.server import OPTIONS
from chassis.status import from_rpc_error, metadata_value
from pier.types.v1 import types_pb2

READ_TIMEOUT: Final = 0.3
"""Seconds that a read waits for its owner."""
CALL_TIMEOUT: Final = 30.0
"""Seconds that a mutating call waits where its caller names no deadline."""

_RECONNECT: Final = 1.0
_READY: Final = grpc.ChannelConnectivity.READY
_IDLE: Final = grpc.ChannelConnectivity.IDLE

_CHANNEL_OPTIONS: Final = (
    *OPTIONS,
    # A restarted peer is found again within these milliseconds.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.use_local_subchannel_pool", 1),
    # Else gRPC buffers up to 4 MiB of each stream that nobody reads; streams are no slower for it.
    ("grpc.http2.bdp_probe", 0),
)


class Peer:
    """One service as a client sees it. Close it with ``await peer.close()``."""

    def __init__(self, name: str, socket: Path) -> None:
        self.name = name
        self.channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)

    async def call(self, method: Any, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """One answer within ``timeout`` seconds. Raises the PierError that the peer raised; DeadlineExceeded and
        Unavailable are what they say."""
        with stages.seen_from_here(self.name, _name(method)) as seen:
            await self._reconnected(timeout)
            call = method(request, timeout=timeout, metadata=_metadata())
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                seen.told(_trace(error.trailing_metadata()))
                raise from_rpc_error(error) from None
            seen.told(_trace(await call.trailing_metadata()))
        return answer

    async def stream(self, method: Any, request: Any, timeout: float | None = None) -> AsyncGenerator[Any, None]:
        """Answers as they come; ``request`` is a message or an async iterator of them. Closing cancels."""
        with stages.seen_from_here(self.name, _name(method)) as seen:
            await self._reconnected(timeout)
            call = method(request, timeout=timeout, metadata=_metadata())
            try:
                async for answer in call:
                    yield answer
                seen.told(_trace(await call.trailing_metadata()))
            except grpc.aio.AioRpcError as error:
                seen.told(_trace(error.trailing_metadata()))
                raise from_rpc_error(error) from None
            finally:
                call.cancel()

    async def _reconnected(self, timeout: float | None) -> None:
        """Give a peer that is being started again a moment: gRPC fails calls at once while it waits to dial again."""
        if self.channel.get_state(try_to_connect=True) in (_READY, _IDLE):
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.channel.channel_ready(), min(timeout or _RECONNECT, _RECONNECT))

    async def stay_connected(self) -> None:
        """Dial whenever there is no connection, until this is cancelled: no call waits for it, nor does the number of
        the process's descriptors depend on who has called whom."""
        while True:
            state = self.channel.get_state(try_to_connect=True)
            await self.channel.wait_for_state_change(state)

    async def close(self) -> None:
        await self.channel.close(None)


def _metadata() -> tuple[tuple[str, str], ...]:
    pairs = ((context.REQUEST_ID_KEY, context.request_id.get()), (context.TRACEPARENT_KEY, context.traceparent.get()))
    return tuple(pair for pair in pairs if pair[1])


def _name(method: Any) -> str:
    """The rpc's own name, as its service's trace has it."""
    path = getattr(method, "_method", b"")
    text = path.decode() if isinstance(path, bytes) else str(path)
    return text.rpartition("/")[2] or "call"


def _trace(trailing: Any) -> types_pb2.Span | None:
    """The peer's tree that came with its answer."""
    data = metadata_value(trailing, stages.TRACE_KEY)
    if not isinstance(data, bytes):
        return None
    try:
        return types_pb2.Span.FromString(data)
    except DecodeError:
        return None
