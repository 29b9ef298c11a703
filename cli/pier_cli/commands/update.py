"""``pier update``: change the limits and the restart policy of containers, also of running ones."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.many import container_path, each
from pier_cli.specs import container_flags
from pier_cli.specs.container import LIMITS, restart_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_NAMES = (*LIMITS, "restart")


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    if not any(map(options.given, _NAMES)):
        raise Failure("you must provide one or more flags when using this command")
    body: dict[str, Any] = {
        key: getattr(options, kind)(name) for name, (key, kind) in LIMITS.items() if options.given(name)
    }
    if options.given("restart"):
        body["RestartPolicy"] = restart_policy(options.text("restart"))

    def update(name: str) -> None:
        answer = context.engine.call("POST", f"{container_path(name)}/update", body=body)
        for warning in answer.get("Warnings") or ():
            out.error(warning)

    return each(arguments, update)


COMMAND = Command(_run, "[OPTIONS] CONTAINER [CONTAINER...]", tuple(
    Flag("restart", "", "string", "Restart policy to apply when a container exits") if flag.long == "restart" else flag
    for flag in container_flags.FLAGS if flag.long in _NAMES
), least=1)
