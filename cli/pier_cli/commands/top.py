"""``pier top``: the processes of a container."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.formats import show
from pier_cli.many import container_path
from pier_cli.tabwriter import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [("ps_args", " ".join(arguments[1:]))] if arguments[1:] else []
    listing = context.engine.call("GET", f"{container_path(arguments[0])}/top", query)
    lines = [listing["Titles"], *listing["Processes"]]
    show(align("".join("\t".join(line) + "\n" for line in lines), minimum=20, padding=3))
    return 0


COMMAND = Command(_run, "CONTAINER [ps OPTIONS]", least=1, interspersed=False)
