"""The gRPC server that every service runs: errors, traces, metrics and request ids in one interceptor.

A handler raises a PierError and nothing else is needed; the call's stages go back in trailing metadata. What a
generated servicer does not implement answers UNIMPLEMENTED by the method's name. Health (``grpc.health.v1``) and server
reflection are on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from grpc_health.v1 import _async as health_aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis import context, guard, stages
from chassis.errors import (
    Internal,
    InvalidArgument,
    PermissionDenied,
    PierError,
    ResourceExhausted,
    Unimplemented,
)
from chassis.guard import Guard, Visit
from chassis.logs import logger
from chassis.metrics import RPC_IN_FLIGHT, RPC_SECONDS
from chassis.status import to_status

T = TypeVar("T")

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
)

EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
"""For GRPC_EXPERIMENTS, before a process makes its first channel or server: docs/decisions/0038."""

_DRAIN_SECONDS: Final = 2.0
_SILENCE_SECONDS: Final = 0.05

Context = Any  # grpc.aio.ServicerContext: generic in the stub, not in the library


class _Call:
    """One call being served: its method, outcome and trace."""

    def __init__(self, method: str, guard_: Guard | None) -> None:
        self.method = method
        self.code = "OK"
        self._guard = guard_
        self._visit: Visit | None = None

    def admitted(self, request: Any, context_: Context) -> Any:
        """The request, or a stream of them, as far as its caller may make it. PermissionDenied, Unauthenticated."""
        if self._guard is None:
            return request
        self._visit = guard.visit(self._guard, self.method, context_.peer())
        if self._visit is None:
            return request
        if hasattr(request, "__aiter__"):
            return guard.admitted(self._visit, request)
        guard.admit(self._visit, request)
        return request

    def ended(self, result: str = "OK", *, refused: bool = False) -> None:
        """Its outcome is known, and is about to be told."""
        if self._visit is not None:
            self._visit.ended(result, refused=refused)

    async def fail(self, context_: Context, error: BaseException, trailer: bytes | None) -> None:
        """End the call with the status that ``error`` stands for; what is no PierError is a fault of ours."""
        if isinstance(error, NotImplementedError):  # a generated servicer's own method, which nobody has overridden
            error = Unimplemented(f"{self.method} is not built yet", reason="NOT_BUILT")
        if not isinstance(error, PierError):
            logger().error("call failed", method=self.method, exc_info=error)
            error = full_disk(error) or Internal(f"{self.method}: {type(error).__name__}: {error}")
        self.code = error.grpc_code
        self.ended(error.reason, refused=isinstance(error, PermissionDenied))
        code, message, metadata = to_status(error)
        if trailer:
            metadata = (*metadata, (stages.TRACE_KEY, trailer))
        await context_.abort(code, message, metadata)


def full_disk(error: BaseException) -> ResourceExhausted | None:
    """A disk that is full is its operator's to clear, wherever in a service it shows; None for any other error."""
    in_file = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    in_database = isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
    if not (in_file or in_database):
        return None
    return ResourceExhausted("no space left on device", reason="NO_SPACE")


class _Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # the stub is generic, the class is not
    """Wraps each handler in the same scope, whatever its kind."""

    def __init__(self, guard_: Guard | None) -> None:
        self._guard = guard_

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/pier."):
            return handler
        method = handler_call_details.method.removeprefix("/")
        inner: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
        make: Any
        if handler.response_streaming:
            wrapped: Any = _streaming(method, inner, self._guard)
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else (
                grpc.unary_stream_rpc_method_handler
            )
        else:
            wrapped = _unary(method, inner, self._guard)
            make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else (
                grpc.unary_unary_rpc_method_handler
            )
        return make(wrapped, handler.request_deserializer, handler.response_serializer)  # type: ignore[no-any-return]


@contextmanager
def _observed(call: _Call, context_: Context) -> Any:
    metadata = dict(context_.invocation_metadata() or ())
    given, parent = metadata.get(context.REQUEST_ID_KEY), metadata.get(context.TRACEPARENT_KEY)
    context.adopt(given if isinstance(given, str) else None, parent if isinstance(parent, str) else None)
    in_flight = RPC_IN_FLIGHT.labels(call.method)
    in_flight.inc()
    began = time.perf_counter()
    try:
        yield
    except asyncio.CancelledError:
        call.code = "CANCELLED"
        raise
    finally:
        in_flight.dec()
        RPC_SECONDS.labels(call.method, call.code).observe(time.perf_counter() - began)


