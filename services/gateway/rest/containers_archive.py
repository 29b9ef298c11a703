"""HEAD, GET and PUT /containers/{name}/archive: files of a container, in and out as tar."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from aiohttp import web

from chassis.errors import NotFound
from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.routes import Routes
from gateway.rest.upload import blocks
from pier.exec.v1 import exec_pb2

routes: Final = Routes()

_STAT: Final = "X-Docker-Container-Path-Stat"
_TAR: Final = "application/x-tar"
_TRANSFER: Final = 86400.0
"""Seconds that one transfer may take."""
_GO_KINDS: Final = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25, stat.S_IFSOCK: 1 << 24, stat.S_IFREG: 0,
}
_GO_BITS: Final = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


@routes.head("/containers/{name}/archive")
async def stat_path(call: Call) -> web.StreamResponse:
    path = _path(call)
    container = await find_container(call, call.path["name"])
    services = call.engine.services
    with _told(call):
        answer: exec_pb2.StatPathResponse = await services.execd.call(
            services.containers.StatPath, exec_pb2.StatPathRequest(id=container.id, path=path), timeout=30
        )
    response = call.empty(200)
    response.headers[_STAT] = encoded(answer.stat)
    return response


@routes.get("/containers/{name}/archive")
async def read(call: Call) -> web.StreamResponse:
    """A failure before the first byte is a real status; a later one breaks the answer off."""
    path = _path(call)
    container = await find_container(call, call.path["name"])
    services = call.engine.services
    request = exec_pb2.ReadArchiveRequest(id=container.id, path=path)
    async with aclosing(services.execd.stream(services.containers.ReadArchive, request, timeout=_TRANSFER)) as answers:
        with _told(call):
            first: exec_pb2.ReadArchiveResponse = await anext(answers)
        response = await call.stream(_TAR, headers={_STAT: encoded(first.stat)})
        async for answer in answers:
            await response.write(answer.data)
    return response


@routes.put("/containers/{name}/archive")
async def write(call: Call) -> web.StreamResponse:
    path = _path(call)
    container = await find_container(call, call.path["name"])
    first = exec_pb2.WriteArchiveRequest(
        id=container.id, path=path, keep_kinds=call.query.boolean("noOverwriteDirNonDir"),
        owned_by_user=call.query.boolean("copyUIDGID"),
    )

    async def requests() -> AsyncIterator[exec_pb2.WriteArchiveRequest]:
        yield first
        async for block in blocks(call):
            yield exec_pb2.WriteArchiveRequest(data=block)

    services = call.engine.services
    with _told(call):
        await services.execd.call(services.containers.WriteArchive, requests(), timeout=_TRANSFER)
    return call.empty(200)


def encoded(found: exec_pb2.PathStat) -> str:
    """The stat as the header has it: base64 of JSON, the mode as Go's os.FileMode counts it."""
    mode = found.mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(found.mode), 0)
    for bit, go in _GO_BITS:
        mode |= go if found.mode & bit else 0
    return base64.b64encode(wire.encode({
        "name": wire.text(found.name), "size": found.size, "mode": mode, "mtime": wire.rfc3339(found.mtime),
        "linkTarget": wire.text(found.link_target),
    })).decode()


def _path(call: Call) -> bytes:
    path = call.query.text("path")
    if not path:
        raise bad("path cannot be empty", field="path")
    if "\0" in path:
        raise bad("path: a null character is in no path", field="path")
    return os.fsencode(path)


@contextmanager
def _told(call: Call) -> Iterator[None]:
    """What is not there is told with the container's name, as Docker does."""
    try:
        yield
    except NotFound as error:
        if error.reason == "NO_SUCH_PATH":
            error.message = f"{error.message} in container {call.path['name']}"
            error.args = (error.message,)
        raise
