"""Images in and out: pull, import, load, push. Each answers a stream of progress objects.

Nothing is sent before imaged's first message, so that a failure until then is a real status; one after that is the
stream's last object. A client that goes away ends its transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from chassis.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    PierError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from chassis.stages import stage
from coordinator.dockerfile import config as dockerfile
from coordinator.services import NAMESPACE
from gateway import listing
from gateway.rest import names, platforms, progress, registry_auth, registry_failures, remote, wire
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.progress import Message
from gateway.rest.routes import Routes
from gateway.rest.upload import blocks
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_TRANSFER: Final = 86400.0
"""Seconds that one transfer may take."""
_LISTING: Final = 60.0
_SYSTEMS: Final = frozenset({"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "aix"})


@routes.post("/images/create")
async def create(call: Call) -> web.StreamResponse:
    """Pull (`fromImage`) or import (`fromSrc`)."""
    if call.query.text("fromImage"):
        request = _pull_request(call)
        pull = _pull if names.has_tag(request.reference) else _pull_all
        return await _relay(call, pull(call, request))
    if not call.query.text("fromSrc"):
        raise bad("fromImage or fromSrc must be given", field="fromImage")
    options, source = _import_options(call), call.query.text("fromSrc")
    if source == "-":
        return await _relay(call, _import(call, options, blocks(call)))
    return await _relay(call, _import_from(call, options, remote.Remote(remote.checked(source))))


@routes.post("/images/{name:.*}/push")
async def push(call: Call) -> web.StreamResponse:
    """An image to its registry. What goes wrong there is told in the stream, as Docker does."""
    tag = call.query.text("tag")
    auth = registry_auth.decode(call.http.headers.get("X-Registry-Auth", ""))
    if not tag:
        return await _relay(call, _push_all(call, call.path["name"], auth))
    request = pb.PushRequest(namespace=NAMESPACE, reference=names.joined(call.path["name"], tag), auth=auth)
    return await _relay(call, _push(call, request, tag))


@routes.post("/images/load")
async def load(call: Call) -> web.StreamResponse:
    """Images from an archive. What is wrong with the archive is told in the stream, as Docker does."""
    if call.query.text("platform"):
        raise Unimplemented("load: choosing a platform is not supported yet", reason="NOT_BUILT", field="platform")
    return await _relay(call, _load(call, quiet=call.query.boolean("quiet", default=True)))


@routes.get("/images/get")
async def save(call: Call) -> web.StreamResponse:
    """Several images as one archive."""
    return await _save(call, call.query.all("names"))


@routes.get("/images/{name:.*}/get")
async def save_one(call: Call) -> web.StreamResponse:
    return await _save(call, [call.path["name"]])


async def _save(call: Call, images: list[str]) -> web.StreamResponse:
    if call.query.text("platform"):
        for name in images:
            platforms.check(call, await listing.image(call.engine, name), several=True)
    services = call.engine.services
    request = pb.SaveRequest(namespace=NAMESPACE, images=images)
    async with aclosing(services.imaged.stream(services.images.Save, request, _TRANSFER)) as pieces:
        first: pb.SaveResponse = await anext(pieces)
        response = await call.stream("application/x-tar")
        await response.write(first.data)
        async for piece in pieces:
            await response.write(piece.data)
    return response


def platform_of(text: str) -> pb.Platform | None:
    """`os[/architecture[/variant]]`, or an architecture alone; None for "". 400 for more."""
    if not text:
        return None
    parts = text.lower().split("/")
    if len(parts) > 3 or not all(parts):
        raise bad(f'"{text}" is an invalid platform', field="platform", expected="os/architecture/variant")
    if len(parts) == 1 and parts[0] not in _SYSTEMS:
        parts = ["linux", *parts]
    return pb.Platform(**dict(zip(("os", "architecture", "variant"), parts, strict=False)))


def _pull_request(call: Call) -> pb.PullRequest:
    return pb.PullRequest(
        namespace=NAMESPACE, reference=names.joined(call.query.text("fromImage"), call.query.text("tag")),
        platform=platform_of(call.query.text("platform")),
        auth=registry_auth.decode(call.http.headers.get("X-Registry-Auth", "")),
    )


def _import_options(call: Call) -> pb.ImportOptions:
    repository = call.query.text("repo")
    if "@" in repository:
        raise bad("cannot import digest reference", field="repo")
    return pb.ImportOptions(
        namespace=NAMESPACE, reference=names.joined(repository, call.query.text("tag")) if repository else "",
        message=call.query.text("message"), config=wire.encode(dockerfile.apply({}, call.query.all("changes"))),
        platform=platform_of(call.query.text("platform")),
    )


async def _pull(call: Call, request: pb.PullRequest) -> AsyncGenerator[Message, None]:
    services, shown = call.engine.services, progress.PullProgress()
    with registry_failures.told():
        async with stage("image_pull.stream", reference=request.reference):
            async with aclosing(services.imaged.stream(services.images.Pull, request, _TRANSFER)) as events:
                async for event in events:
                    for message in shown.of(event):
                        yield message


async def _pull_all(call: Call, request: pb.PullRequest) -> AsyncGenerator[Message, None]:
    """Every tag of the repository, one after the other."""
    services = call.engine.services
    asked = pb.ListRemoteTagsRequest(repository=request.reference, auth=request.auth)
    with registry_failures.told():
        tags: pb.ListRemoteTagsResponse = await services.imaged.call(services.images.ListRemoteTags, asked, _LISTING)
    for tag in tags.tags:
        one = pb.PullRequest()
        one.CopyFrom(request)
        one.reference = names.joined(request.reference, tag)
        async with aclosing(_pull(call, one)) as messages:
            async for message in messages:
                yield message


async def _push_all(call: Call, repository: str, auth: pb.RegistryAuth) -> AsyncGenerator[Message, None]:
    """Every tag that the repository has here, one after the other."""
    found = sorted(
        familiar for image in await listing.images(call.engine) for familiar in image.familiar
        if names.split_familiar(familiar) == names.familiar(repository))
    if not found:
        raise NotFound(f"An image does not exist locally with the tag: {repository}", reason="NO_SUCH_IMAGE",
                       field="name")
    for reference in found:
        tag = reference.rpartition(":")[2]
        request = pb.PushRequest(namespace=NAMESPACE, reference=reference, auth=auth)
        async with aclosing(_push(call, request, tag)) as messages:
            async for message in messages:
                yield message
                if "error" in message:
                    return


async def _push(call: Call, request: pb.PushRequest, tag: str) -> AsyncGenerator[Message, None]:
    repository = names.full(names.split_familiar(request.reference))
    services, shown = call.engine.services, progress.PushProgress(repository, tag)
    try:
        async with stage("image_push.stream", reference=request.reference):
            async with aclosing(services.imaged.stream(services.images.Push, request, _TRANSFER)) as events:
                async for event in events:
                    for message in shown.of(event):
                        yield message
    except NotFound as error:
        yield {"status": f"The push refers to repository [{repository}]"}
        yield progress.failure(error.message)
    except (Unavailable, Unauthenticated, ResourceExhausted) as error:
        yield progress.failure(error.message)


async def _import_from(
    call: Call, options: pb.ImportOptions, source: remote.Remote
) -> AsyncGenerator[Message, None]:
    yield {"status": f"Downloading from {source.url}"}
    async with aclosing(source.pieces()) as data:
        try:
            async for message in _import(call, options, data):
                yield message
        except asyncio.CancelledError:
            if source.failure is None:
                raise
            raise source.failure from None


async def _import(
    call: Call, options: pb.ImportOptions, parts: AsyncIterator[bytes]
) -> AsyncGenerator[Message, None]:
    services = call.engine.services

    async def requests() -> AsyncIterator[pb.ImportRequest]:
        yield pb.ImportRequest(options=options)
        async for data in parts:
            yield pb.ImportRequest(data=data)

    async with stage("image_import.stream", reference=options.reference):
        answer: pb.ImportResponse = await services.imaged.call(services.images.Import, requests(), _TRANSFER)
    yield {"status": answer.image.id}


async def _load(call: Call, *, quiet: bool) -> AsyncGenerator[Message, None]:
    services = call.engine.services

    async def requests() -> AsyncIterator[pb.LoadRequest]:
        yield pb.LoadRequest(namespace=NAMESPACE)
        async for data in blocks(call):
            yield pb.LoadRequest(data=data)

    try:
        async with stage("image_load.stream"):
            async with aclosing(services.imaged.stream(services.images.Load, requests(), _TRANSFER)) as events:
                async for event in events:
                    for message in _loaded(event, quiet=quiet):
                        yield message
    except (InvalidArgument, DataLoss) as error:
        yield progress.failure(error.message)


def _loaded(event: pb.LoadResponse, *, quiet: bool) -> list[Message]:
    if event.WhichOneof("event") == "layer":
        message = None if quiet else progress.loading(event.layer)
        return [message] if message else []
    if not event.familiar:
        return [{"stream": f"Loaded image ID: {event.image.id}\n"}]
    return [{"stream": f"Loaded image: {name}\n"} for name in event.familiar]


async def _relay(call: Call, messages: AsyncGenerator[Message, None]) -> web.StreamResponse:
    """Send ``messages`` one by one. The head goes out with the first."""
    response: web.StreamResponse | None = None
    try:
        async for message in messages:
            if response is None:
                response = await call.stream()
            await response.write(progress.line(message))
    except PierError as error:
        if response is None:
            raise
        await response.write(progress.line(progress.failure(error.message)))
    finally:
        await messages.aclose()
    if response is None:
        response = await call.stream()
    await response.write_eof()
    return response
