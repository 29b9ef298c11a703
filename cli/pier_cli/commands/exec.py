"""``pier exec``: run a command in a running container."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.context import environment
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.many import container_path
from pier_cli.specs import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options


def _body(options: Options, command: list[str]) -> dict[str, Any]:
    variables: list[str] = []
    for path in options.items("env-file"):
        from pier_cli.specs.files import key_values

        variables += key_values(path, environment=True)
    for text in options.items("env"):
        if "=" in text:
            variables.append(text)
        elif value := environment(text):
            variables.append(f"{text}={value}")
    detached = options.flag("detach")
    body: dict[str, Any] = {
        "Cmd": command,
        "Tty": options.flag("tty"),
        "AttachStdin": options.flag("interactive") and not detached,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
    }
    if options.flag("privileged"):
        body["Privileged"] = True
    for name, key in (("user", "User"), ("workdir", "WorkingDir"), ("detach-keys", "DetachKeys")):
        if options.text(name):
            body[key] = options.text(name)
    if variables:
        body["Env"] = variables
    return body


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    engine = context.engine
    body = _body(options, arguments[1:])
    tty = body["Tty"]
    if not options.flag("detach"):
        from pier_cli.terminal import need_terminal, size

        try:
            need_terminal(body["AttachStdin"], tty)
        except Failure:
            # What does not exist is told as such, whatever else is wrong.
            engine.call_raw("GET", f"{container_path(arguments[0])}/json")
            raise
        engine.meanwhile = _import_session
        if tty and engine.at_least("1.42"):
            body["ConsoleSize"] = list(size())
    created = engine.call("POST", f"{container_path(arguments[0])}/exec", (), body)
    identity = created.get("Id")
    if not identity:
        raise Failure("exec ID empty")
    path = f"/exec/{identity}"
    if options.flag("detach"):
        engine.call_raw("POST", f"{path}/start", (), {"Detach": True, "Tty": tty})
        return 0
    from pier_cli.session import Session

    start: dict[str, Any] = {"Detach": False, "Tty": tty}
    if "ConsoleSize" in body:
        start["ConsoleSize"] = body["ConsoleSize"]
    with Session(engine, f"{path}/resize" if tty else "", "", options.text("detach-keys")) as session:
        connection = engine.hijack(f"{path}/start", (), start)
        if session.stream(connection, stdin=body["AttachStdin"], tty=tty):
            raise Failure("read escape sequence")
    return int(engine.call("GET", f"{path}/json")["ExitCode"] or 0)


def _import_session() -> None:
    import pier_cli.session  # noqa: F401 - it takes some milliseconds, in which the engine records the exec


COMMAND = Command(_run, "[OPTIONS] CONTAINER COMMAND [ARG...]", (
    Flag("detach", "d", "bool", "Detached mode: run command in the background"),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("env", "e", "list", "Set environment variables", check=values.env),
    Flag("env-file", "", "list", "Read in a file of environment variables"),
    Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    Flag("privileged", "", "bool", "Give extended privileges to the command"),
    Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
    Flag("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    Flag("workdir", "w", "string", "Working directory inside the container"),
), least=2, interspersed=False)
