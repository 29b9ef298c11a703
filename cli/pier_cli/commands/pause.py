"""``pier pause`` and ``pier unpause``."""

from __future__ import annotations

from pier_cli.command import Command
from pier_cli.many import container_path, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _pause(context: Context, options: Options, arguments: list[str]) -> int:
    return each(arguments, lambda name: context.engine.call_raw("POST", f"{container_path(name)}/pause"))


def _unpause(context: Context, options: Options, arguments: list[str]) -> int:
    return each(arguments, lambda name: context.engine.call_raw("POST", f"{container_path(name)}/unpause"))


COMMAND = Command(_pause, "CONTAINER [CONTAINER...]", least=1)
UNPAUSE = Command(_unpause, "CONTAINER [CONTAINER...]", least=1)
