"""``pier start``: start stopped containers, with -a or -i as ``run`` does."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure, Unreachable
from pier_cli.flags import Flag
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    if options.flag("attach") or options.flag("interactive"):
        if len(arguments) > 1:
            raise Failure("you cannot start and attach multiple containers at once")
        return _attached(context, options, arguments[0])
    failed = []
    for name in arguments:
        try:
            context.engine.call_raw("POST", f"{container_path(name)}/start")
        except Unreachable:
            raise
        except Failure as failure:
            out.error(failure.message)
            failed.append(name)
        else:
            out.line(name)
    if failed:
        raise Failure(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(context: Context, options: Options, name: str) -> int:
    from pier_cli.session import Session
    from pier_cli.terminal import need_terminal

    engine = context.engine
    details = engine.call("GET", f"{container_path(name)}/json")
    config = details["Config"]
    path = f"/containers/{details['Id']}"
    tty = bool(config["Tty"])
    stdin = options.flag("interactive") and bool(config["OpenStdin"])
    need_terminal(stdin, tty)
    keys = options.text("detach-keys")
    with Session(engine, f"{path}/resize" if tty else "", "" if tty else f"{path}/kill", keys) as session:
        query = [("stream", "1"), ("stdout", "1"), ("stderr", "1")]
        if stdin:
            query.append(("stdin", "1"))
        if keys:
            query.append(("detachKeys", keys))
        connection = engine.hijack(f"{path}/attach", query)
        removed = (details.get("HostConfig") or {}).get("AutoRemove")
        waiting = engine.request("POST", f"{path}/wait", (("condition", "removed" if removed else "next-exit"),))
        engine.call_raw("POST", f"{path}/start")
        if session.stream(connection, stdin=stdin, tty=tty):
            return 0
        return session.exit_code(waiting)


COMMAND = Command(_run, "[OPTIONS] CONTAINER [CONTAINER...]", (
    Flag("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("interactive", "i", "bool", "Attach container's STDIN"),
), least=1)
