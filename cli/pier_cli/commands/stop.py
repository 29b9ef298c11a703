"""``pier stop`` and ``pier restart``."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.many import container_path, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options

_FLAGS = (
    Flag("signal", "s", "string", "Signal to send to the container"),
    Flag("timeout", "t", "int", "Seconds to wait before killing the container"),
)


def _act(context: Context, options: Options, arguments: list[str], verb: str) -> int:
    query = []
    if options.given("timeout"):
        query.append(("t", str(options.number("timeout"))))
    if options.given("signal"):
        query.append(("signal", options.text("signal")))
    return each(arguments, lambda name: context.engine.call_raw("POST", f"{container_path(name)}/{verb}", query))


def _stop(context: Context, options: Options, arguments: list[str]) -> int:
    return _act(context, options, arguments, "stop")


def _restart(context: Context, options: Options, arguments: list[str]) -> int:
    return _act(context, options, arguments, "restart")


COMMAND = Command(_stop, "[OPTIONS] CONTAINER [CONTAINER...]", _FLAGS, least=1)
RESTART = Command(_restart, "[OPTIONS] CONTAINER [CONTAINER...]", _FLAGS, least=1)
