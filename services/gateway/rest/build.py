"""Builds: `POST /build` as Docker's classic builder answers it, carried out by buildd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Final

from aiohttp import web

from chassis import pours
from chassis.errors import Internal, PierError
from chassis.stages import stage
from gateway.rest import build_extension, build_options, build_stream, names, progress
from gateway.rest.build_stream import ClassicStream
from gateway.rest.call import Call
from gateway.rest.progress import Message
from gateway.rest.routes import Routes
from gateway.rest.upload import blocks
from pier.build.v1 import build_pb2 as pb

routes: Final = Routes()

_BUILD: Final = 7 * 86400.0
"""Seconds that one build may take."""
_DRAIN: Final = 30.0
_WORTH_POURING: Final = 128 << 10
"""Bytes of a context's first piece: a smaller one is the whole of it, in one message."""
_OF_THE_SERVER: Final = frozenset({"NO_DOCKERFILE"})
"""What Docker answers 500 for, though the request is to blame."""


@routes.post("/build")
async def build(call: Call) -> web.StreamResponse:
    """Nothing is sent before the Dockerfile was read: a failure until then is a real status."""
    response: web.StreamResponse | None = None
    extended = call.http.content_type == build_extension.CONTENT_TYPE
    try:
        options = await build_options.read(call)
        if extended:
            extension, data = await build_extension.read(call.http.content.iter_any())
            extension.apply(options)
            shown = _events(call, options, build_extension.requests(data))
        else:
            shown = _classic(call, options, _whole(blocks(call)))
        async with aclosing(shown) as batches:
            async for messages in batches:
                if response is None:
                    response = await call.stream()
                await response.write(b"".join(map(progress.line, messages)))
    except PierError as error:
        if not extended:
            await _drain(call)
        if response is None:
            if error.reason in _OF_THE_SERVER:
                raise Internal(error.message, reason=error.reason) from error
            raise
        code = error.facts.get("exit_code", "0")
        await response.write(progress.line(build_stream.failed(error.message, int(code) if code.isdecimal() else 0)))
    if response is None:
        response = await call.stream()
    await response.write_eof()
    return response


async def _whole(data: AsyncIterator[bytes]) -> AsyncIterator[pb.BuildRequest]:
    """The context of a client that sends nothing else."""
    async for piece in data:
        yield pb.BuildRequest(context=piece)


async def _carried_out(
    call: Call, options: pb.BuildOptions, following: AsyncIterator[pb.BuildRequest]
) -> AsyncGenerator[list[pb.BuildResponse], None]:
    """buildd's messages, those together that came together."""
    engine = call.engine
    first = await anext(following, None)
    async with AsyncExitStack() as stack:
        if first is not None and len(first.context) >= _WORTH_POURING:
            offer = await stack.enter_async_context(pours.offered(engine.pours))
            options.context_pour, requests = offer.word, _poured(offer, first, following)
        else:
            requests = _told(first, following)
        async with stage("build.stream"):
            events = await stack.enter_async_context(aclosing(
                engine.buildd.stream(engine.builds.Build, _after(options, requests), _BUILD)))
            async for event in events:
                yield [event, *event.following]


async def _after(options: pb.BuildOptions, requests: AsyncIterator[pb.BuildRequest]) -> AsyncIterator[pb.BuildRequest]:
    yield pb.BuildRequest(options=options)
    async for request in requests:
        yield request


async def _told(
    first: pb.BuildRequest | None, following: AsyncIterator[pb.BuildRequest]
) -> AsyncIterator[pb.BuildRequest]:
    if first is not None:
        yield first
    async for request in following:
        yield request


async def _poured(
    offer: pours.Offer, first: pb.BuildRequest, following: AsyncIterator[pb.BuildRequest]
) -> AsyncIterator[pb.BuildRequest]:
    """The context goes to who unpacks it, beside gRPC, and its end and what comes behind it to buildd."""
    loop = asyncio.get_running_loop()
    whole = False
    with await offer.taken() as connection, suppress(BrokenPipeError, ConnectionResetError):
        async for request in _told(first, following):
            await loop.sock_sendall(connection, request.context)
            if whole := request.context_end:
                break
        else:
            whole = True
    if whole:
        yield pb.BuildRequest(context_end=True)
        async for request in following:
            yield request


async def _classic(
    call: Call, options: pb.BuildOptions, following: AsyncIterator[pb.BuildRequest]
) -> AsyncGenerator[list[Message], None]:
    shown, quiet = ClassicStream(), call.query.boolean("q")
    tags = [names.familiar(tag) for tag in options.tags]
    async with aclosing(_carried_out(call, options, following)) as batches:
        async for events in batches:
            said: list[Message] = []
            for event in events:
                if event.WhichOneof("event") == "result":
                    said += build_stream.quiet(event.result) if quiet else build_stream.finished(event.result, tags)
                elif not quiet:
                    said += shown.of(event)
            if said:
                yield said


async def _events(
    call: Call, options: pb.BuildOptions, following: AsyncIterator[pb.BuildRequest]
) -> AsyncGenerator[list[Message], None]:
    """Of Pier's own command."""
    async with aclosing(_carried_out(call, options, following)) as batches:
        async for events in batches:
            yield [build_extension.event(event) for event in events]


async def _drain(call: Call) -> None:
    """Read what the client is still sending: it looks for the answer only when it has sent all."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN):
            async for _ in call.http.content.iter_any():
                pass
