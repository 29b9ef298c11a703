"""``pier export``: a container's files as a tar archive."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    path = options.text("output")
    if not path and out.is_terminal(1):
        raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    response = context.engine.request("GET", f"{container_path(arguments[0])}/export")
    if path:
        from pier_cli.uploads import write_file

        write_file(path, response.blocks())
    else:
        for block in response.blocks():
            out.write(1, block)
    return 0


COMMAND = Command(_run, "[OPTIONS] CONTAINER", (
    Flag("output", "o", "string", "Write to a file, instead of STDOUT"),
), least=1, most=1)
