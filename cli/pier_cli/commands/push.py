"""``pier push``: upload an image."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options

_ANONYMOUS = "e30="  # {}: a header that older engines insist on


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.commands.pull import reference
    from pier_cli.credentials import header
    from pier_cli.engine import quote
    from pier_cli.progress import Progress

    wanted = reference(arguments[0])
    every, quiet = options.flag("all-tags"), options.flag("quiet")
    if every and (wanted.tag or wanted.digest):
        raise Failure("tag can't be used with --all-tags/-a")
    if not every and not wanted.tag:
        wanted = wanted.tagged()
        if not quiet:
            out.line(f"Using default tag: {wanted.tag}")
            out.flush()
    query = [] if every else [("tag", wanted.tag)]
    headers = {"X-Registry-Auth": _ANONYMOUS, **header(wanted.domain)}
    response = context.engine.request("POST", f"/images/{quote(wanted.name)}/push", query, b"", headers)
    Progress(-1 if quiet else 1).follow(response.objects())
    if quiet:
        out.line(f"{wanted.domain}/{wanted.path}:{wanted.tag}")
    return 0


COMMAND = Command(_run, "[OPTIONS] NAME[:TAG]", (
    Flag("all-tags", "a", "bool", "Push all tags of an image to the repository"),
    Flag("quiet", "q", "bool", "Suppress verbose output"),
), least=1, most=1)
