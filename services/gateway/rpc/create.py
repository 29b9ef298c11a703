"""CreateContainer: the request as the coordinator takes it, and the same request again."""

from __future__ import annotations

import hashlib
from typing import Final

from google.protobuf import any_pb2, wrappers_pb2

from chassis import ids
from chassis.errors import AlreadyExists, InvalidArgument, NotFound
from coordinator import planning
from coordinator.coordinator import Coordinator
from coordinator.create import NewContainer
from gateway.rpc import shown
from gateway.rpc.answers import made_id
from pier.engine.v1 import container_pb2 as pb
from pier.exec.v1 import exec_pb2

_REQUEST: Final = "pier.engine.v1.request"
"""Extension key of a BytesValue: the digest of the request that made the container."""


async def create(coordinator: Coordinator, request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
    """Make it, or answer the one that the same request has made before, in this gateway's life or an earlier one."""
    id_ = made_id("container", request.operation_id)
    mark = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    if request.operation_id and (made := await _made(coordinator, id_, mark)) is not None:
        return pb.CreateContainerResponse(container=shown.container(made))
    new = await _new(coordinator, request, id_, mark)
    created = await coordinator.create(new)
    return pb.CreateContainerResponse(container=shown.container(created.container), warnings=created.warnings)


async def _made(coordinator: Coordinator, id_: str, mark: bytes) -> exec_pb2.Container | None:
    """The container that was made under the id; None where there is none, or one that was never completed."""
    try:
        found = await coordinator.get(id_)
    except NotFound:
        return None
    if found.id != id_:
        return None
    known = wrappers_pb2.BytesValue()
    found.extensions[_REQUEST].Unpack(known)
    if known.value != mark:
        raise AlreadyExists("operation_id: another container was made under it", reason="SPEC_DIFFERS",
                            field="operation_id")
    if found.status.state == exec_pb2.CONTAINER_STATE_CREATING:  # by a gateway that died
        await coordinator.settle(id_)
        return None
    return found


async def _new(
    coordinator: Coordinator, request: pb.CreateContainerRequest, id_: str, mark: bytes
) -> NewContainer:
    if not request.image:
        raise InvalidArgument("image: a container needs one", reason="BAD_FIELD", field="image")
    spec = exec_pb2.ContainerSpec()
    spec.CopyFrom(request.spec)
    for field, given in (("process.args", spec.process.args), ("image", spec.image), ("image_id", spec.image_id)):
        if given:
            raise InvalidArgument(f"spec.{field}: not taken here", reason="BAD_FIELD", field=f"spec.{field}",
                                  expected="entrypoint and command" if field == "process.args" else "image")
    spec.image = request.image
    await planning.joined(coordinator, spec)
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.BytesValue(value=mark))
    return NewContainer(
        id=id_, name=ids.name(request.name) if request.name else "", image=request.image, spec=spec,
        plan=await planning.resolved(coordinator, request.plan),
        entrypoint=tuple(request.entrypoint.words) if request.HasField("entrypoint") else None,
        command=tuple(request.command.words) if request.HasField("command") else None,
        extensions={_REQUEST: packed},
    )
