"""``pier diff``: what a container has changed."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options

_KINDS = ("C", "A", "D")


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    for change in context.engine.call("GET", f"{container_path(arguments[0])}/changes") or ():
        out.line(f"{_KINDS[change['Kind']]} {change['Path']}")
    return 0


COMMAND = Command(_run, "CONTAINER", least=1, most=1)
