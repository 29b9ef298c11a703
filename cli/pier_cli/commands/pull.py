"""``pier pull``: download an image."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.specs.references import Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def reference(text: str) -> Reference:
    """The parsed reference. Failure where ``text`` is none."""
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(str(error)) from None


def pull(context: Context, image: str, platform: str, fd: int, every_tag: bool = False) -> None:
    """Pull with progress on ``fd`` (-1: none)."""
    from pier_cli.credentials import header
    from pier_cli.progress import Progress

    wanted = reference(image)
    if not every_tag:
        wanted = wanted.tagged()
    query = [("fromImage", wanted.name)]
    if wanted.digest or wanted.tag:
        query.append(("tag", wanted.digest or wanted.tag))
    if platform:
        query.append(("platform", platform.lower()))
    response = context.engine.request("POST", "/images/create", query, headers=header(wanted.domain))
    Progress(fd).follow(response.objects())
    response.connection.close()


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    wanted = reference(arguments[0])
    every = options.flag("all-tags")
    if every and (wanted.tag or wanted.digest):
        raise Failure("tag can't be used with --all-tags/-a")
    quiet = options.flag("quiet")
    if not every and not wanted.tag and not wanted.digest and not quiet:
        out.line("Using default tag: latest")
        out.flush()
    pull(context, arguments[0], options.text("platform"), -1 if quiet else 1, every)
    final = wanted if every else wanted.tagged()
    out.line(f"{final.domain}/{final.path}" + str(final)[len(final.name):])
    return 0


COMMAND = Command(_run, "[OPTIONS] NAME[:TAG|@DIGEST]", (
    Flag("all-tags", "a", "bool", "Download all tagged images in the repository"),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    Flag("quiet", "q", "bool", "Suppress verbose output"),
), least=1, most=1)
