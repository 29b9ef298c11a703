"""POST /containers/create."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from google.protobuf import any_pb2, wrappers_pb2

from chassis import ids
from chassis.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unimplemented, system_words
from coordinator.create import Created, NewContainer, find_image
from gateway.rest import inherited, networking, settings, wire
from gateway.rest.body import Fields
from gateway.rest.call import Call
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.mount_settings import ANONYMOUS
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2

REQUEST: Final = "docker.engine.create"
"""Extension key of the request's body as it came (JSON in a BytesValue); inspect gives back what it holds."""
_EMPTY_BINDINGS_UNTIL: Final = Version(1, 52)
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

routes = Routes()


@routes.post("/containers/create")
async def create(call: Call) -> web.StreamResponse:
    """201 with the id and warnings. 404 "No such image", which makes the command pull; 409 for a taken name."""
    fields = await call.body()
    if platform := call.query.text("platform"):
        _check_platform(platform)
    given = _name(call.query.text("name"))
    draft = settings.draft(fields, call.version)
    if not draft.image:
        raise bad("no image specified", field="Image")
    if draft.host_directories:
        await find_image(call.engine.services, draft.image)
        await call.engine.files.run(_make_directories, draft.host_directories)
    for text in draft.volumes_from:
        await inherited.volumes(call, draft, text)
    if draft.publish_all:
        await inherited.ports(call, draft)
    await _find_joined(call, draft.spec)
    plan = await networking.plan(call, draft)
    draft.spec.image = draft.image
    new = NewContainer(
        id=ids.new_id(), name=given, image=draft.image, spec=draft.spec, plan=plan,
        entrypoint=_words(draft.entrypoint), command=_words(draft.command), extensions={REQUEST: kept(fields)},
        volume_labels={ANONYMOUS: ""},
    )
    created = await _create(call, new)
    return call.json({"Id": created.container.id, "Warnings": [*created.warnings, *_warnings(draft)]}, 201)


def _warnings(draft: Draft) -> Iterator[str]:
    """What was asked for in a way that has no effect, or will have none in a later API."""
    if draft.network_mode == "host" and draft.ports:
        yield "Published ports are discarded when using host network mode"
    if draft.mac and draft.version >= networking.MAC_OF_ENDPOINTS_SINCE:
        yield ("The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig "
               "instead.")
    if draft.unbound and draft.version >= _EMPTY_BINDINGS_UNTIL:
        yield (f"Following container port(s) have an empty list of port-bindings: {', '.join(draft.unbound)}. Such "
               "bindings will be discarded in a future version.")


async def _find_joined(call: Call, spec: exec_pb2.ContainerSpec) -> None:
    """Ids in place of the names of containers whose namespaces are joined. Conflict for one that is not there."""
    for reference in spec.namespaces:
        if reference.WhichOneof("source") == "container":
            try:
                reference.container = (await find_container(call, reference.container)).id
            except NotFound as error:  # by a "not found" of the create the command would pull the image
                raise Conflict(error.message, reason=error.reason, field="HostConfig") from error


async def _create(call: Call, new: NewContainer) -> Created:
    try:
        return await call.engine.coordinator.create(new)
    except NotFound as error:  # by a "not found" of anything but the image the command would pull the image
        if error.reason != "NO_DRIVER":
            raise
        raise InvalidArgument(error.message, reason=error.reason, field="HostConfig.Mounts") from error
    except InvalidArgument as error:
        raise _by_its_setting(error) from error
    except AlreadyExists as error:
        if error.reason != "NAME_TAKEN" or not new.name:
            raise
        raise AlreadyExists(
            f'Conflict. The container name "/{new.name}" is already in use by container '
            f'"{error.facts.get("holder", "")}". You have to remove (or rename) that container to be able to '
            "reuse that name.", reason=error.reason, field="name", facts=error.facts,
        ) from error


def _by_its_setting(error: InvalidArgument) -> InvalidArgument:
    """execd's word about a capability, which names the spec's field, by Docker's name of it."""
    for field, setting in (("capabilities_add", "CapAdd"), ("capabilities_drop", "CapDrop")):
        told = error.message.removeprefix(f"spec.process.{field}: ")
        if told != error.message:
            return bad(f"invalid {setting}: {told}", field=f"HostConfig.{setting}", expected=error.expected)
    return error


def _name(text: str) -> str:
    name = text.removeprefix("/")
    if not text:
        return ""
    try:
        return ids.name(name)
    except InvalidArgument as error:
        raise invalid_name(name) from error


def invalid_name(name: str) -> InvalidArgument:
    return bad(
        f"Invalid container name ({name[:255]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", field="name",
        expected="[a-zA-Z0-9][a-zA-Z0-9_.-]+",
    )


def _words(words: list[str] | None) -> tuple[bytes, ...] | None:
    return None if words is None else tuple(word.encode("utf-8", "surrogatepass") for word in words)


def kept(fields: Fields) -> any_pb2.Any:
    """The request as an extension of the record."""
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.BytesValue(value=wire.encode(dict(fields.document))))
    return packed


def _check_platform(text: str) -> None:
    """Only this machine's own: nothing is emulated."""
    machine = os.uname().machine
    own = f"linux/{_ARCHITECTURES.get(machine, machine)}"
    if "/".join(text.split("/")[:2]) not in (own, "linux"):
        raise Unimplemented(f"platform: {text[:80]} is not this machine's", reason="PLATFORM", field="platform",
                            expected=own)


def _make_directories(paths: list[str]) -> None:
    for path in paths:
        if not os.path.lexists(path):
            try:
                os.makedirs(path, 0o755, exist_ok=True)
            except OSError as error:
                raise bad(f"error while creating mount source path '{path}': {system_words(error)}") from error
