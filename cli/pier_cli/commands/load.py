"""``pier load``: images from an archive."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.progress import Progress
    from pier_cli.uploads import blocks_of, open_source

    path = options.text("input")
    if not path and out.is_terminal(0):
        raise Failure("requested load from stdin, but stdin is empty")
    source = open_source(path)
    quiet = options.flag("quiet") or not out.is_terminal(1)
    response = context.engine.request(
        "POST", "/images/load", (("quiet", "1" if quiet else "0"),), blocks_of(source),
        {"Content-Type": "application/x-tar"},
    )
    if response.headers.get("content-type", "").startswith("application/json"):
        Progress(1).follow(response.objects())
    else:
        for block in response.blocks():
            out.write(1, block)
    return 0


COMMAND = Command(_run, "[OPTIONS]", (
    Flag("input", "i", "string", "Read from tar archive file, instead of STDIN"),
    Flag("quiet", "q", "bool", "Suppress the load output"),
), most=0)
