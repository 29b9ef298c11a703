"""Looking a container up by what the client calls it, for a verb (now) or a read (by the projection)."""

from __future__ import annotations

from chassis.errors import NotFound
from gateway import reads
from gateway.rest.call import Call
from pier.exec.v1 import exec_pb2


async def find_container(call: Call, name: str) -> exec_pb2.Container:
    """For a verb: execd's own answer. NotFound in Docker's words."""
    try:
        return await call.engine.coordinator.get(name)
    except NotFound as error:
        raise no_such(name) from error


async def read_container(call: Call, name: str) -> exec_pb2.Container:
    """For a read: execd's answer, or the last known."""
    try:
        return await reads.container(call.engine, name)
    except NotFound as error:
        raise no_such(name) from error


def no_such(name: str) -> NotFound:
    return NotFound(f"No such container: {name}", reason="NO_SUCH_CONTAINER")
