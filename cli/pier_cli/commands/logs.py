"""``pier logs``: what a container has written."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pier_cli.context import Context
    from pier_cli.flags import Options


def moment(options: Options, name: str) -> list[tuple[str, str]]:
    """The query of ``--since`` or ``--until``, empty where it was not given."""
    if not options.text(name):
        return []
    from pier_cli.units import timestamp

    try:
        return [(name, timestamp(options.text(name)))]
    except ValueError as error:
        raise Failure(f'invalid value for "{name}": {error}') from None


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    # First, so that what does not exist is told as such.
    details = context.engine.call("GET", f"{container_path(arguments[0])}/json")
    query = [("stdout", "1"), ("stderr", "1"), ("tail", options.text("tail"))]
    query += moment(options, "since") + moment(options, "until")
    query += [(name, "1") for name in ("follow", "timestamps", "details") if options.flag(name)]
    response = context.engine.request("GET", f"/containers/{details['Id']}/logs", query)
    _copy(response.blocks(), bool(details["Config"]["Tty"]))
    return 0


def _copy(blocks: Iterable[bytes], tty: bool) -> None:
    from pier_cli.frames import take_frames

    guards = {}
    if out.is_terminal(1) or out.is_terminal(2):
        from pier_cli.sanitize import Sanitizer

        guards = {fd: Sanitizer() for fd in (1, 2) if out.is_terminal(fd)}
    held = bytearray()
    for block in blocks:
        if tty:
            pieces = [(1, block)]
        else:
            held += block
            pieces = take_frames(held)
        for fd, data in pieces:
            out.write(fd, guards[fd].feed(data) if fd in guards else data)
    for fd, guard in guards.items():
        out.write(fd, guard.finish())


COMMAND = Command(_run, "[OPTIONS] CONTAINER", (
    Flag("details", "", "bool", "Show extra details provided to logs"),
    Flag("follow", "f", "bool", "Follow log output"),
    Flag("since", "", "string",
         'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'),
    Flag("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
    Flag("timestamps", "t", "bool", "Show timestamps"),
    Flag("until", "", "string",
         'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'),
), least=1, most=1)
