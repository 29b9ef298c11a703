"""The engine as a whole: ping, version, info, disk usage, plugins."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from aiohttp import web

from chassis.client import READ_TIMEOUT, Peer
from chassis.errors import PierError
from coordinator.volumes import users
from gateway import listing, reads
from gateway.engine import Engine
from gateway.rest import (
    build_cache,
    container_view,
    containers_list,
    disk_usage,
    host_facts,
    image_json,
    system_json,
    volumes,
)
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.system.v1 import system_pb2

routes: Final = Routes()

_KINDS: Final = frozenset({"container", "image", "volume", "build-cache"})
_BY_TYPE_SINCE: Final = Version(1, 42)
_SUMS_SINCE: Final = Version(1, 52)
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""Words of Go's strconv.ParseBool, which is stricter here than Docker is elsewhere."""
_PING: Final = {
    "Builder-Version": "1", "Swarm": "inactive", "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache", "Content-Type": "text/plain; charset=utf-8",
}


@routes.get("/_ping")
async def ping(_: Call) -> web.StreamResponse:
    return web.Response(body=b"OK", headers=_PING)


@routes.head("/_ping")
async def ping_head(_: Call) -> web.StreamResponse:
    return web.Response(headers=_PING)


@routes.get("/version")
async def version(call: Call) -> web.StreamResponse:
    """Of the engine and of each service that answers at once: a client learns the API's version in any case."""
    services = call.engine.services
    peers = (services.imaged, services.netd, services.execd, call.engine.buildd)
    answers = await asyncio.gather(*(_info(call.engine, peer) for peer in peers), return_exceptions=True)
    unexpected = [each for each in answers if isinstance(each, BaseException) and not isinstance(each, PierError)]
    if unexpected:
        raise unexpected[0]
    told = [each for each in answers if isinstance(each, system_pb2.InfoResponse)]
    return call.json(system_json.version(host_facts.read(), told))


@routes.get("/info")
async def info(call: Call) -> web.StreamResponse:
    engine = call.engine
    containers, images, execd = await asyncio.gather(
        listing.seen_containers(engine), listing.images(engine),
        engine.projection.read("info:execd", lambda deadline: _info(engine, engine.services.execd, deadline)),
    )
    return call.json(system_json.info(
        host_facts.read(), engine.runtime.node_id, str(engine.runtime.instance.root), containers, len(images),
        execd.facts, len(engine.listeners), call.version))


@routes.get("/system/df")
async def usage(call: Call) -> web.StreamResponse:
    """Sums for each kind since API 1.52, ``verbose`` with what they are of. Who does not say which gets the lists of
    older versions, too."""
    kinds = (frozenset(call.query.all("type")) if call.version >= _BY_TYPE_SINCE else frozenset()) or _KINDS
    if unknown := kinds - _KINDS:
        raise bad(f"unknown object type: {min(unknown)}", field="type", expected=", ".join(sorted(_KINDS)))
    found = await _usage(call, kinds)
    if call.version < _SUMS_SINCE:
        return call.json(found.lists(call.version))
    if verbose := call.query.text("verbose"):
        if verbose not in _TRUE | _FALSE:
            raise bad(f"invalid value for verbose: {verbose[:80]}", field="verbose", expected="true or false")
        return call.json(found.sums(verbose=verbose in _TRUE))
    return call.json(found.lists(call.version) | found.sums(verbose=False))


async def _usage(call: Call, kinds: frozenset[str]) -> disk_usage.Usage:
    engine = call.engine
    images, containers, found, cache = await asyncio.gather(
        listing.images(engine), listing.seen_containers(engine), reads.volumes(engine), build_cache.rows(engine))
    counts = Counter(container.spec.image_id for container in containers)
    entries = await containers_list.entries(
        call, containers, await container_view.sandboxes(call), sizes=True) if "container" in kinds else []
    sizes = await volumes.sizes(engine, found if "volume" in kinds else [])
    used = [
        volumes.as_json(volume) | {"UsageData": {
            "Size": sizes.get(volume.name, -1), "RefCount": len(users(volume, containers))}}
        for volume in found
    ]
    return disk_usage.Usage(
        kinds=kinds, layers_size=image_json.layers_size(images), images=disk_usage.images(images, counts, call.version),
        containers=entries, volumes=used, cache=cache)


@routes.get("/plugins")
async def plugins(call: Call) -> web.StreamResponse:
    """None: what Docker has plugins for is a service here."""
    return call.json([])


async def _info(engine: Engine, peer: Peer, deadline: float = READ_TIMEOUT) -> system_pb2.InfoResponse:
    answer: system_pb2.InfoResponse = await peer.call(
        engine.services.system(peer).Info, system_pb2.InfoRequest(), deadline)
    return answer
