"""The verbs on one container: start, stop, restart, kill, remove, rename, pause, resize."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chassis.errors import (
    AlreadyExists,
    Conflict,
    Internal,
    InvalidArgument,
    NotFound,
    NotModified,
    PierError,
    Unimplemented,
)
from coordinator.coordinator import is_alive
from gateway.rest.call import Call
from gateway.rest.containers_create import invalid_name
from gateway.rest.errors import bad, members
from gateway.rest.find import find_container, no_such
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2

_SMALL_BODY: Final = 7
_SIGNAL_SINCE: Final = Version(1, 42)
_REFUSALS: Final = ("RUNTIME_REFUSED", "COMMAND_NOT_FOUND", "COMMAND_NOT_EXECUTABLE")
_UNRUN: Final = {127: "COMMAND_NOT_FOUND", 126: "COMMAND_NOT_EXECUTABLE"}
"""Why a command was not run, by the exit code that is kept then."""

routes = Routes()


@routes.post("/containers/{name}/start")
async def start(call: Call) -> web.StreamResponse:
    """204; 304 where it runs; 400 with the runtime's words; 500 where a port is taken."""
    if len(await call.data(64 << 10)) > _SMALL_BODY:
        raise bad("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
    if call.query.text("checkpoint") or call.query.text("checkpoint-dir"):
        raise Unimplemented("checkpoint: starts from one are not built", reason="NOT_BUILT", field="checkpoint")
    container = await find_container(call, call.path["name"])
    try:
        await call.engine.coordinator.start(container.id, container)
    except (PierError, BaseExceptionGroup) as error:
        raise in_dockers_words(error, container) from error
    return call.empty()


def in_dockers_words(error: BaseException, container: exec_pb2.Container) -> BaseException:
    """A start's failure with Docker's status, and the words by which the command chooses its exit code."""
    known = members(error)
    if not known:
        return error
    first = known[0]
    if first.reason in _REFUSALS:
        return InvalidArgument(_refused(first, container), reason=first.reason)
    if isinstance(first, NotFound) and first.field == "network":
        return NotFound(f"failed to set up container networking: {first.message}", reason=first.reason)
    if first.reason == "PORT_TAKEN":
        return Internal(
            f"failed to set up container networking: driver failed programming external connectivity on endpoint "
            f"{container.name}: {first.message}", reason=first.reason,
        )
    return error


def kept_failure(container: exec_pb2.Container) -> str:
    """Why the last start failed, as it was told then; "" where it did not."""
    error = container.status.error
    reason = _UNRUN.get(container.status.exit.code, "")
    return _refused(Conflict(error, reason=reason), container) if error and reason else error


def _refused(error: PierError, container: exec_pb2.Container) -> str:
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"{told(error, container.spec.process.args[0])}"
    )


def told(error: PierError, command: bytes) -> str:
    """The runtime's text with Docker's words for a command that is not there or cannot be run."""
    name = command.decode(errors="replace")
    text = error.message
    if error.reason == "COMMAND_NOT_FOUND":
        words = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
        return text if words in text else f'{text}: exec: "{name}": {words}'
    if error.reason == "COMMAND_NOT_EXECUTABLE":
        return text if "permission denied" in text else f'{text}: exec: "{name}": permission denied'
    return text


@routes.post("/containers/{name}/stop")
async def stop(call: Call) -> web.StreamResponse:
    """204 when it has ended; 304 where it had."""
    container = await find_container(call, call.path["name"])
    if not is_alive(container):
        raise NotModified(f"container {container.id} is not running")
    await call.engine.coordinator.stop(container.id, seconds=_seconds(call), signal=_signal(call))
    return call.empty()


@routes.post("/containers/{name}/restart")
async def restart(call: Call) -> web.StreamResponse:
    container = await find_container(call, call.path["name"])
    try:
        await call.engine.coordinator.restart(container.id, seconds=_seconds(call), signal=_signal(call))
    except (PierError, BaseExceptionGroup) as error:
        raise in_dockers_words(error, container) from error
    return call.empty()


