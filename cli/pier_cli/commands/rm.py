"""``pier rm``: remove containers."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import EngineError
from pier_cli.flags import Flag
from pier_cli.many import container_path, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [(key, "1") for name, key in (("volumes", "v"), ("link", "link"), ("force", "force")) if options.flag(name)]

    def remove(name: str) -> None:
        try:
            context.engine.call_raw("DELETE", container_path(name), query)
        except EngineError as error:
            if error.status != 404 or not options.flag("force"):
                raise
            out.error(error.message)  # it is not there, which is what was wanted
        else:
            out.line(name)

    return each(arguments, remove, show=False)


COMMAND = Command(_run, "[OPTIONS] CONTAINER [CONTAINER...]", (
    Flag("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    Flag("link", "l", "bool", "Remove the specified link"),
    Flag("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
), least=1)
