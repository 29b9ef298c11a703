"""What a container has made of its image: changes, export, commit."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from coordinator.commit import MOUNT_POINTS, NewImage
from coordinator.dockerfile import config as dockerfile
from coordinator.tell import tell
from gateway.rest import names, wire
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.containers_inspect import config_of
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.routes import Routes
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_TAR: Final = "application/octet-stream"
_TRANSFER: Final = 86400.0
_KINDS: Final = {pb.CHANGE_KIND_MODIFIED: 0, pb.CHANGE_KIND_ADDED: 1, pb.CHANGE_KIND_DELETED: 2}
_OF_IMAGES: Final = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Healthcheck", "Volumes", "WorkingDir", "OnBuild", "Labels",
    "StopSignal", "Shell",
)
"""What an image's config holds; the rest of a container's is its own."""


@routes.get("/containers/{name}/changes")
async def changes(call: Call) -> web.StreamResponse:
    """`[{Path, Kind}]`, null for none; Kind is 0 modified, 1 added, 2 deleted."""
    container = await find_container(call, call.path["name"])
    services = call.engine.services
    request = pb.ChangesRequest(key=container.id, mount_points=MOUNT_POINTS)
    found = [
        {"Path": wire.text(change.path), "Kind": _KINDS[change.kind]}
        async for answer in services.imaged.stream(services.snapshots.Changes, request, _TRANSFER)
        for change in answer.changes
    ]
    return call.json(found or None)


@routes.get("/containers/{name}/export")
async def export(call: Call) -> web.StreamResponse:
    """A failure before the first byte is a real status; a later one breaks the answer off."""
    container = await find_container(call, call.path["name"])
    services, request = call.engine.services, pb.ExportRequest(key=container.id)
    async with aclosing(services.imaged.stream(services.snapshots.Export, request, _TRANSFER)) as answers:
        first: pb.ExportResponse = await anext(answers)
        response = await call.stream(_TAR)
        await response.write(first.data)
        async for answer in answers:
            await response.write(answer.data)
    await tell(services, container.id, "export")
    return response


@routes.post("/commit")
async def commit(call: Call) -> web.StreamResponse:
    """201 with the image's id; 404 for a container that is not there."""
    query = call.query
    if not query.text("container"):
        raise bad("no container is named", field="container")
    container = await find_container(call, query.text("container"))
    given = await call.body(required=False)
    config = _merged(await config_of(call, container), given)
    instructions = [line for text in query.all("changes") for line in text.splitlines() if line.strip()]
    config = dockerfile.apply(config, instructions)
    repository = query.text("repo")
    if "@" in repository:
        raise bad("cannot commit to digest reference", field="repo")
    image = await call.engine.coordinator.commit(container.id, NewImage(
        reference=names.joined(repository, query.text("tag")) if repository else "",
        config=wire.encode(config), author=query.text("author"), message=query.text("comment"),
        pause=query.boolean("pause", True),
    ))
    return call.json({"Id": image.id}, 201)


def _merged(container: dict[str, Any], given: Fields) -> dict[str, Any]:
    """What an image takes of the container's config, with what the request gives in its place."""
    own = {name: container.get(name) for name in _OF_IMAGES} | {
        name: given.raw(name) for name in _OF_IMAGES if given.raw(name)
    }
    return {name: value for name, value in own.items() if value}
