"""``pier wait``: block until containers have stopped, print their exit codes."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.many import container_path, each
from pier_cli.session import read_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    def wait(name: str) -> None:
        try:
            code = read_status(context.engine.request("POST", f"{container_path(name)}/wait"))
        except Failure as failure:
            raise Failure(failure.message) from None
        out.line(str(code))
        out.flush()

    return each(arguments, wait, show=False)


COMMAND = Command(_run, "CONTAINER [CONTAINER...]", least=1)
