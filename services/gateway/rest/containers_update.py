"""POST /containers/{name}/update: limits and the restart policy, also of a container that runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.rest import container_view as view
from gateway.rest import settings
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.containers_create import REQUEST, kept
from gateway.rest.find import find_container
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2

_ZERO: Final = ("PidsLimit", *settings.CHANGEABLE_LISTS)
"""Settings whose 0, or empty list, is a value; of the others it is "not given"."""

routes: Final = Routes()


@routes.post("/containers/{name}/update")
async def update(call: Call) -> web.StreamResponse:
    """200 with warnings; 409 where a limit contradicts another one, or the kernel refuses it."""
    container = await find_container(call, call.path["name"])
    body = await call.body()
    draft = settings.update(body, call.version)
    request = exec_pb2.UpdateContainerRequest(id=container.id, resources=draft.spec.resources)
    if call.version >= settings.LISTS_CHANGE_SINCE:
        request.block_io.CopyFrom(draft.spec.block_io)
        request.block_io_lists.extend(
            field for name, field in settings.CHANGEABLE_LISTS.items() if body.raw(name) is not None)
    if body.object("RestartPolicy").text("Name"):
        request.restart_policy.CopyFrom(draft.spec.restart_policy)
    request.extensions[REQUEST].CopyFrom(kept(_as_if_created_so(container, body)))
    services = call.engine.services
    answer: exec_pb2.UpdateContainerResponse = await services.execd.call(services.containers.UpdateContainer, request)
    call.engine.projection.forget(f"container:{call.path['name']}")
    return call.json({"Warnings": list(answer.warnings) or None})


def _as_if_created_so(container: exec_pb2.Container, body: Fields) -> Fields:
    """The request that the container was created with, had it asked for what holds now: inspect answers from it."""
    before = view.asked(container)
    host = before.object("HostConfig")
    names = (*settings.CHANGEABLE, *settings.CHANGEABLE_LISTS)
    given = {name: body.raw(name) for name in names if body.raw(name) or (name in body and name in _ZERO)}
    unchanged = {key: value for key, value in before.document.items() if key.lower() != "hostconfig"}
    spelt = {name.lower(): name for name in given}
    inner = {key: value for key, value in host.document.items() if key.lower() not in spelt}
    return Fields({**unchanged, "HostConfig": {**inner, **given}})
