"""Networks: list, inspect, create, delete."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import Conflict, Internal, NotFound, PermissionDenied, PierError
from chassis.ids import new_id
from coordinator.services import NAMESPACE
from gateway import listing, reads
from gateway.engine import Engine
from gateway.rest import network_json, network_spec
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.filters import Filters
from gateway.rest.find import find_container
from gateway.rest.networking import check_fixed, endpoint
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2 as pb

routes: Final = Routes()

_FILTERS: Final = ("dangling", "driver", "id", "label", "name", "scope", "type")


@routes.get("/networks")
async def list_(call: Call) -> web.StreamResponse:
    filters = call.filters(*_FILTERS)
    found = await listing.networks(call.engine)
    return call.json([network_json.summary(network) for network in found if passes(network, filters)])


@routes.post("/networks/create")
async def create(call: Call) -> web.StreamResponse:
    services, body = call.engine.services, await call.body()
    name = body.text("Name")
    network_spec.check_name(name)
    id_ = new_id()
    try:
        await services.netd.call(services.networks.CreateNetwork, pb.CreateNetworkRequest(
            id=id_, name=name, owner=services.owner(id_), spec=network_spec.decode(body)))
    except Conflict as error:
        if error.reason == "OVERLAP":
            raise PermissionDenied(f"invalid pool request: {error.message}", reason=error.reason) from error
        raise
    return call.json({"Id": id_, "Warning": ""}, 201)


@routes.post("/networks/{name:.*}/connect")
async def connect(call: Call) -> web.StreamResponse:
    """200; 403 where it is connected already, or has no networks of its own."""
    body = await call.body()
    network, container = await _both(call, body)
    spec = endpoint(Draft(call.version), body.object("EndpointConfig"))
    check_fixed(spec, network)
    try:
        await call.engine.coordinator.connect(container.id, network, spec)
    except NotFound as error:
        raise PermissionDenied(error.message, reason=error.reason) from error
    return call.empty(200)


@routes.post("/networks/{name:.*}/disconnect")
async def disconnect(call: Call) -> web.StreamResponse:
    """200; 500 where it is not connected, which is Docker's status for it."""
    body = await call.body()
    network, container = await _both(call, body)
    try:
        await call.engine.coordinator.disconnect(container.id, network)
    except Conflict as error:
        if error.reason == "NOT_CONNECTED":
            raise Internal(error.message, reason=error.reason) from error
        raise
    return call.empty(200)


async def _both(call: Call, body: Fields) -> tuple[pb.Network, exec_pb2.Container]:
    if not body.text("Container"):
        raise bad("no container is named", field="Container")
    container = await find_container(call, body.text("Container"))
    return (await reads.get_network(call.engine.services, call.path["name"])).network, container


@routes.get("/networks/{name:.*}")
async def inspect(call: Call) -> web.StreamResponse:
    if call.query.text("scope") not in ("", "local"):
        raise NotFound(f"network {call.path['name']} not found", reason="NO_NETWORK", field="scope")
    found = await reads.network(call.engine, call.path["name"])
    return call.json(network_json.inspected(found, await _names(call.engine), call.version))


@routes.delete("/networks/{name:.*}")
async def delete(call: Call) -> web.StreamResponse:
    engine, services = call.engine, call.engine.services
    found = await reads.get_network(services, call.path["name"])
    name = found.network.name
    if found.network.predefined:
        raise PermissionDenied(f"{name} is a pre-defined network and cannot be removed", reason="PREDEFINED")
    try:
        await services.netd.call(
            services.networks.RemoveNetwork, pb.RemoveNetworkRequest(namespace=NAMESPACE, network=found.network.id))
    except Conflict as error:
        names = await _names(engine)
        users = ", ".join(
            f'name:"{names.get(each.sandbox_id, each.sandbox_id)}" id:"{each.id[:12]}"' for each in found.endpoints)
        raise PermissionDenied(
            f"error while removing network: network {name} has active endpoints ({users})", reason=error.reason,
        ) from error
    return call.empty()


def passes(network: pb.Network, filters: Filters) -> bool:
    """Whether ``network`` is among those that ``filters`` mean."""
    dangling = filters.boolean("dangling")
    kinds = filters.get("type")
    if any(kind not in ("builtin", "custom") for kind in kinds):
        kind = next(kind for kind in kinds if kind not in ("builtin", "custom"))
        raise bad(f"invalid filter: 'type'='{kind}'", field="filters", expected="custom or builtin")
    return (
        filters.exact("driver", network_json.driver(network))
        and filters.any("id", network.id.startswith)
        and filters.pattern("name", network.name)
        and filters.exact("scope", "local")
        and filters.exact("type", "builtin" if network.predefined else "custom")
        and filters.labels(network.spec.labels)
        and (dangling is None or dangling == (not network.endpoint_count and not network.predefined))
    )


async def _names(engine: Engine) -> dict[str, str]:
    """Names of containers by id; none where execd does not answer: a network is shown without it."""
    try:
        return {container.id: container.name for container in await listing.seen_containers(engine)}
    except PierError:
        return {}