def _unary(method: str, inner: Any, guard_: Guard | None) -> Any:
    name = method.rpartition("/")[2]

    async def handle(request: Any, context_: Context) -> Any:
        call = _Call(method, guard_)
        with _observed(call, context_):
            failure: BaseException | None = None
            answer = None
            with stages.trace(name) as root:
                try:
                    result = inner(call.admitted(request, context_), context_)
                    answer = await result if inspect.isawaitable(result) else result
                except asyncio.CancelledError:
                    call.ended("CLIENT_LEFT")
                    raise
                except Exception as error:  # noqa: BLE001 - the border: whatever it is becomes a status
                    failure = error
                    root.error = getattr(error, "reason", type(error).__name__)
            trailer = stages.to_trailer(root)
            if failure is not None:
                await _drain(request)
                await call.fail(context_, failure, trailer)
            call.ended()
            if trailer:
                context_.set_trailing_metadata(((stages.TRACE_KEY, trailer),))
            return answer

    return handle


def _streaming(method: str, inner: Any, guard_: Guard | None) -> Any:
    """The answers are written here and not left to grpc to iterate over: a call that ends while an answer is on its way
    would leave its generator to the garbage collector, and with it whatever that holds."""
    name = method.rpartition("/")[2]

    async def handle(request: Any, context_: Context) -> None:
        call = _Call(method, guard_)
        with _observed(call, context_):
            failure: BaseException | None = None
            writing = False
            with stages.trace(name) as root:
                try:
                    responses = inner(call.admitted(request, context_), context_)
                    if inspect.isawaitable(responses):
                        responses = await responses
                    async with contextlib.aclosing(responses):
                        async for response in responses:
                            writing = True
                            await context_.write(response)
                            writing = False
                except asyncio.CancelledError:
                    call.ended("CLIENT_LEFT")
                    raise
                except Exception as error:
                    if writing:
                        call.code = "CANCELLED"
                        call.ended("CLIENT_LEFT")
                        raise  # grpc knows that the client is gone
                    failure = error
            trailer = stages.to_trailer(root)
            if failure is not None:
                await _drain(request)
                await call.fail(context_, failure, trailer)
            call.ended()
            if trailer:
                context_.set_trailing_metadata(((stages.TRACE_KEY, trailer),))

    return handle


async def _drain(request: Any) -> None:
    """Read what the caller is still sending, and drop it, until it ends or falls silent.

    A call that ends in the middle of a message being written fails for the writer by that write: grpc.aio then tells
    INTERNAL in place of the status that was sent.
    """
    if not hasattr(request, "__anext__"):
        return
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await anext(request)


class Server:
    """A service's gRPC server on a unix socket. Add servicers, ``start``, ``ready``; ``stop`` when it ends."""

    def __init__(self, guard_: Guard | None = None) -> None:
        """Without a guard whoever reaches it may do everything."""
        self.grpc = grpc.aio.server(interceptors=(_Interceptor(guard_),), options=OPTIONS)
        self._health = health_aio.HealthServicer()
        self._names: list[str] = []
        self._path: Path | None = None

    def add(self, adder: Callable[[Any, grpc.aio.Server], None], servicer: object, full_name: str) -> None:
        """Serve ``servicer`` by its generated ``add_…_to_server``; ``full_name`` is the service's, for reflection."""
        adder(servicer, self.grpc)
        self._names.append(full_name)

    async def start(self, path: Path) -> None:
        """Listen on ``path`` (mode 0600). The caller holds the state directory's lock: a stale socket is replaced."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.grpc
        )
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self.grpc.add_insecure_port(f"unix:{path}")
        finally:
            os.umask(before)
        self._path = path
        await self.grpc.start()

    async def ready(self, serving: bool = True) -> None:
        """Answer health checks as serving, or not."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ["", *self._names]:
            await self._health.set(name, state)

    async def stop(self, grace: float) -> None:
        """No new calls; those that run have ``grace`` seconds."""
        await self.ready(serving=False)
        await self.grpc.stop(grace)
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def service_names(*descriptors: Any) -> Sequence[str]:
    """Full names of all services in the given ``_pb2`` modules, for reflection."""
    return [
        service.full_name for module in descriptors for service in module.DESCRIPTOR.services_by_name.values()
    ]


async def first_of(stream: AsyncIterator[T]) -> T:
    """The first message of a request stream. InvalidArgument (NO_MESSAGE) where there is none."""
    async for message in stream:
        return message
    raise InvalidArgument("the stream ended before its first message", reason="NO_MESSAGE")
