"""``pier rename``: give a container another name."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import EngineError, Failure
from pier_cli.many import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    old, new = (name.strip() for name in arguments)
    if not old or not new:
        raise Failure("Error: Neither old nor new names may be empty")
    try:
        context.engine.call_raw("POST", f"{container_path(old)}/rename", (("name", new),))
    except EngineError as error:
        out.error(error.message)
        raise Failure(f"Error: failed to rename container named {old}") from None
    return 0


COMMAND = Command(_run, "CONTAINER NEW_NAME", least=2, most=2)
