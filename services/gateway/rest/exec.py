"""Further processes in a running container: create, start, inspect, resize."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from aiohttp import web
from google.protobuf import any_pb2, wrappers_pb2

from chassis import attach, ids
from chassis.errors import Conflict, InvalidArgument, NotFound, PierError
from coordinator import attaching, execs
from gateway.rest import hijack, wire
from gateway.rest.body import Fields, as_integer, decode
from gateway.rest.call import Call
from gateway.rest.containers import told, window
from gateway.rest.errors import bad
from gateway.rest.find import no_such
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2

REQUEST: Final = "docker.engine.exec"
"""Extension key of the request's body as it came."""

routes = Routes()


@routes.post("/containers/{name}/exec")
async def create(call: Call) -> web.StreamResponse:
    """201 with the exec's id; 409 where the container does not run."""
    fields = await call.body()
    command = fields.words("Cmd") or []
    if not command:
        raise bad("No exec command specified", field="Cmd")
    if keys := fields.text("DetachKeys"):
        attach.parse_detach_keys(keys)
    name = call.path["name"]
    process = exec_pb2.Process(
        args=[_bytes(word) for word in command], env=[_bytes(entry) for entry in fields.strings("Env")],
        cwd=_bytes(fields.text("WorkingDir")), user=fields.text("User"), terminal=fields.boolean("Tty"),
        stdin_open=fields.boolean("AttachStdin"), stdin_once=True, privileged=fields.boolean("Privileged"),
    )
    process.terminal_height, process.terminal_width = _console_size(fields)
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.BytesValue(value=wire.encode(dict(fields.document))))
    id_ = ids.new_id()
    try:
        await execs.make(call.engine.services, name, id_, process, {REQUEST: packed})
    except NotFound as error:
        raise no_such(name) from error
    return call.json({"Id": id_}, 201)


@routes.post("/exec/{id}/start")
async def start(call: Call) -> web.StreamResponse:
    """Detached: 200 when it runs. Else its stream; a start that fails is told in the stream, as Docker does."""
    fields = await call.body(required=False)
    height, width = _console_size(fields)
    request = exec_pb2.ExecStartRequest(
        id=call.path["id"], operation_id=secrets.token_hex(8), attach=not fields.boolean("Detach"),
        terminal_height=height, terminal_width=width,
    )
    services = call.engine.services
    if fields.boolean("Detach"):
        made = await _find(call)
        _need_new(made)
        try:
            await execs.start(services, request)
        except Conflict as error:
            raise InvalidArgument(_told(error, made), reason=error.reason) from error
        return call.empty(200)
    try:
        opened = await execs.open_attach(services, request.id)
    except NotFound as error:
        raise _no_such_exec(request.id) from error
    made = opened.exec
    _need_new(made)
    asked = _kept(made)
    terminal = made.process.terminal
    keys = (asked.text("DetachKeys") or attach.DEFAULT_DETACH_KEYS) if terminal else None
    target = attach.AttachRequest(
        made.id, asked.boolean("AttachStdin"), asked.boolean("AttachStdout"), asked.boolean("AttachStderr"),
        opened.framed, keys,
    )
    async with attaching.dial(opened.socket_path, target) as shim:
        taken, response = await hijack.upgrade(call, terminal=terminal, standing=True)
        with taken.socket as client:
            try:
                await execs.start(services, request)
            except PierError as error:
                text = f"{_told(error, made)}\r\n".encode()
                head = attach.frame(attach.STDOUT, len(text)) if opened.framed else b""
                with suppress(OSError):  # it need not have waited
                    await hijack.head_read(client)
                    await asyncio.get_running_loop().sock_sendall(client, head + text)
                await hijack.part(client)
                return response
            await hijack.splice(taken, shim)
    return response


@routes.get("/exec/{id}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """ExitCode is null until it has ended, and set before its stream ends."""
    made = await _find(call)
    asked = _kept(made)
    words = [wire.text(word) for word in made.process.args]
    process: dict[str, object] = {
        "tty": made.process.terminal, "entrypoint": words[0], "arguments": words[1:],
        "privileged": made.process.privileged,
    }
    if made.process.user:
        process["user"] = made.process.user
    code: int | None = None
    if made.HasField("exit"):
        code = made.exit.code if made.exit.HasField("code") else -1
    return call.json({
        "ID": made.id, "Running": made.running, "ExitCode": code, "ProcessConfig": process,
        "OpenStdin": asked.boolean("AttachStdin"), "OpenStdout": asked.boolean("AttachStdout"),
        "OpenStderr": asked.boolean("AttachStderr"), "CanRemove": False, "ContainerID": made.container_id,
        "DetachKeys": asked.text("DetachKeys"), "Pid": made.pid if made.running else 0,
    })


@routes.post("/exec/{id}/resize")
async def resize(call: Call) -> web.StreamResponse:
    height, width = window(call)
    made = await _find(call)
    if made.process.terminal or not made.running:
        await call.engine.coordinator.resize(made.container_id, height, width, made.id)
    return call.empty(200)


async def _find(call: Call) -> exec_pb2.Exec:
    id_ = call.path["id"]
    try:
        return await execs.get(call.engine.services, id_)
    except NotFound as error:
        raise _no_such_exec(id_) from error


def _no_such_exec(id_: str) -> NotFound:
    return NotFound(f"No such exec instance: {id_}", reason="NO_SUCH_EXEC")


def _need_new(made: exec_pb2.Exec) -> None:
    if made.started:
        raise Conflict(f"exec command {made.id} has already run", reason="ALREADY_RUN")


def _kept(made: exec_pb2.Exec) -> Fields:
    value = wrappers_pb2.BytesValue()
    made.extensions[REQUEST].Unpack(value)
    return decode(value.value or b"{}")


def _told(error: PierError, made: exec_pb2.Exec) -> str:
    if error.reason in ("NO_SUCH_USER", "NO_SUCH_GROUP"):
        return error.message  # Docker looks for them itself
    return f"OCI runtime exec failed: exec failed: {told(error, made.process.args[0])}"


def _console_size(fields: Fields) -> tuple[int, int]:
    value = fields.raw("ConsoleSize")
    if not isinstance(value, list) or len(value) != 2:
        return 0, 0
    height, width = (as_integer(entry, "ConsoleSize") for entry in value)
    return (height, width) if 0 <= height <= 65535 and 0 <= width <= 65535 else (0, 0)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
