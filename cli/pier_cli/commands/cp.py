"""``pier cp``: files and directories in and out of a container."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.engine import quote
from pier_cli.failure import Failure
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    source, destination = (_split(each) for each in arguments)
    if source[0] and destination[0]:
        raise Failure("copying between containers is not supported")
    if not source[0] and not destination[0]:
        raise Failure("must specify at least one container source")
    from pier_cli.commands.system import find_services

    find_services()
    from pier_cli.copies import from_container, to_container

    quiet = options.flag("quiet") or not out.is_terminal(1)
    copy = from_container if source[0] else to_container
    container, inside = source if source[0] else destination
    outside = destination[1] if source[0] else source[1]
    size = copy(context.engine, f"/containers/{quote(container)}/archive", inside, outside,
                archive=options.flag("archive"), follow=options.flag("follow-link"))
    if not quiet and size is not None:
        from pier_cli.units import human_size

        out.write(2, f"Successfully copied {human_size(size, 4)} to {arguments[1]}\n".encode())
    return 0


def _split(argument: str) -> tuple[str, str]:
    """(container, path), container "" for a path here: one that is absolute, or begins with a dot, or has no colon."""
    if argument.startswith(("/", ".")):
        return "", argument
    container, colon, path = argument.partition(":")
    if not colon or "/" in container:
        return "", argument
    if not path:
        raise Failure(f"{argument}: a path must follow the container's name")
    return container, path


_USAGE = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"

COMMAND = Command(_run, _USAGE, (
    Flag("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
    Flag("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
    Flag("quiet", "q", "bool", "Suppress progress output during copy; it is where no terminal is attached"),
), least=2, most=2)
