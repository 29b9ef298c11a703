"""``pier kill``: send a signal, SIGKILL unless another is named."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.many import container_path, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("signal", options.text("signal"))] if options.text("signal") else []
    return each(arguments, lambda name: context.engine.call_raw("POST", f"{container_path(name)}/kill", query))


COMMAND = Command(_run, "[OPTIONS] CONTAINER [CONTAINER...]", (
    Flag("signal", "s", "string", "Signal to send to the container"),
), least=1)
