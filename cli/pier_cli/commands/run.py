"""``pier run``: create, attach, wait, start, in that order: the shortest process loses neither output nor status."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.commands.create import create
from pier_cli.failure import EngineError, Failure, Plain
from pier_cli.flags import Flag
from pier_cli.specs.container import build
from pier_cli.specs.container_flags import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.engine import Engine
    from pier_cli.flags import Options
    from pier_cli.http import Response

_REMOVAL_WITHIN = 10_000  # milliseconds
_FLAGS = (
    *FLAGS,
    Flag("detach", "d", "bool", "Run container in background and print container ID"),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("sig-proxy", "", "bool", "Proxy received signals to the process", True),
)


def start_code(message: str) -> int:
    """The exit code of a start that failed: docker tells the causes apart by the runtime's words."""
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    if "permission denied" in message or "is a directory" in message:
        return 126
    return 125


def start(engine: Engine, identity: str) -> None:
    """Start it; Failure has the exit code."""
    try:
        engine.call_raw("POST", f"/containers/{identity}/start")
    except EngineError as error:
        raise Failure(error.message, start_code(error.text)) from None


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    body = build(options, arguments[0], arguments[1:])
    if options.flag("detach"):
        return _detached(context, options, body)
    from pier_cli.terminal import need_terminal

    try:
        need_terminal(body["AttachStdin"], body["Tty"])
    except Failure as failure:
        raise Plain(failure.message) from None
    context.engine.meanwhile = _import_session
    identity = create(context, options, body)
    return _foreground(context, options, body, identity)


def _detached(context: Context, options: Options, body: dict[str, Any]) -> int:
    if options.items("attach"):
        raise Plain("conflicting options: cannot specify both --attach and --detach")
    body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
    identity = create(context, options, body)
    start(context.engine, identity)
    out.line(identity)
    return 0


def _foreground(context: Context, options: Options, body: dict[str, Any], identity: str) -> int:
    from pier_cli.session import Session

    engine = context.engine
    tty = body["Tty"]
    keys = options.text("detach-keys")
    path = f"/containers/{identity}"
    streams = [name for name in ("stdin", "stdout", "stderr") if body[f"Attach{name.capitalize()}"]]
    kill = f"{path}/kill" if options.flag("sig-proxy") else ""
    with Session(engine, f"{path}/resize" if tty else "", kill, keys) as session:
        query = [("stream", "1"), *((name, "1") for name in streams)]
        if keys:
            query.append(("detachKeys", keys))
        connection = engine.hijack(f"{path}/attach", query)
        condition = "removed" if options.flag("rm") else "next-exit"
        waiting = engine.request("POST", f"{path}/wait", (("condition", condition),))
        try:
            start(engine, identity)
        except Failure:
            if options.flag("rm"):
                _await(waiting)  # so that its name is free again when this command ends
            raise
        if session.stream(connection, stdin="stdin" in streams, tty=tty):
            return 0
        return session.exit_code(waiting)


def _import_session() -> None:
    import pier_cli.session  # noqa: F401 - it takes some milliseconds, in which the engine makes the container


def _await(waiting: Response) -> None:
    """Until the engine answers, some seconds at most."""
    import select

    poll = select.poll()
    poll.register(waiting.connection.socket.fileno(), select.POLLIN)
    if not waiting.connection.buffer:
        poll.poll(_REMOVAL_WITHIN)


COMMAND = Command(_run, "[OPTIONS] IMAGE [COMMAND] [ARG...]", _FLAGS, least=1, names_itself=True, interspersed=False)
