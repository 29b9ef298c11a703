"""All route tables, in the order in which they are tried."""

from __future__ import annotations

from typing import Final

from gateway.rest import (
    build,
    build_cache,
    containers,
    containers_archive,
    containers_create,
    containers_diff,
    containers_inspect,
    containers_list,
    containers_ports,
    containers_update,
    containers_use,
    events,
    exec,  # noqa: A004 - Docker's name for it
    image_search,
    image_transfer,
    images,
    later,
    networks,
    port_explain,
    prune,
    registries,
    streams,
    system,
    traces,
    volumes,
    websocket,
)
from gateway.rest.routes import Routes

TABLES: Final[tuple[Routes, ...]] = (
    containers_list.routes, containers_create.routes, containers_inspect.routes, containers_use.routes,
    containers_archive.routes, containers_diff.routes, containers.routes, containers_update.routes,
    containers_ports.routes, port_explain.routes, streams.routes, websocket.routes, exec.routes, traces.routes,
    events.routes,
    image_search.routes, image_transfer.routes, images.routes, registries.routes, system.routes, prune.routes,
    networks.routes, volumes.routes, build.routes, build_cache.routes, later.routes,
)