@routes.post("/containers/{name}/kill")
async def kill(call: Call) -> web.StreamResponse:
    """204; 409 where it does not run; 400 for what is no signal."""
    given = call.path["name"]
    container = await find_container(call, given)
    try:
        await call.engine.coordinator.kill(container.id, call.query.text("signal"))
    except Conflict as error:
        if error.reason == "NOT_RUNNING":
            error.message = f"cannot kill container: {given}: container {container.id} is not running"
        raise
    return call.empty()


@routes.delete("/containers/{name}")
async def remove(call: Call) -> web.StreamResponse:
    """204; 409 where it runs, unless forced. ``v`` takes anonymous volumes along."""
    given = call.path["name"]
    if call.query.boolean("link"):
        raise Unimplemented("link: a link goes with its container, not alone", reason="NOT_BUILT", field="link")
    force = call.query.boolean("force")
    container = await find_container(call, given)
    state = container.status.state
    if state == exec_pb2.CONTAINER_STATE_REMOVING and call.engine.coordinator.is_busy(container.id):
        raise Conflict(f"removal of container {given} is already in progress", reason="REMOVING")
    if is_alive(container) and not force:
        word = "paused" if state == exec_pb2.CONTAINER_STATE_PAUSED else (
            "restarting" if state == exec_pb2.CONTAINER_STATE_RESTARTING else "running"
        )
        hint = "unpause and then stop" if word == "paused" else "stop"
        raise Conflict(
            f'cannot remove container "{given}": container is {word}: {hint} the container before removing or force '
            "remove", reason="RUNNING",
        )
    try:
        await call.engine.coordinator.remove(container.id, force=force, with_volumes=call.query.boolean("v"))
    except NotFound as error:
        raise no_such(given) from error
    call.engine.projection.forget(f"container:{given}")
    return call.empty()


@routes.post("/containers/{name}/rename")
async def rename(call: Call) -> web.StreamResponse:
    new = call.query.text("name").removeprefix("/")
    container = await find_container(call, call.path["name"])
    if not new:
        raise bad("Neither old nor new names may be empty", field="name")
    if new == container.name:
        raise bad("Renaming a container with the same name as its current name", field="name")
    try:
        await call.engine.coordinator.rename(container.id, new)
    except (InvalidArgument, AlreadyExists) as error:
        known = invalid_name(f"/{new}") if error.reason == "BAD_ID" else error
        raise type(known)(f"Error when allocating new name: {known.message}", reason=known.reason, field=known.field,
                          expected=known.expected, facts=known.facts) from error
    return call.empty()


@routes.post("/containers/{name}/pause")
async def pause(call: Call) -> web.StreamResponse:
    container = await find_container(call, call.path["name"])
    await call.engine.coordinator.pause(container.id)
    return call.empty()


@routes.post("/containers/{name}/unpause")
async def unpause(call: Call) -> web.StreamResponse:
    """204; 500 where it is not paused, which is Docker's status for it."""
    container = await find_container(call, call.path["name"])
    try:
        await call.engine.coordinator.unpause(container.id)
    except Conflict as error:
        if error.reason == "NOT_PAUSED":
            raise Internal(error.message, reason=error.reason) from error
        raise
    return call.empty()


@routes.post("/containers/{name}/resize")
async def resize(call: Call) -> web.StreamResponse:
    height, width = window(call)
    container = await find_container(call, call.path["name"])
    if not is_alive(container):
        raise Conflict(f"Container {container.id} is not running", reason="NOT_RUNNING")
    if container.spec.process.terminal:  # Docker lets others pass, and there is nothing that has a size
        await call.engine.coordinator.resize(container.id, height, width)
    return call.empty(200)


def window(call: Call) -> tuple[int, int]:
    """(height, width) of a resize. 400 for what is no size."""
    sizes = []
    for key in ("h", "w"):
        value = call.query.integer(key)
        if value is None or not 0 < value <= 65535:
            raise bad(f"invalid {key}: {call.query.text(key)[:40]!a} is not a size", field=key, expected="1 to 65535")
        sizes.append(value)
    return sizes[0], sizes[1]


def _seconds(call: Call) -> int | None:
    value = call.query.integer("t")
    if value is not None and not -1 <= value < 1 << 31:
        raise bad(f"t: {value} is out of range", field="t", expected="-1 or more")
    return value


def _signal(call: Call) -> str:
    return call.query.text("signal") if call.version >= _SIGNAL_SINCE else ""
