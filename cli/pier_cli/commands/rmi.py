"""``pier rmi``: remove images."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.failure import EngineError
from pier_cli.flags import Flag
from pier_cli.many import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    query = [(key, "1") for name, key in (("force", "force"), ("no-prune", "noprune")) if options.flag(name)]

    def remove(name: str) -> None:
        try:
            done = context.engine.call("DELETE", f"/images/{quote(name)}", query)
        except EngineError as error:
            if error.status != 404 or not options.flag("force"):
                raise
            out.error(error.message)
            return
        for item in done or ():
            if "Deleted" in item:
                out.line(f"Deleted: {item['Deleted']}")
            else:
                out.line(f"Untagged: {item['Untagged']}")

    return each(arguments, remove, show=False)


COMMAND = Command(_run, "[OPTIONS] IMAGE [IMAGE...]", (
    Flag("force", "f", "bool", "Force removal of the image"),
    Flag("no-prune", "", "bool", "Do not delete untagged parents"),
), least=1)
