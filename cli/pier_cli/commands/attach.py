"""``pier attach``: join a running container's streams."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options


def _check(state: dict[str, Any]) -> None:
    if not state["Running"]:
        raise Failure("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise Failure("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise Failure("You cannot attach to a restarting container, wait until it is running")


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.session import Session
    from pier_cli.terminal import need_terminal

    engine = context.engine
    details = engine.call("GET", f"{container_path(arguments[0])}/json")
    _check(details["State"])
    config = details["Config"]
    path = f"/containers/{details['Id']}"
    tty = bool(config["Tty"])
    stdin = bool(config["OpenStdin"]) and not options.flag("no-stdin")
    need_terminal(not options.flag("no-stdin"), tty)
    keys = options.text("detach-keys")
    kill = f"{path}/kill" if options.flag("sig-proxy") and not tty else ""
    with Session(engine, f"{path}/resize" if tty else "", kill, keys) as session:
        waiting = engine.request("POST", f"{path}/wait")
        query = [("stream", "1"), ("stdout", "1"), ("stderr", "1")]
        if stdin:
            query.append(("stdin", "1"))
        if keys:
            query.append(("detachKeys", keys))
        connection = engine.hijack(f"{path}/attach", query)
        if tty:
            session.resize(grow=1)  # another size and back: what runs there draws its screen again
        if session.stream(connection, stdin=stdin, tty=tty):
            raise Failure("read escape sequence")
        return session.exit_code(waiting)


COMMAND = Command(_run, "[OPTIONS] CONTAINER", (
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("no-stdin", "", "bool", "Do not attach STDIN"),
    Flag("sig-proxy", "", "bool", "Proxy all received signals to the process", True),
), least=1, most=1)
